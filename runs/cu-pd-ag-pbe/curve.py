"""Learning curves: libraries trained on the first N labels, judged by all crystals that are held out.

    python runs/cu-pd-ag-pbe/curve.py [N ...] [--recipe default] [--pretrained LIB]    # prints, and writes curve.json

Calculations are counted as they were made, held-out ones included. Errors are those of the committee on held-out crystals of
one, two, three elements whose formation energy is at most HIGHEST above the elements; one family in eight is held out, by the
hash of its name.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read

from potentials.dataset import Dataset, read_dataset
from potentials.library import Library
from potentials.recipe import RECIPES, Recipe
from potentials.refine import finish_refined, plan_refined, refines
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.train import finish, fit_member, plan

HERE = Path(__file__).resolve().parent
SYSTEM = Stratum.parse("CuPdAg")
HIGHEST = 0.6  # eV/atom


def trained(data: Dataset, recipe: Recipe, folder: Path, pretrained: Library | None = None) -> Library:
    """Bottom up, on what of these crystals is not held out; drawn to the pretrained networks where there are any."""
    library = Library.create(folder, recipe, pretrained)
    for stratum in SYSTEM.subsets():
        tasks = plan(library, library.versions(), data, stratum)
        made = finish(tasks, [fit_member(task) for task in tasks])
        if refines(recipe, data, stratum):
            below = [library.stratum(s) for s in stratum.subsets() if s != stratum]
            tasks = plan_refined(recipe, data, made, below)
            made = finish_refined(tasks, [fit_member(task) for task in tasks], made)
        library.add(made)
    return library


def heights(data: Dataset) -> Floats:
    """(n,) eV/atom above the elements at their lowest."""
    energies = data.labels.energies / data.structures.sizes
    strata = data.strata()
    lowest = {z: min(energies[c] for c, s in enumerate(strata) if s.numbers == (z,)) for z in SYSTEM.numbers}
    mixed = [np.mean([lowest[z] for z in atoms.numbers.tolist()]) for atoms in data.structures.to_ase()]
    return np.asarray(energies - np.array(mixed))


def errors(library: Library, test: Dataset) -> dict[str, dict[str, float]]:
    """By the number of elements: crystals, RMSE and median in meV/atom, force RMSE in meV/Å."""
    found, predicted = {}, library.assemble(SYSTEM).evaluate(test.structures)
    missed = (predicted.energies - test.labels.energies) / test.structures.sizes
    forces = predicted.forces - test.labels.forces
    orders = np.array([s.order for s in test.strata()])
    for order in (1, 2, 3):
        mine = orders == order
        if not mine.any():
            continue
        atoms = np.repeat(mine, test.structures.sizes)
        found[str(order)] = {
            "crystals": int(mine.sum()),
            "energy": 1e3 * float(np.sqrt(np.mean(missed[mine] ** 2))),
            "median": 1e3 * float(np.median(np.abs(missed[mine]))),
            "force": 1e3 * float(np.sqrt(np.mean(forces[atoms] ** 2))),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", metavar="N", nargs="*", type=int)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    parser.add_argument("--pretrained", metavar="LIB", type=Path, help="what pretrain.py has made, by the same recipe")
    parser.add_argument("--labels", type=Path, default=HERE / "labels.extxyz.xz")
    asked = parser.parse_args()
    data = read_dataset(asked.labels)
    test = data.held_out()
    test = test.select(np.flatnonzero(heights(data)[data.is_held_out()] <= HIGHEST))
    pretrained = Library.open(asked.pretrained) if asked.pretrained else None
    result: dict[str, Any] = {
        "labels": len(data),
        "recipe": asked.recipe,
        "pretrained": pretrained is not None,
        "curve": {},
    }
    counts = ", ".join(f"{(np.array([s.order for s in test.strata()]) == n).sum()} of {n}" for n in (1, 2, 3))
    print(
        f"held out, at most {HIGHEST} eV/atom above the elements: {counts} elements; RMSE, median (meV/atom), forces (meV/Å)"
    )
    print(f"{'calculations':>12}{'CPU h':>7}" + "".join(f"{f'{n} el.':>26}" for n in (1, 2, 3)))
    for number in [n for n in asked.numbers or [75, 150, 300, 450, 600, 800, 1000] if n < len(data)] + [len(data)]:
        first = data.select(range(number))
        with tempfile.TemporaryDirectory() as folder:
            found = errors(trained(first, RECIPES[asked.recipe], Path(folder) / "library", pretrained), test)
        result["curve"][str(number)] = {"hours": float(first.seconds.sum()) / 3600, **found}
        columns = [f"{e['energy']:10.1f}{e['median']:8.1f}{e['force']:8.0f}" for e in found.values()]
        print(f"{number:>12}{first.seconds.sum() / 3600:>7.1f}" + "".join(columns), flush=True)
    kinds = np.array([atoms.info["kind"] for atoms in read(asked.labels, ":")])
    means = {str(k): float(data.seconds[kinds == k].mean()) for k in dict.fromkeys(kinds)}
    print("CPU s of a calculation: " + ", ".join(f"{k} {s:.0f}" for k, s in sorted(means.items(), key=lambda m: m[1])))
    (HERE / "curve.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
