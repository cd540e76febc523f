"""Crystals worth a label: f(rng, space) -> Atoms with all elements of the space, at volumes guessed by the space.

What a network needs was found by trial on EMT metals: many different crystals, each labelled once, teach far more than
the steps of a few relaxations; and without lattices full of holes it invents deep minima of few, short bonds.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk

from evo.bootstrap.distort import log_uniform, scaled, shaken
from evo.cell import Space, counts_of
from evo.create import prototype, random, symmetric
from evo.supercell import random_supercell

LARGEST = 8  # atoms per cell: what a reference can afford hundreds of times
LARGEST_CLUSTER = 4  # atoms
GAP = (2.5, 6.0)  # Å of empty space between two slabs
ALONE = 6.0  # Å between a cluster and its images: beyond the cut-off of networks
MOST_ATTEMPTS = 100
PROTOTYPES = 0.25  # of the near lattices are prototypes
COMPRESSED, EXPANDED = 0.6, 1.7  # of the guessed volume
SHORTEST_BOND, LONGEST_BOND = 0.75, 1.15  # of the bond in the full lattice
PARENTS = (
    bulk("Cu", "fcc", a=4.0),
    bulk("Cu", "bcc", a=3.2),
    bulk("Cu", "hcp", a=2.83, c=2.83 * (8 / 3) ** 0.5),
)


def decorated(rng: np.random.Generator, space: Space) -> Atoms:
    """Elements at random on the sites of a random supercell of fcc, bcc or hcp: what ordered alloys are made of."""
    parent = PARENTS[int(rng.integers(len(PARENTS)))]
    elements = space.elements
    fewest = -(-len(elements) // len(parent))
    most = max(fewest, space.sizes[1] // len(parent))
    cell = random_supercell(rng, parent, int(rng.integers(fewest, most + 1)))
    numbers = np.concatenate([elements, rng.choice(elements, len(cell) - len(elements))])
    cell.numbers = rng.permutation(numbers)
    return scaled(cell, space.volume(counts_of(cell.numbers)) / cell.cell.volume)


def near_lattice(rng: np.random.Generator, space: Space) -> Atoms:
    """A decorated lattice, or one prototype in four, a little strained and shaken: where the hull is decided."""
    if rng.uniform() < PROTOTYPES:
        known = prototype.prototypes(space.elements)
        parent = known[int(rng.integers(len(known)))][1]
        factor = int(rng.integers(1, max(1, LARGEST // len(parent)) + 1))
        cell = random_supercell(rng, scaled(parent, space.volume(parent.numbers) / parent.cell.volume), factor)
    else:
        cell = decorated(rng, space)
    size = log_uniform(rng, 0.1, 1.0)
    return scaled(shaken(rng, cell, 0.04 * size, 0.15 * size), float(np.exp(rng.normal(0.0, 0.06))))


def squeezed(rng: np.random.Generator, space: Space) -> Atoms:
    """A decorated lattice at any volume from far below to far above its own: the equation of state."""
    return scaled(decorated(rng, space), log_uniform(rng, COMPRESSED, EXPANDED))


def porous(rng: np.random.Generator, space: Space) -> Atoms:
    """A decorated lattice with vacancies, its bonds from short to long: few neighbours at every distance."""
    roomy = Space(space.elements, (len(space.elements) + 1, LARGEST), volumes=space.volumes)
    for _ in range(MOST_ATTEMPTS):
        cell = decorated(rng, roomy)
        n = int(rng.integers(len(space.elements), max(len(cell), len(space.elements) + 1)))
        left = cell[np.sort(rng.permutation(len(cell))[:n])]
        if len(left) < len(cell) and set(left.numbers) == set(space.elements):
            cell = left
            break
    stretched = scaled(cell, rng.uniform(SHORTEST_BOND, LONGEST_BOND) ** 3)
    return shaken(rng, stretched, 0.05 * rng.uniform(), 0.2 * rng.uniform())


def slab(rng: np.random.Generator, space: Space) -> Atoms:
    """A decorated lattice cut open along its longest period: two surfaces that see more or less of each other."""
    cell = decorated(rng, Space(space.elements, (len(space.elements) + 1, LARGEST), volumes=space.volumes))
    rows = np.asarray(cell.cell)
    heights = 1 / np.linalg.norm(np.linalg.inv(rows), axis=0)
    axis = int(heights.argmax())
    normal = np.cross(rows[axis - 2], rows[axis - 1])
    opened = rows.copy()
    opened[axis] += rng.uniform(*GAP) * normal / np.linalg.norm(normal)
    cell.set_cell(opened, scale_atoms=False)
    return shaken(rng, cell, 0.02 * rng.uniform(), 0.1 * rng.uniform())


def cluster(rng: np.random.Generator, space: Space) -> Atoms:
    """A few neighbouring atoms of a lattice in a box of their own, bonds from short to long."""
    elements = space.elements
    n = int(rng.integers(max(2, len(elements)), max(LARGEST_CLUSTER, len(elements)) + 1))
    numbers = rng.permutation(np.concatenate([elements, rng.choice(elements, n - len(elements))]))
    parent = PARENTS[int(rng.integers(len(PARENTS)))]
    crystal = scaled(parent, len(parent) * space.volume(counts_of(numbers)) / n / parent.cell.volume).repeat(4)
    middle = crystal.positions.mean(axis=0) + rng.uniform(-1.0, 1.0, 3)
    points = crystal.positions[np.argsort(((crystal.positions - middle) ** 2).sum(axis=1))[:n]]
    points = points * rng.uniform(SHORTEST_BOND, LONGEST_BOND) + rng.normal(0.0, 0.1, points.shape)
    atoms = Atoms(numbers, positions=points - points.min(axis=0), pbc=True)
    atoms.set_cell(np.diag(np.ptp(points, axis=0) + ALONE))
    return atoms


def unrelaxed(rng: np.random.Generator, space: Space) -> Atoms:
    """A random crystal at a random volume: where a search starts."""
    return scaled(searched(rng, space), float(np.exp(rng.normal(0.0, 0.15))))


def searched(rng: np.random.Generator, space: Space) -> Atoms:
    """A random crystal as the search makes them: two in three symmetric, one without symmetry."""
    make = symmetric.create if rng.uniform() < 2 / 3 else random.create
    for _ in range(MOST_ATTEMPTS):
        counts = space.sample_counts(rng)
        crystal = make(rng, counts, space) if len(counts) == len(space.elements) else None
        if crystal is not None:
            return crystal
    return decorated(rng, space)
