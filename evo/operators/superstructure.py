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
    fewest, most = space.sizes
    factors = [k for k in range(2, most // len(parent) + 1) if k * len(parent) >= fewest]
    if not factors or len(space.elements) < 2 or not np.asarray(parent.pbc).all():
        return None
    cell = random_supercell(rng, parent, int(rng.choice(factors)))
    numbers = _decorated(rng, cell.numbers, space)
    return None if numbers is None else settle(recast(cell, numbers, space), space)


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
