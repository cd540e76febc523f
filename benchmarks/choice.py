"""How many calls of the reference until the hull is known, by who chooses: pools of 5,000 crystals labelled by UNEP-v1.

    python benchmarks/choice.py run [--systems Cu-Pd-Ag ...] [--seeds 0 1 ...]
    python benchmarks/choice.py table
    python benchmarks/choice.py --quick

Every rule begins with the same labels, about 20 crystals of each set of elements drawn by the seed and the lowest crystal of
each element, and the same networks trained on them. Then batches are labelled, ten at a time (later a tenth of what was asked so
far), and strata that erred are retrained as in a campaign (evo/learn.py), until no phase of the pool's hull lies more than
5 meV/atom below the hull of what is labelled. Counted are the calls after the common beginning; the last batch only as far as it
was needed.

- ours: evo.which.choose, what campaigns do;
- lowest: the lowest formation energy by the network first; spread: the largest spread of the committee first; random;
- above: the lowest above the hull of the labels so far first, by the network: greedier than what the comparison asks for.

The other rules end, with "more than", at four times the calls that ours took with the same seed. `run` is resumable, seed by
seed; the results are benchmarks/choice/<system>.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from choice_pool import CACHE, SIZE, SYSTEMS, pool, stratum_of, truth
from numpy.typing import NDArray
from strata import machine, save

from evo import choice as which
from evo import learn
from evo.archive import Archive
from evo.candidate import Candidate, Energy, Origin
from evo.cell import counts_of
from evo.hull import Hull
from evo.prospects import LOW_LYING
from evo.reference.cost import predicted_seconds
from evo.settings import GateSection, ReferenceSection, SearchSection
from potentials.calibration import Calibration
from potentials.dataset import Dataset
from potentials.library import Library
from potentials.network import Shape
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.train import finish, fit_member, plan

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "choice"
SEEDS = range(20)
NEAR = 0.005  # eV/atom
EACH = 20  # crystals of each set of elements to begin with
BATCH, GROWTH = 10, 0.1
GIVEN_UP = 4  # times the calls of ours
NEVER = 400  # calls after which ours is given up
RECIPE = Recipe(Shape(6.0, n_max=3, l_max=2, n_pair=6), hidden=6, members=4)
RETRAINING = 6  # iterations
WINDOW = 0.1  # eV/atom: wide, as the first networks err by half of that
REFERENCE = "ref:pool"
SECTION = ReferenceSection()  # a calculator: its calls cost in proportion to the atoms


class Pool:
    """The crystals with the truth about them."""

    def __init__(self, system: str, size: int = SIZE) -> None:
        self.elements = stratum_of(system)
        self.data = pool(system, size)
        self.crystals = self.data.structures.to_ase()
        self.counts = [counts_of(a.numbers) for a in self.crystals]
        self.energies: Floats = self.data.labels.energies / self.data.structures.sizes
        self.strata = self.data.strata()
        hull, self.above = truth(self.data)
        self.phases = [int(v) for v in hull.vertices]

    def hull(self, labelled: list[int]) -> Hull:
        """Of what is labelled."""
        return Hull.of([(self.counts[i], float(self.energies[i]), REFERENCE, f"{i:05d}") for i in labelled])

    def gap(self, labelled: list[int]) -> float:
        """eV/atom by which a phase of the pool's hull lies below the hull of what is labelled, at most."""
        known = self.hull(labelled).energies([self.counts[p] for p in self.phases])
        return float((known - self.energies[self.phases]).max())

    def beginning(self, seed: int) -> list[int]:
        rng = np.random.default_rng([seed, 2026])
        chosen: set[int] = set()
        for stratum in self.elements.subsets():
            own = [i for i, s in enumerate(self.strata) if s == stratum]
            chosen |= {int(i) for i in rng.choice(own, min(EACH, len(own)), replace=False)}
            if stratum.order == 1:
                chosen.add(min(own, key=lambda i: self.energies[i]))
        return sorted(chosen)


@dataclass
class State:
    """What a rule sees: the labels so far, and what the networks say of every crystal of the pool."""

    pool: Pool
    library: Library
    versions: dict[str, int]
    labelled: list[int]
    energies: Floats
    spreads: Floats
    grades: Floats
    calibration: Calibration | None
    seed: int

    def open(self) -> NDArray[np.bool_]:
        result = np.ones(len(self.energies), dtype=bool)
        result[self.labelled] = False
        return result


