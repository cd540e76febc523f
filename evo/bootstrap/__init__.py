"""The first training set of a library, for any elements and any reference, within a number of reference calls.

`plan` cuts the calls into tasks, stratum by stratum in canonical order; `run_task` makes the labels of one. A task
depends on nothing but its record, so tasks run on any rank in any order. Only strata of up to three elements have
parameters of their own, so only they are labelled.

What a task does: it relaxes a decorated lattice for a few calls, which tells what volume this reference gives to the
elements; it labels single crystals of several kinds, chosen from a larger pool so that their features lie far apart; and it
follows random crystals, and children of the lowest ones so far, through their first steps downhill, at pressures of 0 to 50 GPa.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from evo.bootstrap import crystals
from evo.bootstrap.distort import scaled
from evo.bootstrap.diverse import far_apart
from evo.bootstrap.ledger import Asked, Labelled, Ledger
from evo.bootstrap.task import BootstrapTask
from evo.candidate import Failure
from evo.cell import Space
from evo.operators.heredity import heredity
from evo.operators.permutation import permutation
from evo.operators.rattle import rattle
from evo.operators.strain import strain
from potentials.dataset import is_held_out
from potentials.stratum import Stratum
from potentials.units import EV_PER_A3_PER_GPA

__all__ = ["BootstrapTask", "Labelled", "Made", "fewest", "plan", "run_task"]

TASK_CALLS = 18  # about; a task must be worth the calls that find its volume
STEPS = 4  # calls of each relaxation: later steps are too much alike
# calls by number of elements: what an element gets wrong, every compound of it inherits
WEIGHTS = {1: 1.6, 2: 1.6, 3: 2.0}
# of all calls, the most that one element takes where there are compounds: these have compositions to learn besides
MOST_FOR_ELEMENT = 0.15
# of the calls of a task, the part that goes downhill: from random crystals and from children of the lowest ones
SEARCHED = 0.16
HIGHEST_PRESSURE = 50.0  # GPa; every other relaxation is at none
POOL = 3  # crystals to choose from for each that is labelled
# the rest, by kind: an element has no orderings, so it spends more on other volumes and coordinations
Kind = Callable[[np.random.Generator, Space], Atoms]
KINDS: dict[str, tuple[Kind, bool]] = {
    # the kind, and whether it takes its volume from the lattice that was relaxed
    "near lattice": (crystals.near_lattice, True),
    "squeezed": (crystals.squeezed, True),
    "vacancies": (crystals.porous, True),
    "random": (crystals.unrelaxed, False),
    "slab": (crystals.slab, True),
    "cluster": (crystals.cluster, True),
}
SHARES = {
    1: (0.27, 0.14, 0.32, 0.19, 0.05, 0.03),
    2: (0.50, 0.06, 0.25, 0.12, 0.04, 0.03),
    3: (0.50, 0.06, 0.25, 0.12, 0.04, 0.03),
}
CHILDREN = (heredity, permutation, strain, rattle)


@dataclass(frozen=True)
class Made:
    """What a task has made: the labels worth training on, and all the calls that it took."""

    labelled: list[Labelled]
    calls: int
    failures: list[Failure]


def plan(elements: Sequence[int], budget: int, seed: int, space: Space) -> list[BootstrapTask]:
    """Tasks whose calls add up to `budget`, unaries first.

    `space` gives the distances, volumes and the largest cell of the search; a fixed composition is not kept, because a
    pair cannot be learned before its elements.
    """
    tasks: list[BootstrapTask] = []
    due = 0.0
    for stratum, share in shares([s for s in Stratum.of(elements).subsets() if s.order in WEIGHTS]).items():
        spent = round(due)
        due += budget * share
        for calls in _cut(round(due) - spent, TASK_CALLS):
            tasks.append(BootstrapTask(len(tasks), stratum, calls, seed, _space(space, stratum)))
    return tasks


def fewest(elements: Sequence[int]) -> int:
    """Calls below which a stratum would not have enough for its first lattice."""
    return math.ceil(STEPS / min(shares([s for s in Stratum.of(elements).subsets() if s.order in WEIGHTS]).values()))


def shares(strata: Sequence[Stratum]) -> dict[Stratum, float]:
    """Of all calls, the part of each of these strata."""
    weights = {s: WEIGHTS[s.order] for s in strata}
    total, above = sum(weights.values()), sum(w for s, w in weights.items() if s.order > 1)
    found = {s: w / total for s, w in weights.items()}
    if above:
        found |= {s: min(found[s], MOST_FOR_ELEMENT) for s in strata if s.order == 1}
        rest = 1.0 - sum(found[s] for s in strata if s.order == 1)
        found |= {s: rest * weights[s] / above for s in strata if s.order > 1}
    return found


def run_task(task: BootstrapTask, reference: Asked) -> Made:
    """The labels of one task; a function of the task and the reference alone."""
    rng = np.random.default_rng([task.seed, task.index])
    ledger = Ledger(reference, task.calls)
    # the steps of a relaxation are alike, so data are held out by whole relaxations
    name = f"bootstrap {task.stratum.name} {task.index}"
    start = crystals.decorated(rng, task.space)
    # what else is held out, something of every task is trained on
    lattice = next(f for f in (f"{name} lattice{' again' * n}" for n in itertools.count()) if not is_held_out(f))
    found = ledger.relax(start, STEPS, lattice, "lattice")
    measured = _resized(task.space, found.cell.volume / start.cell.volume)
    n_searches = round(SEARCHED * task.calls / STEPS + rng.uniform(-0.5, 0.5))
    for kind, atoms in _points(rng, ledger.left - STEPS * n_searches, task, measured):
        ledger.point(atoms, kind)
    for n in range(n_searches):
        kind, atoms = _downhill(rng, ledger, measured, breeds=bool((task.index + n) % 2))
        pressure = rng.uniform(0.0, HIGHEST_PRESSURE) * int(rng.integers(2))
        ledger.relax(atoms, STEPS, f"{name} search {n}", kind, pressure * EV_PER_A3_PER_GPA)
    while ledger.left:  # a relaxation that ended early leaves calls
        ledger.point(crystals.near_lattice(rng, measured), "near lattice")
    return Made(ledger.kept(), ledger.calls, ledger.failures)


def _points(rng: np.random.Generator, n: int, task: BootstrapTask, measured: Space) -> list[tuple[str, Atoms]]:
    """n crystals of all kinds, far apart; each kind as often as its share says, to within one."""
    if n < 1:
        return []
    kinds = _deal(rng, n, SHARES[task.stratum.order])
    pool = [
        (kind, KINDS[kind][0](rng, measured if KINDS[kind][1] else task.space)) for kind in kinds for _ in range(POOL)
    ]
    chosen = far_apart([a for _, a in pool], n, task.stratum, kinds=[k for k, _ in pool])
    return [pool[i] for i in chosen]


def _downhill(rng: np.random.Generator, ledger: Ledger, space: Space, *, breeds: bool) -> tuple[str, Atoms]:
    """A crystal to relax: a child of the lowest ones so far, or a random one."""
    parents = ledger.lowest(4) if breeds else []
    for _ in range(crystals.MOST_ATTEMPTS if len(parents) > 1 else 0):
        make = CHILDREN[int(rng.integers(len(CHILDREN)))]
        pair = [parents[int(i)] for i in rng.permutation(len(parents))[:2]]
        child = make(rng, pair, space)
        if child is not None and set(child.numbers) == set(space.elements):
            return make.__name__, child
    # under pressure it starts from a volume that is not far off
    return "random crystal", scaled(crystals.searched(rng, space), float(np.exp(rng.normal(0.0, 0.1))))


def _deal(rng: np.random.Generator, n: int, shares: Sequence[float]) -> list[str]:
    """n kinds, each as often as its share says, to within one."""
    places = (np.arange(n) + rng.uniform()) / max(n, 1)
    edges = np.cumsum(shares) / np.sum(shares)
    names = list(KINDS)
    return [names[int(i)] for i in np.minimum(np.searchsorted(edges, places), len(names) - 1)]


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
