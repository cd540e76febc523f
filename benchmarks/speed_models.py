"""The models and crystals that the speed benchmarks evaluate: what campaigns use by default, what a library uses by default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from unep_data import LATTICE
from unep_library import trained

from evo.settings import NetworkSection
from potentials.network import Model, Shape
from potentials.potential import Potential
from potentials.recipe import RECIPES, Recipe
from potentials.stratum import Stratum

SYSTEM = "CuPdAg"
TRAIN = 100  # labelled crystals of each set: enough for sound relaxations; accuracy plays no part in the speed


def campaign_recipe() -> Recipe:
    """What a campaign trains with the default settings."""
    s = NetworkSection()
    shape = Shape(s.cutoff, n_max=s.radial, l_max=s.angular, n_pair=s.pair)
    return Recipe(shape=shape, hidden=s.hidden, members=s.members)


def quoted(train: int = TRAIN) -> dict[str, Potential]:
    """Trained on labels of UNEP-v1 (once; benchmarks/cache): single networks and committees of both recipes."""
    found = {}
    for name, recipe, cache in (
        ("library", RECIPES["quick"], "unep-default"),
        ("campaign", campaign_recipe(), "unep-campaign"),
    ):
        potential = trained(SYSTEM, train, recipe, cache).assemble(Stratum.parse(SYSTEM))
        assert isinstance(potential.model, Model)
        found[f"{name}, single"] = replace(potential, model=potential.model.member(0))
        found[f"{name}, committee of {potential.model.members}"] = potential
    return found


def random_cells(n: int, atoms: int = 8, seed: int = 0) -> list[Atoms]:
    """Cu-Pd-Ag, P1, 1.2 times the sum of the atomic volumes, distances above 0.8 of the sum of the covalent radii."""
    rng = np.random.default_rng([seed, atoms])
    symbols = Stratum.parse(SYSTEM).symbols
    found: list[Atoms] = []
    while len(found) < n:
        kinds = rng.choice(symbols, size=atoms)
        volume = 1.2 * sum(LATTICE[s] ** 3 / 4 for s in kinds)
        vectors = rng.normal(size=(3, 3)) + 1.5 * np.eye(3)
        vectors *= np.sign(np.linalg.det(vectors))  # right-handed: torch-sim knows no other
        cell = vectors * (volume / abs(np.linalg.det(vectors))) ** (1 / 3)
        crystal = Atoms(kinds.tolist(), cell=cell, pbc=True)
        angles, lengths = crystal.cell.angles(), crystal.cell.lengths()
        if angles.min() < 50 or angles.max() > 130 or lengths.max() > 2.2 * lengths.min():
            continue
        if _placed(crystal, rng):
            found.append(crystal)
    return found


def _placed(crystal: Atoms, rng: np.random.Generator) -> bool:
    """Atoms put one by one where they touch none before; their own images included."""
    radii = np.array([covalent_radii[atomic_numbers[s]] for s in crystal.symbols])
    steps = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    shifts = steps @ crystal.cell.array
    if np.linalg.norm(shifts[steps.any(axis=1)], axis=1).min() < 1.6 * radii.max():
        return False
    placed = np.zeros((0, 3))
    for k in range(len(crystal)):
        for _ in range(200):
            trial = rng.random(3) @ crystal.cell.array
            apart = np.linalg.norm(placed[:, None] + shifts - trial, axis=2)
            if (apart.min(axis=1) > 0.8 * (radii[:k] + radii[k])).all():
                placed = np.vstack([placed, trial])
                break
        else:
            return False
    crystal.positions = placed
    return True
