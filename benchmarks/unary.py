"""A unary stratum from 7,700 crystals of 1 to 6 atoms labelled by UNEP-v1, the size of the published networks' data.

    python benchmarks/unary.py run [Cu Pd Ag] [--train 7700]
    python benchmarks/unary.py table

Trains the default recipe (committee of four) and prints CPU time, errors of one network and of the committee on 1,000 test
crystals, the spread of the energies, and hcp - fcc beside UNEP-v1 (both relaxed: positions and cell). The published Cu network
took 70,000 s to 3.97 meV/atom (Hajinazar, Shao, Kolmogorov, PRB 95, 014114). Resumable by element; benchmarks/unary.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from strata import machine, save
from unep_data import LATTICE, Unep, make

from potentials.calculator import from_calculator
from potentials.library import Library
from potentials.recipe import RECIPES
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Prediction, Structures
from potentials.train import finish, fit_member, plan

HERE = Path(__file__).resolve().parent
RESULT = HERE / "unary.json"
LARGEST, TEST = 6, 1000


def run(name: str, train: int) -> dict[str, Any]:
    data, test = make(name, train, TEST, LARGEST, 0, HERE / "cache" / "unep")
    stratum = Stratum.parse(name)
    with tempfile.TemporaryDirectory() as folder:
        library = Library.create(Path(folder) / "library", RECIPES["quick"])
        cpu, wall = time.process_time(), time.perf_counter()
        tasks = plan(library, {}, data, stratum)
        results = [fit_member(task) for task in tasks]
        seconds = time.process_time() - cpu, time.perf_counter() - wall
        library.add(finish(tasks, results))
        potential = library.assemble(stratum)
    predicted, sizes = potential.evaluate(test.structures), test.structures.sizes
    missed = (predicted.energies - test.labels.energies) / sizes
    one = (predicted.member_energies - test.labels.energies[:, None]) / sizes[:, None]
    per_atom = test.labels.energies / sizes
    return {
        **machine(),
        "train": len(data),
        "cpu": seconds[0],
        "wall": seconds[1],
        "fits": [r.seconds for r in results],
        "iterations": [r.iterations for r in results],
        "spread": float(per_atom.max() - per_atom.min()),
        "energy": 1e3 * float(np.sqrt(np.mean(missed**2))),
        "energy_one": 1e3 * float(np.sqrt(np.mean(one**2))),
        "force": 1e3 * float(np.sqrt(np.mean((predicted.forces - test.labels.forces) ** 2))),
        "hcp_fcc": 1e3 * hcp_fcc(name, potential.evaluate),
        "hcp_fcc_unep": 1e3 * hcp_fcc(name, from_calculator(Unep())),
    }


def hcp_fcc(name: str, evaluate: Callable[[Structures], Prediction]) -> float:
    """eV per atom."""
    a = LATTICE[name]
    crystals = [bulk(name, "fcc", a=a), bulk(name, "hcp", a=a / 2**0.5, c=a / 2**0.5 * (8 / 3) ** 0.5)]
    relaxed = relax(evaluate, Structures.from_ase(crystals), fmax=1e-3, max_calls=200)
    fcc, hcp = relaxed.prediction.energies / relaxed.structures.sizes
    return float(hcp - fcc)


def table() -> None:
    found = json.loads(RESULT.read_text())
    print(
        f"{'':<4}{'crystals':>9}{'spread':>8}{'CPU s':>8}{'wall s':>8}{'one':>7}{'four':>7}{'meV/Å':>7}{'hcp-fcc':>9}{'UNEP':>7}"
    )
    for name, r in found.items():
        print(f"{name:<4}{r['train']:>9}{r['spread']:>8.2f}{r['cpu']:>8.1f}{r['wall']:>8.1f}", end="")
        print(
            f"{r['energy_one']:>7.2f}{r['energy']:>7.2f}{r['force']:>7.1f}{r['hcp_fcc']:>9.1f}{r['hcp_fcc_unep']:>7.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("elements", nargs="*", default=["Cu", "Pd", "Ag"])
    parser.add_argument("--train", type=int, default=7700)
    chosen = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if chosen.what == "run":
        for name in chosen.elements:
            if found.get(name, {}).get("train") != chosen.train:
                found[name] = run(name, chosen.train)
                save(RESULT, found)
    table()


if __name__ == "__main__":
    main()
