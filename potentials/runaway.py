"""Which crystals have left the range in which a relaxation makes sense, judged for many padded crystals at once.

Padded: (c, p) atoms per row, of which `real` ones exist; rows never meet.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from potentials.structures import Floats, Ints

SHORTEST = 0.4  # of the sum of covalent radii
LARGEST_VOLUME, SMALLEST_VOLUME = 4.0, 0.25  # of the volume at the start
DENSE, LOOSE = 0.5, 4.0  # of the volume of spheres with covalent radii: what starts far from it may come so far
SWOLLEN = 1.5  # of the volume at the start, of what has been beyond VOLUME_PER_ATOM all the time: a molecule in a box
VOLUME_PER_ATOM = 500.0  # Å³, three times the largest elemental solid (caesium) at ambient pressure
LONGEST = 4.0  # of the longest lattice vector at the start: shear runs away at constant volume
IMAGES = np.array(list(product((-1, 0, 1), repeat=3)), dtype=float)[:14]  # one of each with its opposite, and none
MOST_DISTANCES = 500_000  # looked at together, bounds the memory


def shortest_allowed(numbers: Ints, real: NDArray[np.bool_]) -> Floats:
    """(c, p, p) Å; 0 for atoms that do not exist."""
    radii = np.where(real, covalent_radii[numbers], 0.0)
    both = real[:, :, None] & real[:, None, :]
    return np.where(both, SHORTEST * (radii[:, :, None] + radii[:, None, :]), 0.0)


def overlapping(positions: Floats, cells: Floats, periodic: NDArray[np.bool_], allowed: Floats) -> NDArray[np.bool_]:
    """(c,) whether a distance is shorter than `allowed` (c, p, p); cells must be invertible.

    Rounding fractional differences finds any distance below half the smallest width of the cell; where that is
    not enough, the neighbouring images are looked at as well, the atom's own included.
    """
    reciprocal = np.linalg.inv(cells)
    fractions = positions @ reciprocal
    between = fractions[:, :, None, :] - fractions[:, None, :, :]  # (c, p, p, 3)
    between -= np.where(periodic[:, None, None, :], np.round(between), 0.0)
    apart = _squares(between, cells)
    diagonal = np.arange(positions.shape[1])
    apart[:, diagonal, diagonal] = np.inf
    close = np.asarray((apart < allowed**2).any(axis=(1, 2)))
    widths = np.where(periodic, 1.0 / np.sqrt((reciprocal**2).sum(axis=1)), np.inf).min(axis=1)
    narrow = np.flatnonzero(~close & (widths < 2.0 * allowed.max(axis=(1, 2))))
    portion = max(1, MOST_DISTANCES // (len(IMAGES) * len(diagonal) ** 2))
    for first in range(0, len(narrow), portion):
        rows = narrow[first : first + portion]
        close[rows] = _overlapping_narrow(between[rows], cells[rows], periodic[rows], allowed[rows])
    return close


def _overlapping_narrow(
    between: Floats, cells: Floats, periodic: NDArray[np.bool_], allowed: Floats
) -> NDArray[np.bool_]:
    """(c,) the same over neighbouring images. An image and its opposite show the same pairs: one of them is looked at."""
    shifts = IMAGES * periodic[:, None, :]  # (c, images, 3)
    apart = _squares(between[:, None] + shifts[:, :, None, None, :], cells[:, None])  # (c, images, p, p)
    crystal, image = np.nonzero(~shifts.any(axis=2))  # where an atom meets itself
    diagonal = np.arange(allowed.shape[1])
    apart[crystal[:, None], image[:, None], diagonal, diagonal] = np.inf
    return np.asarray((apart < (allowed**2)[:, None]).any(axis=(1, 2, 3)))


def _squares(fractions: Floats, cells: Floats) -> Floats:
    """Squared lengths of fractional vectors (..., 3) in cells that broadcast over the middle axes."""
    x, y, z = (fractions[..., k] for k in range(3))
    total: Floats = np.zeros(fractions.shape[:-1])
    for k in range(3):
        a, b, c = (cells[..., i, k].reshape(cells.shape[:-2] + (1,) * 2) for i in range(3))
        total += (x * a + y * b + z * c) ** 2
    return total


def spheres(numbers: Ints, real: NDArray[np.bool_]) -> Floats:
    """(c,) Å³, of all atoms with their covalent radii."""
    return np.asarray((4 / 3 * np.pi * np.where(real, covalent_radii[numbers], 0.0) ** 3).sum(axis=1))


def collapsed(
    volumes: Floats, first_volumes: Floats, of_spheres: Floats, solid: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(c,) crystals periodic along three axes (`solid`) whose volume fell too far."""
    return solid & (volumes < np.minimum(SMALLEST_VOLUME * first_volumes, DENSE * of_spheres))


def exploded(
    volumes: Floats,
    first_volumes: Floats,
    of_spheres: Floats,
    lengths: Floats,
    first_lengths: Floats,
    sizes: Ints,
    solid: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """(c,) crystals that swell or shear without end; `lengths` are those of the longest periodic vector, Å."""
    swollen = (volumes > np.maximum(LARGEST_VOLUME * first_volumes, LOOSE * of_spheres)) | (
        volumes > np.maximum(VOLUME_PER_ATOM * sizes, SWOLLEN * first_volumes)
    )
    return (solid & swollen) | (lengths > LONGEST * first_lengths)
