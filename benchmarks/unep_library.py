"""A library of the default recipe on labels of UNEP-v1, trained once and kept in benchmarks/cache, for the other benchmarks.

python benchmarks/unep_library.py CuPdAg [--train 1500]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from unep_data import make

from potentials.dataset import Dataset
from potentials.library import Library
from potentials.recipe import RECIPES, Recipe
from potentials.stratum import Stratum
from potentials.train import finish, fit_member, plan

CACHE = Path(__file__).resolve().parent / "cache"
LARGEST, SEED = 8, 0  # atoms of a crystal, of the data


TRAIN, TEST = 1500, 500  # crystals of each set


def few(data: Dataset, number: int) -> Dataset:
    """About this many crystals, whole families."""
    if number >= len(data):
        return data
    names = [f or f"#{c}" for c, f in enumerate(data.families)]
    order = {f: k for k, f in enumerate(np.random.default_rng(SEED).permutation(sorted(set(names))).tolist())}
    return data.select(sorted(sorted(range(len(data)), key=lambda c: order[names[c]])[:number]))


def trained(system: str, train: int = TRAIN, recipe: Recipe = RECIPES["quick"], name: str = "unep-default") -> Library:
    """With every stratum of these elements; what is there already is not trained again."""
    path = CACHE / f"{name}-{train}"
    library = Library.open(path) if (path / "library.json").exists() else Library.create(path, recipe)
    for stratum in Stratum.parse(system).subsets():
        if stratum.name in library.versions() or stratum.order > 3:
            continue
        data = few(make(stratum.name, TRAIN, TEST, LARGEST, SEED, CACHE / "unep")[0], train)
        started = time.process_time()
        tasks = plan(library, library.versions(), data, stratum)
        made = finish(tasks, [fit_member(task) for task in tasks])
        library.add(made)
        found = ", ".join(
            f"{k} {1e3 * v:.1f}" for k, v in made.metadata["errors"].items() if not k.startswith("crystals")
        )
        print(f"{stratum.name}: {time.process_time() - started:.1f} CPU s, {found} (meV/atom, meV/Å)", flush=True)
    return library


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system")
    parser.add_argument("--train", type=int, default=1500)
    chosen = parser.parse_args()
    library = trained(chosen.system, chosen.train)
    print(f"{library.path.name}: {', '.join(s.name for s in library.strata())}")


if __name__ == "__main__":
    main()
