"""The cell of a job: of all cells of a crystal the one in which a program works least, and what the work grows with.

The crystal is neither turned nor reordered, so forces and stress are those of the crystal that was given. It is moved to where
rotations need no translation, and by less than 1e-5 Å onto the exact places of its symmetry: programs compare with tolerances of
their own (a Cu4Pd2, monoclinic but for 3e-5 degrees, had 193 k-points in place of 108), and find translations only if their grids
have points there.

As a rule the cell is the Niggli cell: skewed cells cost more and are less accurate. In the reduced cell of an elongated centred
lattice, though, symmetry mixes a long axis with short ones. A mesh of k-points must then have as many points along all of them,
and so must the grid of a program that makes densities symmetric in real space: a CuPd4 of five atoms had a grid of 45 x 45 x 45
where 14 x 14 x 45 were asked for, and took half an hour. In the conventional cell, twice as many atoms, axes that symmetry mixes
are of one length.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from evo.niggli import niggli
from evo.reference.mesh import SYMPREC, mesh
from evo.symmetry import conventional_axes, exact, laue_rotations
from potentials.structures import Floats

# time grows with the atoms and with the grid like this: a fit to what GPAW took for 994 crystals of 1 to 8 atoms
# (runs/cu-pd-ag-pbe), and what Ag3 (R-3m) and CuPd4 (I4/mmm) took in both cells: a quarter and a tenth in the conventional one
ATOMS_POWER = 2.2
GRID_POWER = 1.0
UNEVEN = 1.05  # growth of the grid, below which no other cell is looked at
WORTH = 0.8  # of the work in the Niggli cell, at most, for another one to be taken


def reduced(atoms: Atoms, like: Atoms | None = None) -> Atoms:
    """The crystal in its Niggli cell, its origin where rotations need no translation, if there is such a place.

    It is neither turned nor reordered. A crystal that is not periodic along all axes stays as it is.

    With `like`, of which this crystal is a deformation, the new vectors are combined from the old ones as they would be there.
    """
    result = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.has("initial_magmoms"):
        result.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    cell = np.asarray(atoms.cell, dtype=float)
    basis = niggli(cell if like is None else np.asarray(like.cell, dtype=float)) if all(atoms.pbc) else None
    if basis is not None:
        shorter = basis @ cell
        result.set_cell(-shorter if np.linalg.det(shorter) < 0 else shorter)
        result = exact(result, SYMPREC)
        result.wrap(eps=1e-9)
    return result


def least_work(atoms: Atoms, spacing: float, *, simple: bool = False) -> NDArray[np.int_] | None:
    """(3, 3) the axes, in vectors of this reduced cell, of the conventional cell where it is worth its atoms; else None."""
    if not all(atoms.pbc) or _grid_excess(np.asarray(atoms.cell), laue_rotations(atoms, SYMPREC)) < UNEVEN:
        return None
    axes = conventional_axes(atoms, SYMPREC)
    if axes is None:
        return None
    plain, long = (work(a, spacing, simple=simple, grids=True) for a in (atoms, repeated(atoms, axes)))
    return axes if long < WORTH * plain else None


def repeated(atoms: Atoms, axes: NDArray[np.int_]) -> Atoms:
    """The crystal in the larger cell of these axes (rows, in its own vectors): its atoms in their order, then their copies."""
    copies = round(abs(np.linalg.det(axes)))
    steps = np.stack(np.meshgrid(*3 * [np.arange(copies)], indexing="ij"), axis=-1).reshape(-1, 3)
    inside = steps @ np.linalg.inv(axes)
    inside -= np.floor(inside + 1e-9)
    _, first = np.unique(np.rint(inside * copies).astype(int) % copies, axis=0, return_index=True)
    shifts = steps[np.sort(first)] @ np.asarray(atoms.cell)
    result: Atoms = atoms.repeat((len(shifts), 1, 1))
    result.set_cell(axes @ np.asarray(atoms.cell))
    result.positions = (atoms.positions + shifts[:, None]).reshape(-1, 3)
    result.wrap(eps=1e-9)
    return result


def work(atoms: Atoms, spacing: float, *, simple: bool = False, grids: bool = False) -> float:
    """What the time of a plane-wave calculation in this very cell is proportional to: 1 for one atom and one k-point.

    `grids`: the program raises its grid until symmetry carries it onto itself.
    """
    rotations = laue_rotations(atoms, SYMPREC)
    points = mesh(atoms, spacing, simple=simple).left(rotations)
    excess = _grid_excess(np.asarray(atoms.cell.complete()), rotations) if grids else 1.0
    return float(points * len(atoms) ** ATOMS_POWER * excess**GRID_POWER)


def _grid_excess(cell: Floats, rotations: NDArray[np.int_]) -> float:
    """By how much a grid of equal steps grows when axes that symmetry mixes must have as many points."""
    counts = np.linalg.norm(cell, axis=1)
    asked = counts.prod()
    mixed = (rotations != 0).any(axis=0)
    for i, j in 2 * [(0, 1), (0, 2), (1, 2)]:
        if mixed[i, j] or mixed[j, i]:
            counts[[i, j]] = counts[[i, j]].max()
    return float(counts.prod() / asked)
