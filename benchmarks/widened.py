"""What units of its own bring a pair: CuPd on Cu and Pd of the default recipe, labels of UNEP-v1.

    python benchmarks/widened.py run [--units 0 4 8] [--seeds 0 1 2] [--train 1500]
    python benchmarks/widened.py table

Single networks, trainer and errors as in `strata.py`; each seed has its own Cu and Pd. `run` writes benchmarks/widened.json,
one fit after another, and goes on where it was cut.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from strata import CACHE, Clock, errors, fit, machine, opened, save
from unep_data import make

from potentials.library import Library
from potentials.recipe import RECIPES
from potentials.stratum import Stratum
from potentials.train import finish, fit_member, plan

RESULT = Path(__file__).resolve().parent / "widened.json"
PAIR = Stratum.parse("CuPd")


def below(seed: int, n: int) -> Library:
    """Cu and Pd."""
    recipe = replace(RECIPES["quick"], members=1, fitting=replace(RECIPES["quick"].fitting, seed=seed))
    library = opened(CACHE / "widened" / f"{seed}-{n}", recipe)
    for name in ("Cu", "Pd"):
        if name not in library.versions():
            data, test = make(name, n, 500, 8, 0, CACHE / "unep")
            fit(library, Stratum.parse(name), data, test, joint=False)
    return library


def one(seed: int, units: int, n: int) -> dict[str, Any]:
    library = below(seed, n)
    data, test = make(PAIR.name, n, 500, 8, 0, CACHE / "unep")
    (task,) = plan(library, library.versions(), data, PAIR, widened=units)
    clock, started = Clock(PAIR), time.process_time()
    result = fit_member(task, clock)
    cpu = time.process_time() - started
    copy = library.path.with_name(f"{library.path.name}-{units}")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(library.path, copy)
    own = Library.open(copy)
    own.add(finish([task], [result]))
    return {
        **errors(own, PAIR, test),
        "validation": min(e for _, e in clock.trace),
        "iterations": result.iterations,
        "cpu": cpu,
        "parameters": own.stratum(PAIR).n_parameters,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["run", "table"], default="table")
    parser.add_argument("--units", nargs="+", type=int, default=[0, 4, 8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=1500)
    asked = parser.parse_args()
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {**machine(), "fits": {}}
    if asked.what == "run":
        for seed in asked.seeds:
            for units in asked.units:
                key = f"{asked.train}-{seed}-{units}"
                if key not in found["fits"]:
                    found["fits"][key] = one(seed, units, asked.train)
                    save(RESULT, found)
    print(f"{'crystals, seed, units':<24}{'meV/atom':>9}{'meV/Å':>7}{'valid.':>8}{'CPU s':>7}{'parameters':>12}")
    for key, f in found["fits"].items():
        text = f"{f['energy']:9.2f}{f['force']:7.1f}{f['validation']:8.3f}{f['cpu']:7.0f}{f['parameters']:12d}"
        print(f"{key.replace('-', ', '):<24}{text}")


if __name__ == "__main__":
    main()
