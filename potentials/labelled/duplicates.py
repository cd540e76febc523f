"""Which crystals are there already: the same positions and cell, and under the same method the same labels, within rounding.

Crystals in the same place with other labels (another mesh, a run that was continued) are not the same, but belong to one family.

Programs round what they print: an OUTCAR has five decimals of a position where vasprun.xml has eight.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from potentials.labelled.record import Dataset

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
        known = kinds.setdefault((*kind(c), numbers.tobytes(), s.periodic[c].tobytes()), [])
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

    A sum of cosines of fractional coordinates, atom by atom with other weights, so that atoms may be in another cell.
    """
    s = dataset.structures
    positions = s.positions[s.offsets[c] : s.offsets[c + 1]]
    axes = s.periodic[c] & (np.abs(s.cells[c]).max(axis=1) > 0.0)
    if not axes.any():
        return float(np.abs(positions - positions.mean(axis=0)).sum()), 6 * len(positions) * LENGTH
    to_fractions = np.linalg.pinv(s.cells[c][axes])
    weights = 1.0 + np.modf(np.arange(len(positions)) * 0.618033988749895)[0]
    waves = np.cos(2 * np.pi * (positions @ to_fractions))
    # positions and cell may be rounded, the farther an atom is from the origin the more the latter counts
    far = 1.0 + float(np.abs(positions @ to_fractions).max(initial=0.0))
    width = 2 * np.pi * LENGTH * float(np.abs(to_fractions).sum()) * 3 * far * float(weights.sum())
    return float(weights @ waves.sum(axis=1)), width


def _equal(dataset: Dataset, a: int, b: int) -> bool:
    labels = dataset.labels
    one, two = (slice(dataset.structures.offsets[x], dataset.structures.offsets[x + 1]) for x in (a, b))
    if not _same_place(dataset, a, b) or np.abs(labels.forces[one] - labels.forces[two]).max() > FORCE:
        return False
    known = np.isfinite(labels.stresses[a]) & np.isfinite(labels.stresses[b])
    return bool((np.abs(labels.stresses[a] - labels.stresses[b])[known] <= STRESS).all())


def _same_place(dataset: Dataset, a: int, b: int) -> bool:
    s = dataset.structures
    if not np.allclose(s.cells[a], s.cells[b], rtol=0.0, atol=LENGTH):
        return False
    one, two = slice(s.offsets[a], s.offsets[a + 1]), slice(s.offsets[b], s.offsets[b + 1])
    moved = s.positions[two] - s.positions[one]
    axes = s.periodic[a] & (np.abs(s.cells[a]).max(axis=1) > 0.0)
    if axes.any():  # an atom may be in another cell
        steps = np.linalg.lstsq(s.cells[a][axes].T, moved.T, rcond=None)[0].round().T
        moved = moved - steps @ s.cells[a][axes]
    return bool(np.abs(moved).max(initial=0.0) <= LENGTH)
