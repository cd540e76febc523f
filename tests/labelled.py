"""Crystals labelled by EMT, and a small library trained on them: the tests of training and of what stands on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT

from potentials.dataset import Dataset
from potentials.library import Library, Recipe
from potentials.network import Shape, SymmetryFunctions
from potentials.stratum import Stratum
from potentials.train import finish, fit_member, plan
from tests.crystals import AG, AU, CU, PD, crystal

SMALL = Recipe(Shape(4.5, n_max=3, l_max=2, n_pair=5), hidden=3, members=2)
FEW = SymmetryFunctions(4.5, ((0.05, 0.0), (0.4, 0.0)), ((0.01, 1, -1), (0.01, 1, 1), (0.1, 2, 1), (0.1, 8, 1)))
DEEP = Recipe(FEW, hidden=4, second=3, members=2, scaling="range", repulsion=False)
WIDE = replace(SMALL, widened=2)
NEAREST = {CU: 2.55, PD: 2.75, AG: 2.89, AU: 2.88}  # Å, in the elements


def labelled(crystals: Sequence[Atoms], families: Sequence[str]) -> Dataset:
    """These crystals with EMT's energies, forces, stresses."""
    energies, forces, stresses = [], [], []
    for atoms in crystals:
        copy = atoms.copy()
        copy.calc = EMT()
        energies.append(copy.get_potential_energy())
        forces.append(copy.get_forces())
        stresses.append(copy.get_stress(voigt=False))
    return Dataset.of(
        crystals,
        energies=energies,
        forces=forces,
        stresses=stresses,
        families=families,
        method="ref:emt",
        seconds=[0.01] * len(crystals),
    )


@lru_cache(maxsize=16)
def dataset(numbers: tuple[int, ...], n: int, seed: int) -> Dataset:
    """n strained, rattled cells of 1 to 4 atoms that hold all these elements."""
    rng = np.random.default_rng([seed, *numbers])
    crystals = []
    while len(crystals) < n:
        atoms = crystal(rng, int(rng.integers(len(numbers), 5)), numbers)
        if set(atoms.numbers.tolist()) != set(numbers):
            continue  # the draw missed an element
        mean = np.mean([NEAREST[z] for z in atoms.numbers.tolist()])
        atoms.set_cell(atoms.cell[:] * mean / 2.757 * rng.uniform(0.96, 1.08), scale_atoms=True)
        crystals.append(atoms)
    return labelled(crystals, [f"{seed}/{k // 2}" for k in range(n)])


def whole(n: int = 60) -> Dataset:
    """n crystals each of Cu, Pd, CuPd."""
    return dataset((CU,), n, 0).merge(dataset((PD,), n, 0)).merge(dataset((CU, PD), n, 0))


def rms(library: Library, data: Dataset) -> float:
    """eV/atom by which the library misses these energies."""
    said = library.assemble(Stratum.of(data.structures.numbers.tolist())).evaluate(data.structures)
    return float(np.sqrt(np.mean(((said.energies - data.labels.energies) / data.structures.sizes) ** 2)))


def train(library: Library, names: Sequence[str], n: int = 40, iterations: int | None = 25) -> None:
    """Add these strata, in this order."""
    for name in names:
        stratum = Stratum.parse(name)
        tasks = plan(library, library.versions(), dataset(stratum.numbers, n, 0), stratum, iterations=iterations)
        library.add(finish(tasks, [fit_member(t) for t in tasks]))


def trained(path: Path, names: Sequence[str], recipe: Recipe = SMALL, n: int = 40) -> Library:
    """A new library with these strata."""
    library = Library.create(path, recipe)
    train(library, names, n)
    return library
