"""Symmetry of a crystal, and an Evaluate that keeps it: forces and stress averaged over its operations.

Rounding would otherwise let a prototype that is no minimum, such as bcc copper, slide away after enough steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.spacegroup.symmetrize import check_symmetry
from numpy.typing import NDArray

from potentials.relax import Evaluate
from potentials.structures import Floats, Prediction, Structures

EXACT = 1e-4  # Å, for crystals built by formula


@dataclass(frozen=True)
class Operations:
    """The operations of one crystal. In lattice coordinates they stay the same while the cell deforms with them."""

    rotations: NDArray[np.int_]  # (m, 3, 3), of lattice coordinates as columns
    sources: NDArray[np.int_]  # (m, n): atom that operation m takes to the place of atom n

    @classmethod
    def of(cls, atoms: Atoms) -> Operations:
        """All that leave this crystal as it is, to `EXACT`."""
        found = check_symmetry(atoms, symprec=EXACT)
        n = len(atoms)
        if found is None:  # no telling: the identity always is one
            return cls(np.eye(3, dtype=int)[None], np.arange(n)[None])
        fractions = atoms.get_scaled_positions()
        moved = np.einsum("mij,nj->mni", found.rotations, fractions) + found.translations[:, None, :]
        apart = moved[:, :, None, :] - fractions[None, None, :, :]
        apart -= np.round(apart)
        targets = np.argmin(np.sum((apart @ np.asarray(atoms.cell)) ** 2, axis=3), axis=2)
        return cls(np.array(found.rotations), np.argsort(targets, axis=1))

    def average(self, cell: Floats, forces: Floats, stress: Floats) -> tuple[Floats, Floats]:
        """Forces (n, 3) and stress (3, 3) without the part that breaks the symmetry."""
        turns = np.linalg.inv(cell) @ np.swapaxes(self.rotations, 1, 2) @ cell  # of Cartesian rows
        turned = np.einsum("mni,mij->nj", forces[self.sources], turns) / len(turns)
        return turned, np.einsum("mki,kl,mlj->ij", turns, stress, turns) / len(turns)


def symmetric(evaluate: Evaluate, operations: Operations, *, keep_volume: bool = False) -> Evaluate:
    """The same for one crystal with these operations; with `keep_volume`, also without the pressure in the stress."""

    def averaged(structures: Structures) -> Prediction:
        said = evaluate(structures)
        forces, stress = operations.average(structures.cells[0], said.forces, said.stresses[0])
        if keep_volume:
            stress = stress - np.trace(stress) / 3 * np.eye(3)
        return replace(said, forces=forces, stresses=stress[None])

    return averaged


def space_group(atoms: Atoms, tolerance: float) -> int:
    """Number of the space group when atoms may be `tolerance` Å off their places; 1 when there is no telling."""
    found = check_symmetry(atoms, symprec=tolerance)
    return 1 if found is None else int(found.number)
