"""Energies, forces and stresses: batches, one cell, two cores, tables for training. See `speed.py`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from kernel import SPECIES, cells, embedded_atom, random_model
from speed_timing import Report, in_turn, per_round
from unep_data import POTENTIAL, make
from unep_library import LARGEST, TEST, TRAIN

from potentials import kernels
from potentials import tables as tables_module
from potentials.features.symmetry_functions import VP2017
from potentials.network import Model
from potentials.potential import Potential
from potentials.recipe import RECIPES
from potentials.stratum import Stratum
from potentials.structures import Structures
from potentials.tables import tables

SUPERCELLS = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2)] * 8
STRUCTURES = 7700  # of the published training of an element
PORTION = 250
IDLE = 1.6  # load, this program included, up to which a second thread has a core to itself


def mixed_cells() -> list[Atoms]:
    """32 rattled fcc cells of Cu-Pd-Ag of 4, 8, 16 and 32 atoms."""
    return cells(np.random.default_rng(0), SUPERCELLS, SPECIES)


def models(quoted: Mapping[str, Potential]) -> dict[str, Model]:
    """The quoted potentials, and networks of the published architecture with random weights."""
    found: dict[str, Model] = {}
    for name, potential in quoted.items():
        assert isinstance(potential.model, Model)
        found[f"density, {name}"] = potential.model
    rng = np.random.default_rng(0)
    for members, name in ((1, "single"), (4, "committee of 4")):
        found[f"symmetry functions of vp2017, {name}"] = random_model(rng, VP2017, 10, 10, members)
    return found


def batches(report: Report, quoted: Mapping[str, Potential]) -> None:
    """Line 1: batches of 32 cells; NEP, EMT and our torch kernel in turn with ours."""
    crystals = mixed_cells()
    structures = Structures.from_ase(crystals)
    n_atoms = len(structures.numbers)
    ours = models(quoted)
    works: dict[str, Callable[[], Any]] = {
        name: per_round(partial(kernels.evaluate, structures, m), 1 if "vp2017" in name else 5)
        for name, m in ours.items()
    }
    rounds = {name: 1 if "vp2017" in name else 5 for name in ours}
    nep = published(crystals)
    if nep is not None:
        works["NEP"] = nep
    works["EMT of ASE"] = embedded_atom(crystals)
    slow = next(m for name, m in ours.items() if name.startswith("density, campaign, committee"))
    works["our torch kernel"] = partial(kernels.evaluate, structures, slow, kernel="torch")
    seconds = in_turn(works, 5 if report.quick else 9)
    cost = {name: 1e6 * s / n_atoms / rounds.get(name, 1) for name, s in seconds.items()}
    for name in ours:
        most = 150.0 if "vp2017" in name else 25.0 if "single" in name else 35.0
        report.add("1", name, cost[name], "µs/atom", most=most)
    if nep is None:
        report.absent("1", "NEP (calorine)", "no calorine, or no ../shared/unep/UNEP-v1.txt")
    else:
        report.add("1", "NEP, UNEP-v1, 6 Å radial and 5 Å angular (calorine)", cost["NEP"], "µs/atom")
        for name in ours:
            if name.startswith("density"):
                report.add("1", f"NEP / {name}", cost["NEP"] / cost[name], "times", least=5.0)
    report.add("1", "EMT of ASE, cell after cell", cost["EMT of ASE"], "µs/atom")
    report.add("1", "our torch kernel, campaign's committee", cost["our torch kernel"], "µs/atom")


def published(crystals: list[Atoms]) -> Callable[[], None] | None:
    """UNEP-v1 on each of these by calorine's C++, without what ASE adds; None where it is absent."""
    try:
        from calorine.calculators import CPUNEP
    except ImportError:
        return None
    if not POTENTIAL.exists():
        return None
    prepared = []
    for atoms in crystals:
        copy = atoms.copy()
        copy.calc = CPUNEP(str(POTENTIAL))
        copy.get_potential_energy()
        prepared.append((copy.calc.nepy, copy.positions.T.flatten().tolist()))

    def work() -> None:
        for nep, positions in prepared:
            nep.set_positions(positions)  # nothing remembered from the last round
            nep.get_potential_forces_and_virials()

    return work


def two_cores(report: Report, quoted: Mapping[str, Potential]) -> None:
    """Line 1: the same batch with one and two threads; by the clock, so it is judged on a machine that is idle otherwise."""
    busy = os.getloadavg()[0]
    structures = Structures.from_ase(mixed_cells() * 4)
    for name in ("library, single", "campaign, committee of 4"):
        one, two = (_shortest(quoted[name], structures, n, 10 if report.quick else 40) for n in (1, 2))
        note = f"load {busy:.1f} on {os.cpu_count()} cores" + ("" if busy < IDLE else ": too busy to judge")
        report.add("1", f"two threads / one, {name}", one / two, "times", least=1.8 if busy < IDLE else None, note=note)


def _shortest(potential: Potential, structures: Structures, n_threads: int, repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        potential.evaluate(structures, n_threads=n_threads)
        spent.append(time.perf_counter() - start)
    return min(spent)


def one_cell(report: Report, quoted: Mapping[str, Potential]) -> None:
    """Line 2: a cell of four atoms alone, the call included; and the whole way through an ASE calculator."""
    (crystal,) = cells(np.random.default_rng(0), [(1, 1, 1)], SPECIES)
    structures = Structures.from_ase([crystal])
    rounds = 50
    works = {name: per_round(partial(p.evaluate, structures), rounds) for name, p in quoted.items()}
    for name, s in in_turn(works, 9 if report.quick else 21).items():
        report.add("2", f"one cell of 4 atoms, {name}", 1e6 * s / rounds / 4, "µs/atom", most=60.0)


def training_tables(report: Report) -> None:
    """Line 6: features and Jacobians as a fit gets them, of as many structures as the published training had."""
    recipe = RECIPES["quick"]
    for name in ("Cu", "CuPdAg"):
        data, _ = make(name, TRAIN, TEST, LARGEST, 0, Path(__file__).resolve().parent / "cache" / "unep")
        stratum, size = Stratum.parse(name), data.structures.sizes.mean()
        lowest = dict.fromkeys(stratum.numbers, float((data.labels.energies / data.structures.sizes).min()))
        n = STRUCTURES // 10 if report.quick else STRUCTURES
        spent = 0.0
        for first in range(0, n, PORTION):
            part = data.select([c % len(data) for c in range(first, min(first + PORTION, n))])
            start = time.process_time()
            tables(part, recipe, stratum, lowest)
            spent += time.process_time() - start
            tables_module._remembered.clear()
        note = f"{size:.1f} atoms each" + (f"; from {n}" if n < STRUCTURES else "")
        report.add(
            "6", f"tables of {STRUCTURES:,} structures, {name}", spent * STRUCTURES / n, "s", most=20.0, note=note
        )
