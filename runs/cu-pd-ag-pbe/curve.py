"""Learning curves: libraries trained on the first N labels, judged by all crystals that are held out.

    python runs/cu-pd-ag-pbe/curve.py [N ...] [--recipe default] [--pretrained LIB]    # prints, and writes curve.json
    python runs/cu-pd-ag-pbe/curve.py --folds 4 [--recipe default] [--pretrained LIB]  # prints, and writes folds.json
    python runs/cu-pd-ag-pbe/curve.py --folds 4 --recipe embedded [--refit 10]         # and embedded.json, or refitted.json

Calculations are counted as they were made, held-out ones included. Errors are those of the committee on held-out crystals of
one, two, three elements whose formation energy is at most HIGHEST above the elements; one family in eight is held out, by the
hash of its name. These are few; --folds leaves out other eighths of the families one after the other, judges by them, and never
looks at what is held out. --refit fits all strata of each library once more, together, in so many iterations.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read
from numpy.typing import NDArray

from potentials.dataset import Dataset, read_dataset
from potentials.jointly import plan_jointly
from potentials.library import Library
from potentials.network import Shape
from potentials.recipe import RECIPES, Recipe
from potentials.refine import finish_refined, plan_refined, refines
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.train import finish, finish_all, fit_member, plan

HERE = Path(__file__).resolve().parent
SYSTEM = Stratum.parse("CuPdAg")
HIGHEST = 0.6  # eV/atom
EIGHTH = 8


def trained(data: Dataset, recipe: Recipe, folder: Path, pretrained: Library | None = None, refit: int = 0) -> Library:
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
    if refit:
        tasks = plan_jointly(recipe, data, SYSTEM, iterations=refit, library=library)
        library.add_all(finish_all(tasks, [fit_member(task) for task in tasks]))
    return library


def heights(data: Dataset) -> Floats:
    """(n,) eV/atom above the elements at their lowest."""
    energies = data.labels.energies / data.structures.sizes
    strata = data.strata()
    lowest = {z: min(energies[c] for c, s in enumerate(strata) if s.numbers == (z,)) for z in SYSTEM.numbers}
    mixed = [np.mean([lowest[z] for z in atoms.numbers.tolist()]) for atoms in data.structures.to_ase()]
    return np.asarray(energies - np.array(mixed))


@dataclass(frozen=True)
class Missed:
    """What a library says of crystals less their labels."""

    orders: NDArray[np.int_]  # (n,) elements
    heights: Floats  # (n,) eV/atom
    energies: Floats  # (n,) meV/atom
    forces: Floats  # (n,) mean square, (meV/Å)²
    sizes: NDArray[np.int_]  # (n,) atoms

    @classmethod
    def by(cls, library: Library, test: Dataset, high: Floats) -> Missed:
        predicted, s = library.assemble(SYSTEM).evaluate(test.structures), test.structures
        squares = (1e3 * (predicted.forces - test.labels.forces)) ** 2
        return cls(
            np.array([stratum.order for stratum in test.strata()]),
            high,
            1e3 * (predicted.energies - test.labels.energies) / s.sizes,
            np.add.reduceat(squares.mean(axis=1), s.offsets[:-1]) / s.sizes,
            s.sizes,
        )

    def errors(self, highest: float) -> dict[str, dict[str, float]]:
        """By the number of elements: crystals, RMSE and median in meV/atom, force RMSE in meV/Å, up to this height."""
        found = {}
        for order in (1, 2, 3):
            mine = (self.orders == order) & (self.heights <= highest)
            if mine.any():
                found[str(order)] = {
                    "crystals": int(mine.sum()),
                    "energy": float(np.sqrt(np.mean(self.energies[mine] ** 2))),
                    "median": float(np.median(np.abs(self.energies[mine]))),
                    "force": float(np.sqrt(np.average(self.forces[mine], weights=self.sizes[mine]))),
                }
        return found


def line(found: dict[str, dict[str, float]]) -> str:
    return "".join(f"{e['energy']:10.1f}{e['median']:8.1f}{e['force']:8.0f}" for e in found.values())


def learning_curve(
    data: Dataset, recipe: Recipe, pretrained: Library | None, numbers: Sequence[int]
) -> Iterator[tuple[str, Any]]:
    """Errors of libraries of so many crystals, by their number."""
    high, held_out = heights(data), data.is_held_out()
    chosen = np.flatnonzero(held_out & (high <= HIGHEST))
    test = data.select(chosen)
    counts = ", ".join(f"{(np.array([s.order for s in test.strata()]) == n).sum()} of {n}" for n in (1, 2, 3))
    print(
        f"held out, at most {HIGHEST} eV/atom above the elements: {counts} elements; RMSE, median (meV/atom), forces (meV/Å)"
    )
    print(f"{'calculations':>12}{'CPU h':>7}" + "".join(f"{f'{n} el.':>26}" for n in (1, 2, 3)))
    for number in [n for n in numbers if n < len(data)] + [len(data)]:
        first = data.select(range(number))
        with tempfile.TemporaryDirectory() as folder:
            library = trained(first, recipe, Path(folder) / "library", pretrained)
            found = Missed.by(library, test, high[chosen]).errors(HIGHEST)
        hours = float(first.seconds.sum()) / 3600
        print(f"{number:>12}{hours:>7.1f}{line(found)}", flush=True)
        yield str(number), {"hours": hours, **found}


def cross_validated(
    data: Dataset, recipe: Recipe, pretrained: Library | None, folds: int, refit: int
) -> Iterator[tuple[str, Any]]:
    """Errors over the first `folds` of eight folds of the training crystals, by the greatest height that counts."""
    training = np.flatnonzero(~data.is_held_out())
    data, high = data.select(training), heights(data)[training]
    digests = [hashlib.sha256(f"fold {family}".encode()).digest() for family in data.families]
    fold = np.array([d[0] % EIGHTH for d in digests])
    parts = []
    for k in range(folds):
        known, test = data.select(np.flatnonzero(fold != k)), data.select(np.flatnonzero(fold == k))
        with tempfile.TemporaryDirectory() as folder:
            library = trained(known, recipe, Path(folder) / "library", pretrained, refit)
            parts.append(Missed.by(library, test, high[fold == k]))
    fields = ("orders", "heights", "energies", "forces", "sizes")
    missed = Missed(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
    print(f"{folds} of {EIGHTH} folds of {len(data)} crystals; RMSE, median (meV/atom), forces (meV/Å)")
    print(f"{'eV/atom':>12}{'':7}" + "".join(f"{f'{n} el.':>26}" for n in (1, 2, 3)))
    for highest in (HIGHEST / 2, HIGHEST):
        found = missed.errors(highest)
        print(f"{highest:>12}{'':7}{line(found)}", flush=True)
        yield str(highest), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", metavar="N", nargs="*", type=int)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    parser.add_argument("--members", type=int, help="networks in a committee, in place of the recipe's")
    parser.add_argument(
        "--radial", type=int, metavar="N", help="radial functions of the density, in place of the recipe's"
    )
    parser.add_argument("--pretrained", metavar="LIB", type=Path, help="what pretrain.py has made, by the same recipe")
    parser.add_argument(
        "--folds", type=int, choices=range(1, EIGHTH + 1), help="cross-validation over so many of eight folds"
    )
    parser.add_argument(
        "--refit", type=int, default=0, metavar="N", help="with --folds: all strata together at the end"
    )
    parser.add_argument("--labels", type=Path, default=HERE / "labels.extxyz.xz")
    parser.add_argument("-o", "--output", type=Path, help="JSON; beside this file, named as said above, when left out")
    asked = parser.parse_args()
    if asked.refit and not asked.folds:
        parser.error("--refit goes with --folds")
    usual = "curve" if not asked.folds else "refitted" if asked.refit else RECIPES[asked.recipe].embedded and "embedded"
    output = asked.output or HERE / f"{usual or 'folds'}.json"
    data, recipe = read_dataset(asked.labels), RECIPES[asked.recipe]
    if asked.members:
        recipe = replace(recipe, members=asked.members)
    if asked.radial and isinstance(recipe.shape, Shape):
        recipe = replace(recipe, shape=replace(recipe.shape, n_max=asked.radial))
    pretrained = Library.open(asked.pretrained) if asked.pretrained else None
    result: dict[str, Any] = {"labels": len(data), "recipe": asked.recipe, "pretrained": pretrained is not None}
    if asked.folds:
        result["folds"] = dict(cross_validated(data, recipe, pretrained, asked.folds, asked.refit))
        output.write_text(json.dumps(result, indent=1) + "\n")
        return
    numbers = asked.numbers or [75, 150, 300, 450, 600, 800, 1000]
    result["curve"] = dict(learning_curve(data, recipe, pretrained, numbers))
    kinds = np.array([atoms.info["kind"] for atoms in read(asked.labels, ":")])
    means = {str(k): float(data.seconds[kinds == k].mean()) for k in dict.fromkeys(kinds)}
    print("CPU s of a calculation: " + ", ".join(f"{k} {s:.0f}" for k, s in sorted(means.items(), key=lambda m: m[1])))
    output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
