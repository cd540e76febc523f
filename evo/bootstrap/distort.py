"""Distortions that show a potential what lies around a crystal: other volumes, strained cells, moved atoms."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.linalg import expm


def scaled(atoms: Atoms, factor: float) -> Atoms:
    """The crystal at `factor` times its volume, fractional coordinates kept."""
    result = atoms.copy()
    result.set_cell(np.asarray(atoms.cell) * factor ** (1 / 3), scale_atoms=True)
    return result


def log_uniform(rng: np.random.Generator, lowest: float, highest: float) -> float:
    """A number between these, every ratio as likely as any other of its size."""
    return float(np.exp(rng.uniform(np.log(lowest), np.log(highest))))


def shaken(rng: np.random.Generator, atoms: Atoms, strain: float, displacement: float) -> Atoms:
    """The crystal under a random strain and with its atoms moved.

    strain: standard deviation of each of the six components; displacement: Å, standard deviation of each coordinate.
    """
    upper = np.triu(rng.normal(0.0, strain, (3, 3)))
    upper[np.triu_indices(3, 1)] /= 2
    result = atoms.copy()
    result.set_cell(np.asarray(atoms.cell) @ expm(upper + upper.T - np.diag(np.diag(upper))), scale_atoms=True)
    result.positions += rng.normal(0.0, displacement, result.positions.shape)
    return result
