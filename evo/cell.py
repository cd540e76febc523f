"""Cells: what crystals are looked for, the standard form of a cell, and how close its atoms are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from evo.elements import atomic_volume, compound_volume, covalent_radius
from evo.mixtures import EndMembers
from evo.niggli import niggli

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

HERMITE = 2 ** (1 / 6)  # the shortest vector of a lattice is at most this times V^(1/3): fcc
RANDOM_PACKING = 0.6  # share of space that spheres fill when poured
MANY = 500  # atoms beyond which pairs are found by trees: all of them would take minutes and gigabytes
MOST_IMAGES = 343  # a cell that needs more images than this to find its shortest distance is reduced first


@dataclass(frozen=True)
class Space:
    """What crystals are looked for: elements, sizes, composition, shortest distances, volumes."""

    elements: tuple[int, ...]  # atomic numbers
    n_atoms: tuple[int, int]  # fewest and most atoms per cell, when the composition varies
    formula: Mapping[int, int] | None = None  # fixed composition: atomic number -> atoms in the cell
    min_distance: float = 0.65  # shortest distance allowed, in sums of covalent radii
    volumes: Mapping[int, float] = field(default_factory=dict)  # Å³ per atom; the defaults where left out
    end_members: EndMembers | None = None  # every composition is a mixture of these; None: of the elements
    _guesses: dict[tuple[tuple[int, int], ...], float] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # Å³, of the compositions asked for so far

    def __post_init__(self) -> None:
        if not self.elements:
            raise ValueError("`elements` must name at least one atomic number, got none")
        if not 1 <= self.n_atoms[0] <= self.n_atoms[1]:
            raise ValueError(f"`n_atoms` must be (fewest, most) with 1 <= fewest <= most, got {self.n_atoms}")
        if self.formula is not None and not set(self.formula) <= set(self.elements):
            raise ValueError(f"`formula` {dict(self.formula)} has elements outside `elements` {self.elements}")
        if self.end_members is not None and not self.end_members.within(*self.n_atoms):
            raise ValueError(f"`n_atoms` {self.n_atoms} must hold a mixture of whole end members, and does not")
        object.__setattr__(self, "elements", tuple(sorted(int(z) for z in set(self.elements))))
        object.__setattr__(self, "volumes", {z: atomic_volume(z) for z in self.elements} | dict(self.volumes))

    @property
    def sizes(self) -> tuple[int, int]:
        """Fewest and most atoms per cell."""
        if self.formula is None:
            return self.n_atoms
        total = sum(self.formula.values())
        return total, total

    def volume(self, atoms: Mapping[int, int] | Iterable[int]) -> float:
        """Guessed volume in Å³ of these atoms: counts by atomic number, or one atomic number per atom.

        Never less than spheres as large as `min_distance` asks for need in a random packing.
        """
        counts = atoms if isinstance(atoms, Mapping) else counts_of(atoms)
        key = tuple(counts.items())
        if key not in self._guesses:
            radii = {z: self.min_distance * covalent_radius(z) for z in counts}
            spheres = sum(n * 4 / 3 * math.pi * radii[z] ** 3 for z, n in counts.items())
            self._guesses[key] = max(compound_volume(counts, self.volumes), spheres / RANDOM_PACKING)
        return self._guesses[key]

    def distance_limit(self, z: int, other: int) -> float:
        """Shortest distance in Å allowed between these elements."""
        return self.min_distance * (covalent_radius(z) + covalent_radius(other))

    def allows(self, counts: Mapping[int, int]) -> bool:
        """Whether a crystal with these counts per cell is looked for."""
        counts = {z: n for z, n in counts.items() if n}
        if self.formula is not None:
            return counts == dict(self.formula)
        return self.spans(counts) and self.n_atoms[0] <= sum(counts.values()) <= self.n_atoms[1]

    def spans(self, counts: Mapping[int, int]) -> bool:
        """Whether these counts are a mixture of the elements, or of the end members, in whatever number of atoms."""
        if self.end_members is not None:
            return self.end_members.parts(counts) is not None
        return {z for z, n in counts.items() if n} <= set(self.elements)

    def corners(self) -> list[dict[int, int]]:
        """Counts of the smallest cell of each end member."""
        if self.end_members is not None:
            return [dict(member) for member in self.end_members.members]
        return [{z: 1} for z in self.elements]

    def sample_counts(self, rng: np.random.Generator) -> dict[int, int]:
        """A composition that is looked for: number of atoms, number of elements, which ones, how many of each.

        A system of k elements is drawn in proportion to k: an element has far fewer crystals than a ternary,
        and yet every one of them gets its turn.
        """
        if self.formula is not None:
            return dict(self.formula)
        if self.end_members is not None:
            return self._sample_mixture(rng, self.end_members)
        total = int(rng.integers(self.n_atoms[0], self.n_atoms[1] + 1))
        orders = np.arange(1, min(total, len(self.elements)) + 1)
        order = int(rng.choice(orders, p=orders / orders.sum()))
        chosen = rng.choice(self.elements, size=order, replace=False)
        cuts = np.sort(rng.choice(np.arange(1, total), size=order - 1, replace=False))
        parts = np.diff(np.concatenate([[0], cuts, [total]]))
        return dict(sorted((int(z), int(n)) for z, n in zip(chosen, parts, strict=True)))

    def _sample_mixture(self, rng: np.random.Generator, ends: EndMembers) -> dict[int, int]:
        """The same for mixtures of end members: those of k are drawn in proportion to k."""
        by_order: dict[int, list[dict[int, int]]] = {}
        for counts in ends.within(*self.n_atoms):
            by_order.setdefault(ends.order(counts), []).append(counts)
        orders = np.array(sorted(by_order))
        chosen = by_order[int(rng.choice(orders, p=orders / orders.sum()))]
        return dict(chosen[int(rng.integers(len(chosen)))])


def counts_of(numbers: Iterable[int]) -> dict[int, int]:
    """Atomic number -> count, ascending atomic numbers."""
    counts: dict[int, int] = {}
    for z in sorted(numbers.tolist() if isinstance(numbers, np.ndarray) else map(int, numbers)):
        counts[z] = counts.get(z, 0) + 1
    return counts


def reduce_cell(atoms: Atoms) -> Atoms:
    """The same crystal in its Niggli cell: a along x, b in the xy plane, atoms inside the cell.

    Periodic along two axes: those two vectors are reduced and nothing turns. Otherwise, and when a cell
    cannot be reduced (no volume, not finite), a copy as it is. Chirality is kept.
    """
    cell = np.asarray(atoms.cell, dtype=float)
    pbc = np.asarray(atoms.pbc)
    if pbc.sum() == 2 and np.isfinite(cell).all():
        new = cell.copy()
        new[pbc] = _shorter_pair(*cell[pbc])
        result = Atoms(atoms.numbers, positions=atoms.positions, cell=new, pbc=pbc)
        result.wrap()
        return result
    basis = niggli(cell) if pbc.all() else None
    if basis is None or not np.isfinite(atoms.positions).all():
        return Atoms(atoms.numbers, positions=atoms.positions, cell=cell, pbc=pbc)
    reduced = basis @ cell
    if np.linalg.det(reduced) < 0:
        reduced = -reduced
    fractional = atoms.positions @ np.linalg.inv(reduced)
    fractional -= np.floor(fractional + 1e-12)  # an atom at -1e-16 belongs at 0, not at 1
    upright = np.linalg.cholesky(reduced @ reduced.T)
    return Atoms(numbers=atoms.numbers, positions=fractional @ upright, cell=upright, pbc=True)


def shortest_ratio(atoms: Atoms) -> float:
    """Shortest distance in the crystal, own periodic images included, over the sum of covalent radii.

    Infinite for a lone atom that is not periodic, 0 for a cell without volume, nan if anything is not finite.
    """
    radii = covalent_radii[atoms.numbers]
    pbc = np.asarray(atoms.pbc)
    cell = _complete(atoms)
    if not (np.isfinite(cell).all() and np.isfinite(atoms.positions).all()):
        return math.nan
    if abs(np.linalg.det(cell)) < 1e-9:
        return 0.0
    images = near_images(cell, pbc)
    if images is None:
        atoms = reduce_cell(atoms)
        cell = _complete(atoms)
        images = near_images(cell, pbc)
        if images is None:  # periodic along fewer axes, or broken: every atom is too close
            return 0.0
    fractional = atoms.positions @ np.linalg.inv(cell)
    if len(atoms) > MANY:
        return _closest_of_many(fractional, cell, pbc, radii)
    return closest(fractional, cell, pbc, radii, images)


def _complete(atoms: Atoms) -> Floats:
    """(3, 3) Å: the cell, with unit vectors for axes without extent; of a periodic crystal every axis has one."""
    cell = atoms.cell if atoms.pbc.all() else atoms.cell.complete()
    return np.asarray(cell, dtype=float)


def closest(
    fractional: NDArray[np.floating], cell: Floats, pbc: NDArray[np.bool_], radii: Floats, images: Floats
) -> float:
    """Shortest distance over sum of radii, in Å both; `images` are the lattice vectors to look at, zero first."""
    first, second, own = _pairs(len(radii))
    apart = fractional[first] - fractional[second]
    apart -= np.rint(apart) * pbc
    vectors = apart @ cell
    # |v + image|²: pair, image; rounding may leave less than nothing of it
    squares = (2 * vectors) @ images.T
    squares += np.einsum("ix,ix->i", images, images)
    squares += np.einsum("px,px->p", vectors, vectors)[:, None]
    squares[own, 0] = np.inf
    ratios: Floats = squares.min(axis=1) / (radii[first] + radii[second]) ** 2
    return math.sqrt(max(float(ratios.min()), 0.0))


def _closest_of_many(fractional: Floats, cell: Floats, pbc: NDArray[np.bool_], radii: Floats) -> float:
    """What `closest` says, to rounding, in time and memory proportional to the atoms."""
    fractional = fractional - np.floor(fractional) * pbc
    places = fractional @ cell
    apart, nearest = cKDTree(places).query(places, k=2)  # the first is the atom itself
    smallest = float((apart[:, 1] / (radii + radii[nearest[:, 1]])).min())  # inside the cell
    # the own image of an atom bounds the distance as well
    cutoff = min([2 * smallest * radii.max(), *np.linalg.norm(cell[pbc], axis=1)]) * (1 + 1e-9)
    which, images = images_near(fractional, cell, pbc, cutoff)
    for radius in np.unique(radii):
        tree = cKDTree(images[radii[which] == radius])
        for other in np.unique(radii):
            same = bool(other == radius)
            found, _ = tree.query(places[radii == other], k=[1 + same], distance_upper_bound=cutoff)
            smallest = min(smallest, float(found.min()) / (radius + other))
    return smallest


def images_near(fractional: Floats, cell: Floats, pbc: NDArray[np.bool_], reach: float) -> tuple[Ints, Floats]:
    """(k,) atoms and (k, 3) Å places of all their images, themselves included, up to `reach` (Å) outside the cell.

    fractional: (n, 3) from 0 to 1 along the periodic axes.
    """
    depth = reach * np.linalg.norm(np.linalg.inv(cell), axis=0)  # in vectors of the cell
    shifts = grid(tuple(int(n) for n in np.ceil(depth) * pbc))
    seen = [
        np.flatnonzero(((fractional + s >= -depth) & (fractional + s <= 1 + depth) | ~pbc).all(axis=1)) for s in shifts
    ]
    places = np.concatenate([fractional[chosen] + s for s, chosen in zip(shifts, seen, strict=True)]) @ cell
    return np.concatenate(seen), places


@lru_cache(maxsize=64)
def _pairs(n: int) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.int_]]:
    """First and second of every pair of n atoms, an atom with itself among them, and the places of those."""
    first, second = np.triu_indices(n)
    return first, second, np.flatnonzero(first == second)


def near_images(cell: Floats, pbc: NDArray[np.bool_]) -> Floats | None:
    """(m, 3) lattice vectors in Å, zero first, that reach every pair that can be closest; None if too many.

    The own image of the largest atom bounds the smallest ratio, so no distance beyond the shortest lattice
    vector counts; a pair folded to within half a cell then needs cutoff/height + 1/2 images along each axis.
    """
    if not pbc.any():
        return np.zeros((1, 3))
    # numbers by numbers: arrays of three are slower
    a, b, c = cell.tolist()
    across = (_cross(b, c), _cross(c, a), _cross(a, b))
    volume = abs(sum(x * y for x, y in zip(a, across[0], strict=True)))
    periodic = pbc.tolist()
    cutoff = min(math.hypot(*v) for v, along in zip((a, b, c), periodic, strict=True) if along)
    if all(periodic):
        cutoff = min(cutoff, HERMITE * volume ** (1 / 3))
    reach = tuple(
        math.floor(cutoff * math.hypot(*v) / volume + 0.5 + 1e-9) if along else 0
        for v, along in zip(across, periodic, strict=True)
    )
    return None if math.prod(2 * n + 1 for n in reach) > MOST_IMAGES else grid(reach) @ cell


def _cross(u: list[float], v: list[float]) -> tuple[float, float, float]:
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


_GRIDS: dict[tuple[int, ...], Floats] = {}


def grid(reach: tuple[int, ...]) -> Floats:
    """(m, 3) integer triples from -reach to reach along each axis, the zero first."""
    if reach not in _GRIDS:
        axes = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
        points = np.stack(axes, axis=-1).reshape(-1, 3).astype(float)
        _GRIDS[reach] = points[np.argsort((points**2).sum(axis=1), kind="stable")]
    return _GRIDS[reach]


def well_shaped(atoms: Atoms) -> bool:
    """Whether the reduced cell is neither a needle nor a plate.

    One atom: the longest vector at most 3.7 times the shortest. Each atom more allows 1.2: crystals stacked
    from close-packed layers need 0.82 per atom.
    """
    if not np.asarray(atoms.pbc).all():
        return True
    cell = np.asarray(atoms.cell, dtype=float)
    basis = niggli(cell)
    return well_proportioned(cell if basis is None else basis @ cell, len(atoms))


def well_proportioned(reduced: Floats, n_atoms: int) -> bool:
    """The same of a cell (3, 3) that is reduced already."""
    squares = [x * x + y * y + z * z for x, y, z in reduced.tolist()]
    return max(squares) <= (2.5 + 1.2 * n_atoms) ** 2 * min(squares)


def _shorter_pair(a: Floats, b: Floats) -> Floats:
    """The two shortest vectors of the plane lattice of a and b (Gauss)."""
    for _ in range(100):
        if a @ a > b @ b:
            a, b = b, a
        if not a @ a > 0:
            break
        steps = np.rint(a @ b / (a @ a))
        if steps == 0:
            break
        b = b - steps * a
    return np.array([a, b])
