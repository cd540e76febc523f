"""A crystal made exactly symmetric, and predictions made so: a relaxation that uses both keeps the space group.

The space group comes from spglib by way of `ase.spacegroup.symmetrize`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import spglib
from ase import Atoms
from ase.spacegroup.symmetrize import (
    IntermediateDatasetError,
    get_symmetrized_atoms,
    prep_symmetry,
    symmetrize_rank1,
    symmetrize_rank2,
)

from potentials.structures import Prediction, Structures

TOLERANCE = 0.01  # Å, how far from its place an atom may be in a crystal that counts as symmetric
EXACT = 1e-4  # Å, after it was moved there

Evaluate = Callable[[Structures], Prediction]


class SymmetryError(ValueError):
    """A crystal whose space group cannot be found."""

    exit_code = 65


class NoGroupError(SymmetryError):
    """A crystal that has no group, or of which spglib says nothing: two of its atoms are on one spot, its cell is flat."""


def symmetrised(atoms: Atoms, tolerance: float = TOLERANCE) -> Atoms:
    """The crystal with cell and positions made exact; SymmetryError where spglib finds no consistent group, or none."""
    if not atoms.pbc.all():
        raise NoGroupError("has no space group: it is not periodic along three axes")
    if not _finite(atoms):
        raise NoGroupError("has no space group: positions or a cell that are not finite")
    try:
        exact, _ = get_symmetrized_atoms(atoms, symprec=tolerance, final_symprec=EXACT)
    except spglib.SpglibError as error:
        raise NoGroupError(f"has no space group: {str(error).splitlines()[0]}") from None
    except (IntermediateDatasetError, AssertionError, AttributeError, TypeError, ValueError):
        raise SymmetryError(f"has no clear space group within {tolerance} Å; relax it without symmetry") from None
    return exact


def _finite(atoms: Atoms) -> bool:
    """Whether spglib, which ends the process where it is not so, may be asked."""
    return bool(np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell[:]).all())


def keeping_symmetry(evaluate: Evaluate, atoms: Atoms) -> Evaluate:
    """The same for this one crystal, however it is deformed since, with forces and stress averaged over its group.

    A crystal that spglib finds none for keeps nothing: what it is given comes back.
    """
    if not _finite(atoms):
        return evaluate
    try:
        rotations, translations, images = prep_symmetry(atoms, symprec=EXACT)
    except spglib.SpglibError:
        return evaluate

    def symmetric(structures: Structures) -> Prediction:
        prediction, cell = evaluate(structures), structures.cells[0]
        inverse = np.linalg.inv(cell)
        forces = symmetrize_rank1(cell, inverse, prediction.forces, rotations, translations, images)
        stress = symmetrize_rank2(cell, inverse, prediction.stresses[0], rotations)
        return replace(prediction, forces=forces, stresses=stress[None])

    return symmetric
