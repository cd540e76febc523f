"""What the parameters of an embedded-atom potential say of crystals, and its derivatives by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, permutations

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from potentials.kernels.neighbours import bonds
from potentials.structures import Floats, Ints, Structures

PAIR_KNOTS = np.array([2.35, 2.0, 1.75, 1.52, 1.34, 1.2, 1.06, 0.93, 0.82, 0.71])  # x_k of g_k
DENSITY_KNOTS = np.array([2.25, 1.8, 1.45, 1.16, 0.95])  # of h_k
LEAST_DENSITY = 1e-4  # an atom by itself has a finite slope
BONDS = 40_000  # of crystals whose derivatives are formed at once, bounds the memory


class Layout:
    """Where each parameter stands: a of every pair of elements, b, the logarithms of m off the diagonal, A, B, C, e."""

    def __init__(self, species: tuple[int, ...]) -> None:
        n = len(species)
        self.species = species
        self.pairs = list(combinations_with_replacement(range(n), 2))
        self.mixes = list(permutations(range(n), 2))
        sizes = [
            len(self.pairs) * len(PAIR_KNOTS),
            n * len(DENSITY_KNOTS),
            len(self.mixes),
            *[n] * 4,
        ]
        ends = np.cumsum(sizes).tolist()
        self.a, self.b, self.mix, self.strength, self.linear, self.square, self.free = (
            slice(e - s, e) for e, s in zip(ends, sizes, strict=True)
        )
        self.size = ends[-1]

    @property
    def longest(self) -> float:
        """Å, cut-off of the largest pair."""
        return float(PAIR_KNOTS[0] * 2 * max(covalent_radii[z] for z in self.species))

    def mixing(self, p: Floats) -> Floats:
        """(n, n) factors m."""
        m = np.ones((len(self.species),) * 2)
        for (s, t), log in zip(self.mixes, p[self.mix], strict=True):
            m[s, t] = np.exp(log)
        return m


@dataclass(frozen=True, eq=False)
class Part:
    """Some crystals with their bonds i -> j, every bond once from each end."""

    species: Ints  # (n_atoms,) places among the elements
    crystal: Ints  # (n_atoms,)
    first: Ints  # (n_bonds,) i
    second: Ints  # (n_bonds,) j
    vectors: Floats  # (n_bonds, 3) Å, from i to j
    failed: NDArray[np.bool_]  # (n_crystals,)
    radii: Floats  # (n_elements,) Å

    @cached_property
    def lengths(self) -> Floats:
        return np.asarray(np.linalg.norm(self.vectors, axis=1))

    @cached_property
    def scale(self) -> Floats:
        """(n_bonds,) Å, of x = r/scale."""
        return np.asarray(self.radii[self.species[self.first]] + self.radii[self.species[self.second]])

    @cached_property
    def onto_atoms(self) -> csr_matrix:
        """(n_atoms, n_bonds) sums over the bonds of an atom."""
        return _sums(self.first, len(self.species))

    @cached_property
    def onto_crystals(self) -> csr_matrix:
        """(n_crystals, n_atoms)."""
        return _sums(self.crystal, len(self.failed))

    @cached_property
    def slopes(self) -> csr_matrix:
        """(3 n_atoms + 9 n_crystals, n_bonds) forces and virials (dE/dstrain, row-major) of the derivatives dE/dr of bonds."""
        n, m = len(self.species), len(self.first)
        along = self.vectors / self.lengths[:, None]
        bond = np.arange(m)
        rows, columns, values = [], [], []
        for k in range(3):
            rows += [3 * self.first + k, 3 * self.second + k]
            columns += [bond, bond]
            values += [along[:, k], -along[:, k]]
            for q in range(3):
                rows.append(3 * n + 9 * self.crystal[self.first] + 3 * k + q)
                columns.append(bond)
                values.append(along[:, k] * self.vectors[:, q])
        shape = (3 * n + 9 * len(self.failed), m)
        return csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)

    @cached_property
    def pair_functions(self) -> tuple[Floats, Floats]:
        """(n_bonds, knots) g_k and dg_k/dr."""
        return _cubes(self.lengths / self.scale, PAIR_KNOTS, self.scale)

    @cached_property
    def density_functions(self) -> tuple[Floats, Floats]:
        """(n_bonds, knots) h_k and dh_k/dr."""
        return _cubes(self.lengths / self.scale, DENSITY_KNOTS, self.scale)

    def pair_places(self, layout: Layout) -> Ints:
        """(n_bonds,) of each bond's pair of elements among the pairs."""
        table = np.zeros((len(layout.species),) * 2, dtype=np.int64)
        for place, (s, t) in enumerate(layout.pairs):
            table[s, t] = table[t, s] = place
        return np.asarray(table[self.species[self.first], self.species[self.second]])


