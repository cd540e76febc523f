"""How the cost of an evaluation and of a relaxation grows: atoms, cut-off, elements, committee, batch.

    python benchmarks/speed_growth.py [-o FILE]
    python benchmarks/speed_growth.py --show FILE

Networks with random weights on rattled fcc cells at about 14 Å³ per atom; energies, forces and stresses in CPU µs per atom of one
core, neighbours included, medians, all of one table in turn. Relaxations: random cells by the campaign's committee
of `speed_models`, all at once in batches of the size named.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one core

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from kernel import cells, random_model
from speed_models import TRAIN, campaign_recipe, quoted, random_cells
from speed_timing import RESULTS, here, in_turn, per_round
from strata import save

from potentials import kernels
from potentials.network import Model, Shape
from potentials.recipe import RECIPES, Recipe
from potentials.relax import relax
from potentials.structures import Structures

ELEMENTS = (29, 46, 47, 79)
SUPERCELLS = {4: (1, 1, 1), 8: (2, 1, 1), 16: (2, 2, 1), 32: (2, 2, 2), 108: (3, 3, 3), 256: (4, 4, 4)}
LARGE = {4_000: (10, 10, 10), 32_000: (20, 20, 20)}  # beyond what campaigns have, for dynamics
ATOMS = 512  # about, of a batch
RECIPES_SHOWN = {"library": RECIPES["quick"], "campaign": campaign_recipe()}


def network(recipe: Recipe, n_elements: int = 3, cutoff: float = 6.0, members: int | None = None) -> Model:
    assert isinstance(recipe.shape, Shape)
    shape = Shape(cutoff, recipe.shape.n_max, recipe.shape.l_max, recipe.shape.n_pair)
    rng = np.random.default_rng(0)
    return random_model(rng, shape, recipe.hidden, 0, members or recipe.members, ELEMENTS[:n_elements])


def batch(atoms: int, n_elements: int = 3, n_cells: int | None = None) -> Structures:
    number = n_cells or max(1, ATOMS // atoms)
    return Structures.from_ase(
        cells(np.random.default_rng(0), [(SUPERCELLS | LARGE)[atoms]] * number, ELEMENTS[:n_elements])
    )


def costs(cases: dict[str, tuple[Model, Structures]], repeats: int) -> dict[str, float]:
    """µs per atom of each."""
    rounds = {name: max(1, 1000 // len(s.numbers)) for name, (_, s) in cases.items()}
    works = {name: per_round(partial(kernels.evaluate, s, m), rounds[name]) for name, (m, s) in cases.items()}
    seconds = in_turn(works, repeats)
    return {name: 1e6 * seconds[name] / rounds[name] / len(s.numbers) for name, (_, s) in cases.items()}


def evaluations(repeats: int) -> dict[str, dict[str, float]]:
    tables: dict[str, dict[str, float]] = {}
    for name, recipe in RECIPES_SHOWN.items():
        model = network(recipe)
        tables[f"atoms of a cell, batches of about {ATOMS} atoms, {name}"] = costs(
            {str(n): (model, batch(n)) for n in SUPERCELLS | LARGE}, repeats
        )
        tables[f"cells of 8 atoms in a batch, {name}"] = costs(
            {str(n): (model, batch(8, n_cells=n)) for n in (1, 2, 4, 8, 32, 128, 512)}, repeats
        )
        tables[f"cut-off in Å, {name}"] = costs(
            {str(c): (network(recipe, cutoff=c), batch(8)) for c in (4.0, 5.0, 6.0, 7.0, 8.0)}, repeats
        )
        tables[f"elements, {name}"] = costs({str(n): (network(recipe, n), batch(8, n)) for n in (1, 2, 3, 4)}, repeats)
        tables[f"members, {name}"] = costs(
            {str(n): (network(recipe, members=n), batch(8)) for n in (1, 2, 4, 8)}, repeats
        )
    return tables


def relaxations(train: int) -> dict[str, dict[str, float]]:
    """ms per crystal and crystals per second."""
    potential = next(p for name, p in quoted(train).items() if name.startswith("campaign, committee"))
    crystals = random_cells(256)
    found = {}
    for size in (1, 4, 16, 64, 256):
        number = 16 if size == 1 else 256  # one at a time takes long
        start = time.process_time()
        for first in range(0, number, size):
            relax(potential.evaluate, Structures.from_ase(crystals[first : first + size]))
        found[str(size)] = 1e3 * (time.process_time() - start) / number
    by_atoms = {}
    for atoms in (2, 4, 8, 16, 24):
        starts = Structures.from_ase(random_cells(64, atoms))
        start = time.process_time()
        relaxed = relax(potential.evaluate, starts)
        by_atoms[str(atoms)] = 1e3 * (time.process_time() - start) / len(starts)
        by_atoms[f"{atoms}, calls"] = float(relaxed.calls.mean())
    return {
        "relaxation, ms per crystal of 8 atoms, crystals in a batch": found,
        "relaxation, ms per crystal, atoms of a cell": by_atoms,
    }


def show(found: dict[str, Any]) -> None:
    print(f"{found['processor']}, {found['date']}, commit {found['commit']}, load {found['load']}")
    for title, row in found["tables"].items():
        print(f"{title}: " + ", ".join(f"{k}: {v:.2f}" for k, v in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--train", type=int, default=TRAIN)
    parser.add_argument("--show", type=Path, help="print a run that was written before")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "growth.json")
    asked = parser.parse_args()
    if asked.show:
        show(json.loads(asked.show.read_text()))
        return
    tables = evaluations(asked.repeats) | relaxations(asked.train)
    found = {**here(), "tables": tables}
    save(asked.output, found)
    show(found)


if __name__ == "__main__":
    main()
