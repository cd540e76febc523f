"""Mesh: how many k-points along each axis, from one spacing, for crystals of any symmetry alike.

What makes an energy converge is the number of *different* k-points. Symmetry makes points equal: fcc has 48 of a kind where a
crystal without symmetry has two (k and -k), and its energy errs ten times as much at the same spacing. So the spacing is
that of a crystal without symmetry, and is made finer by the cube root of the order of the Laue group over two: as many
different points in a unit of reciprocal space, at the same cost.
"""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms

from evo.symmetry import laue_order

SYMPREC = 1e-5  # Å; a DFT code must be told the same, or it works out points that are equal
FINEST = 0.02  # 1/Å, below which no metal gains


def mesh(atoms: Atoms, spacing: float) -> tuple[int, int, int]:
    """Points along each axis of this cell; `spacing` in 1/Å without the factor 2 pi; 1 along an axis that is not periodic."""
    order = laue_order(atoms, SYMPREC)
    finer = max(spacing * (2 / order) ** (1 / 3), min(FINEST, spacing))
    lengths = np.linalg.norm(np.linalg.inv(np.asarray(atoms.cell.complete())), axis=0)
    # a hair less than the spacing asks for must not add a point to one of two crystals that are equal
    counts = [math.ceil(x / finer - 1e-6) if p else 1 for x, p in zip(lengths, atoms.pbc, strict=True)]
    return counts[0], counts[1], counts[2]
