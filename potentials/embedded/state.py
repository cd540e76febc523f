"""What the parameters of an embedded-atom potential say of crystals, and its derivatives by them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from potentials.kernels.embedded import LEAST_DENSITY, N_DENSITY, N_PAIR, OF_ELEMENT, OF_PAIR, knots, scale
from potentials.stratum import Stratum
from potentials.structures import Floats, Ints, Structures

BONDS = 40_000  # of crystals whose derivatives are formed at once, bounds the memory


class Layout:
    """Where each parameter stands: those of every element, then of every pair, in the order of `potentials.kernels.embedded`."""

    def __init__(self, species: tuple[int, ...], cutoff: float, degree: int) -> None:
        """species: ascending atomic numbers. cutoff: Å. degree: of the functions."""
        n = len(species)
        self.species, self.cutoff, self.degree = species, cutoff, degree
        self.places: dict[Stratum, slice] = {}
        self.size = 0
        for stratum in (Stratum(s) for order in (1, 2) for s in combinations(species, order)):
            own = OF_ELEMENT if stratum.order == 1 else OF_PAIR
            self.places[stratum] = slice(self.size, self.size + own)
            self.size += own
        starts = [self.places[Stratum((z,))].start for z in species]
        self.b = [slice(s, s + N_DENSITY) for s in starts]
        self.strength, self.linear, self.square, self.free = np.add.outer(range(-4, 0), np.array(starts) + OF_ELEMENT)
        self.pairs = [(x, x) for x in range(n)] + list(combinations(range(n), 2))
        mixed = [self.places[Stratum((species[x], species[y]))].start for x, y in self.pairs[n:]]
        firsts = [*(s + N_DENSITY for s in starts), *mixed]
        self.a = [slice(s, s + N_PAIR) for s in firsts]
        self.mixes = [(x, y) for pair in self.pairs[n:] for x, y in (pair, pair[::-1])]
        self.mix = np.array([s + N_PAIR + k for s in mixed for k in (0, 1)], dtype=np.int64)
        self.scales = np.array([[scale(s, t) for t in species] for s in species])
        found = [[knots(s, t, cutoff) for t in species] for s in species]
        self.pair_knots, self.density_knots = (np.array([[k[w] for k in row] for row in found]) for w in (0, 1))

    def mixing(self, p: Floats) -> Floats:
        """(n, n) factors m."""
        m = np.ones((len(self.species),) * 2)
        for (s, t), log in zip(self.mixes, p[self.mix], strict=True):
            m[s, t] = np.exp(log)
        return m

    def follow(self, p: Floats, strata: Collection[Stratum]) -> None:
        """Gives these pairs what their elements say: the mean of their bonds, densities as they are."""
        for (x, y), own in zip(self.pairs, self.a, strict=True):
            if x != y and Stratum((self.species[x], self.species[y])) in strata:
                p[own] = (p[self.a[x]] + p[self.a[y]]) / 2
                p[own.stop : own.stop + 2] = 0.0


@dataclass(frozen=True, eq=False)
class Part:
    """Some crystals with their bonds i -> j, every bond once from each end."""

    species: Ints  # (n_atoms,) places among the elements
    crystal: Ints  # (n_atoms,)
    first: Ints  # (n_bonds,) i
    second: Ints  # (n_bonds,) j
    vectors: Floats  # (n_bonds, 3) Å, from i to j
    failed: NDArray[np.bool_]  # (n_crystals,)
    layout: Layout

    @cached_property
    def lengths(self) -> Floats:
        return np.asarray(np.linalg.norm(self.vectors, axis=1))

    @cached_property
    def scale(self) -> Floats:
        """(n_bonds,) Å, of x = r/scale."""
        return np.asarray(self.layout.scales[self.species[self.first], self.species[self.second]])

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
        return self._powers(self.layout.pair_knots)

    @cached_property
    def density_functions(self) -> tuple[Floats, Floats]:
        """(n_bonds, knots) h_k and dh_k/dr."""
        return self._powers(self.layout.density_knots)

    def _powers(self, of_pairs: Floats) -> tuple[Floats, Floats]:
        ends = of_pairs[self.species[self.first], self.species[self.second]]
        inside = np.maximum(ends - (self.lengths / self.scale)[:, None], 0.0)
        degree = self.layout.degree
        return inside**degree, -degree * inside ** (degree - 1) / self.scale[:, None]

    @cached_property
    def pairs(self) -> Ints:
        """(n_bonds,) of each bond's pair of elements among the pairs."""
        table = np.zeros((len(self.layout.species),) * 2, dtype=np.int64)
        for place, (s, t) in enumerate(self.layout.pairs):
            table[s, t] = table[t, s] = place
        return np.asarray(table[self.species[self.first], self.species[self.second]])


class State:
    """What some parameters say of a `Part`."""

    def __init__(self, part: Part, p: Floats) -> None:
        self.part, layout = part, part.layout
        s, t = part.species[part.first], part.species[part.second]
        a = np.array([p[own] for own in layout.a])[part.pairs]
        self.exponentials = np.exp([p[own] for own in layout.b])
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
        part, layout, n = self.part, self.part.layout, len(self.part.layout.species)
        bond, atom = np.zeros((len(part.first), layout.size)), np.zeros((len(part.species), layout.size))
        g, dg = part.pair_functions
        h, dh = part.density_functions
        s, t = part.species[part.first], part.species[part.second]
        first, second = self.first[part.first], self.second[part.first]
        for place, columns in enumerate(layout.a):
            mine = np.flatnonzero(part.pairs == place)
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
            density(layout.b[element], mine, factor * h[mine], factor * dh[mine])
        for place, (x, y) in zip(layout.mix.tolist(), layout.mixes, strict=True):
            mine = np.flatnonzero((s == x) & (t == y))
            density(place, mine, self.density[mine], self.density_slope[mine])
        for element in range(n):
            atoms, mine = part.species == element, np.flatnonzero(s == element)
            rho, root = self.rho[part.first][mine], self.root[part.first][mine]
            for columns, of_atom, of_bond in (
                (layout.strength, -self.strength * self.root, -0.5 * self.strength[part.first][mine] / root),
                (layout.linear, self.rho, np.ones(len(mine))),
                (layout.square, self.rho**2, 2 * rho),
            ):
                atom[atoms, columns[element]] = of_atom[atoms]
                bond[mine, columns[element]] = of_bond * self.density_slope[mine]
            atom[atoms, layout.free[element]] = 1.0
        return part.onto_crystals @ atom, part.slopes @ bond


def parts(structures: Structures, layout: Layout) -> Iterator[tuple[slice, Part]]:
    """The crystals in runs of at most about BONDS bonds."""
    from potentials.kernels.neighbours import bonds  # torch is slow to import, and not needed otherwise

    first, second, vectors, failed = bonds(structures, layout.cutoff)
    crystal = np.repeat(np.arange(len(structures)), structures.sizes)
    species = np.searchsorted(layout.species, structures.numbers)
    ends = np.searchsorted(crystal[first], np.arange(len(structures)), side="right")
    begin = 0
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
                layout,
            ),
        )
        begin = end


def _sums(places: Ints, n: int) -> csr_matrix:
    """(n, len(places)) the matrix that adds what has the same place."""
    return csr_matrix((np.ones(len(places)), (places, np.arange(len(places)))), shape=(n, len(places)))
