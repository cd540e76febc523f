"""Add or remove: one atom more, in the largest of some holes, or one fewer."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import get_distances

from evo.cell import Space
from evo.packing import at_volume, settle

N_TRIED = 40  # points of which the one with most room takes the atom


def add_remove(rng: np.random.Generator, parents: list[Atoms], space: Space) -> Atoms | None:
    """A child of parents[0] with one atom more or fewer, the volume following; None when the size is fixed."""
    parent = parents[0]
    fewest, most = space.sizes
    steps = [step for step in (-1, 1) if fewest <= len(parent) + step <= most]
    if space.formula is not None or not steps:
        return None
    if rng.choice(steps) < 0:
        keep = np.delete(np.arange(len(parent)), rng.integers(len(parent)))
        numbers, positions = parent.numbers[keep], parent.positions[keep]
    else:
        tried = rng.random((N_TRIED, 3)) @ np.asarray(parent.cell.complete())
        _, distances = get_distances(tried, parent.positions, cell=parent.cell, pbc=parent.pbc)
        hole = tried[int(distances.min(axis=1).argmax())]
        numbers = np.append(parent.numbers, rng.choice(space.elements))
        positions = np.append(parent.positions, [hole], axis=0)
    child = Atoms(numbers, positions=positions, cell=parent.cell, pbc=parent.pbc)
    volume = parent.cell.volume * space.volume(numbers) / space.volume(parent.numbers)
    return settle(at_volume(child, volume), space)
