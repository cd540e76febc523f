"""Mesh: which k-points, from one spacing, for crystals of any symmetry alike.

The energy of a mesh is off by the sum of its Fourier coefficients at the vectors of a superlattice, the reciprocal of the mesh:
they fall exponentially with the length of the vectors, and equal vectors add up. So
- where nothing but inversion is a symmetry, the mesh is body-centred: a simple one on Gamma, and the same shifted by half a step
  along each axis. Its superlattice is face-centred, its shortest vector 12 % longer than that of a simple mesh of as many points;
- where there is symmetry, as many vectors are equal as the Laue group has operations. The mesh is simple and finer by the sixth
  root of half that number: fcc has 48 and gets 0.59 times the spacing, and yet a tenth of the points to work out;
- of a mesh that symmetry does not carry onto itself more points are left than need be: the reduced cell of a centred lattice has
  axes of different lengths that symmetry mixes. The numbers of points are raised to where fewest are left.
Figures are in docs/dft.md. Generalised meshes: Wisesa, McGill, Mueller 2016, doi:10.1103/PhysRevB.93.155109.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from evo.symmetry import laue_rotations
from potentials.structures import Floats

SYMPREC = 1e-5  # Å; a DFT code must be told the same, or it works out points that are equal
RAISED = (
    1.5  # times the points along an axis (or as many as along another), at most, for a mesh with the crystal's symmetry
)
FINER = 1 / 6  # power of half the order of the Laue group by which the spacing shrinks
FINEST = 0.02  # 1/Å, below which no metal gains
PLACES = np.array([1, 10**5, 10**10])  # what makes one number of three
RULE = {"finer": FINER, "finest": FINEST, "body-centred": "order 2"}  # part of every method


@dataclass(frozen=True)
class Mesh:
    """A regular mesh of k-points around Gamma in the reciprocal cell."""

    size: tuple[int, int, int]  # points along each axis of the simple mesh
    centred: bool  # body-centred: the simple mesh once more, half a step off along each axis
    shifted: bool = False  # half a step off Gamma, along each axis (simple) or the first (body-centred): for tests

    def points(self) -> Floats:
        """(n, 3) all points in units of the reciprocal vectors, between -1/2 and 1/2; with k also -k."""
        axes = np.meshgrid(*(np.arange(n) for n in self.size), indexing="ij")
        steps = np.stack(axes, axis=-1).reshape(-1, 3).astype(float)
        if self.shifted:
            steps += [0.5, 0.0, 0.0] if self.centred else 0.5
        if self.centred:
            steps = np.concatenate([steps, steps + 0.5])
        found = steps / np.array(self.size)
        return np.asarray(found - np.rint(found - 1e-9))

    def halved(self) -> tuple[Floats, Floats]:
        """(m, 3) one of each pair k and -k, and (m,) how many points it stands for."""
        units = np.rint(self.points() * 2 * np.array(self.size)).astype(int)
        period = 2 * np.array(self.size)
        both = np.stack([units % period, -units % period])
        codes = (both @ PLACES).min(axis=0)
        _, first, counts = np.unique(codes, return_index=True, return_counts=True)
        return self.points()[first], counts.astype(float)

    def left(self, rotations: NDArray[np.int_]) -> int:
        """Points that no rotation (m, 3, 3; of lattice coordinates) makes equal, of those that carry the mesh onto itself."""
        size = np.array(self.size)
        period = 2 * size
        units = np.rint(self.points() * period).astype(int)
        # k' = R^-T k in half steps along each axis, where whole steps stay whole
        turned = np.rint(np.linalg.inv(rotations)).astype(int).transpose(0, 2, 1) * size[:, None]
        whole = (turned % size == 0).all(axis=(1, 2))
        least = (units % period) @ PLACES
        for rotation in turned[whole] // size:
            np.minimum(least, (units @ rotation.T % period) @ PLACES, out=least)
        return len(np.unique(least))


def mesh(atoms: Atoms, spacing: float, *, simple: bool = False, shifted: bool = False) -> Mesh:
    """The mesh for this cell. One point along an axis that is not periodic.

    `spacing` in 1/Å without the factor 2 pi: of a simple mesh with as many points, in a crystal without symmetry.
    `simple`: never body-centred, for comparison.
    """
    rotations = laue_rotations(atoms, SYMPREC)
    order = len(rotations)
    centred = order == 2 and not simple and bool(all(atoms.pbc))
    step = spacing * 2 ** (1 / 3) if centred else max(spacing * (2 / order) ** FINER, min(FINEST, spacing))
    lengths = np.linalg.norm(np.linalg.inv(np.asarray(atoms.cell.complete())), axis=0)
    # a hair less than the spacing asks for must not add a point to one of two crystals that are equal
    counts = [math.ceil(x / step - 1e-6) if p else 1 for x, p in zip(lengths, atoms.pbc, strict=True)]
    size = counts if order == 2 else _symmetric(counts, rotations)
    return Mesh((size[0], size[1], size[2]), centred, shifted)


def _symmetric(counts: list[int], rotations: NDArray[np.int_]) -> list[int]:
    """The mesh with fewest points left, of those with at least so many along each axis; of equal ones the smallest."""
    ranges = [range(n, max(math.ceil(RAISED * n), *counts) + 1) for n in counts]
    sizes = np.array(list(itertools.product(*ranges)))
    left = _points_left(sizes, rotations)
    return [int(n) for n in sizes[np.lexsort((sizes.prod(axis=1), np.round(left, 9)))[0]]]


def _points_left(sizes: NDArray[np.int_], rotations: NDArray[np.int_]) -> Floats:
    """(s,) points of simple meshes (s, 3) over how many of the rotations (m, 3, 3) carry them onto themselves.

    k' = R^-T k takes the points m_j/n_j to points of the mesh when all n_i (R^-T)_ij / n_j are whole.
    """
    turned = np.rint(np.linalg.inv(rotations)).astype(int).transpose(0, 2, 1)
    whole = (sizes[:, None, :, None] * turned) % sizes[:, None, None, :] == 0
    return np.asarray(sizes.prod(axis=1) / whole.all(axis=(2, 3)).sum(axis=1))