def ours(state: State, n: int) -> list[int]:
    archive = Archive("nn", REFERENCE, GateSection(), SearchSection().niche_size, SearchSection().duplicate_distance)
    labelled, hull = set(state.labelled), state.pool.hull(state.labelled)
    height = hull.above_many(state.pool.counts, state.energies)
    for i, atoms in enumerate(state.pool.crystals):
        if i not in labelled and height[i] > 2 * WINDOW:
            continue
        size = len(atoms)
        energies = {"nn": Energy("nn", float(state.energies[i]) * size, float(state.spreads[i]) * size)}
        if i in labelled:
            energies[REFERENCE] = Energy(REFERENCE, float(state.pool.energies[i]) * size)
        name = f"{i:05d}"
        archive.members[name] = Candidate(name, atoms, Origin("pool"), energies, grade=float(state.grades[i]))
    judge = which.Judge(state.calibration, lambda atoms: predicted_seconds(SECTION, atoms))
    return [int(c.id) for c in which.choose(archive, REFERENCE, (), n, WINDOW, hull, judge)]


def lowest(state: State, n: int) -> list[int]:
    ends = state.pool.hull(state.labelled).end_members
    formation = [
        e - sum(m * ends[z] for z, m in c.items()) / sum(c.values())
        for c, e in zip(state.pool.counts, state.energies, strict=True)
    ]
    return _first(state, np.array(formation), n)


def above(state: State, n: int) -> list[int]:
    return _first(state, state.pool.hull(state.labelled).above_many(state.pool.counts, state.energies), n)


def spread(state: State, n: int) -> list[int]:
    return _first(state, -state.spreads, n)


def _first(state: State, values: Floats, n: int) -> list[int]:
    return [int(i) for i in np.argsort(np.where(state.open(), values, np.inf), kind="stable")[:n]]


RULES: dict[str, Callable[[State, int], list[int]]] = {
    "ours": ours,
    "above": above,
    "lowest": lowest,
    "spread": spread,
}


def begin(the_pool: Pool, seed: int, directory: Path) -> State:
    """Networks trained on the beginning, from scratch."""
    shutil.rmtree(directory, ignore_errors=True)
    library = Library.create(directory, RECIPE)
    labelled = the_pool.beginning(seed)
    nothing = np.zeros(len(the_pool.energies))
    state = State(the_pool, library, {}, labelled, nothing, nothing, nothing, None, seed)
    _train(state, learn.strata_to_train(the_pool.elements.numbers), None)
    return state


def _train(state: State, strata: list[Stratum], iterations: int | None) -> None:
    data = state.pool.data.select(state.labelled)
    for stratum in strata:
        tasks = plan(state.library, state.versions, data, stratum, iterations=iterations)
        made = finish(tasks, [fit_member(task) for task in tasks])
        state.versions[stratum.name] = state.library.add(made)
    _predict(state, data)


def _predict(state: State, data: Dataset) -> None:
    potential = state.library.assemble(state.pool.elements, versions=state.versions)
    structures = state.pool.data.structures
    predicted = potential.evaluate(structures)
    state.energies, state.spreads = predicted.energies / structures.sizes, predicted.spreads / structures.sizes
    state.grades = potential.grades(structures)
    state.calibration = which.calibrated(potential, _low_lying(data.held_out(), state.pool.hull(state.labelled)))


def _low_lying(data: Dataset, hull: Hull) -> Dataset:
    """As evo.known.Known.low_lying has it."""
    if not len(data):
        return data
    crystals = [counts_of(atoms.numbers) for atoms in data.structures.to_ase()]
    above = hull.above_many(crystals, data.labels.energies / data.structures.sizes)
    return data.select(np.flatnonzero(above <= LOW_LYING))


def _learn(state: State, new: list[int]) -> None:
    """As in a campaign: the strata that erred, and those above them."""
    errors: dict[Stratum, list[float]] = {}
    for i in new:
        errors.setdefault(state.pool.strata[i], []).append(float(state.energies[i] - state.pool.energies[i]))
    missed = [s for s, e in errors.items() if np.sqrt(np.mean(np.square(e))) > learn.ERRED]
    known = state.library.strata()
    missed = learn.trainable(sorted(missed, key=Stratum.sort_key), known, state.pool.data.select(state.labelled))
    if missed:
        _train(state, learn.with_those_above(missed, known), RETRAINING)


def calls(state: State, rule: Callable[[State, int], list[int]], most: int) -> int | None:
    """After the beginning, until the gap is closed; None when `most` were not enough."""
    first = len(state.labelled)
    while state.pool.gap(state.labelled) > NEAR:
        spent = len(state.labelled) - first
        if spent >= most:
            return None
        new = rule(state, max(BATCH, round(GROWTH * spent)))
        if not new:
            return None
        state.labelled = state.labelled + new
        if state.pool.gap(state.labelled) > NEAR:
            _learn(state, new)
    return _needed(state.pool, state.labelled, first)


def at_random(the_pool: Pool, seed: int) -> int:
    """Calls in random order; no network has a say."""
    labelled = the_pool.beginning(seed)
    others = np.setdiff1d(np.arange(len(the_pool.energies)), labelled)
    order = np.random.default_rng([seed, 7]).permutation(others).tolist()
    return _needed(the_pool, labelled + order, len(labelled))


