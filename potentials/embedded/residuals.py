"""The least-squares problem of an embedded-atom potential: residuals of labels, as `potentials.levenberg` wants them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from potentials.dataset import Dataset
from potentials.embedded.state import Layout, State, parts
from potentials.structures import Floats
from potentials.tables import heights

ENERGY, FORCE, VIRIAL = (
    0.01,
    0.1,
    0.05,
)  # eV/atom, eV/Å, eV/atom: units of residuals, of which such a potential misses about one
DECAY = 1e-4  # towards the start, for what no label speaks of
LINEAR = 1e-6  # of the diagonal, added to it where the linear parameters are solved for


class Residuals:
    """Of the labels, weighted, as `potentials.levenberg` wants them."""

    validates, wide = False, False

    def __init__(self, dataset: Dataset, layout: Layout, high: float) -> None:
        self.layout, self._dataset = layout, dataset
        s, labels = dataset.structures, dataset.labels
        periodic = s.periodic.all(axis=1)
        virials = labels.stresses * np.where(periodic, s.volumes, np.nan)[:, None, None]
        self._parts = []
        weights = np.sqrt(dataset.weights) / (1 + (heights(dataset, self._lowest()) / high) ** 2)
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

    def _lowest(self) -> dict[int, float]:
        """eV/atom by atomic number: of the element's own crystals, or of the lowest crystal where it has none."""
        per_atom = self._dataset.labels.energies / self._dataset.structures.sizes
        strata = self._dataset.strata()
        own = {z: [e for e, t in zip(per_atom, strata, strict=True) if t.numbers == (z,)] for z in self.layout.species}
        return {z: float(min(e) if e else per_atom.min()) for z, e in own.items()}

    def start(self) -> Floats:
        """Parameters of a soft metal whose cohesive energy is 3 eV."""
        p = np.zeros(self.layout.size)
        p[self.layout.a] = 0.4
        lowest = self._lowest()
        p[self.layout.free] = [lowest[z] + 3.0 for z in self.layout.species]
        return p

    def linear(self, p: Floats) -> Floats:
        """These parameters with the best of those that energies are linear in."""
        layout, p = self.layout, p.copy()
        chosen = np.r_[layout.a, layout.linear, layout.square, layout.free]
        matrix, gradient = self.normal(p)
        matrix, gradient = matrix[np.ix_(chosen, chosen)], gradient[chosen]
        scale = 1 / np.sqrt(np.diag(matrix) + DECAY)
        matrix = matrix * np.outer(scale, scale) + LINEAR * np.eye(len(chosen))
        p[chosen] -= scale * np.linalg.solve(matrix, gradient * scale)
        return p

    def costs(self, p: Floats) -> tuple[float, float]:
        total = 0.0
        for part, energies, of_energy, slopes, of_slope in self._parts:
            with np.errstate(over="ignore", invalid="ignore"):
                state = State(part, self.layout, p)
                total += float((((state.energies - energies) * of_energy) ** 2).sum())
                total += float((((state.slopes - slopes) * of_slope) ** 2).sum())
        return total if np.isfinite(total) else np.inf, 0.0

    def normal(self, p: Floats) -> tuple[Floats, Floats]:
        n = self.layout.size
        matrix, gradient = np.zeros((n, n)), np.zeros(n)
        for rows, residuals in self._linearised(p):
            matrix += rows.T @ rows
            gradient += rows.T @ residuals
        return matrix, gradient

    def rows(self, p: Floats) -> tuple[Floats, Floats]:
        found = list(self._linearised(p))
        return np.concatenate([r for r, _ in found]), np.concatenate([r for _, r in found])

    def _linearised(self, p: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Derivatives (rows, parameters) and residuals, weighted."""
        for part, energies, of_energy, slopes, of_slope in self._parts:
            state = State(part, self.layout, p)
            of_energies, of_slopes = state.derivatives()
            yield of_energies * of_energy[:, None], (state.energies - energies) * of_energy
            yield of_slopes * of_slope[:, None], (state.slopes - slopes) * of_slope


class Scaled:
    """The same in parameters (p - origin)/scale, each of which by itself changes the residuals by about one."""

    validates, wide = False, False

    def __init__(self, problem: Residuals, origin: Floats, start: Floats) -> None:
        self._problem, self._origin = problem, origin
        self._scale = 1 / np.sqrt(np.diag(problem.normal(origin)[0]) + DECAY)
        self.zero, self.prior = np.zeros(len(origin)), (start - origin) / self._scale
        self.decay = DECAY * self._scale**2

    def parameters(self, q: Floats) -> Floats:
        return np.asarray(self._origin + self._scale * q)

    def costs(self, q: Floats) -> tuple[float, float]:
        return self._problem.costs(self.parameters(q))

    def normal(self, q: Floats) -> tuple[Floats, Floats]:
        matrix, gradient = self._problem.normal(self.parameters(q))
        return matrix * np.outer(self._scale, self._scale), gradient * self._scale

    def rows(self, q: Floats) -> tuple[Floats, Floats]:
        rows, residuals = self._problem.rows(self.parameters(q))
        return rows * self._scale, residuals
