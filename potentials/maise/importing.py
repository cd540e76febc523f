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

from potentials.environments import Environments
from potentials.library import Library
from potentials.maise.box import MaiseError, ModelFile, read_file
from potentials.maise.network_file import PublishedNetwork, read_network
from potentials.network import StratumParameters
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum, parameter_arrays

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

    core_energy: eV, of the hard cores that MAISE adds unless told otherwise (UREP, 100 eV); 0: none.
    MaiseError where a file cannot be used, or files do not go together.
    """
    files = [read_file(path) for path in paths]
    if unlike := [f for f in files if f.kind != files[0].kind]:
        raise MaiseError(f"{unlike[0].path} is of another kind than {files[0].path}; give each a library of its own")
    networks = sorted((read_network(f) for f in files), key=lambda n: len(n.file.species))
    recipe = _recipe(networks, core_energy)
    pieces = _pieces(networks)
    library = Library.open(target) if (target / "library.json").exists() else None
    if library is not None and library.recipe != recipe:
        raise MaiseError(f"{target} holds a library of another recipe than {files[0].path}; choose another directory")
    known = {} if library is None else {s: library.stratum(s).parameters for s in library.strata()}
    for stratum, piece in pieces.items():
        if stratum in known and not same(known[stratum], piece.parameters):
            raise MaiseError(f"{piece.file.path} has another {stratum.name} than {target}; choose another directory")
    library = library or Library.create(target, recipe)
    for stratum, piece in pieces.items():
        if stratum not in known:
            parents = {s.name: library.stratum(s).content_hash() for s in stratum.subsets() if s != stratum}
            metadata = _metadata(piece, recipe)
            library.add(TrainedStratum(piece.parameters, Environments({}, {}, {}), parents, metadata))
    return [(stratum.name, piece.file.name) for stratum, piece in pieces.items()]


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


def _pieces(networks: Sequence[PublishedNetwork]) -> dict[Stratum, Piece]:
    """Every stratum once, canonical order; from the smallest file that has it."""
    pieces: dict[Stratum, Piece] = {}
    for network in networks:
        for stratum, parameters in network.strata().items():
            known = pieces.setdefault(stratum, Piece(parameters, network.file))
            if not same(known.parameters, parameters):
                raise MaiseError(
                    f"{network.file.path} has another {stratum.name} than {known.file.path}: they are not of one family; "
                    "give each a library of its own"
                )
    return dict(sorted(pieces.items(), key=lambda item: item[0].sort_key()))


def _metadata(piece: Piece, recipe: Recipe) -> dict[str, Any]:
    """What the header says: all of it under `published`, and what libraries know by the library's names."""
    file = piece.file
    metadata: dict[str, Any] = {
        "method": METHOD,
        "published": {"file": file.name, "sha256": file.digest, "own": piece.whole, **file.rows},
    }
    if not piece.whole:
        return metadata
    errors = {name: _leading(file.rows.get(key, "")) for name, key in ERRORS.items()}
    return metadata | {
        "n_data": int(_leading(file.rows.get("total structures", ""))),
        "errors": {name: value for name, value in errors.items() if value},  # 0: no such labels
        "seconds_labels": 0.0,
        "seconds_training": _leading(file.rows.get("training time", "")),
    }


def _leading(text: str) -> float:
    """The number that a value begins with; 0 where there is none."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return 0.0
