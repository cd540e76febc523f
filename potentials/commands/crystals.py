"""Crystals in from any file that ASE reads, predictions out as extxyz."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potentials.commands.command import Misused, Unusable

if TYPE_CHECKING:
    from ase import Atoms

    from potentials.library import Library
    from potentials.potential import Potential
    from potentials.structures import Prediction, Structures

# what the crystals' comment lines get here; an entry of the input with such a name is not kept
OWN = (
    "energy",
    "free_energy",
    "stress",
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
    # what `evo export` says of a crystal that is another one now
    "status",
    "energy_network",
    "energy_reference",
    "above_hull_network",
    "above_hull_reference",
)
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

    from ase.io import read

    if chosen.threads < 1:
        raise Misused(f"--threads must be at least 1, got {chosen.threads}")
    if chosen.output.suffix.lower() not in FORMATS and not chosen.output.exists():
        raise Misused(
            f"-o {chosen.output}: what is written is extxyz, which keeps energies, spreads and grades of atoms; "
            f"name it {chosen.output.stem}.extxyz (`ase convert` makes other formats of it)"
        )
    path = chosen.file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the readers' remarks on odd files are not the user's problem here
            crystals: Any = read(path, index=":")
    except Exception as error:  # noqa: BLE001 - the readers raise whatever the first odd byte leads to
        raise Unusable(f"{path} cannot be read: {type(error).__name__}: {error}".splitlines()[0]) from None
    if not crystals:
        raise Unusable(f"{path} holds no crystals")
    for n, atoms in enumerate(crystals):
        if not len(atoms):
            raise Unusable(f"{path}: crystal {n + 1} has no atoms")
        if atoms.pbc.any() and any(atoms.pbc & (abs(atoms.cell[:]).max(axis=1) == 0.0)):
            raise Unusable(
                f"{path}: crystal {n + 1} is periodic along an axis that has no length; set `pbc` or the cell"
            )
    return list(crystals)


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
    structures: Structures, prediction: Prediction, potential: Potential, infos: list[dict[str, Any]], threads: int
) -> list[str]:
    """extxyz for every crystal: energy, forces, stress, energies of atoms as ASE's own results; method, spreads, grades.

    `spread` is in eV per cell, `spreads` in eV per atom; `grade` is that of the worst atom. `band`, eV per atom, holds the
    reference's energy nine times in ten, for crystals like those held out. What else `infos` say of a
    crystal stays with it.
    """
    import numpy as np

    from potentials.labelled.extxyz import Entry, frame

    grades, spreads = potential.atomic_grades(structures, threads), potential.atomic_spreads(structures, threads)
    worst = np.maximum.reduceat(grades, structures.offsets[:-1])
    bands = potential.bands(structures, prediction, worst)
    lines = []
    for c, info in enumerate(infos):
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
        kept = {k: v for k, v in info.items() if k not in OWN and re.fullmatch(r"[A-Za-z]\w*", str(k))}
        for name, value in kept.items():
            if isinstance(value, str | bool | int | float | np.integer | np.floating | np.bool_):
                entries[name] = value if isinstance(value, str | bool) else str(value)
        columns = {
            "forces": prediction.forces[atoms],
            "energies": prediction.atomic_energies[atoms],
            "spreads": spreads[atoms],
            "grades": grades[atoms],
        }
        parts = (structures.numbers[atoms], structures.positions[atoms], structures.cells[c], structures.periodic[c])
        lines.append(frame(*parts, columns, entries))
    return lines


def write(path: Path, lines: list[str]) -> None:
    """All of them or none; what is no plain file is written through and never replaced."""
    from potentials.stratum_file import write_atomically

    if str(path) in STDOUT:
        print("".join(lines), end="")
    elif path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_text("".join(lines), encoding="utf-8")
    else:
        write_atomically(path, "".join(lines).encode())
