"""What an evaluation costs: energies, forces and stresses, in microseconds per atom on one core.

    python benchmarks/kernel.py [--repeats 60]

Rattled fcc cells of Cu-Pd-Ag at about 14 Å³ per atom (63 neighbours inside 6 Å), the neighbour search included. Each
figure is the median over the repeats; the best one stands in brackets, because other work on the machine only adds.
Beside it, as a ratio in the same run: the torch kernel, and the embedded-atom calculator of ASE, cell after cell.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from potentials import kernels
from potentials.features.symmetry_functions import VP2017
from potentials.kernels.embedded import OF_ELEMENT, EmbeddedAtoms
from potentials.network import Descriptor, Model, Shape
from potentials.stratum import Stratum
from potentials.structures import Structures

SPECIES = (29, 46, 47)
# name, descriptor, hidden units of the first and of the second layer, committee members, whether on embedded atoms
MODELS: list[tuple[str, Descriptor, int, int, int, bool]] = [
    ("n4 L3 h10 x4", Shape(6.0, 4, 3, 8), 10, 0, 4, False),
    ("n5 L4 h10 x1", Shape(6.0, 5, 4, 8), 10, 0, 1, False),
    ("the same, EAM", Shape(6.0, 5, 4, 8), 10, 0, 1, True),
    ("n5 L4 h10 x4", Shape(6.0, 5, 4, 8), 10, 0, 4, False),
    ("the same, EAM", Shape(6.0, 5, 4, 8), 10, 0, 4, True),
    ("n5 L4 h16 x1", Shape(6.0, 5, 4, 8), 16, 0, 1, False),
    ("n5 L4 h16 x4", Shape(6.0, 5, 4, 8), 16, 0, 4, False),
    ("vp2017 x1", VP2017, 10, 10, 1, False),
    ("vp2017 x4", VP2017, 10, 10, 4, False),
]


def cells(rng: np.random.Generator, supercells: list[tuple[int, int, int]], elements: tuple[int, ...]) -> list[Atoms]:
    crystals = []
    for repeat in supercells:
        atoms = bulk("Cu", a=3.85, cubic=True) * repeat
        atoms.numbers = rng.choice(elements, size=len(atoms))
        atoms.rattle(0.1, rng=rng)
        crystals.append(atoms)
    return crystals


def random_model(
    rng: np.random.Generator,
    shape: Descriptor,
    hidden: int,
    second: int,
    members: int,
    species: tuple[int, ...] = SPECIES,
    embedded: bool = False,
) -> Model:
    n, lanes = len(species), hidden * members
    atoms = {Stratum((z,)): 0.3 * np.random.default_rng(z).normal(size=OF_ELEMENT) for z in species}
    last = (n, members, second) if second else (n, lanes)
    return Model(
        shape=shape,
        species=species,
        members=members,
        hidden=hidden,
        weights=0.01 * rng.normal(size=(n, shape.n_features(n), lanes)),
        biases=rng.normal(size=(n, lanes)),
        outputs=rng.normal(size=last),
        shifts=rng.normal(size=(n, members)),
        repulsion=not second,
        second_weights=rng.normal(size=(n, members, hidden, second)) if second else None,
        second_biases=rng.normal(size=(n, members, second)) if second else None,
        embedded=EmbeddedAtoms.of(species, shape.cutoff, atoms, degree=4) if embedded else None,
    )


def timed(work: Callable[[], object], repeats: int, n_atoms: int) -> tuple[float, float]:
    """Median and least microseconds per atom."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) / n_atoms * 1e6)
    return float(np.median(times)), min(times)


def embedded_atom(crystals: list[Atoms]) -> Callable[[], object]:
    def work() -> None:
        for atoms in crystals:
            fresh = atoms.copy()  # nothing remembered from the last round
            fresh.calc = EMT()
            fresh.get_stress()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    supercells = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2)] * 8
    batches = {
        "32 Cu-Pd-Ag cells of 4..32 atoms": cells(rng, supercells, SPECIES),
        "32 Cu cells of 4..32 atoms": cells(rng, supercells, SPECIES[:1]),
        "one Cu-Pd-Ag cell of 4 atoms": cells(rng, [(1, 1, 1)], SPECIES),
    }
    print(f"{platform.processor() or platform.machine()}, kernels {', '.join(kernels.available())}; µs/atom, one core")
    for title, crystals in batches.items():
        structures = Structures.from_ase(crystals)
        n_atoms = len(structures.numbers)
        often = repeats * 20 if n_atoms < 10 else repeats
        peer, _ = timed(embedded_atom(crystals), max(3, repeats // 20), n_atoms)
        print(f"\n{title}; ASE EMT {peer:.0f} µs/atom")
        for name, shape, hidden, second, members, on_atoms in MODELS:
            model = random_model(rng, shape, hidden, second, members, embedded=on_atoms)
            median, least = timed(partial(kernels.evaluate, structures, model), often, n_atoms)
            slow, _ = timed(partial(kernels.evaluate, structures, model, kernel="torch"), 1 if second else 3, n_atoms)
            print(f"  {name:<13} {median:6.2f} ({least:.2f})   torch x{slow / median:.0f}   EMT x{peer / median:.0f}")


if __name__ == "__main__":
    main()
