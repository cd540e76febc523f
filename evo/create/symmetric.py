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

from evo.cell import Floats, Ints, Space, near_images, reduce_cell, well_proportioned
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
        numbers = np.repeat([z for z, _ in orbits], [position.multiplicity for _, position in orbits])
        radii = covalent_radii[numbers]
        sums = radii + radii[:, None]
        guess = space.volume(counts)
        for _ in range(N_SHAPES):
            n_lattices += 1
            atoms = _build(rng, found, orbits, numbers, sums, ROOMIER**n_lattices * guess, space.min_distance)
            if atoms is not None:
                return atoms
            if all(position.n_free == 0 for _, position in orbits) and found.system == "cubic":
                break  # nothing but the volume could change
    return None


def lattice(rng: np.random.Generator, system: str, volume: float) -> Floats:
    """Conventional cell (3, 3) of this crystal system with this volume in Å³, of a shape at random."""
    a, b, c = (math.exp(x) for x in rng.normal(0.0, 0.4, size=3).tolist())
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
    sin_c, cos_c = math.sin(gamma), math.cos(gamma)
    cos_b = (math.cos(alpha) - math.cos(beta) * cos_c) / sin_c
    height = math.sqrt(max(1 - math.cos(beta) ** 2 - cos_b**2, 0.01))
    scale = (volume / (a * b * sin_c * c * height)) ** (1 / 3)
    a, b, c = scale * a, scale * b, scale * c
    return np.array([[a, 0.0, 0.0], [b * cos_c, b * sin_c, 0.0], [c * math.cos(beta), c * cos_b, c * height]])


def _build(
    rng: np.random.Generator,
    found: Group,
    orbits: list[tuple[int, Position]],
    numbers: Ints,
    sums: Floats,
    volume: float,
    min_distance: float,
) -> Atoms | None:
    """One attempt: a lattice, then every orbit in turn; None when an orbit finds no place.

    `numbers` (n_atoms,) are the atomic numbers orbit by orbit, `sums` (n_atoms, n_atoms) those of covalent radii in Å;
    `volume` in Å³ is scaled at random.
    """
    volume *= rng.uniform(*VOLUME_SCALE)
    wanted = max(min_distance, rng.uniform(min(min_distance, COMFORT), COMFORT))
    primitive = found.primitive @ lattice(rng, found.system, found.centring * volume)
    basis = niggli(primitive)
    if basis is None:
        return None
    cell = basis @ primitive
    if not well_proportioned(cell, len(numbers)):
        return None
    images = near_images(cell, PERIODIC)
    if images is None:
        return None
    to_reduced = np.linalg.inv(basis)
    points = np.zeros((0, 3))
    for _, position in orbits:
        # all places that an orbit is given at once
        tried = position.orbits(rng, MOST_PLACINGS if position.n_free else 1) @ to_reduced
        n = len(points)
        first = _first_that_fits(points, tried, cell, images, wanted * sums[n, : n + position.multiplicity])
        if first is None:
            return None
        points = np.concatenate([points, tried[first]])
    order = np.argsort(numbers, kind="stable")
    return reduce_cell(Atoms(numbers=numbers[order], positions=points[order] @ cell, cell=cell, pbc=True))


def _first_that_fits(points: Floats, tried: Floats, cell: Floats, images: Floats, limits: Floats) -> int | None:
    """The first of several places (k, m, 3) of an orbit at which no atom is too close; None when there is none.

    Fractional coordinates; `points` (n, 3) are the orbits that have their places. The group carries the first atom of
    an orbit onto all others, and the crystal onto itself, so that its distances are those of all of them: `limits`
    (n + m,) in Å are the shortest allowed from it to the points and to the atoms of its own orbit.
    """
    apart = np.empty((len(tried), len(limits), 3))
    apart[:, : len(points)] = points
    apart[:, len(points) :] = tried
    apart -= tried[:, :1]
    apart -= np.rint(apart)
    vectors = apart @ cell
    # |v + image|² of all images: one product in place of a table of vectors
    squares = (2 * vectors) @ images.T
    squares += np.einsum("ix,ix->i", images, images)
    squares += np.einsum("kpx,kpx->kp", vectors, vectors)[:, :, None]
    squares[:, len(points), 0] = np.inf  # the atom itself
    fits = (squares.min(axis=2) >= limits**2).all(axis=1)
    first = int(fits.argmax())
    return first if fits[first] else None
