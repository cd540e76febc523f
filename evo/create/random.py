"""Random crystal without symmetry: atoms anywhere in a random cell, pushed apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from evo.cell import Space, shortest_ratio, well_shaped
from evo.create.symmetric import VOLUME_SCALE, lattice
from evo.packing import push_apart, settle

MOST_ATTEMPTS = 20
COMFORT = 0.85  # sums of covalent radii that atoms are pushed to before what is allowed counts
ROOMIER = 1.1  # of the volume, after each attempt that failed


def create(rng: np.random.Generator, counts: Mapping[int, int], space: Space) -> Atoms | None:
    """A Niggli-reduced cell with these counts (atoms by atomic number) and nothing else in common; None on failure."""
    numbers = np.repeat(list(counts), list(counts.values()))
    scale = rng.uniform(*VOLUME_SCALE)
    for _ in range(MOST_ATTEMPTS):
        cell = lattice(rng, "triclinic", scale * space.volume(counts))
        atoms = Atoms(numbers=numbers, positions=rng.random((len(numbers), 3)) @ cell, cell=cell, pbc=True)
        if well_shaped(atoms):
            pushed = push_apart(atoms, max(COMFORT, space.min_distance))
            if shortest_ratio(pushed) >= space.min_distance:
                settled = settle(pushed, space)
                if settled is not None:
                    return settled
        scale = min(scale * ROOMIER, 2.0)
    return None


def sparse(rng: np.random.Generator, counts: Mapping[int, int], space: Space) -> Atoms:
    """The last resort, which cannot fail: atoms on a grid wide enough for the distances asked for, whatever they are."""
    numbers = rng.permutation(np.repeat(list(counts), list(counts.values())))
    edge = 1.02 * max(space.distance_limit(z, other) for z in counts for other in counts)
    side = int(np.ceil(len(numbers) ** (1 / 3)))
    sites = [(i, j, k) for i in range(side) for j in range(side) for k in range(side)][: len(numbers)]
    layers = 1 + max(i for i, _, _ in sites)
    edge = max(edge, (space.volume(counts) / (layers * side * side)) ** (1 / 3))
    return Atoms(numbers, positions=edge * np.array(sites), cell=edge * np.array([layers, side, side]), pbc=True)