class State:
    """What some parameters say of a `Part`."""

    def __init__(self, part: Part, layout: Layout, p: Floats) -> None:
        self.part, self.layout = part, layout
        self.pair = part.pair_places(layout)
        s, t = part.species[part.first], part.species[part.second]
        a = p[layout.a].reshape(-1, len(PAIR_KNOTS))[self.pair]
        self.exponentials = np.exp(p[layout.b]).reshape(-1, len(DENSITY_KNOTS))
        self.mixing = layout.mixing(p)[s, t]
        g, dg = part.pair_functions
        h, dh = part.density_functions
        self.density = self.mixing * (self.exponentials[t] * h).sum(axis=1)
        self.density_slope = self.mixing * (self.exponentials[t] * dh).sum(axis=1)
        self.rho = part.onto_atoms @ self.density
        self.root = np.sqrt(self.rho + LEAST_DENSITY)
        self.strength = np.exp(p[layout.strength])[part.species]
        linear, square = p[layout.linear][part.species], p[layout.square][part.species]
        self.first = -0.5 * self.strength / self.root + linear + 2 * square * self.rho
        self.second = 0.25 * self.strength / self.root**3 + 2 * square
        embedding = -self.strength * self.root + linear * self.rho + square * self.rho**2
        self.atomic = p[layout.free][part.species] + embedding + 0.5 * (part.onto_atoms @ (a * g).sum(axis=1))
        self.energies = part.onto_crystals @ self.atomic
        self.slopes = part.slopes @ (0.5 * (a * dg).sum(axis=1) + self.first[part.first] * self.density_slope)

    @property
    def forces(self) -> Floats:
        """(n_atoms, 3) eV/Å."""
        return np.asarray(self.slopes[: 3 * len(self.part.species)].reshape(-1, 3))

    @property
    def virials(self) -> Floats:
        """(n_crystals, 3, 3) dE/dstrain, eV."""
        return np.asarray(self.slopes[3 * len(self.part.species) :].reshape(-1, 3, 3))

    def derivatives(self) -> tuple[Floats, Floats]:
        """By the parameters: of the energies (n_crystals, P), of forces and virials (3 n_atoms + 9 n_crystals, P)."""
        part, layout, n = self.part, self.layout, len(self.layout.species)
        bond, atom = np.zeros((len(part.first), layout.size)), np.zeros((len(part.species), layout.size))
        g, dg = part.pair_functions
        h, dh = part.density_functions
        s, t, knots = part.species[part.first], part.species[part.second], len(PAIR_KNOTS)
        first, second = self.first[part.first], self.second[part.first]
        for place in range(len(layout.pairs)):
            mine = np.flatnonzero(self.pair == place)
            columns = slice(place * knots, (place + 1) * knots)
            bond[mine, columns] = 0.5 * dg[mine]
            atom[:, columns] = 0.5 * (part.onto_atoms[:, mine] @ g[mine])

        def density(columns: slice | int, chosen: Ints, values: Floats, slopes: Floats) -> None:
            """Parameters of the density: these parts of the densities of bonds, and of their derivatives by r."""
            change = part.onto_atoms[:, chosen] @ values
            by_atom = self.first if values.ndim == 1 else self.first[:, None]
            atom[:, columns] = by_atom * change
            bent = (second * self.density_slope)[(...,) + (None,) * (values.ndim - 1)]
            bond[:, columns] = bent * change[part.first]
            straight = first[chosen] if values.ndim == 1 else first[chosen][:, None]
            bond[chosen, columns] += straight * slopes

        for element in range(n):
            mine = np.flatnonzero(t == element)
            factor = self.mixing[mine][:, None] * self.exponentials[element]
            start = layout.b.start + element * len(DENSITY_KNOTS)
            density(slice(start, start + len(DENSITY_KNOTS)), mine, factor * h[mine], factor * dh[mine])
        for place, (x, y) in enumerate(layout.mixes):
            mine = np.flatnonzero((s == x) & (t == y))
            density(layout.mix.start + place, mine, self.density[mine], self.density_slope[mine])
        for element in range(n):
            atoms, mine = part.species == element, np.flatnonzero(s == element)
            rho, root = self.rho[part.first][mine], self.root[part.first][mine]
            for columns, of_atom, of_bond in (
                (layout.strength, -self.strength * self.root, -0.5 * self.strength[part.first][mine] / root),
                (layout.linear, self.rho, np.ones(len(mine))),
                (layout.square, self.rho**2, 2 * rho),
            ):
                atom[atoms, columns.start + element] = of_atom[atoms]
                bond[mine, columns.start + element] = of_bond * self.density_slope[mine]
            atom[atoms, layout.free.start + element] = 1.0
        return part.onto_crystals @ atom, part.slopes @ bond


def parts(structures: Structures, layout: Layout) -> Iterator[tuple[slice, Part]]:
    """The crystals in runs of at most about BONDS bonds."""
    first, second, vectors, failed = bonds(structures, layout.longest)
    crystal = np.repeat(np.arange(len(structures)), structures.sizes)
    species = np.searchsorted(layout.species, structures.numbers)
    ends = np.searchsorted(crystal[first], np.arange(len(structures)), side="right")
    begin, radii = 0, covalent_radii[list(layout.species)]
    while begin < len(structures):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + BONDS, side="right")))
        atoms, mine = slice(structures.offsets[begin], structures.offsets[end]), slice(done, ends[end - 1])
        yield (
            slice(begin, end),
            Part(
                species[atoms],
                crystal[atoms] - begin,
                first[mine] - atoms.start,
                second[mine] - atoms.start,
                vectors[mine],
                failed[begin:end],
                radii,
            ),
        )
        begin = end


def _sums(places: Ints, n: int) -> csr_matrix:
    """(n, len(places)) the matrix that adds what has the same place."""
    return csr_matrix((np.ones(len(places)), (places, np.arange(len(places)))), shape=(n, len(places)))


def _cubes(x: Floats, knots: Floats, scale: Floats) -> tuple[Floats, Floats]:
    inside = np.maximum(knots - x[:, None], 0.0)
    return inside**3, -3 * inside**2 / scale[:, None]
