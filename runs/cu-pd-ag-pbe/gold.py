"""A fourth element: gold joins the library by 40 calculations; by reuse, and by starting over on the same data.

    python runs/cu-pd-ag-pbe/gold.py structures    # 40 crystals to learn from and 20 to judge by: gold.extxyz
    make pbe-gold                                  # their DFT labels; an hour
    python runs/cu-pd-ag-pbe/pretrain.py --join Au -o runs/cu-pd-ag-pbe/out/pretrained-gold    # of a pretrained library; minutes
    python runs/cu-pd-ag-pbe/gold.py compare       # prints, and writes gold.json

By reuse Au, CuAu, PdAu and AgAu are trained on top of Cu, Pd, Ag as the library has them, on the 40 alone (of which one family
in eight is held out, as ever): one after the other or all four at once; alone, or with gold drawn to silver's networks or,
where the library was pretrained, to those that pretrain.py has made of EMT's labels. Started over, each pair is fitted
together with its two elements, all from nothing, on the 40 and all crystals of Cu, Pd or Ag that the library was trained on.
All have committees of the library's recipe. Judged by the 20, which no fit has seen, errors over all and by pair.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from structures import (
    CLOSE_PACKED,
    HIGHEST,
    LARGEST,
    MAKERS,
    POOL,
    SEED,
    VOLUMES,
    diverse,
    equations_of_state,
    fitting,
    prototypes,
    snapshots,
    sound,
)

from evo.cell import Space
from potentials.dataset import Dataset, read_dataset
from potentials.jointly import plan_jointly, plan_together
from potentials.library import Library
from potentials.stratum import Stratum
from potentials.train import finish_all, fit_member, plan

HERE = Path(__file__).resolve().parent
OLD, GOLD = ("Cu", "Pd", "Ag"), Stratum.parse("Au")
PAIRS = tuple(Stratum.parse(f"{symbol}Au") for symbol in OLD)
LIKE = {79: 47}  # gold: silver
LEARN: dict[int, dict[str, int]] = {
    1: {"eos": 6, "near": 2, "snapshot": 2},
    2: {"prototype": 3, "near": 3, "snapshot": 3, "random": 1},
}
JUDGE = {"near": 7, "snapshot": 10, "random": 3}  # over the three pairs


def crystals() -> list[Atoms]:
    """All 60, each with its kind, family and `part`."""
    made = [atoms for stratum in (GOLD, *PAIRS) for atoms in _of(stratum, LEARN[stratum.order], "learn")]
    shares = {kind: [quota // 3 + (n < quota % 3) for n in range(3)] for kind, quota in JUDGE.items()}
    for n, stratum in enumerate(PAIRS):
        made += _of(stratum, {kind: shares[kind][n] for kind in JUDGE}, "judge")
    return made


def _of(stratum: Stratum, quotas: dict[str, int], part: str) -> list[Atoms]:
    rng = np.random.default_rng([SEED, ["learn", "judge"].index(part), *stratum.numbers])
    space = Space(stratum.numbers, (stratum.order, LARGEST), volumes={z: VOLUMES[z] for z in stratum.numbers})
    made: list[Atoms] = []
    for kind, quota in quotas.items():
        name = f"{part} {kind} {stratum.name}"
        if kind == "eos":
            pool = [a for a in equations_of_state(stratum) if a.info["family"].endswith("fcc")]
        elif kind == "prototype":
            pool = [a for a in prototypes(stratum) if a.info["family"].split()[1] in CLOSE_PACKED[2][:4]]
        elif kind == "snapshot":
            pool = [s for n in range(quota * POOL // 3) for s in snapshots(rng, space, f"{name} {n}")]
        else:
            pool = [a for a in (fitting(MAKERS[kind], rng, space) for _ in range(quota * POOL)) if sound(a, HIGHEST)]
        chosen = diverse(pool, quota, stratum, made)
        for n, atoms in enumerate(chosen):
            atoms.info = {"family": f"{name} {n}", "kind": kind, "part": part} | (
                {"family": atoms.info["family"]} if kind in ("eos", "prototype", "snapshot") else {}
            )
        made += chosen
    return made


def by_reuse(
    library: Library,
    data: Dataset,
    folder: Path,
    *,
    together: bool = False,
    like: dict[int, int] | None = None,
    pretrained: Library | None = None,
) -> tuple[dict[str, Library], dict[str, float]]:
    """The library with the four new strata, and CPU s of each training; what was there keeps its bytes."""
    mine = library.copy(folder / f"reuse {together} {like} {pretrained is not None}")
    if pretrained is not None:
        mine.draw_to(pretrained)
    before = {s.name: mine.content(s.name, mine.versions()[s.name]) for s in mine.strata()}
    seconds = {}
    for strata in ((GOLD, *PAIRS),) if together else ((s,) for s in (GOLD, *PAIRS)):
        if together:
            tasks = plan_together(mine, mine.versions(), data, strata, like=like)
        else:
            tasks = plan(mine, mine.versions(), data, strata[0], like=like)
        results = [fit_member(task) for task in tasks]
        seconds[" ".join(s.name for s in strata)] = tasks[0].seconds + sum(r.seconds for r in results)
        mine.add_all(finish_all(tasks, results))
    assert all(mine.content(name, mine.versions()[name]) == content for name, content in before.items())
    return {stratum.name: mine for stratum in PAIRS}, seconds


def started_over(library: Library, data: Dataset, folder: Path) -> tuple[dict[str, Library], dict[str, float]]:
    """A library of each pair, and CPU s of each fit."""
    made, seconds = {}, {}
    for stratum in PAIRS:
        mine = Library.create(folder / stratum.name, library.recipe)
        tasks = plan_jointly(library.recipe, data, stratum)
        results = [fit_member(task) for task in tasks]
        seconds[stratum.name] = tasks[0].seconds + sum(r.seconds for r in results)
        mine.add_all(finish_all(tasks, results))
        made[stratum.name] = mine
    return made, seconds


def judged(libraries: dict[str, Library], test: Dataset) -> dict[str, dict[str, float]]:
    """By pair and over all: RMSE and median in meV/atom, RMSE of forces in meV/Å."""
    names = np.array([s.name for s in test.strata()])
    missed, forces, found = np.zeros(len(test)), np.zeros_like(test.labels.forces), {}
    for stratum in PAIRS:
        mine = np.flatnonzero(names == stratum.name)
        own = test.select(mine.tolist())
        said = libraries[stratum.name].assemble(stratum).evaluate(own.structures)
        missed[mine] = 1e3 * (said.energies - own.labels.energies) / own.structures.sizes
        forces[np.isin(np.repeat(np.arange(len(test)), test.structures.sizes), mine)] = 1e3 * (
            said.forces - own.labels.forces
        )
    for name in (*(s.name for s in PAIRS), "all"):
        rows = np.ones(len(test), dtype=bool) if name == "all" else names == name
        atoms = np.repeat(rows, test.structures.sizes)
        found[name] = {
            "crystals": int(rows.sum()),
            "energy": float(np.sqrt(np.mean(missed[rows] ** 2))),
            "median": float(np.median(np.abs(missed[rows]))),
            "force": float(np.sqrt(np.mean(forces[atoms] ** 2))),
        }
    return found


def compare(name: str, labels: Path, pretrained: Path, output: Path) -> None:
    library, gold = Library.open(name), read_dataset(labels)
    judging = np.array([family.startswith("judge") for family in gold.families])
    old = library.data()
    # the two methods differ in nothing but gold's Pulay constant
    learn = gold.select(np.flatnonzero(~judging).tolist())
    learn = replace(learn, methods=old.methods[:1] * len(learn))
    test = gold.select(np.flatnonzero(judging).tolist())
    elements = old.select([c for c, s in enumerate(old.strata()) if s.name in OLD])
    fitted = len(learn.training())
    result: dict[str, Any] = {"library": library.version(), "labels": len(learn), "fitted": fitted, "test": len(test)}
    print(
        f"{len(learn)} crystals to learn from ({fitted} fitted), {len(test)} to judge by; RMSE, median (meV/atom), forces (meV/Å)"
    )
    ways = [
        ("reuse", learn, by_reuse),
        ("reuse, like Ag", learn, partial(by_reuse, like=LIKE)),
        ("reuse, together", learn, partial(by_reuse, together=True)),
        ("reuse, together, like Ag", learn, partial(by_reuse, together=True, like=LIKE)),
        ("started over", elements.followed_by(learn), started_over),
    ]
    if library.pretrained is not None:
        emt = Library.open(pretrained)
        ways.insert(2, ("reuse, pretrained", learn, partial(by_reuse, pretrained=emt)))
        ways.insert(5, ("reuse, together, pretrained", learn, partial(by_reuse, together=True, pretrained=emt)))
    with tempfile.TemporaryDirectory() as folder:
        for way, data, train in ways:
            libraries, seconds = train(library, data, Path(folder))
            errors = judged(libraries, test)
            result[way] = {"errors": errors, "training": seconds, "labels_seconds": float(data.seconds.sum())}
            spent = f"labels {data.seconds.sum() / 3600:.2f} CPU h, training {sum(seconds.values()):.1f} CPU s"
            columns = "; ".join(
                f"{n} {e['energy']:.1f}, {e['median']:.1f}; {e['force']:.0f}" for n, e in errors.items()
            )
            print(f"{way:>27}: {columns}; {spent}", flush=True)
    output.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["structures", "compare"])
    parser.add_argument("--library", default="cu-pd-ag-pbe")
    parser.add_argument("--structures", type=Path, default=HERE / "gold.extxyz")
    parser.add_argument("--labels", type=Path, default=HERE / "gold-labels.extxyz.xz")
    parser.add_argument("--pretrained", metavar="LIB", type=Path, default=HERE / "out" / "pretrained-gold")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "gold.json")
    asked = parser.parse_args()
    if asked.what == "compare":
        compare(asked.library, asked.labels, asked.pretrained, asked.output)
        return
    made = crystals()
    write(asked.structures, made, format="extxyz")
    print(f"{len(made)} structures in {asked.structures}")


if __name__ == "__main__":
    main()
