"""Ni and Al join a library of Cu, Pd, Ag: new elements and pairs only, against starting over. Labels of UNEP-v1.

    python benchmarks/adding.py run [--train 1500]
    python benchmarks/adding.py table

By reuse every new pair is trained on its two elements, which stay as they are to the bit, and refined; started over, each pair
is trained with all crystals of its elements. Same architecture (default recipe, one network), optimiser, validation and data.
Resumable by stratum; libraries in benchmarks/cache/adding; result in benchmarks/adding.json. Errors as in strata.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from strata import HEADER, fit, line, machine, merged, opened, save
from unep_data import make

from potentials.library import Library
from potentials.recipe import RECIPES
from potentials.stratum import Stratum

HERE = Path(__file__).resolve().parent
RESULT, CACHE = HERE / "adding.json", HERE / "cache"
OLD, NEW = ("Cu", "Pd", "Ag"), ("Ni", "Al")


def strata() -> list[Stratum]:
    """The old elements, the new ones, and every pair with a new one, canonical order."""
    elements = Stratum.parse("".join((*OLD, *NEW)))
    return [s for s in elements.subsets() if s.order == 1 or (s.order == 2 and set(s.symbols) & set(NEW))]


def run(train: int) -> None:
    recipe = replace(RECIPES["default"], members=1)
    library = opened(CACHE / "adding" / "reuse", recipe)
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"stratified": {}, "scratch": {}}
    print(HEADER)
    for stratum in strata():
        sets = {s: make(s.name, train, 500, 8, 0, CACHE / "unep") for s in stratum.subsets()}
        (data, test), whole = sets[stratum], merged([sets[s][0] for s in stratum.subsets()])
        if stratum.name not in found["stratified"] or stratum.name not in library.versions():
            before = {
                s.name: library.content(s.name, v)
                for s, v in zip(library.strata(), library.versions().values(), strict=True)
            }
            found["stratified"][stratum.name] = {
                **fit(library, stratum, whole, test, joint=False),
                "labels": float(data.seconds.sum()),
            }
            assert all(library.content(name, library.versions()[name]) == content for name, content in before.items())
            save(RESULT, {**found, **machine(), "train": train})
        if stratum.order > 1 and stratum.name not in found["scratch"]:
            with tempfile.TemporaryDirectory() as folder:
                scratch = Library.create(Path(folder) / "library", recipe)
                found["scratch"][stratum.name] = {
                    **fit(scratch, stratum, whole, test, joint=True),
                    "labels": float(whole.seconds.sum()),
                }
            save(RESULT, {**found, **machine(), "train": train})
        print(line(stratum.name, found), flush=True)


def table() -> None:
    found = json.loads(RESULT.read_text())
    print(HEADER)
    for stratum in strata():
        if stratum.name in found["stratified"] and (stratum.order == 1 or stratum.name in found["scratch"]):
            print(line(stratum.name, found))
    new = [s.name for s in strata() if set(s.symbols) & set(NEW)]
    for way, names in (("stratified", new), ("scratch", [n for n in new if n in found["scratch"]])):
        rows = [found[way][n] for n in names if n in found[way]]
        hours = [sum(r[name] for r in rows) / 3600 for name in ("cpu", "labels")]
        print(f"{way}: training {hours[0]:.3f} CPU h, labels {hours[1]:.4f} CPU h")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--train", type=int, default=1500)
    chosen = parser.parse_args()
    if chosen.what == "run":
        run(chosen.train)
    table()


if __name__ == "__main__":
    main()
