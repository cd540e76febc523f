"""Transmute: atoms of one parent change their element, singly, a sublattice at a time, or two elements trade places."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from evo.cell import Space
from evo.packing import recast, settle
from evo.symmetry import equivalent_sites

SINGLE = 0.5  # chance of changing atoms one by one
SUBLATTICE = 0.25  # chance of changing all atoms that symmetry makes equivalent; otherwise whole elements change
MORE = 0.35  # chance of another atom after each


def transmute(rng: np.random.Generator, parents: list[Atoms], space: Space) -> Atoms | None:
    """A child of parents[0] with the same sites and another composition, or two elements exchanged.

    With a fixed formula only an exchange of elements in equal numbers is possible; None when nothing is.
    """
    if len(space.elements) < 2:
        return None
    parent = parents[0]
    draw = rng.random()
    if space.formula is not None or draw >= SINGLE + SUBLATTICE:
        numbers = _elements(rng, parent.numbers, space)
    elif draw < SINGLE:
        numbers = transmuted(rng, parent.numbers, space)
    else:
        sites = equivalent_sites(parent)
        chosen = sites == sites[int(rng.integers(len(sites)))]
        numbers = np.where(chosen, _another(rng, int(parent.numbers[chosen][0]), space), parent.numbers)
    return settle(recast(parent, numbers, space), space)


def transmuted(rng: np.random.Generator, numbers: np.ndarray, space: Space) -> np.ndarray:
    """These atomic numbers with one or more of them changed to other elements of the search."""
    result = numbers.copy()
    for i in rng.permutation(len(result)):
        result[i] = _another(rng, int(result[i]), space)
        if rng.random() >= MORE:
            break
    return result


def _elements(rng: np.random.Generator, numbers: np.ndarray, space: Space) -> np.ndarray:
    """An element of the crystal becomes another one, which takes its places if it is there already."""
    old = int(rng.choice(np.unique(numbers)))
    new = _another(rng, old, space)
    return np.where(numbers == old, new, np.where(numbers == new, old, numbers))


def _another(rng: np.random.Generator, z: int, space: Space) -> int:
    return int(rng.choice([other for other in space.elements if other != z]))
