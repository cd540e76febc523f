"""Which candidates go to the reference, which strata retrain, and when a new library may replace the old one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from evo.archive import Archive
from evo.candidate import Candidate
from evo.desk import Desk
from potentials.dataset import Dataset
from potentials.library import Library
from potentials.potential import Potential
from potentials.stratum import Stratum
from potentials.train import FitTask, finish, fit_member, plan

SAME_FORMULA = 3  # candidates of one composition per round, so that a round teaches about all of the hull
PROBES = 4  # extrapolating candidates per round that would change the hull if they were right
ERRED = 0.004  # eV/atom: a stratum whose new labels are missed by less (RMSE) is left alone


def choose(archive: Archive, reference: str, taken: Collection[str], n: int, window: float) -> list[Candidate]:
    """The candidates whose reference energy would tell most about the hull, at most n, most telling first.

    Those within `window` (eV/atom) of the network's hull, lower confidence bound first, a few of each composition; and
    up to PROBES that the network cannot judge (extrapolation) but claims to lie on the hull.
    """
    hull = archive.hull()
    if hull is None or n <= 0:
        return []
    open_ = [c for c in archive.members.values() if reference not in c.energies and c.id not in taken]
    if not open_:
        return []
    above = hull.above_many([c.reduced_counts for c in open_], [c.per_atom(archive.method) for c in open_])
    ranked = sorted(
        (float(a) - c.energies[archive.method].sigma / c.n_atoms, c.id, c)
        for a, c in zip(above, open_, strict=True)
        if a <= window
    )
    chosen: list[Candidate] = []
    per_formula: Counter[str] = Counter()
    for _, _, candidate in ranked:
        if len(chosen) < n and per_formula[candidate.formula] < SAME_FORMULA:
            per_formula[candidate.formula] += 1
            chosen.append(candidate)
    return chosen


def probes(archive: Archive, reference: str, taken: Collection[str]) -> list[Candidate]:
    """Extrapolating candidates that would lie on the hull if the network were right: asked once, not believed before."""
    hull = archive.hull()
    doubtful = [
        c
        for c in archive.failed.values()
        if c.failure is not None
        and c.failure.reason == "extrapolation"
        and archive.method in c.energies
        and reference not in c.energies
        and c.id not in taken
    ]
    if hull is None or not doubtful:
        return []
    above = hull.above_many([c.reduced_counts for c in doubtful], [c.per_atom(archive.method) for c in doubtful])
    ranked = sorted((float(a), c.id, c) for a, c in zip(above, doubtful, strict=True) if a <= 0)
    return [c for _, _, c in ranked[:PROBES]]


def strata_to_train(elements: tuple[int, ...]) -> list[Stratum]:
    """Every stratum that has parameters of its own, in canonical order: features join at most three elements."""
    return [s for s in Stratum(elements).subsets() if s.order <= 3]


def erred(potential: Potential, new: Dataset) -> list[Stratum]:
    """The strata whose new labels the potential misses by more than ERRED (RMSE, eV/atom), canonical order."""
    errors: dict[Stratum, list[float]] = {}
    predicted = potential.evaluate(new.structures)
    difference = (predicted.energies - new.labels.energies) / new.structures.sizes
    for c, stratum in enumerate(new.strata()):
        errors.setdefault(stratum, []).append(float(difference[c]))
    missed = [s for s, e in errors.items() if np.sqrt(np.mean(np.square(e))) > ERRED]
    return sorted((s for s in missed if s.order <= 3), key=Stratum.sort_key)


def with_those_above(strata: list[Stratum], existing: list[Stratum]) -> list[Stratum]:
    """These strata and every existing one that stands on them: what lies below a stratum must be what it was trained on."""
    chosen = {s for s in existing if any(set(t.numbers) <= set(s.numbers) for t in strata)} | set(strata)
    return sorted(chosen, key=Stratum.sort_key)


@dataclass
class Training:
    """Training of some strata, lowest first, as steps that can wait for their tasks."""

    desk: Desk
    library: Library
    dataset: Dataset
    strata: list[Stratum]
    key: str  # prefix of the tasks' keys
    members: int
    iterations: int | None
    versions: dict[str, int]  # what to stand on; grows with what is trained

    def steps(self) -> Iterator[list[str]]:
        """Yields the keys it waits for; go on when their results are there."""
        for order in sorted({s.order for s in self.strata}):
            work: list[tuple[Stratum, list[FitTask], list[str]]] = []
            for stratum in (s for s in self.strata if s.order == order):
                tasks = plan(
                    self.library, self.versions, self.dataset, stratum, members=self.members, iterations=self.iterations
                )
                keys = [f"{self.key}/{stratum.name}/{m}" for m in range(len(tasks))]
                for key, task in zip(keys, tasks, strict=True):
                    self.desk.ask(key, fit, task)
                work.append((stratum, tasks, keys))
            yield [key for _, _, keys in work for key in keys]
            for stratum, tasks, keys in work:
                trained = finish(tasks, [self.desk.result(key) for key in keys])
                self.versions[stratum.name] = self.library.add(trained)


def complete(training: Training, tick: Callable[[], None] = lambda: None) -> dict[str, int]:
    """Wait for all of it; the versions that came out."""
    for keys in training.steps():
        for key in keys:
            training.desk.result(key)
            tick()
    return training.versions


def fit(task: FitTask) -> dict[str, object]:
    """One member of one stratum, as a JSON value."""
    return fit_member(task).to_json()


def no_worse(new: Potential, old: Potential, held_out: Dataset) -> bool:
    """Whether the new library's energies (RMSE, eV/atom) on held-out data are at most the old one's."""
    if not len(held_out.structures):
        return True
    sizes = held_out.structures.sizes
    errors = [
        float(np.sqrt(np.mean(((p.evaluate(held_out.structures).energies - held_out.labels.energies) / sizes) ** 2)))
        for p in (new, old)
    ]
    return errors[0] <= errors[1]
