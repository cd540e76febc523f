"""Files of one family, cut into nested strata, into a library.

A network for several elements is the union of the strata of their subsets. A stratum that several files hold must be the
same in all of them, bit for bit, and is stored once; one that has no file of its own is cut out of the larger file, which
predicts the smaller set of elements just so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.data import covalent_radii

from potentials import kernels
from potentials.environments import Environments
from potentials.kernels.repulsion import cores
from potentials.library import Library
from potentials.maise.box import MaiseError, ModelFile, read_file
from potentials.maise.gupta_file import read_gupta
from potentials.maise.network_file import PublishedNetwork, read_network
from potentials.network import StratumParameters, fold
from potentials.recipe import GuptaRecipe, Recipe
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum, parameter_arrays
from potentials.structures import Structures

METHOD = "published:maise"
# rows of the header: those that a library has a name for, in units of eV/atom, eV/Å
ERRORS = {
    "energy_train": "train energy error",
    "energy_held_out": "test Energy error",
    "force_train": "train force error",
    "force_held_out": "test Force error",
}


@dataclass(frozen=True, eq=False)
class Piece:
    """A stratum and the file it was cut from."""

    parameters: StratumParameters
    file: ModelFile

    @property
    def whole(self) -> bool:
        """Whether the file holds this stratum and those below it, no other."""
        return Stratum.of(self.file.species) == self.parameters.stratum


def import_files(paths: Sequence[Path], target: Path, core_energy: float = 0.0) -> list[tuple[str, str]]:
    """The strata that are now in the library at `target`, a new one or one of the same family: name, and its file's.

    core_energy: eV, of the hard cores that MAISE adds to networks unless told otherwise (UREP, 100 eV); 0: none.
    MaiseError where a file cannot be used, or files do not go together.
    """
    files = [read_file(path) for path in paths]
    if unlike := [f for f in files if f.kind != files[0].kind]:
        raise MaiseError(f"{unlike[0].path} is of another kind than {files[0].path}; give each a library of its own")
    form, pieces = _gupta(files, core_energy) if files[0].kind == "gupta" else _networks(files, core_energy)
    library = Library.open(target) if (target / "library.json").exists() else None
    if library is not None and library.form != form:
        raise MaiseError(f"{target} holds a library of another recipe than {files[0].path}; choose another directory")
    known = {} if library is None else {s: library.stratum(s).parameters for s in library.strata()}
    for stratum, piece in pieces.items():
        if stratum in known and not same(known[stratum], piece.parameters):
            raise MaiseError(f"{piece.file.path} has another {stratum.name} than {target}; choose another directory")
    library = library or Library.create(target, form)
    for stratum, piece in pieces.items():
        if stratum not in known:
            parents = {s.name: library.stratum(s).content_hash() for s in stratum.subsets() if s != stratum}
            library.add(TrainedStratum(piece.parameters, Environments({}, {}, {}), parents, _metadata(piece, form)))
    return [(stratum.name, piece.file.name) for stratum, piece in pieces.items()]


def _networks(files: Sequence[ModelFile], core_energy: float) -> tuple[Recipe, dict[Stratum, Piece]]:
    networks = [read_network(file) for file in files]
    recipe = _recipe(networks, core_energy)
    try:
        cores(tuple({z for file in files for z in file.species}) if core_energy else ())
    except ValueError as error:
        raise MaiseError(str(error)) from None
    return recipe, _pieces([(n.file, n.strata()) for n in networks])


def _gupta(files: Sequence[ModelFile], core_energy: float) -> tuple[GuptaRecipe, dict[Stratum, Piece]]:
    if core_energy:
        raise MaiseError(f"{files[0].path} is a Gupta potential, which repels by itself; leave the hard cores away")
    return GuptaRecipe(), _pieces([(file, read_gupta(file)) for file in files])


def same(one: StratumParameters, other: StratumParameters) -> bool:
    """Whether two strata are equal, bit for bit."""
    ours, theirs = parameter_arrays(one), parameter_arrays(other)
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[k], theirs[k]) for k in ours)


def _recipe(networks: Sequence[PublishedNetwork], core_energy: float) -> Recipe:
    first = networks[0]
    for other in networks:
        if other.functions != first.functions:
            raise MaiseError(
                f"{other.file.path} has other symmetry functions than {first.file.path}; give each a library of its own"
            )
        if (other.hidden, other.second) != (first.hidden, first.second):
            raise MaiseError(
                f"{other.file.path} has {other.hidden} + {other.second} hidden units, {first.file.path} "
                f"{first.hidden} + {first.second}; give each a library of its own"
            )
    return Recipe(
        first.functions,
        hidden=first.hidden,
        members=1,
        repulsion=False,
        second=first.second,
        scaling="range",
        core_energy=core_energy,
    )


def _pieces(cut: Sequence[tuple[ModelFile, dict[Stratum, StratumParameters]]]) -> dict[Stratum, Piece]:
    """Every stratum once, canonical order; from the smallest file that has it."""
    pieces: dict[Stratum, Piece] = {}
    for file, strata in sorted(cut, key=lambda pair: len(pair[0].species)):
        for stratum, parameters in strata.items():
            known = pieces.setdefault(stratum, Piece(parameters, file))
            if not same(known.parameters, parameters):
                raise MaiseError(
                    f"{file.path} has another {stratum.name} than {known.file.path}: they are not of one family; "
                    "give each a library of its own"
                )
    return dict(sorted(pieces.items(), key=lambda item: item[0].sort_key()))


def _metadata(piece: Piece, form: Recipe | GuptaRecipe) -> dict[str, Any]:
    """What the header says: all of it under `published`, and what libraries know by the library's names."""
    file, stratum = piece.file, piece.parameters.stratum
    metadata: dict[str, Any] = {
        "method": METHOD,
        "published": {"file": file.name, "sha256": file.digest, "own": piece.whole, **file.rows},
    }
    if isinstance(form, GuptaRecipe):
        return metadata
    metadata["lowest"] = _lowest(piece.parameters, form) if stratum.order == 1 else None
    if not piece.whole:
        return metadata
    errors = {name: _leading(file.rows.get(key, "")) for name, key in ERRORS.items()}
    return metadata | {
        "n_data": int(_leading(file.rows.get("total structures", ""))),
        "errors": {name: value for name, value in errors.items() if value},  # 0: no such labels
        "seconds_labels": 0.0,
        "seconds_training": _leading(file.rows.get("training time", "")),
    }


def _lowest(parameters: StratumParameters, recipe: Recipe) -> float:
    """eV per atom of an element in the best of its close-packed and body-centred crystals: the file does not say it."""
    (z,) = parameters.stratum.numbers
    lengths = 2 * covalent_radii[z] * np.linspace(0.8, 1.3, 51)  # Å, to the nearest neighbours
    cubic = {"fcc": 2**0.5, "bcc": 2 / 3**0.5}  # lattice constant over that
    crystals = [bulk("X", name, a=float(d * ratio)) for name, ratio in cubic.items() for d in lengths]
    crystals += [bulk("X", "hcp", a=float(d)) for d in lengths]
    for atoms in crystals:
        atoms.numbers[:] = z
    structures = Structures.from_ase(crystals)
    energies = kernels.evaluate(structures, fold(recipe.shape, (z,), [parameters], False)).energies / structures.sizes
    return float(np.nanmin(energies))


def _leading(text: str) -> float:
    """The number that a value begins with; 0 where there is none."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return 0.0
