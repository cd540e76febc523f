"""Heredity: a slab of one parent joined to a slab of another.

Cut and splice (Deaven and Ho 1995, doi:10.1103/PhysRevLett.75.288) for crystals.

Parents may differ in cell, size and composition. Both are brought to about the size of the child by supercells,
turned and shifted at random, cut at one height in fractional coordinates, and the cells are mixed in the same
proportion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from evo.cell import Floats, Space, counts_of
from evo.packing import settle
from evo.supercell import random_supercell

CUT = (0.25, 0.75)  # share of the first parent
MOST_CUTS = 5  # shifts tried until both parents give an atom


def heredity(rng: np.random.Generator, parents: list[Atoms], space: Space) -> Atoms | None:
    """A child of parents[0] and parents[1]; None when the pieces make no crystal that is looked for.

    Variable composition: whatever the slabs hold, within the sizes allowed. Fixed formula: excess atoms become or
    make way for what is missing, which comes from the discarded halves.
    """
    if not all(np.asarray(parent.pbc).all() for parent in parents[:2]):
        return None
    size = _child_size(rng, len(parents[0]), len(parents[1]), space)
    first, second = (_prepared(rng, parent, size, space) for parent in parents[:2])
    share = rng.uniform(*CUT)
    axis = int(rng.integers(3))
    for _ in range(MOST_CUTS):
        lower, upper = (_shifted(rng, parent.points) for parent in (first, second))
        below, above = lower[:, axis] < share, upper[:, axis] >= share
        if below.any() and above.any():
            break
    else:
        return None
    numbers = np.concatenate([first.numbers[below], second.numbers[above]])
    points = np.concatenate([lower[below], upper[above]])
    spare = np.concatenate([first.numbers[~below], second.numbers[~above]])
    spare_points = np.concatenate([lower[~below], upper[~above]])
    numbers, points = _repaired(rng, numbers, points, spare, spare_points, space)
    cell = share * first.cell + (1 - share) * second.cell
    # the volume per guess of the parents is what relaxation has taught; the child starts there
    scale = share * first.looseness + (1 - share) * second.looseness
    cell *= (scale * space.volume(numbers) / float(np.linalg.det(cell))) ** (1 / 3)
    return settle(Atoms(numbers=numbers, positions=points @ cell, cell=cell, pbc=True), space)


def _child_size(rng: np.random.Generator, n_first: int, n_second: int, space: Space) -> int:
    """Atoms that the child should have: between its parents, or up to both together when they are small."""
    fewest, most = space.sizes
    low, high = sorted((n_first, n_second))
    if rng.random() < 0.3 or high == 1:
        high = min(n_first + n_second, most)
    return int(np.clip(rng.integers(low, max(low, high) + 1), fewest, most))


class _Prepared(NamedTuple):
    """A parent as it is cut: a along x and b in the xy plane, so that cells of two parents can be mixed."""

    numbers: NDArray[np.int_]  # (n,)
    points: Floats  # (n, 3) fractional
    cell: Floats  # (3, 3) Å
    looseness: float  # volume over guess


def _prepared(rng: np.random.Generator, parent: Atoms, size: int, space: Space) -> _Prepared:
    """The parent in a supercell of about `size` atoms, its axes in random cyclic order."""
    grown = random_supercell(rng, parent, max(1, round(size / len(parent))))
    turn = int(rng.integers(3))
    cell = np.asarray(grown.cell)[[(i + turn) % 3 for i in range(3)]]
    upright = np.linalg.cholesky(cell @ cell.T)
    volume = upright[0, 0] * upright[1, 1] * upright[2, 2]
    looseness = float(volume) / space.volume(grown.numbers)
    return _Prepared(grown.numbers, grown.positions @ np.linalg.inv(cell), upright, min(max(looseness, 0.7), 1.5))


def _shifted(rng: np.random.Generator, points: Floats) -> Floats:
    """(n, 3) fractional coordinates in [0, 1) after a shift at random along every axis."""
    shifted = points + rng.random(3)
    return shifted - np.floor(shifted)


def _repaired(
    rng: np.random.Generator,
    numbers: np.ndarray,
    points: np.ndarray,
    spare: np.ndarray,
    spare_points: np.ndarray,
    space: Space,
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and points that the search allows, with as few changes as possible."""
    fewest, most = space.sizes
    formula = space.formula
    if space.end_members is not None:
        formula = space.end_members.nearest(counts_of(numbers), fewest, most)
    if formula is None:
        if len(numbers) > most:
            keep = np.sort(rng.choice(len(numbers), most, replace=False))
            return numbers[keep], points[keep]
        missing = min(max(fewest - len(numbers), 0), len(spare))
        extra = rng.choice(len(spare), missing, replace=False)
        return np.concatenate([numbers, spare[extra]]), np.concatenate([points, spare_points[extra]])
    there = counts_of(numbers)
    wanted = [z for z, n in formula.items() for _ in range(n - there.get(z, 0))]
    wanted = [int(z) for z in rng.permutation(wanted)]
    excess = [
        int(i)
        for z, n in there.items()
        if n > formula.get(z, 0)
        for i in rng.permutation(np.flatnonzero(numbers == z))[: n - formula.get(z, 0)]
    ]
    numbers = numbers.copy()
    while wanted and excess:
        numbers[excess.pop()] = wanted.pop()
    numbers, points = np.delete(numbers, excess), np.delete(points, excess, axis=0)
    for z in wanted:
        # the discarded atom of this element, or else of any
        candidates = np.flatnonzero(spare == z) if (spare == z).any() else np.arange(len(spare))
        point = spare_points[rng.choice(candidates)] if len(candidates) else rng.random(3)
        numbers, points = np.append(numbers, z), np.append(points, [point], axis=0)
    return numbers, points
