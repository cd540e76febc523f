"""Embedded-atom potentials of few parameters, fitted to labels: what networks with few labels are drawn to.

E = sum_i e_s + F_s(rho_i) + 1/2 sum_ij phi_st(r_ij), rho_i = sum_j m_st sum_k exp(b_tk) h_k(x_ij), with s, t the elements of i
and j (Daw, Baskes, Phys. Rev. B 29, 6443 (1984)). phi_st = sum_k a_stk g_k(x); g_k and h_k are the cubes (x_k - x)³ below a knot
x_k and zero beyond (Ackland et al., Phil. Mag. A 56, 735 (1987)), x is r over the sum of the covalent radii.
F = -exp(A) sqrt(rho) + B rho + C rho². Some ten parameters for each element and for each pair of elements know of metals what a
network has to learn: how bonds weaken as their number grows, and what becomes of them far from any label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from potentials.dataset import Dataset
from potentials.embedded.residuals import Residuals, Scaled
from potentials.embedded.state import Layout, State, parts
from potentials.levenberg import minimise
from potentials.structures import Floats, Labels, Prediction, Structures

ROUNDS, ITERATIONS = 2, 20  # of the fit; the scale of the parameters is set anew in each


@dataclass(frozen=True)
class Embedded:
    """A potential of some elements."""

    species: tuple[int, ...]  # ascending atomic numbers
    parameters: Floats  # as `Layout` orders them

    @classmethod
    def fitted(cls, dataset: Dataset, *, high: float = 0.4, iterations: int = ITERATIONS) -> Embedded:
        """To these crystals, by energies, forces and stresses; those that lie `high` (eV/atom) above the lowest count half.

        ValueError where there are none, or one has no finite energy.
        """
        if not len(dataset) or not np.isfinite(dataset.labels.energies).all():
            raise ValueError(
                f"an embedded-atom potential needs crystals with finite energies, got {len(dataset)} crystals"
            )
        species = tuple(sorted(set(dataset.structures.numbers.tolist())))
        problem = Residuals(dataset, Layout(species), high)
        start = problem.start()
        p = problem.linear(start)
        for _ in range(ROUNDS):
            scaled = Scaled(problem, p, start)
            p = scaled.parameters(minimise(scaled, scaled.zero, scaled.prior, scaled.decay, iterations).parameters)
        return cls(species, p)

    def evaluate(self, structures: Structures) -> Prediction:
        """NaN where a crystal cannot be evaluated (collapsed, not finite). ValueError for an element that it does not know."""
        if unknown := set(structures.numbers.tolist()) - set(self.species):
            raise ValueError(f"`structures` must hold the elements {self.species} alone, got {sorted(unknown)} too")
        layout, n = Layout(self.species), len(structures)
        energies, virials, forces = np.zeros(n), np.zeros((n, 3, 3)), np.zeros((len(structures.numbers), 3))
        atomic = np.zeros(len(structures.numbers))
        for crystals, part in parts(structures, layout):
            state = State(part, layout, self.parameters)
            atoms = slice(structures.offsets[crystals.start], structures.offsets[crystals.stop])
            atomic[atoms] = state.atomic
            energies[crystals], forces[atoms] = state.energies, state.forces
            virials[crystals] = state.virials
            virials[crystals][part.failed] = energies[crystals][part.failed] = np.nan
        periodic = np.asarray(structures.periodic.all(axis=1))
        stresses = np.where(
            periodic[:, None, None], virials / np.where(periodic, structures.volumes, 1.0)[:, None, None], 0.0
        )
        failed = np.repeat(np.isnan(energies), structures.sizes)
        forces[failed], atomic[failed] = np.nan, np.nan
        return Prediction(energies, forces, stresses, energies[:, None], atomic)

    def left(self, dataset: Dataset) -> Dataset:
        """The same crystals with what this potential leaves of their labels: what networks on top of it learn."""
        found, labels = self.evaluate(dataset.structures), dataset.labels
        rest = Labels(labels.energies - found.energies, labels.forces - found.forces, labels.stresses - found.stresses)
        return replace(dataset, labels=rest)


def calmed(dataset: Dataset, heights: Floats, high: float) -> Dataset:
    """The same crystals with less weight the higher they lie, half at `high`; heights (n,) and `high` in eV/atom.

    A fit does that by itself from the energies; from what `Embedded.left` leaves of them it could not tell.
    """
    return replace(dataset, weights=dataset.weights / (1 + (heights.clip(0) / high) ** 2) ** 2)
