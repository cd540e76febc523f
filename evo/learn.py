"""Which strata retrain, training as steps that can wait, and when a new library may replace the old one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evo.desk import Desk
from potentials.dataset import Dataset
from potentials.library import Library
from potentials.potential import Potential
from potentials.refine import finish_refined, plan_refined, refines
from potentials.stratum import Stratum
from potentials.train import FitTask, finish, fit_member, plan

LEAST_CRYSTALS = 10  # a stratum is retrained on, held-out ones not counted
ERRED = 0.004  # eV/atom: a stratum whose new labels are missed by less (RMSE) is left alone


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


def trainable(strata: list[Stratum], existing: list[Stratum], data: Dataset) -> list[Stratum]:
    """Of these, the ones that can be retrained: there are crystals enough for them and for all that stand on them.

    A library may be given without its data, and a stratum refitted to a handful of crystals forgets the rest.
    """
    counts = Counter(data.training().strata())
    return [s for s in strata if all(counts[t] >= LEAST_CRYSTALS for t in with_those_above([s], existing))]


@dataclass
class Training:
    """Training of some strata, lowest first, as steps that can wait for their tasks."""

    desk: Desk
    library: Library
    dataset: Dataset
    strata: list[Stratum]
    key: str  # prefix of the tasks' keys
    iterations: int | None
    versions: dict[str, int]  # what to stand on; grows with what is trained

    def steps(self) -> Iterator[list[str]]:
        """Yields the keys it waits for; go on when their results are there."""
        for order in sorted({s.order for s in self.strata}):
            work: list[tuple[list[FitTask], list[str]]] = []
            for stratum in (s for s in self.strata if s.order == order):
                tasks = plan(self.library, self.versions, self.dataset, stratum, iterations=self.iterations)
                work.append((tasks, self._ask(tasks, stratum.name)))
            yield [key for _, keys in work for key in keys]
            made = [finish(tasks, [self.desk.result(key) for key in keys]) for tasks, keys in work]
            refining: dict[Stratum, tuple[list[FitTask], list[str]]] = {}
            for trained in made:
                if refines(self.library.recipe, self.dataset, trained.stratum):
                    below = [self.library.stratum(Stratum.parse(n), self.versions[n]) for n in trained.parents]
                    tasks = plan_refined(self.library.recipe, self.dataset, trained, below)
                    refining[trained.stratum] = tasks, self._ask(tasks, f"{trained.stratum.name}/refined")
            if refining:
                yield [key for _, keys in refining.values() for key in keys]
            for trained in made:
                if trained.stratum in refining:
                    tasks, keys = refining[trained.stratum]
                    trained = finish_refined(tasks, [self.desk.result(key) for key in keys], trained)
                self.versions[trained.stratum.name] = self.library.add(trained)

    def _ask(self, tasks: list[FitTask], name: str) -> list[str]:
        """The keys under which the results will be."""
        keys = [f"{self.key}/{name}/{m}" for m in range(len(tasks))]
        for key, task in zip(keys, tasks, strict=True):
            self.desk.ask(key, fit, task)
        return keys


def fit(task: FitTask) -> dict[str, object]:
    """One member of one stratum, as a JSON value."""
    return fit_member(task).to_json()


def no_worse(new: Potential, old: Potential, judged: Dataset) -> bool:
    """Whether the new library's energies (RMSE, eV/atom) are at most as wrong as the old one's on these held-out crystals."""
    if not len(judged):
        return True
    structures, known = judged.structures, judged.labels.energies
    errors = [
        float(np.sqrt(np.mean(((p.evaluate(structures).energies - known) / structures.sizes) ** 2))) for p in (new, old)
    ]
    return errors[0] <= errors[1]
