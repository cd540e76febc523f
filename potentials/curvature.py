"""Curvature: where a descent begins when something cheap resembles what is dear.

A relaxation by DFT learns the curvature of thirty variables from its own steps, each of which may take ten minutes. Networks that
were trained on that DFT know it to some ten percent, for a millisecond. Only the first curvature comes from them; energies,
forces, what is a minimum, and what the descent learns on its way are those of the dear one.
"""

from __future__ import annotations

import numpy as np

from potentials.batch import COLUMN, ROW, WEIGHT, Batch
from potentials.descent import CURVATURE
from potentials.memory import halving, join_predictions
from potentials.relax import Evaluate
from potentials.structures import Floats, Structures

STEP = 1e-3  # Å, of the differences of gradients; a larger one lets symmetric crystals lose some of their symmetry
SOFTEST = 1.0  # eV/Å²: where the curvature is less, or negative, another model is not to be trusted with long steps
NOTHING = 1e-3  # eV/Å²: directions in which nothing changes, such as translations


def inverse_hessian(
    cheap: Evaluate, structures: Structures, *, fixed_cell: bool = False, pressure: float = 0.0
) -> Floats:
    """(n, n) Å²/eV of one crystal by `cheap`, n = 3 N + 6, in the variables of `batch`; for `relax(..., inverses=[...])`.

    pressure: eV/Å³. Of directions in which nothing changes, and where `cheap` gives no numbers, it is what a relaxation that
    knows nothing begins with (`descent.CURVATURE`). ValueError: more than one crystal.
    """
    if len(structures) != 1:
        raise ValueError(f"one crystal at a time, got {len(structures)}")
    hessian = _hessian(cheap, structures, fixed_cell, pressure)
    if not np.isfinite(hessian).all():
        return np.asarray(np.eye(len(hessian)) / CURVATURE)
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    values = np.where(np.abs(values) < NOTHING, CURVATURE, np.maximum(np.abs(values), SOFTEST))
    inverse: Floats = (vectors / values) @ vectors.T
    return inverse


def _hessian(cheap: Evaluate, structures: Structures, fixed_cell: bool, pressure: float) -> Floats:
    """(n, n) eV/Å², central differences, nothing for strains that the crystal does not have."""
    n_atoms = int(structures.sizes[0])
    n = 3 * n_atoms + 6
    steps = STEP * np.concatenate([np.eye(n), -np.eye(n)])
    copies = Batch.of(structures, np.zeros(2 * n, dtype=np.int64), n_atoms, fixed_cell)
    copies.move(copies.positions, copies.cells, steps)
    said = halving(cheap, join_predictions, copies.structures())
    up, down = np.split(copies.gradients(said, pressure), 2)
    allowed = np.eye(n)
    allowed[-6:, -6:] = _strains(copies.crystals.movable[0])
    hessian: Floats = allowed @ ((up - down) / (2 * STEP)) @ allowed
    return hessian


def _strains(movable: Floats) -> Floats:
    """(6, 6) projector on the strains within the periodic subspace, whose own projector is `movable`."""
    unit = np.zeros((6, 3, 3))
    unit[np.arange(6), ROW, COLUMN] = unit[np.arange(6), COLUMN, ROW] = 1 / WEIGHT
    projected: Floats = np.einsum("kij,lij->kl", unit, movable @ unit @ movable)
    return projected
