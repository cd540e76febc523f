"""The space group that a relaxed prototype has ended in."""

from __future__ import annotations

from ase import Atoms
from ase.spacegroup.symmetrize import check_symmetry

SLACK = 0.05  # of the cube root of the volume per atom: what may be told apart in a relaxed crystal


def space_group(atoms: Atoms, tolerance: float | None = None) -> int:
    """Its number when atoms may be `tolerance` Å off their places, by default a twentieth of the volume's cube root per atom.

    1 when there is no telling.
    """
    slack = SLACK * float(atoms.cell.volume / len(atoms)) ** (1 / 3)
    found = check_symmetry(atoms, symprec=slack if tolerance is None else tolerance)
    return 1 if found is None else int(found.number)
