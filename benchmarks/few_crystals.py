"""How strongly parameters should be drawn to their prior, against the number of crystals: Cu, Pd and CuPd, labels of UNEP-v1.

    python benchmarks/few_crystals.py run [--seeds 0 1 2]
    python benchmarks/few_crystals.py table

One network of the recipe `quick`, `decay` and `pull` held at 1, 10 and 100 times the recipe's whatever the number of crystals,
and as a fit chooses them by itself (potentials.recipe, `few`). Medians over the seeds, which choose the crystals and the first
weights; errors on the 500 test crystals of benchmarks/strata.py, as there. Resumable; benchmarks/few_crystals.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from strata import CACHE, errors, machine, merged, save
from unep_data import make

from potentials.library import Library
from potentials.recipe import RECIPES
from potentials.stratum import Stratum
from potentials.train import finish, fit_member, plan

RESULT = Path(__file__).resolve().parent / "few_crystals.json"
STRATA = [Stratum.parse(name) for name in ("Cu", "Pd", "CuPd")]
NUMBERS, TIMES = (40, 100, 250, 600), (1, 10, 100, None)  # None: as a fit chooses


def one(number: int, times: int | None, seed: int) -> dict[str, Any]:
    """Errors by stratum after training on this many crystals of each."""
    fitting = replace(RECIPES["quick"].fitting, seed=seed)
    if times is not None:
        fitting = replace(fitting, few=0, decay=fitting.decay * times, pull=fitting.pull * times)
    found, sets = {}, []
    with tempfile.TemporaryDirectory() as folder:
        library = Library.create(Path(folder) / "library", replace(RECIPES["quick"], members=1, fitting=fitting))
        for stratum in STRATA:
            data, test = make(stratum.name, 1500, 500, 8, 0, CACHE / "unep")
            sets.append(data.select(np.random.default_rng([seed, *stratum.numbers]).permutation(len(data))[:number]))
            tasks = plan(library, library.versions(), merged(sets), stratum)
            library.add(finish(tasks, [fit_member(task) for task in tasks]))
            found[stratum.name] = errors(library, stratum, test)
    return found


def table(found: dict[str, Any]) -> None:
    print(
        f"{'':<4}{'crystals':>9}"
        + "".join(f"{f'{t} times' if t else 'chosen':>16}" for t in TIMES)
        + "   meV/atom, meV/Å"
    )
    for stratum in STRATA:
        for number in NUMBERS:
            columns = []
            for times in TIMES:
                of_seeds = [f[stratum.name] for key, f in found["fits"].items() if key.startswith(f"{number} {times} ")]
                energy, force = (statistics.median(f[x] for f in of_seeds) for x in ("energy", "force"))
                columns.append(f"{energy:10.2f}{force:6.0f}")
            print(f"{stratum.name:<4}{number:>9}" + "".join(columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {**machine(), "fits": {}}
    if asked.what == "run":
        for seed in asked.seeds:
            for number in NUMBERS:
                for times in TIMES:
                    key = f"{number} {times} {seed}"
                    if key not in found["fits"]:
                        found["fits"][key] = one(number, times, seed)
                        save(RESULT, found)
    table(found)


if __name__ == "__main__":
    main()
