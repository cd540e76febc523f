"""Off the data is noticed: random cells relaxed with a trained library, each then labelled once by UNEP-v1.

    python benchmarks/off_data.py run [--cells 1000] [--train 1500]
    python benchmarks/off_data.py loop [--systems CuPdAg AlNi]
    python benchmarks/off_data.py table

Random 6-atom Cu-Pd-Ag cells (P1, atoms pushed apart; another seed than the training data) are relaxed, positions and cell, with
the default library of unep_library.py. A crystal is wrong when its energy is off by more than 50 meV/atom. Printed: of the wrong
ones the share that is flagged, of the sound ones the share that is flagged, and both for other thresholds. A crystal that
collapsed or did not converge counts as flagged where the relaxer says so. The results are benchmarks/off_data/<train>.json.

`loop` does the same with the library of a campaign of default settings, UNEP-v1 its reference: made by the bootstrap and the loop
alone (in benchmarks/cache/loop, resumable). The results are benchmarks/off_data/loop-<system>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from strata import machine, save
from unep_data import Unep, formation_energies, make, random_cell
from unep_library import LARGEST, TEST, TRAIN, trained

from potentials.calculator import from_calculator
from potentials.library import Library
from potentials.potential import Potential
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Structures

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "off_data"
SEED = 2017
WRONG = 0.050  # eV/atom
LOOP = HERE / "cache" / "loop"
CAMPAIGN = """
[system]
elements = {elements}
[reference]
engine = "ase"
calculator = "unep_data:Unep"
"""


def run(cells: int, train: int, atoms: int) -> None:
    elements = Stratum.parse("CuPdAg")
    potential = trained("CuPdAg", train).assemble(elements)
    result = {
        **machine(),
        "train": train,
        **relaxed_cells(potential, elements, cells, atoms),
        "coverage": coverage(train),
    }
    save(RESULTS / f"{train}.json", result)
    table()


def loop(systems: list[str], cells: int, atoms: int) -> None:
    """A campaign for each of these systems, and the test of the library that it ends with."""
    for system in systems:
        elements = Stratum.parse(system)
        directory = LOOP / system
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "campaign.toml").write_text(CAMPAIGN.format(elements=json.dumps(list(elements.symbols))))
        paths = os.pathsep.join(p for p in (str(HERE), os.environ.get("PYTHONPATH")) if p)
        command = [sys.executable, "-m", "evo", "run", str(directory), "--quiet"]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": paths})
        told = subprocess.run(
            [sys.executable, "-m", "evo", "status", str(directory), "--json"],
            check=True,
            capture_output=True,
            text=True,
        )
        library = Library.open(directory / "out" / "library")
        result = {
            **machine(),
            "calls": json.loads(told.stdout)["reference_calls"],
            **relaxed_cells(library.assemble(elements), elements, cells, atoms),
        }
        save(RESULTS / f"loop-{system}.json", result)
    table()


def relaxed_cells(potential: Potential, elements: Stratum, cells: int, atoms: int) -> dict[str, Any]:
    """Random cells relaxed, and what the reference says of where they end; energies in eV/atom."""
    rng = np.random.default_rng(SEED)
    starts = Structures.from_ase([random_cell(elements, atoms, rng, least=atoms) for _ in range(cells)])
    cpu = time.process_time()
    relaxed = relax(potential.evaluate, starts, fmax=0.01, max_calls=300)
    seconds = time.process_time() - cpu
    predicted = potential.evaluate(relaxed.structures)
    sizes = relaxed.structures.sizes
    labels = from_calculator(Unep())(relaxed.structures).energies
    grades = potential.grades(relaxed.structures)
    return {
        "seconds": seconds,
        "outcomes": relaxed.outcomes,
        "error": (np.abs(predicted.energies - labels) / sizes).tolist(),
        "spread": (predicted.spreads / sizes).tolist(),
        "grade": grades.tolist(),
        "band": potential.bands(relaxed.structures, predicted, grades).tolist(),
        "energy": (labels / sizes).tolist(),
    }


def coverage(train: int) -> dict[str, float]:
    """Share of the test crystals of each set (calm ones) whose energy lies inside the 90 % band."""
    library = trained("CuPdAg", train)
    inside = {}
    for stratum in library.strata():
        _, test = make(stratum.name, TRAIN, TEST, LARGEST, 0, HERE / "cache" / "unep")
        height = formation_energies(test, Unep())
        test = test.select(np.flatnonzero(height <= height.min() + library.recipe.fitting.high_energy))
        potential = library.assemble(stratum)
        predicted = potential.evaluate(test.structures)
        bands = potential.bands(test.structures, predicted, potential.grades(test.structures))
        inside[stratum.name] = float(
            np.mean(np.abs(predicted.energies - test.labels.energies) / test.structures.sizes <= bands)
        )
    return inside


def table() -> None:
    for path in sorted((p for p in RESULTS.glob("*.json") if p.stem.isdigit()), key=lambda p: -int(p.stem)):
        print(f"{path.stem} training crystals of each set")
        show(json.loads(path.read_text()))
    for path in sorted(RESULTS.glob("loop-*.json")):
        found = json.loads(path.read_text())
        print(f"{path.stem.removeprefix('loop-')}, a campaign of {found['calls']} calls")
        show(found)


def show(found: dict[str, Any]) -> None:
    error = np.array(found["error"])
    wrong = error > WRONG
    print(
        f"{len(error)} cells, {found['seconds']:.1f} CPU s, {int(wrong.sum())} wrong by more than {1e3 * WRONG:.0f} meV/atom"
    )
    print({o: found["outcomes"].count(o) for o in sorted(set(found["outcomes"]))})
    for name, share in found.get("coverage", {}).items():
        print(f"inside the 90 % band, test set {name}: {share:.0%}")
    print(f"inside the 90 % band, relaxed cells: {np.mean(error <= np.array(found['band'])):.0%}")
    if not wrong.any():
        wrong = error >= np.quantile(error, 0.99)
        print(
            f"the hundredth with the largest errors, from {1e3 * error[wrong].min():.1f} meV/atom, as the wrong ones:"
        )
    for name in ("grade", "spread", "band"):
        value = np.array(found[name])
        for limit in [
            *([1.0] if name == "grade" else []),
            *np.quantile(value, [0.5, 0.8, 0.9, 0.95, 0.98], method="higher"),
        ]:
            flagged = value > limit
            shares = np.mean(flagged[wrong]), np.mean(flagged[~wrong])
            print(f"{name} > {limit:8.4f}: of the wrong {shares[0]:6.1%}, of the sound {shares[1]:6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "loop", "table"])
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--atoms", type=int, default=6)
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--systems", nargs="+", default=["CuPdAg", "AlNi"])
    chosen = parser.parse_args()
    if chosen.what == "run":
        run(chosen.cells, chosen.train, chosen.atoms)
    elif chosen.what == "loop":
        loop(chosen.systems, chosen.cells, chosen.atoms)
    else:
        table()


if __name__ == "__main__":
    main()
