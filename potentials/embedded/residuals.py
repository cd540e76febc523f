"""The least-squares problem of an embedded-atom potential: residuals of labels, as `potentials.levenberg` wants them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from potentials.dataset import Dataset
from potentials.embedded.state import Layout, State, parts
from potentials.stratum import Stratum
from potentials.structures import Floats, Ints
from potentials.tables import heights

# eV/atom, eV/Å, eV/atom: units of residuals, of which such a potential misses about one
ENERGY, FORCE, VIRIAL = 0.01, 0.1, 0.05
DECAY = 1e-4  # towards the start, for what no label speaks of
LINEAR = 1e-6  # of the diagonal, added to it where the linear parameters are solved for


class Residuals:
    """Of the labels, weighted; parameters that are given stay as they are."""

    validates, wide = False, False

    def __init__(
        self,
        dataset: Dataset,
        layout: Layout,
        given: Mapping[Stratum, Floats],
        lowest: Mapping[int, float],
        high: float,
    ) -> None:
        """given: the parameters of strata that are not fitted. lowest: eV/atom of elements at their most stable, where known.
        high: eV/atom, crystals so far above the lowest count half.
        """
        self.layout, self.given = layout, given
        self.strata = [s for s in layout.places if s not in given]
        self.free = np.concatenate([np.arange(layout.size)[layout.places[s]] for s in self.strata])
        self._lowest = _lowest_of(dataset, layout.species) | dict(lowest)
        s, labels = dataset.structures, dataset.labels
        periodic = s.periodic.all(axis=1)
        virials = labels.stresses * np.where(periodic, s.volumes, np.nan)[:, None, None]
        self._parts = []
        weights = np.sqrt(dataset.weights) / (1 + (heights(dataset, self._lowest) / high) ** 2)
        for crystals, part in parts(s, layout):
            atoms = slice(s.offsets[crystals.start], s.offsets[crystals.stop])
            weight = np.where(part.failed, 0.0, weights[crystals])
            slopes = np.concatenate([labels.forces[atoms].ravel(), virials[crystals].ravel()])
            each = np.concatenate(
                [np.repeat(weight[part.crystal] / FORCE, 3), np.repeat(weight / s.sizes[crystals] / VIRIAL, 9)]
            )
            each[~np.isfinite(slopes)] = 0.0
            energies = labels.energies[crystals], weight / s.sizes[crystals] / ENERGY
            self._parts.append((part, *energies, np.nan_to_num(slopes), each))

    def start(self, begin: Mapping[Stratum, Floats]) -> Floats:
        """All parameters: those given, those that a fit is to begin with; elements else are a soft metal whose cohesive energy
        is 3 eV, and pairs have what their elements say."""
        layout, p = self.layout, np.zeros(self.layout.size)
        for own in layout.a:
            p[own] = 0.4
        p[layout.free] = [self._lowest[z] + 3.0 for z in layout.species]
        known = dict(begin) | dict(self.given)
        for stratum in (s for s in known if s.order == 1):
            p[layout.places[stratum]] = known[stratum]
        layout.follow(p, layout.places)
        for stratum in (s for s in known if s.order == 2):
            p[layout.places[stratum]] = known[stratum]
        return p

    def linear(self, p: Floats) -> Floats:
        """These parameters with the best of those that energies are linear in."""
        layout, p = self.layout, p.copy()
        bonds = [np.arange(own.start, own.stop) for own in layout.a]
        chosen = np.intersect1d(np.concatenate([*bonds, layout.linear, layout.square, layout.free]), self.free)
        matrix, gradient = self._normal(p, chosen)
        scale = 1 / np.sqrt(np.diag(matrix) + DECAY)
        matrix = matrix * np.outer(scale, scale) + LINEAR * np.eye(len(chosen))
        p[chosen] -= scale * np.linalg.solve(matrix, gradient * scale)
        return p

    def costs(self, p: Floats) -> tuple[float, float]:
        """Sum of the squared residuals; of all parameters, as the rest here."""
        total = 0.0
        for part, energies, of_energy, slopes, of_slope in self._parts:
            with np.errstate(over="ignore", invalid="ignore"):
                state = State(part, p)
                total += float((((state.energies - energies) * of_energy) ** 2).sum())
                total += float((((state.slopes - slopes) * of_slope) ** 2).sum())
        return total if np.isfinite(total) else np.inf, 0.0

    def normal(self, p: Floats) -> tuple[Floats, Floats]:
        """By the free parameters."""
        return self._normal(p, self.free)

    def _normal(self, p: Floats, chosen: Ints) -> tuple[Floats, Floats]:
        n = len(chosen)
        matrix, gradient = np.zeros((n, n)), np.zeros(n)
        for every, residuals in self._linearised(p):
            rows = every[:, chosen]
            matrix += rows.T @ rows
            gradient += rows.T @ residuals
        return matrix, gradient

    def rows(self, p: Floats) -> tuple[Floats, Floats]:
        """Derivatives (rows, free parameters) and residuals."""
        found = list(self._linearised(p))
        return np.concatenate([r[:, self.free] for r, _ in found]), np.concatenate([r for _, r in found])

    def _linearised(self, p: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Derivatives (rows, parameters) and residuals, weighted."""
        for part, energies, of_energy, slopes, of_slope in self._parts:
            state = State(part, p)
            of_energies, of_slopes = state.derivatives()
            yield of_energies * of_energy[:, None], (state.energies - energies) * of_energy
            yield of_slopes * of_slope[:, None], (state.slopes - slopes) * of_slope


class Scaled:
    """The same in free parameters (p - origin)/scale, each of which by itself changes the residuals by about one."""

    validates, wide = False, False

    def __init__(self, problem: Residuals, origin: Floats, start: Floats) -> None:
        self._problem, self._origin, free = problem, origin, problem.free
        self._scale = 1 / np.sqrt(np.diag(problem.normal(origin)[0]) + DECAY)
        self.zero, self.prior = np.zeros(len(free)), (start - origin)[free] / self._scale
        self.decay = DECAY * self._scale**2

    def parameters(self, q: Floats) -> Floats:
        """All of them."""
        p = self._origin.copy()
        p[self._problem.free] += self._scale * q
        return p

    def costs(self, q: Floats) -> tuple[float, float]:
        return self._problem.costs(self.parameters(q))

    def normal(self, q: Floats) -> tuple[Floats, Floats]:
        matrix, gradient = self._problem.normal(self.parameters(q))
        return matrix * np.outer(self._scale, self._scale), gradient * self._scale

    def rows(self, q: Floats) -> tuple[Floats, Floats]:
        rows, residuals = self._problem.rows(self.parameters(q))
        return rows * self._scale, residuals


def _lowest_of(dataset: Dataset, species: tuple[int, ...]) -> dict[int, float]:
    """eV/atom by atomic number: of the element's own crystals, or of the lowest crystal where it has none."""
    per_atom, strata = dataset.labels.energies / dataset.structures.sizes, dataset.strata()
    own = {z: [e for e, t in zip(per_atom, strata, strict=True) if t.numbers == (z,)] for z in species}
    return {z: float(min(e) if e else per_atom.min()) for z, e in own.items()}
