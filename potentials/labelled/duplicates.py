"""Which crystals are there already: the same positions and cell, and under the same method the same labels, within rounding.

Programs round what they print: an OUTCAR has five decimals of a position where vasprun.xml has eight.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from potentials.labelled.record import Dataset

ENERGY = 2e-6  # eV per cell
LENGTH = 2e-5  # Å, positions and cell
FORCE = 2e-5  # eV/Å
STRESS = 2e-6  # eV/Å³


def first_of_each(dataset: Dataset) -> list[int]:
    """For every crystal the index of the first one equal to it; its own where it is the first."""
    kinds: dict[tuple[str, bytes, bytes], list[tuple[float, int]]] = {}
    s = dataset.structures
    firsts = []
    for c in range(len(dataset)):
        atoms = slice(s.offsets[c], s.offsets[c + 1])
        kind = (dataset.methods[c], s.numbers[atoms].tobytes(), s.periodic[c].tobytes())
        known = kinds.setdefault(kind, [])
        energy = float(dataset.labels.energies[c])
        at = bisect_left(known, (energy - ENERGY, -1))
        found = c
        for other, index in known[at:]:
            if other > energy + ENERGY:
                break
            if _equal(dataset, index, c):
                found = index
                break
        if found == c:
            known.insert(bisect_left(known, (energy, c)), (energy, c))
        firsts.append(found)
    return firsts


def _equal(dataset: Dataset, a: int, b: int) -> bool:
    s, labels = dataset.structures, dataset.labels
    if not np.allclose(s.cells[a], s.cells[b], rtol=0.0, atol=LENGTH):
        return False
    one, two = slice(s.offsets[a], s.offsets[a + 1]), slice(s.offsets[b], s.offsets[b + 1])
    moved = s.positions[two] - s.positions[one]
    axes = s.periodic[a] & (np.abs(s.cells[a]).max(axis=1) > 0.0)
    if axes.any():  # an atom may be in another cell
        steps = np.linalg.lstsq(s.cells[a][axes].T, moved.T, rcond=None)[0].round().T
        moved = moved - steps @ s.cells[a][axes]
    if np.abs(moved).max() > LENGTH or np.abs(labels.forces[one] - labels.forces[two]).max() > FORCE:
        return False
    known = np.isfinite(labels.stresses[a]) & np.isfinite(labels.stresses[b])
    return bool((np.abs(labels.stresses[a] - labels.stresses[b])[known] <= STRESS).all())
