"""The first training set of a library, for any elements and any reference, within a number of reference calls.

`plan` cuts the calls into tasks, stratum by stratum in canonical order; `run_task` makes the labels of one. A task
depends on nothing but its record, so tasks run on any rank in any order. Only strata of up to three elements have
parameters of their own, so only they are labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evo.bootstrap import families
from evo.bootstrap.ledger import Labelled, Ledger
from evo.bootstrap.task import BootstrapTask
from evo.cell import Space
from evo.reference import Reference
from potentials.stratum import Stratum

__all__ = ["BootstrapTask", "Labelled", "Made", "plan", "run_task"]

Family = Callable[[Ledger, np.random.Generator, BootstrapTask], None]
FAMILIES: dict[str, Family] = {
    "lattice": families.lattice,
    "decorated": families.decorated,
    "search": families.search,
}
TASK_CALLS = {"lattice": 14, "decorated": 9, "search": 14}  # a task of about this size is worth its relaxation
# share of the calls by number of elements: a pair has three times the parameters of an element, but stands on two
WEIGHTS = {1: 1.0, 2: 1.6, 3: 2.0}
SHARES = {
    1: {"lattice": 0.6, "search": 0.4},
    2: {"lattice": 0.3, "decorated": 0.35, "search": 0.35},
    3: {"lattice": 0.1, "decorated": 0.45, "search": 0.45},
}


@dataclass(frozen=True)
class Made:
    """What a task has made: the labels worth training on, and all the calls that it took."""

    labelled: list[Labelled]
    calls: int


def plan(elements: Sequence[int], budget: int, seed: int, space: Space) -> list[BootstrapTask]:
    """Tasks whose calls add up to at most `budget`, unaries first.

    `space` gives the distances, volumes and the largest cell of the search; a fixed composition is not kept, because a
    pair cannot be learned before its elements.
    """
    strata = [s for s in Stratum.of(elements).subsets() if s.order in WEIGHTS]
    total = sum(WEIGHTS[s.order] for s in strata)
    tasks: list[BootstrapTask] = []
    spent, due = 0, 0.0
    for stratum in strata:
        for family, share in SHARES[stratum.order].items():
            due += budget * WEIGHTS[stratum.order] / total * share
            calls = round(due) - spent
            spent += calls
            own = _space(space, stratum)
            for variant, size in enumerate(_cut(calls, TASK_CALLS[family])):
                tasks.append(BootstrapTask(len(tasks), stratum, family, variant, size, seed, own))
    return tasks


def run_task(task: BootstrapTask, reference: Reference) -> Made:
    """The labels of one task; a function of the task and the reference alone."""
    # whole searches are held out, because their steps are alike; of known lattices every single label counts
    family = "" if task.family == "lattice" else f"bootstrap {task.stratum.name} {task.family} {task.variant}"
    ledger = Ledger(reference, task.calls, family)
    FAMILIES[task.family](ledger, np.random.default_rng([task.seed, task.index]), task)
    return Made(ledger.kept(), ledger.calls)


def _cut(calls: int, size: int) -> list[int]:
    """`calls` in parts of about `size`, as even as can be."""
    n = max(1, round(calls / size)) if calls > 0 else 0
    return [calls * (i + 1) // n - calls * i // n for i in range(n)]


def _space(space: Space, stratum: Stratum) -> Space:
    """Small crystals of these elements, whatever the composition."""
    largest = min(families.LARGEST, max(space.sizes[1], 2 * stratum.order))
    return Space(
        elements=stratum.numbers,
        n_atoms=(stratum.order, largest),
        min_distance=space.min_distance,
        volumes={z: space.volumes[z] for z in stratum.numbers},
    )
