"""Superstructure: a small parent in a larger cell, where its atoms can differ: the way from a lattice to its orderings."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from evo.cell import Space
from evo.operators.permutation import permuted
from evo.operators.transmute import transmuted
from evo.packing import recast, settle
from evo.supercell import random_supercell

DEAL = 0.3  # chance that every site of the supercell draws its element anew


def superstructure(rng: np.random.Generator, parents: list[Atoms], space: Space) -> Atoms | None:
    """A child of parents[0] in a random supercell, atoms transmuted, exchanged or dealt anew.

    None when no multiple of its atoms is allowed, and with one element: a supercell alone is no new crystal.
    """
    parent = parents[0]
    if not has_superstructures(parent, space):
        return None
    cell = random_supercell(rng, parent, int(rng.choice(_factors(parent, space))))
    numbers = _decorated(rng, cell.numbers, space)
    return None if numbers is None else settle(recast(cell, numbers, space), space)


def has_superstructures(parent: Atoms, space: Space) -> bool:
    """Whether some multiple of this crystal is of a size that is looked for, and its atoms can differ."""
    return len(space.elements) > 1 and bool(np.asarray(parent.pbc).all()) and bool(_factors(parent, space))


def _factors(parent: Atoms, space: Space) -> list[int]:
    fewest, most = space.sizes
    return [k for k in range(2, most // len(parent) + 1) if k * len(parent) >= fewest]


def _decorated(rng: np.random.Generator, numbers: np.ndarray, space: Space) -> np.ndarray | None:
    if space.formula is not None:
        formula = np.repeat(list(space.formula), list(space.formula.values()))
        same = sorted(numbers.tolist()) == sorted(formula.tolist())
        return permuted(rng, numbers) if same else rng.permutation(formula)
    if rng.random() < DEAL:
        # two or more of the elements, so that orderings of few elements are not drowned by those of many
        n_elements = int(rng.integers(2, len(space.elements) + 1))
        return rng.choice(rng.choice(space.elements, n_elements, replace=False), len(numbers))
    if rng.random() < 0.5 and (exchanged := permuted(rng, numbers)) is not None:
        return exchanged
    return transmuted(rng, numbers, space)
