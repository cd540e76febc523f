"""Strain: the cell of one parent deformed at random, its volume and its fractional coordinates kept."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from evo.cell import Space
from evo.packing import settle

SIGMA = (0.1, 0.5)  # standard deviation of the strain, itself at random: small steps and long ones
MOST_SQUEEZE = 0.4  # smallest stretch along a principal axis; below, layers of atoms would merge


def strain(rng: np.random.Generator, parents: list[Atoms], space: Space) -> Atoms | None:
    """A child of parents[0] under a symmetric strain; None when the strained cell cannot hold the atoms."""
    child = parents[0].copy()
    if not np.asarray(child.pbc).all():
        return None
    values = rng.normal(0.0, rng.uniform(*SIGMA), size=6)
    xx, yy, zz, yz, xz, xy = values * [1, 1, 1, 0.5, 0.5, 0.5]
    stretches, axes = np.linalg.eigh(np.array([[1 + xx, xy, xz], [xy, 1 + yy, yz], [xz, yz, 1 + zz]]))
    stretches = np.maximum(stretches, MOST_SQUEEZE)
    stretches /= np.prod(stretches) ** (1 / 3)
    child.set_cell(np.asarray(child.cell) @ (axes * stretches) @ axes.T, scale_atoms=True)
    return settle(child, space)
