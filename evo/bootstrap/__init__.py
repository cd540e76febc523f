"""The first training set of a library, for any elements and any reference, within a number of reference calls.

`plan` cuts the calls into tasks, stratum by stratum in canonical order; `run_task` makes the labels of one. A task
depends on nothing but its record, so tasks run on any rank in any order. Only strata of up to three elements have
parameters of their own, so only they are labelled.

What a task does: it relaxes a decorated lattice for a few calls, which tells what volume this reference gives to the
elements; it follows random crystals through their first steps downhill; and it labels single crystals of several kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from evo.bootstrap import crystals
from evo.bootstrap.ledger import Labelled, Ledger
from evo.bootstrap.task import BootstrapTask
from evo.cell import Space
from evo.reference import Reference
from potentials.stratum import Stratum

__all__ = ["BootstrapTask", "Labelled", "Made", "plan", "run_task"]

TASK_CALLS = 18  # about; a task must be worth the calls that find its volume
STEPS = 4  # calls of each relaxation: later steps are too much alike
# calls by number of elements: what an element gets wrong, every compound of it inherits
WEIGHTS = {1: 1.6, 2: 1.6, 3: 2.0}
# of the calls of a task, the part that follows random crystals downhill
SEARCHED = 0.1
# the rest, by kind: an element has no orderings, so it spends more on other volumes and coordinations
Kind = Callable[[np.random.Generator, Space], Atoms]
KINDS: tuple[tuple[Kind, bool], ...] = (
    # the kind, and whether it takes its volume from the lattice that was relaxed
    (crystals.near_lattice, True),
    (crystals.squeezed, True),
    (crystals.porous, True),
    (crystals.unrelaxed, False),
)
SHARES = {1: (0.27, 0.14, 0.38, 0.21), 2: (0.50, 0.06, 0.30, 0.14), 3: (0.50, 0.06, 0.30, 0.14)}


@dataclass(frozen=True)
class Made:
    """What a task has made: the labels worth training on, and all the calls that it took."""

    labelled: list[Labelled]
    calls: int


def plan(elements: Sequence[int], budget: int, seed: int, space: Space) -> list[BootstrapTask]:
    """Tasks whose calls add up to `budget`, unaries first.

    `space` gives the distances, volumes and the largest cell of the search; a fixed composition is not kept, because a
    pair cannot be learned before its elements.
    """
    strata = [s for s in Stratum.of(elements).subsets() if s.order in WEIGHTS]
    total = sum(WEIGHTS[s.order] for s in strata)
    tasks: list[BootstrapTask] = []
    due = 0.0
    for stratum in strata:
        spent = round(due)
        due += budget * WEIGHTS[stratum.order] / total
        for calls in _cut(round(due) - spent, TASK_CALLS):
            tasks.append(BootstrapTask(len(tasks), stratum, calls, seed, _space(space, stratum)))
    return tasks


def run_task(task: BootstrapTask, reference: Reference) -> Made:
    """The labels of one task; a function of the task and the reference alone."""
    rng = np.random.default_rng([task.seed, task.index])
    ledger = Ledger(reference, task.calls)
    # the steps of a relaxation are alike, so data are held out by whole relaxations
    name = f"bootstrap {task.stratum.name} {task.index}"
    start = crystals.decorated(rng, task.space)
    found = ledger.relax(start, STEPS, f"{name} lattice")
    measured = _resized(task.space, found.cell.volume / start.cell.volume)
    for n in range(round(SEARCHED * task.calls / STEPS + rng.uniform(-0.5, 0.5))):
        ledger.relax(crystals.searched(rng, task.space), STEPS, f"{name} search {n}")
    for kind, follows in _deal(rng, ledger.left, SHARES[task.stratum.order]):
        ledger.point(kind(rng, measured if follows else task.space))
    return Made(ledger.kept(), ledger.calls)


def _deal(rng: np.random.Generator, n: int, shares: Sequence[float]) -> list[tuple[Kind, bool]]:
    """n kinds, each as often as its share says, to within one."""
    places = (np.arange(n) + rng.uniform()) / max(n, 1)
    edges = np.cumsum(shares) / np.sum(shares)
    return [KINDS[int(i)] for i in np.minimum(np.searchsorted(edges, places), len(KINDS) - 1)]


def _cut(calls: int, size: int) -> list[int]:
    """`calls` in parts of about `size`, as even as can be."""
    n = max(1, round(calls / size)) if calls > 0 else 0
    return [calls * (i + 1) // n - calls * i // n for i in range(n)]


def _space(space: Space, stratum: Stratum) -> Space:
    """Small crystals of these elements, whatever the composition."""
    largest = min(crystals.LARGEST, max(space.sizes[1], 2 * stratum.order))
    return Space(
        elements=stratum.numbers,
        n_atoms=(stratum.order, largest),
        min_distance=space.min_distance,
        volumes={z: space.volumes[z] for z in stratum.numbers},
    )


def _resized(space: Space, factor: float) -> Space:
    """The same with other volumes; a lattice that ran away tells nothing."""
    if not 0.4 < factor < 2.0:
        return space
    return replace(space, volumes={z: v * factor for z, v in space.volumes.items()})
