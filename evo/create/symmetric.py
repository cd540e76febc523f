"""Random crystal of a random space group.

First a group in which the composition is possible at all, then positions for every atom, then a lattice and free
parameters until no atoms are too close. What does not work out is given up soon and another group takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from evo.cell import Floats, Space, closest, near_images, reduce_cell
from evo.niggli import niggli
from evo.occupation import choose
from evo.symmetry import Group, group
from evo.wyckoff import Position

MOST_LATTICES = 100
N_SHAPES = 3  # lattices tried for one choice of positions
ROOMIER = 1.005  # of the volume, with every lattice that failed
MOST_PLACINGS = 6  # per orbit with free parameters
VOLUME_SCALE = (0.9, 1.3)  # of the guess
PERIODIC = np.array([True, True, True])
COMFORT = 0.9  # distances, in sums of covalent radii, that a crystal is asked to have; less at random


def create(rng: np.random.Generator, counts: Mapping[int, int], space: Space) -> Atoms | None:
    """A Niggli-reduced primitive cell with these counts in a space group from 2 to 230; None if none was found.

    `counts` are atoms by atomic number. The group is that of the construction: the crystal may have more symmetry.
    """
    n_lattices = 0  # it grows: groups with a free mirror plane, such as Pm, hold any composition
    while n_lattices < MOST_LATTICES:
        found = group(int(rng.integers(2, 231)))
        orbits = choose(rng, found.positions, counts)
        if orbits is None:
            continue
        # the most special orbits first: they cannot give way
        orbits.sort(key=lambda orbit: (orbit[1].n_free, -orbit[1].multiplicity))
        for _ in range(N_SHAPES):
            n_lattices += 1
            atoms = _build(rng, found, orbits, space, ROOMIER**n_lattices)
            if atoms is not None:
                return atoms
            if all(position.n_free == 0 for _, position in orbits) and found.system == "cubic":
                break  # nothing but the volume could change
    return None


def lattice(rng: np.random.Generator, system: str, volume: float) -> Floats:
    """Conventional cell (3, 3) of this crystal system with this volume in Å³, of a shape at random."""
    a, b, c = np.exp(rng.normal(0.0, 0.4, size=3))
    alpha = beta = gamma = 0.5 * math.pi
    match system:
        case "cubic":
            b = c = a
        case "tetragonal":
            b = a
        case "hexagonal":
            b, c = a, 1.3 * c  # between one layer (1) and two close-packed ones (1.63)
            gamma = 2 * math.pi / 3
        case "monoclinic":
            beta = rng.uniform(0.5, 0.7) * math.pi
        case "triclinic":
            alpha, beta, gamma = rng.uniform(1 / 3, 2 / 3, size=3) * math.pi
    # rows: a along x, b in the xy plane
    cos_b = (math.cos(alpha) - math.cos(beta) * math.cos(gamma)) / math.sin(gamma)
    height = math.sqrt(max(1 - math.cos(beta) ** 2 - cos_b**2, 0.01))
    cell = np.array(
        [
            [a, 0, 0],
            [b * math.cos(gamma), b * math.sin(gamma), 0],
            [c * math.cos(beta), c * cos_b, c * height],
        ]
    )
    return cell * float(volume / np.linalg.det(cell)) ** (1 / 3)


def _build(
    rng: np.random.Generator, found: Group, orbits: list[tuple[int, Position]], space: Space, scale: float
) -> Atoms | None:
    """One attempt: a lattice, then every orbit in turn; None when an orbit finds no place."""
    numbers = np.concatenate([[z] * position.multiplicity for z, position in orbits])
    volume = scale * space.volume(numbers) * rng.uniform(*VOLUME_SCALE)
    wanted = max(space.min_distance, rng.uniform(min(space.min_distance, COMFORT), COMFORT))
    primitive = found.primitive @ lattice(rng, found.system, found.centring * volume)
    basis = niggli(primitive)
    if basis is None:
        return None
    cell = basis @ primitive
    lengths = np.sqrt((cell**2).sum(axis=1))
    images = near_images(cell, PERIODIC)
    if images is None or lengths.max() > (2.5 + 1.2 * len(numbers)) * lengths.min():
        return None
    to_reduced = np.linalg.inv(basis)
    radii = covalent_radii[numbers]
    points = np.zeros((0, 3))
    for _, position in orbits:
        for _ in range(MOST_PLACINGS if position.n_free else 1):
            tried = np.concatenate([points, position.orbit(rng) @ to_reduced])
            if closest(tried, cell, PERIODIC, radii[: len(tried)], images) >= wanted:
                break
        else:
            return None
        points = tried
    order = np.argsort(numbers, kind="stable")
    return reduce_cell(Atoms(numbers[order], scaled_positions=points[order], cell=cell, pbc=True))
