"""Rattle: atoms of one parent displaced at random, all of them or some."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from evo.cell import Space
from evo.elements import covalent_radius
from evo.packing import settle
from evo.supercell import random_supercell

AMPLITUDE = (0.1, 0.5)  # standard deviation of each coordinate, in covalent radii of the atom
SOME = 0.4  # chance of an atom to move when not all do


def rattle(rng: np.random.Generator, parents: list[Atoms], space: Space) -> Atoms | None:
    """A child of parents[0] with displaced atoms; a lone atom is doubled first, where the search allows two."""
    child = parents[0]
    if len(child) == 1:
        if not (space.allows({int(child.numbers[0]): 2}) and np.asarray(child.pbc).all()):
            return None
        child = random_supercell(rng, child, 2)
    moves = rng.random(len(child)) < (1.0 if rng.random() < 0.5 else SOME)
    moves[rng.integers(len(child))] = True
    radii = np.array([covalent_radius(int(z)) for z in child.numbers])
    steps = rng.normal(0.0, rng.uniform(*AMPLITUDE), size=(len(child), 3)) * radii[:, None]
    child = child.copy()
    child.positions += steps * moves[:, None]
    return settle(child, space)
