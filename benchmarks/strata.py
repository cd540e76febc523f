"""Stratified training against training everything at once: Cu, Pd, Ag, their pairs and the triple, labels of UNEP-v1.

    python benchmarks/strata.py run [--recipes default vp2017] [--seeds 0 1 2] [--train 1500] [--ordered]
    python benchmarks/strata.py table
    python benchmarks/strata.py --quick

Both ways have the same architecture, data, optimiser (Levenberg-Marquardt), validation crystals and stopping rule; from
scratch, a compound is fitted together with all crystals of its subsets; bottom up, the default recipe refines pairs and the
triple. `run` is resumable (each stratum once; libraries in benchmarks/cache/strata) and writes
benchmarks/strata/<recipe>-<seed>.json; `table` prints them. Errors are those of a single network on test crystals whose
formation energy is up to 0.6 eV/atom above the lowest of their set. `sooner`: CPU time of the fit from scratch until its best
validation, over the CPU time in which the new stratum alone reaches an error no larger. --ordered: a tenth of each training set
are low ordered crystals, in place of as many others; of that the results are ordered-<seed>.json, of the default recipe.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from unep_data import ORDERED, POTENTIAL, SHARES, Unep, formation_energies, make

from potentials.dataset import Dataset
from potentials.fit import Problem
from potentials.jointly import plan_jointly
from potentials.library import Library
from potentials.recipe import RECIPES, Recipe
from potentials.refine import finish_refined, plan_refined, refines
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.task import FitResult, FitTask
from potentials.train import finish_all, fit_member, plan

HERE = Path(__file__).resolve().parent
RESULTS, CACHE = HERE / "strata", HERE / "cache"
SYSTEM = "CuPdAg"
CEILING = 0.6  # eV/atom above the lowest test crystal
UNITS = (0.004, 0.06)  # eV/atom, eV/Å: what the two validation errors are divided by
PROPERTIES = ("vacancy", "formation", "phonons")
COMMON = ("B2", "L1_0", "L1_1", "L1_2", "D0_23")


class Clock:
    """CPU seconds of a fit and its validation error on crystals of one set of elements, after each step."""

    def __init__(self, elements: Stratum) -> None:
        self.elements, self.spent, self.last = elements.numbers, 0.0, time.process_time()
        self.trace: list[tuple[float, float]] = []
        self.file: Path | None = None

    def __call__(self, problem: Problem, p: Floats) -> None:
        self.spent += time.process_time() - self.last
        self.trace.append((self.spent, self._error(problem, p)))
        if self.file is not None:
            self.file.write_text(json.dumps(self.trace))
        self.last = time.process_time()  # what the look costs is nobody's

    def beside(self, checkpoint: Path) -> Path:
        """The checkpoint of the fit; the trace lies beside it, so that a fit which was cut has one too."""
        self.file = checkpoint.with_suffix(".trace")
        if checkpoint.exists() and self.file.exists():
            self.trace = [(t, e) for t, e in json.loads(self.file.read_text())]
            self.spent = self.trace[-1][0] if self.trace else 0.0
        return checkpoint

    def forget(self) -> None:
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def _error(self, problem: Problem, p: Floats) -> float:
        energies, forces = [], []
        for batch, validating in problem.batches:
            if tuple(c.element for c in batch.centres) != self.elements or not validating.any():
                continue
            n = sum(c.f.shape[1] for c in batch.centres)
            missed = (problem.predictions(p, batch) - batch.targets)[validating]
            calm = batch.weights[validating][:, 0] > 0.5 * batch.weights[:, 0].max()
            energies.append(missed[calm, 0] / n / UNITS[0])
            forces.append(missed[calm, 1 : 1 + 3 * n].ravel() / UNITS[1])
        return float(np.sqrt(sum(np.mean(np.concatenate(x) ** 2) for x in (energies, forces))))


def errors(library: Library, stratum: Stratum, test: Dataset) -> dict[str, float]:
    """meV/atom and meV/Å."""
    predicted, sizes = library.assemble(stratum).evaluate(test.structures), test.structures.sizes
    height = formation_energies(test, Unep())
    low = height <= height.min() + CEILING
    missed = (predicted.energies - test.labels.energies) / sizes
    forces = predicted.forces - test.labels.forces
    worst = np.quantile(np.abs(missed[low]), 0.95)
    rms: Callable[[Floats], float] = lambda x: 1e3 * float(np.sqrt(np.mean(x * x)))  # noqa: E731
    return {
        "energy": rms(missed[low]),
        "force": rms(forces[np.repeat(low, sizes)]),
        "energy_trimmed": rms(missed[low][np.abs(missed[low]) <= worst]),
        "energy_median": 1e3 * float(np.median(np.abs(missed[low]))),
        "energy_all": rms(missed),
        "force_all": rms(forces),
        "standard_error": 1e3
        * float(np.std(missed[low] ** 2) / np.sqrt(low.sum()) / 2 / np.sqrt(np.mean(missed[low] ** 2))),
    }


def fit(library: Library, stratum: Stratum, data: Dataset, test: Dataset, joint: bool) -> dict[str, Any]:
    """Train the stratum (or everything up to it) into the library; errors, both clocks, trace."""
    cpu, wall = time.process_time(), time.perf_counter()
    if joint:
        tasks = plan_jointly(library.recipe, data, stratum)
    else:
        tasks = plan(library, library.versions(), data, stratum)
    planned, clocks = time.process_time() - cpu, [Clock(stratum) for _ in tasks]
    results = fit_all(library, tasks, clocks, f"{stratum.name}.{joint:d}")
    made, spent = finish_all(tasks, results), planned + sum(r.seconds for r in results)
    iterations = [r.iterations for r in results]
    if not joint and refines(library.recipe, data, stratum):
        below = [library.stratum(s) for s in stratum.subsets() if s != stratum]
        tasks = plan_refined(library.recipe, data, made[0], below)
        results = fit_all(library, tasks, clocks, f"{stratum.name}.refined")
        made, spent = [finish_refined(tasks, results, made[0])], spent + sum(r.seconds for r in results)
        iterations += [r.iterations for r in results]
    wall = time.perf_counter() - wall
    before = {s.name: library.stratum(s).content_hash() for s in library.strata()}
    for trained in made:
        library.add(trained)
    if not joint:
        assert all(
            library.stratum(Stratum.parse(n)).content_hash() == h for n, h in before.items() if n != stratum.name
        )
    return {
        **errors(library, stratum, test),
        "cpu": spent,
        "wall": wall,
        "iterations": iterations,
        "trace": [[round(t, 2), round(e, 4)] for t, e in clocks[0].trace],
    }


def fit_all(library: Library, tasks: Sequence[FitTask], clocks: Sequence[Clock], name: str) -> list[FitResult]:
    """One member after another; what a clock has seen of the member before goes on."""
    results = []
    for task, clock in zip(tasks, clocks, strict=True):
        checkpoint = clock.beside(library.path / f"{name}.{task.member}.npz")
        clock.last = time.process_time()
        results.append(fit_member(task, clock, checkpoint))
        clock.forget()
    return results


def run_one(
    name: str,
    recipe: Recipe,
    seed: int,
    sizes: tuple[int, int],
    cache: Path,
    system: Stratum,
    published: Path | None = None,
    shares: Mapping[str, float] = SHARES,
) -> dict[str, Any]:
    """All strata of `system` bottom up, then from scratch; what is there already is not computed again.

    published: where what there is stands after every step, with properties of the libraries; left out: neither.
    """
    recipe = replace(recipe, members=1, fitting=replace(recipe.fitting, seed=seed))
    path = cache / f"{name}-{seed}" / "result.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"stratified": {}, "scratch": {}}
    sets = {s: make(s.name, *sizes, 8, 0, CACHE / "unep", shares=shares) for s in system.subsets()}
    bottom_up = path.parent / "stratified"

    def keep() -> None:
        save(path, found)
        if published is not None:
            save(published, {**machine(), "train": sizes[0], **found})

    def assess(way: str, directory: Path) -> None:
        if published is not None and way not in found.setdefault("properties", {}):
            found["properties"][way] = properties(Library.open(directory), path.parent / "answers.jsonl")
            keep()

    for joint in (False, True):
        for stratum in system.subsets():
            if joint and stratum.order == 1:
                continue
            way = "scratch" if joint else "stratified"
            directory = path.parent / f"scratch-{stratum.name}" if joint else bottom_up
            if stratum.name not in found[way]:
                data = merged([sets[s][0] for s in stratum.subsets()])
                found[way][stratum.name] = fit(opened(directory, recipe), stratum, data, sets[stratum][1], joint)
                keep()
            print(line(stratum.name, found), flush=True)
            if joint:
                assess(stratum.name, directory)
        if not joint:
            assess(way, bottom_up)
    return found


def properties(library: Library, answers: Path) -> dict[str, Any]:
    """Deviations from UNEP-v1: vacancies in eV and formation energies in meV/atom by crystal; phonons as assessed."""
    from potentials.assess import Reference, Side, assess

    reference = Side.of_reference(Reference.load("unep_data:Unep", {}, answers))
    found = assess(library, reference, properties=PROPERTIES)
    rows = [c for c in found.compared if np.isfinite(c.difference)]
    return {
        "vacancy": {f"{c.subject}, {c.quantity}": c.difference for c in rows if c.topic == "vacancy"},
        "formation": {c.subject: c.difference for c in rows if c.quantity == "formation energy"},
        "phonons": [[d.subject, d.quantity, d.unit, d.value] for d in found.deviations if d.topic == "phonons"],
        "reference": dict(found.cost),
    }


def opened(path: Path, recipe: Recipe) -> Library:
    return Library.open(path) if (path / "library.json").exists() else Library.create(path, recipe)


def merged(sets: Sequence[Dataset]) -> Dataset:
    whole = sets[0]
    for more in sets[1:]:
        whole = whole.merge(more)
    return whole


def sooner(stratified: Mapping[str, Any], scratch: Mapping[str, Any]) -> float:
    """How many times sooner the new stratum reaches the best validation error from scratch; 0 where it never does."""
    best = min(e for _, e in scratch["trace"])
    when = next(t for t, e in scratch["trace"] if e == best)
    reached = [t for t, e in stratified["trace"] if e <= best]
    return when / max(reached[0], 0.01) if reached else 0.0


def line(name: str, found: Mapping[str, Any]) -> str:
    """One row of the table."""
    s, f = found["stratified"][name], found["scratch"].get(name)
    text = f"{name:<8}{s['energy']:7.2f}{s['force']:7.1f}{s['energy_median']:7.2f}{s['cpu']:8.1f}{s['wall']:8.1f}"
    if f is None:
        return text
    best = min(e for _, e in f["trace"]), min(e for _, e in s["trace"])
    return (
        f"{text}  |{f['energy']:7.2f}{f['force']:7.1f}{f['energy_median']:7.2f}{f['cpu']:8.1f}{f['wall']:8.1f}  |"
        f"{s['energy'] / f['energy']:6.2f}{allowed(s, f):6.2f}{s['force'] / f['force']:7.2f}"
        f"{best[1] / best[0]:7.2f}{sooner(s, f):8.1f}"
    )


def allowed(stratified: Mapping[str, Any], scratch: Mapping[str, Any]) -> float:
    """The largest ratio of energy errors: 1.05 and one standard error of the stratified one."""
    return float(1.05 + stratified["standard_error"] / scratch["energy"])


HEADER = (
    f"{'':<8}{'stratified':^37}  |{'from scratch':^37}  |{'ratio':>6}{'limit':>6}{'forces':>7}{'valid.':>7}{'sooner':>8}\n"
    f"{'':<8}" + 2 * f"{'meV/at':>7}{'meV/Å':>7}{'median':>7}{'CPU s':>8}{'wall s':>8}  |"
)


def save(path: Path, found: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1))
    partial.rename(path)


def machine() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE, check=False
    )
    return {
        "machine": platform.processor() or platform.machine(),
        "system": platform.platform(),
        "commit": commit.stdout.strip(),
    }


def table() -> None:
    """The committed results: medians over seeds."""
    for recipe in (*RECIPES, "ordered"):
        found = [json.loads(p.read_text()) for p in sorted(RESULTS.glob(f"{recipe}-*.json"))]
        if not found:
            continue
        print(f"{recipe}: single network, of {len(found)} seeds the one with the median ratio (of an element: error)")
        print(HEADER)
        for stratum in Stratum.parse(SYSTEM).subsets():
            name = stratum.name
            have = [f for f in found if name in f["stratified"] and (stratum.order == 1 or name in f["scratch"])]
            if have:
                print(line(name, sorted(have, key=partial(_ratio, name))[len(have) // 2]))
        print("by seed: ratio, how many times sooner")
        for name in (s.name for s in Stratum.parse(SYSTEM).subsets() if s.order > 1):
            have = [f for f in found if name in f["scratch"]]
            seeds = (f"{_ratio(name, f):.2f} {sooner(f['stratified'][name], f['scratch'][name]):5.1f}" for f in have)
            print(f"{name:<8}" + "  |  ".join(seeds))
        print("largest differences from UNEP-v1, by seed: vacancies eV; formation energies meV/atom, of all phases")
        print(f"and of {', '.join(COMMON)}; phonons %, RMS over RMS and RMS of relative differences")
        for way in ("stratified", *(s.name for s in Stratum.parse(SYSTEM).subsets() if s.order > 1)):
            have = [largest(f["properties"][way]) for f in found if way in f.get("properties", {})]
            if have:
                print(f"{way:<12}" + "  |  ".join("{:.3f}  {:.1f} ({}) {:.1f}  {:.1f} {:.1f}".format(*h) for h in have))


def largest(p: Mapping[str, Any]) -> tuple[float, float, str, float, float, float]:
    """Of one library: vacancy, formation energy, of which phase, the same of COMMON phases, the two measures of phonons."""
    worst = max(p["formation"], key=lambda name: abs(p["formation"][name]))
    common = [abs(d) for name, d in p["formation"].items() if name.split()[-1] in COMMON]
    phonons = [
        max((v for _, quantity, _, v in p["phonons"] if quantity.startswith(measure)), default=float("nan"))
        for measure in ("RMS /", "RMS of relative")
    ]
    return max(map(abs, p["vacancy"].values())), abs(p["formation"][worst]), worst, max(common), phonons[0], phonons[1]


def _ratio(name: str, found: Mapping[str, Any]) -> float:
    over = found["scratch"][name]["energy"] if name in found["scratch"] else 1.0
    return float(found["stratified"][name]["energy"] / over)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["run", "table"], default="table")
    parser.add_argument("--recipes", nargs="+", default=["default", "vp2017"], choices=list(RECIPES))
    parser.add_argument("--ordered", action="store_true", help="the default recipe on sets with low ordered crystals")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument(
        "--quick", action="store_true", help="Cu, Pd, CuPd with 200 crystals each, default recipe, one seed"
    )
    chosen = parser.parse_args()
    if not POTENTIAL.exists():
        raise SystemExit(f"{POTENTIAL.name} is not there; it belongs beside the repository, in shared/unep")
    if chosen.quick:
        found = run_one(
            "trial",
            RECIPES["default"],
            0,
            (200, 100),
            CACHE / "strata" / f"trial-{time.time_ns()}",
            Stratum.parse("CuPd"),
        )
        s, f = found["stratified"]["CuPd"], found["scratch"]["CuPd"]
        print(
            f"CuPd, 200 crystals per stratum: stratified {s['energy']:.1f} meV/atom in {s['cpu']:.1f} CPU s, "
            f"from scratch {f['energy']:.1f} meV/atom in {f['cpu']:.1f} CPU s, reached {sooner(s, f):.1f} times sooner"
        )
    elif chosen.what == "run":
        sizes, system = (chosen.train, chosen.test), Stratum.parse(SYSTEM)
        recipes = (
            {"ordered": RECIPES["default"]} if chosen.ordered else {name: RECIPES[name] for name in chosen.recipes}
        )
        shares = ORDERED if chosen.ordered else SHARES
        for seed in chosen.seeds:
            for name, recipe in recipes.items():
                print(f"{name}, seed {seed}\n{HEADER}", flush=True)
                run_one(name, recipe, seed, sizes, CACHE / "strata", system, RESULTS / f"{name}-{seed}.json", shares)
    else:
        table()


if __name__ == "__main__":
    main()
