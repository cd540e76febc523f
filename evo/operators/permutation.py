"""Permutation: unlike atoms of one parent exchange their places."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from evo.cell import Space
from evo.packing import settle

SHUFFLE = 0.2  # chance that all atoms are dealt anew, rather than pairs exchanged
MORE = 0.4  # chance of another pair after each


def permutation(rng: np.random.Generator, parents: list[Atoms], space: Space) -> Atoms | None:
    """A child of parents[0] with the same sites, otherwise occupied.

    None with one element, and for two atoms: exchanging them is an inversion.
    """
    numbers = permuted(rng, parents[0].numbers)
    if numbers is None:
        return None
    child = parents[0].copy()
    child.numbers = numbers
    return settle(child, space)


def has_permutations(parent: Atoms, space: Space) -> bool:
    """Whether exchanging atoms can give another crystal."""
    return len(parent) > 2 and len(set(parent.numbers.tolist())) > 1


def permuted(rng: np.random.Generator, numbers: np.ndarray) -> np.ndarray | None:
    """These atomic numbers in another order, at least one of them in another place; None when there is none."""
    if len(numbers) < 3 or len(set(numbers.tolist())) < 2:
        return None
    result = numbers.copy()
    if rng.random() < SHUFFLE:
        result = rng.permutation(result)
    while np.array_equal(result, numbers) or rng.random() < MORE:
        i = int(rng.integers(len(result)))
        unlike = np.flatnonzero(result != result[i])
        j = int(rng.choice(unlike))
        result[i], result[j] = result[j], result[i]
    return result
