"""Crystals in from any file that ASE reads, predictions out as extxyz."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potentials.commands.command import Unusable

if TYPE_CHECKING:
    from ase import Atoms

    from potentials.potential import Potential
    from potentials.structures import Prediction, Structures


def add_files(parser: argparse.ArgumentParser) -> None:
    """The arguments FILE, -o OUT and --threads."""
    parser.add_argument("file", metavar="FILE", type=Path, help="any format that ASE reads")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="extxyz file to write")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads (default 1)")


def load(chosen: argparse.Namespace) -> tuple[Potential, Structures]:
    """The crystals of FILE and the potential of their elements."""
    from potentials.library import Library
    from potentials.stratum import Stratum
    from potentials.structures import Structures

    structures = Structures.from_ase(read_crystals(chosen.file))
    library = Library.open(chosen.library)
    return library.assemble(Stratum.of(structures.numbers.tolist())), structures


def read_crystals(path: Path) -> list[Atoms]:
    """Every crystal of the file; Unusable when there is none that can be read."""
    from ase.io import read

    try:
        crystals: Any = read(path, index=":")
    except Exception as error:  # noqa: BLE001 - the readers raise whatever the first odd byte leads to
        raise Unusable(f"{path} cannot be read: {type(error).__name__}: {error}".splitlines()[0]) from None
    if not crystals or any(len(a) == 0 for a in crystals):
        raise Unusable(f"{path} holds no crystals, or one without atoms")
    return list(crystals)


def write_predictions(
    path: Path, structures: Structures, prediction: Prediction, potential: Potential, outcomes: list[str]
) -> None:
    """extxyz with energy, forces and stress as ASE's own results, method, spread, grade and outcome per crystal."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    grades, images = potential.grades(structures), structures.to_ase()
    for c, atoms in enumerate(images):
        part = slice(structures.offsets[c], structures.offsets[c + 1])
        known = {"energy": prediction.energies[c], "forces": prediction.forces[part]}
        if atoms.pbc.all():
            known["stress"] = prediction.stresses[c][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, **known)
        atoms.info.update(method=potential.method, spread=float(prediction.spreads[c]), grade=float(grades[c]))
        if outcomes:
            atoms.info["outcome"] = outcomes[c]
    write(path, images, format="extxyz")
