"""What a bootstrap task labels: known lattices and their surroundings, random decorations of them, random crystals.

Each family is f(ledger, rng, task): it spends the calls of the ledger and returns nothing.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk

from evo.bootstrap.distort import scaled, shaken, volume_factors
from evo.bootstrap.ledger import Ledger
from evo.bootstrap.task import BootstrapTask
from evo.cell import Space, counts_of
from evo.create import prototype, random, symmetric
from evo.supercell import random_supercell

LARGEST = 8  # atoms per cell: what a reference can afford hundreds of times
MOST_ATTEMPTS = 100
COMPRESSED, EXPANDED = 0.6, 1.6  # of the relaxed volume


def lattice(ledger: Ledger, rng: np.random.Generator, task: BootstrapTask) -> None:
    """A prototype relaxed by the reference, its equation of state, then supercells strained and shaken."""
    known = [a for _, a in prototype.prototypes(task.stratum.numbers) if set(a.numbers) == set(task.stratum.numbers)]
    start = known[task.variant % len(known)]
    start = scaled(start, task.space.volume(start.numbers) / start.cell.volume)
    relaxed = ledger.relax(start, max(1, task.calls // 2))
    for factor in volume_factors(rng, (ledger.left + 1) // 2, COMPRESSED, EXPANDED):
        ledger.point(scaled(relaxed, factor))
    surround(ledger, rng, relaxed)


def decorated(ledger: Ledger, rng: np.random.Generator, task: BootstrapTask) -> None:
    """Atoms at random on the sites of a simple lattice: what ordered alloys and their hull are made of."""
    crystal = decoration(rng, task.variant, task.stratum.numbers, task.space)
    relaxed = ledger.relax(crystal, max(1, (2 * task.calls) // 3))
    surround(ledger, rng, relaxed)


def search(ledger: Ledger, rng: np.random.Generator, task: BootstrapTask) -> None:
    """What a search will meet: a random crystal on its way down, and the same compressed until atoms touch."""
    crystal = random_crystal(rng, task.variant, task.space)
    relaxed = ledger.relax(crystal, max(1, (3 * task.calls) // 4))
    for factor in volume_factors(rng, ledger.left // 2, COMPRESSED, 0.9):
        ledger.point(shaken(rng, scaled(relaxed, factor), 0.02, 0.05))
    surround(ledger, rng, relaxed)


def surround(ledger: Ledger, rng: np.random.Generator, crystal: Atoms) -> None:
    """Spend what is left on strained, shaken supercells of this crystal."""
    while ledger.left > 0:
        factor = int(rng.integers(1, max(1, LARGEST // len(crystal)) + 1))
        cell = random_supercell(rng, crystal, factor)
        size = np.exp(rng.uniform(np.log(0.2), 0.0))
        changed = shaken(rng, cell, 0.08 * size, 0.25 * size)
        ledger.point(scaled(changed, np.exp(rng.normal(0.0, 0.08))))


def random_crystal(rng: np.random.Generator, variant: int, space: Space) -> Atoms:
    """A random crystal of all elements of the space: two in three symmetric, one without symmetry."""
    make = (symmetric.create, symmetric.create, random.create)[variant % 3]
    for _ in range(MOST_ATTEMPTS):
        counts = space.sample_counts(rng)
        crystal = make(rng, counts, space) if len(counts) == len(space.elements) else None
        if crystal is not None:
            return crystal
    return decoration(rng, variant, space.elements, space)


def decoration(rng: np.random.Generator, variant: int, elements: tuple[int, ...], space: Space) -> Atoms:
    """These elements, all of them, on the sites of a random supercell of fcc, bcc or hcp, at the guessed volume."""
    name = ("fcc", "bcc", "hcp")[variant % 3]
    parent = bulk("Cu", name, a=4.0) if name != "hcp" else bulk("Cu", name, a=2.83, c=2.83 * (8 / 3) ** 0.5)
    smallest = -(-len(elements) // len(parent))
    cell = random_supercell(rng, parent, int(rng.integers(smallest, LARGEST // len(parent) + 1)))
    numbers = np.concatenate([elements, rng.choice(elements, len(cell) - len(elements))])
    cell.numbers = rng.permutation(numbers)
    return scaled(cell, space.volume(counts_of(cell.numbers)) / cell.cell.volume)