def _needed(the_pool: Pool, labelled: list[int], first: int) -> int:
    """Of these calls, how many from `first` on close the gap: bisection, the gap never grows."""
    low, high = 0, len(labelled) - first
    while low < high:
        middle = (low + high) // 2
        if the_pool.gap(labelled[: first + middle]) <= NEAR:
            high = middle
        else:
            low = middle + 1
    return low


def one_seed(
    the_pool: Pool, seed: int, directory: Path, rules: list[str], found: dict[str, Any], keep: Callable[[], None]
) -> None:
    """Adds to `found` what it lacks, rule by rule; `keep` is called after each."""
    missing = [r for r in rules if r not in found.get("calls", {}) and r not in found.get("more_than", {})]
    if not found:
        found |= {**machine(), "beginning": len(the_pool.beginning(seed)), "calls": {}, "more_than": {}, "cpu": {}}
        found["calls"]["random"] = at_random(the_pool, seed)
    if not missing:
        return
    start = begin(the_pool, seed, directory)
    for name in missing:
        started = time.process_time()
        copied = directory.with_name(f"{directory.name}-{name}")
        shutil.rmtree(copied, ignore_errors=True)
        state = replace(start, library=start.library.copy(copied), versions=dict(start.versions))
        mine = found["calls"].get("ours", found["more_than"].get("ours", NEVER))
        most = NEVER if name == "ours" else GIVEN_UP * max(mine, BATCH)
        needed = calls(state, RULES[name], most)
        if needed is None:
            found["more_than"][name] = most
        else:
            found["calls"][name] = needed
        found["cpu"][name] = round(time.process_time() - started, 1)
        shutil.rmtree(copied)
        keep()
    shutil.rmtree(directory, ignore_errors=True)


def run(systems: list[str], seeds: list[int], rules: list[str]) -> None:
    """Seed by seed, all systems of one seed before the next; what is there is not run again."""
    pools: dict[str, Pool] = {}
    for seed in seeds:
        for system in systems:
            path = RESULTS / f"{system}.json"
            known = json.loads(path.read_text()) if path.exists() else {}
            found = known.setdefault(str(seed), {})
            pools[system] = pools.get(system) or Pool(system)
            directory = CACHE / f"library-{system}-{seed}"
            one_seed(pools[system], seed, directory, rules, found, partial(save, path, known))
            print(system, seed, line(found), flush=True)
    table()


def line(found: dict[str, Any]) -> str:
    told = {**{k: str(v) for k, v in found["calls"].items()}, **{k: f">{v}" for k, v in found["more_than"].items()}}
    return " ".join(f"{k} {v}" for k, v in sorted(told.items())) + f" ({sum(found['cpu'].values()):.0f} CPU s)"


def median(found: list[dict[str, Any]], rule: str) -> tuple[float, bool]:
    """Median calls, and whether it is only a lower bound because runs were given up; NaN where there is none."""
    values = [(float(f["calls"][rule]), False) for f in found if rule in f["calls"]]
    values += [(float(f["more_than"][rule]), True) for f in found if rule in f["more_than"]]
    ordered = sorted(values)
    middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
    if not middle:
        return float("nan"), False
    return float(np.mean([v for v, _ in middle])), any(given_up for _, given_up in middle)


def table() -> None:
    print(
        f"{'system':<10}{'seeds':>6}"
        + "".join(f"{r:>10}" for r in ("ours", "above", "lowest", "spread", "random", "ratio"))
    )
    for system in SYSTEMS:
        path = RESULTS / f"{system}.json"
        if path.exists():
            print(row(system, list(json.loads(path.read_text()).values())))


def row(system: str, found: list[dict[str, Any]]) -> str:
    """Medians; the ratio is the best of lowest, spread and random over ours."""
    found = [f for f in found if "ours" in {**f["calls"], **f["more_than"]}]
    medians = {rule: median(found, rule) for rule in (*RULES, "random")}
    best = min((medians[r] for r in ("lowest", "spread", "random") if medians[r][0] > 0), key=lambda m: m[0])
    ratio = best[0] / medians["ours"][0]
    texts = [f"{'>' if more else ''}{value:.0f}" for value, more in medians.values()]
    return f"{system:<10}{len(found):>6}" + "".join(
        f"{t:>10}" for t in [*texts, f"{'>' if best[1] else ''}{ratio:.1f}"]
    )


def quick() -> None:
    """One seed on a small pool."""
    found: dict[str, Any] = {}
    one_seed(Pool("Cu-Pd-Ag", 400), 1000, CACHE / "library-quick", ["ours", "lowest"], found, lambda: None)
    print("Cu-Pd-Ag, pool of 400:", line(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["run", "table"])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    if chosen.quick:
        quick()
    elif chosen.what == "run":
        run(chosen.systems, chosen.seeds, chosen.rules)
    else:
        table()


if __name__ == "__main__":
    main()
