"""Crystals in from any file that ASE reads, predictions out as extxyz."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potentials.commands.command import Misused, Unusable

if TYPE_CHECKING:
    from ase import Atoms

    from potentials.library import Library
    from potentials.potential import Potential
    from potentials.structures import Floats, Prediction, Structures

# what the crystals' comment lines get here; an entry of the input with such a name is not kept
OWN = (
    *("energy", "energies", "free_energy", "forces", "stress", "stresses", "virial", "virials"),
    *("dipole", "magmom", "magmoms", "charges"),  # results of a calculator, as ASE's reader has it
    "method",
    "spread",
    "grade",
    "band",
    "pbc",
    "Lattice",
    "Properties",
    "seconds",
    "source",
    "weight",
    "occupancy",
    # of a relaxation, which may have been at another pressure
    "outcome",
    "enthalpy",
    "pressure_GPa",
    # what `evo export` says of a crystal that is another one now
    "status",
    "energy_network",
    "energy_reference",
    "above_hull_network",
    "above_hull_reference",
)
COLUMNS = ("numbers", "positions", "pos", "species", "spreads", "grades")  # of the atoms, besides results
FORMATS = ("", ".extxyz", ".xyz")  # suffixes of OUT
STDOUT = ("-", "/dev/stdout")


def add_files(parser: argparse.ArgumentParser) -> None:
    """The arguments FILE, -o OUT and --threads."""
    parser.add_argument("file", metavar="FILE", type=Path, help="any format that ASE reads")
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="extxyz file to write, - for stdout"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads (default 1)")


def read_crystals(chosen: argparse.Namespace) -> list[Atoms]:
    """Every crystal of FILE; Unusable when there is none that can be read."""
    import warnings

    from ase.data import chemical_symbols
    from ase.io import read

    from potentials.labelled.archives import unpacked
    from potentials.occupancy import shared

    if chosen.threads < 1:
        raise Misused(f"--threads must be at least 1, got {chosen.threads}")
    if chosen.output.suffix.lower() not in FORMATS and not (chosen.output.exists() and not chosen.output.is_file()):
        raise Misused(
            f"-o {chosen.output}: what is written is extxyz, which keeps energies, spreads and grades of atoms; "
            f"name it {chosen.output.stem}.extxyz (`ase convert` makes other formats of it)"
        )
    _check_output(chosen.output)
    path = chosen.file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the readers' remarks on odd files are not the user's problem here
            with unpacked(path) as plain:
                crystals: Any = read(plain, index=":", do_not_split_by_at_sign=True)
    except Exception as error:  # noqa: BLE001 - the readers raise whatever the first odd byte leads to
        raise Unusable(f"{path} cannot be read: {type(error).__name__}: {error}".splitlines()[0]) from None
    if not crystals:
        raise Unusable(f"{path} holds no crystals")
    for n, atoms in enumerate(crystals):
        if not len(atoms):
            raise Unusable(f"{path}: crystal {n + 1} has no atoms")
        if not ((atoms.numbers >= 1) & (atoms.numbers < len(chemical_symbols))).all():
            raise Unusable(f"{path}: crystal {n + 1} has an atom of no element (X)")
        if atoms.pbc.any() and any(atoms.pbc & (abs(atoms.cell[:]).max(axis=1) == 0.0)):
            raise Unusable(
                f"{path}: crystal {n + 1} is periodic along an axis that has no length; set `pbc` or the cell"
            )
        if found := shared(atoms):
            raise Unusable(f"{path}: crystal {n + 1} has sites that are shared ({found}); give an ordered model of it")
    return list(crystals)


def _check_output(path: Path) -> None:
    """Before anything is worked out: OSError where OUT cannot be written."""
    if str(path) in STDOUT or (path.exists() and not path.is_file() and not path.is_dir()):
        return
    if path.is_dir():
        raise OSError(f"-o {path} is a directory; name a file in it, such as {path / 'out.extxyz'}")
    if not path.parent.is_dir():
        raise OSError(f"-o {path}: there is no directory {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise OSError(f"-o {path} cannot be written; choose another place")


def warn(library: Library, crystals: list[Atoms], grades: Floats) -> None:
    """On stderr: sets of elements that the library was never trained on, and how many crystals lie beyond its data.

    grades: (n,) of the worst atom of each crystal; 1 is the edge, infinite where nothing is known of it.
    """
    import sys
    from collections import Counter

    import numpy as np

    from potentials.environments import EDGE_GRADE
    from potentials.stratum import Stratum

    there, lacking = library.versions(), []
    for atoms in crystals:  # of four and more elements the triples are what is trained
        own = [s.name for s in Stratum.of(atoms.numbers.tolist()).subsets() if 1 < s.order <= 3]
        lacking.append(tuple(name for name in own if name not in there))
    for names, n in sorted(Counter(names for names in lacking if names).items()):
        of = f"of {n} of {len(crystals)} crystals"
        text = f"{library.path} was never trained on {', '.join(names)}: do not believe what it says {of}"
        print(text, file=sys.stderr)
    beyond = np.array([not names for names in lacking], dtype=bool) & ~np.isposinf(grades) & ~(grades <= EDGE_GRADE)
    if beyond.any():
        text = f"{int(beyond.sum())} of {len(crystals)} crystals beyond the training data"
        print(
            f"{text} (largest grade {np.nanmax(grades[beyond], initial=0.0):.1f}, the edge is {EDGE_GRADE:.0f})",
            file=sys.stderr,
        )


def by_stratum(library: Library, path: Path, crystals: list[Atoms]) -> Iterator[tuple[Potential, list[int]]]:
    """For each set of elements the potential of exactly these, and the indices of the crystals; Unusable where one is missing."""
    from potentials.library import LibraryError
    from potentials.stratum import Stratum

    groups: dict[Stratum, list[int]] = {}
    for n, atoms in enumerate(crystals):
        groups.setdefault(Stratum.of(atoms.numbers.tolist()), []).append(n)
    potentials = {}
    for stratum, indices in groups.items():  # all of them before the first is used: an error comes early
        try:
            potentials[stratum] = library.assemble(stratum)
        except LibraryError as error:
            raise Unusable(f"{path}: crystal {indices[0] + 1}: {error}") from None
    for stratum in sorted(groups, key=Stratum.sort_key):
        yield potentials[stratum], groups[stratum]


def predicted(
    structures: Structures,
    prediction: Prediction,
    potential: Potential,
    crystals: list[Atoms],
    threads: int,
    own: list[dict[str, Any]] | None = None,
) -> tuple[list[str], Floats]:
    """extxyz for every crystal, and the grade of its worst atom.

    Energy, forces, stress, energies of atoms are ASE's own results; besides there are method, spreads, grades.

    `spread` is in eV per cell, `spreads` in eV per atom; `grade` is that of the worst atom. `band`, eV per atom, holds the
    reference's energy nine times in ten, for crystals like those held out. What else `crystals`, of the input, say of themselves
    stays with them where it is a text, a number or a row of numbers, and so do numbers of their atoms (tags, moments); `own`
    is said besides.
    """
    import numpy as np

    from potentials.labelled.extxyz import Entry, frame

    grades, spreads = potential.atomic_grades(structures, threads), potential.atomic_spreads(structures, threads)
    worst = np.maximum.reduceat(grades, structures.offsets[:-1])
    bands = potential.bands(structures, prediction, worst)
    lines = []
    for c, crystal in enumerate(crystals):
        atoms = slice(structures.offsets[c], structures.offsets[c + 1])
        entries: dict[str, Entry] = {"energy": float(prediction.energies[c])}
        if structures.periodic[c].all():
            entries["stress"] = prediction.stresses[c]
        entries |= {
            "method": potential.method,
            "spread": float(prediction.spreads[c]),
            "grade": float(worst[c]),
        }
        if np.isfinite(bands[c]):
            entries["band"] = float(bands[c])
        kept = {k: v for k, v in crystal.info.items() if _is_kept(k)}
        kept |= own[c] if own is not None else {}
        for name, value in kept.items():
            if isinstance(value, str | bool | int | float | np.integer | np.floating | np.bool_):
                entries[name] = value if isinstance(value, str | bool) else str(value)
            elif isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iuf" and len(value):
                entries[name] = value
        columns = {k: v for k, v in crystal.arrays.items() if _is_kept(k) and v.dtype.kind in "iuf" and v.ndim <= 2}
        columns |= {
            "forces": prediction.forces[atoms],
            "energies": prediction.atomic_energies[atoms],
            "spreads": spreads[atoms],
            "grades": grades[atoms],
        }
        parts = (structures.numbers[atoms], structures.positions[atoms], structures.cells[c], structures.periodic[c])
        lines.append(frame(*parts, columns, entries))
    return lines, worst


def _is_kept(name: Any) -> bool:
    """Whether what a crystal or its atoms have under this name in the input is passed on."""
    return name not in (*OWN, *COLUMNS) and re.fullmatch(r"[A-Za-z]\w*", str(name)) is not None


def write(path: Path, lines: list[str]) -> None:
    """All of them or none; what is no plain file is written through and never replaced."""
    from potentials.stratum_file import write_atomically

    if str(path) in STDOUT:
        print("".join(lines), end="")
    elif path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_text("".join(lines), encoding="utf-8")
    else:
        write_atomically(path, "".join(lines).encode())
