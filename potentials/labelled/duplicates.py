"""Which crystals are there already: the same positions and cell, and under the same method the same labels, within rounding.

Atoms may come in another order (programs sort them by element) and be shifted all together.

Crystals in the same place with other labels (another mesh, a run that was continued) are not the same, but belong to one family.

Programs round what they print: an OUTCAR has five decimals of a position where vasprun.xml has eight.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from potentials.labelled.record import Dataset
from potentials.structures import Floats

ENERGY = 2e-6  # eV per cell
LENGTH = 2e-5  # Å, positions and cell
FORCE = 2e-5  # eV/Å
STRESS = 2e-6  # eV/Å³


def first_of_each(dataset: Dataset) -> list[int]:
    """For every crystal the index of the first one equal to it; its own where it is the first."""
    energies = dataset.labels.energies
    return _firsts(
        dataset,
        lambda c: (dataset.methods[c],),
        lambda c: (float(energies[c]), ENERGY),
        lambda a, b: _equal(dataset, a, b),
    )


def first_in_each_place(dataset: Dataset) -> list[int]:
    """For every crystal the index of the first one with the same elements, positions and cell, whatever its labels."""
    return _firsts(dataset, lambda c: (), lambda c: _mark(dataset, c), lambda a, b: _same_place(dataset, a, b))


def _firsts(
    dataset: Dataset,
    kind: Callable[[int], tuple[str, ...]],
    mark: Callable[[int], tuple[float, float]],
    equal: Callable[[int, int], bool],
) -> list[int]:
    """The first equal one of the same elements and `kind`, among those whose `mark` (a number and its width) is as close."""
    s = dataset.structures
    kinds: dict[tuple[object, ...], list[tuple[float, int]]] = {}
    firsts = []
    for c in range(len(dataset)):
        numbers = s.numbers[s.offsets[c] : s.offsets[c + 1]]
        known = kinds.setdefault((*kind(c), np.sort(numbers).tobytes(), s.periodic[c].tobytes()), [])
        value, width = mark(c)
        found = c
        for other, index in known[bisect_left(known, (value - width, -1)) :]:
            if other > value + width:
                break
            if equal(index, c):
                found = index
                break
        if found == c:
            known.insert(bisect_left(known, (value, c)), (value, c))
        firsts.append(found)
    return firsts


def _mark(dataset: Dataset, c: int) -> tuple[float, float]:
    """A number that crystals in the same place have in common, and how far rounding may move it.

    Edges of the cell, and squares of structure factors of each element, so that atoms may be in another cell or order.
    """
    s = dataset.structures
    positions, numbers = (x[s.offsets[c] : s.offsets[c + 1]] for x in (s.positions, s.numbers))
    axes = _axes(dataset, c)
    if not axes.any():
        return float(np.abs(positions - positions.mean(axis=0)).sum()), 12 * len(positions) * LENGTH
    cell = s.cells[c][axes]
    to_fractions = np.linalg.pinv(cell)
    phases = 2 * np.pi * (positions @ to_fractions)
    # positions and cell may be rounded, the farther an atom is from the origin the more the latter counts
    far = 1.0 + float(np.abs(positions @ to_fractions).max(initial=0.0))
    error = 2 * np.pi * LENGTH * float(np.abs(to_fractions).sum()) * 3 * far
    mark, width = float(np.linalg.norm(cell, axis=1).sum()), 6 * LENGTH
    for number in np.unique(numbers):
        own = phases[numbers == number]
        factors = np.abs(np.exp(1j * own).sum(axis=0)) ** 2
        mark += float(number * factors.sum())
        width += float(number * factors.size * 2 * len(own) ** 2 * error)
    return mark, width


def _axes(dataset: Dataset, c: int) -> NDArray[np.bool_]:
    """(3,) along which the crystal is periodic."""
    found: NDArray[np.bool_] = dataset.structures.periodic[c] & (np.abs(dataset.structures.cells[c]).max(axis=1) > 0.0)
    return found


def _equal(dataset: Dataset, a: int, b: int) -> bool:
    labels = dataset.labels
    one, two = (slice(dataset.structures.offsets[x], dataset.structures.offsets[x + 1]) for x in (a, b))
    order = _order(dataset, a, b)
    if order is None or np.abs(labels.forces[one] - labels.forces[two][order]).max() > FORCE:
        return False
    known = np.isfinite(labels.stresses[a]) & np.isfinite(labels.stresses[b])
    return bool((np.abs(labels.stresses[a] - labels.stresses[b])[known] <= STRESS).all())


def _same_place(dataset: Dataset, a: int, b: int) -> bool:
    return _order(dataset, a, b) is not None


def _order(dataset: Dataset, a: int, b: int) -> NDArray[np.intp] | None:
    """The atom of b for each of a, of which they have as many of each element; None where they are not in the same place."""
    s = dataset.structures
    if not np.allclose(s.cells[a], s.cells[b], rtol=0.0, atol=LENGTH):
        return None
    one, two = slice(s.offsets[a], s.offsets[a + 1]), slice(s.offsets[b], s.offsets[b + 1])
    here, there, mine, theirs = s.positions[one], s.positions[two], s.numbers[one], s.numbers[two]
    cell = s.cells[a][_axes(dataset, a)]
    as_it_is = np.arange(len(mine))
    if np.array_equal(mine, theirs) and np.abs(_folded(there - here, cell)).max(initial=0.0) <= LENGTH:
        return as_it_is
    kinds, counts = np.unique(mine, return_counts=True)
    first = int(np.flatnonzero(mine == kinds[counts.argmin()])[0])
    same = mine[:, None] == theirs[None, :]
    for other in np.flatnonzero(theirs == mine[first]):  # may it be that atom, all shifted alike?
        apart = _folded(there[None, :] - here[:, None] - (there[other] - here[first]), cell)
        close = same & (np.abs(apart).max(axis=2) <= 2 * LENGTH)
        if (close.sum(axis=0) == 1).all() and (close.sum(axis=1) == 1).all():
            return close.argmax(axis=1)
    return None


def _folded(vectors: Floats, cell: Floats) -> Floats:
    """(..., 3) Å, the same but for whole vectors of the periodic axes (n, 3)."""
    if not len(cell):
        return vectors
    steps = np.rint(vectors @ np.linalg.pinv(cell))
    return np.asarray(vectors - steps @ cell)
