"""Train one stratum on top of those below it, which stay as they are.

`plan` makes one task per committee member, `fit_member` is a pure function that any process may run, `finish` puts the
results together:

    tasks = plan(library, library.versions(), dataset, Stratum.parse("CuPd"))
    library.add(finish(tasks, [fit_member(task) for task in tasks]))

`potentials.jointly` plans several strata at once; its tasks go through the same `fit_member`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from potentials.anchors import anchors
from potentials.batches import Bases, Batch, batches
from potentials.checkpoint import Checkpoint
from potentials.dataset import Dataset
from potentials.embedded import fitted
from potentials.finish import finish, finish_all
from potentials.fit import Layout, Problem
from potentials.heads import Head
from potentials.levenberg import CLOSE_DAMPING, FIRST_DAMPING, minimise
from potentials.library import Library
from potentials.likeness import NONE, Likeness
from potentials.network import OwnUnits, StratumParameters
from potentials.prior import whole
from potentials.recipe import Recipe
from potentials.start import Ground, bases_of, drawn_to, scaling_of, scarcity, start
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum
from potentials.structures import Floats
from potentials.tables import tables
from potentials.task import FitResult, FitTask

__all__ = ["FitResult", "FitTask", "TrainingError", "finish", "finish_all", "fit_member", "plan"]

ITERATIONS = {1: 100}  # for a new element; a new pair or triple starts closer
ITERATIONS_ABOVE = 30
ITERATIONS_WIDENED = 60  # units of its own begin at random
FREE_SHIFT = 1e-6  # decay of e relative to the other parameters: a cohesive energy is not to be small
FOLDS = 8  # member m validates on every eighth family, fold m
FEWEST = 8  # crystals to validate on; with fewer, the fit ends by its number of iterations
KEPT = 1  # prepared sets of crystals that are remembered: the members of a committee share theirs

Prepared = tuple[list[Batch], Bases, Ground]
Watch = Callable[[Problem, Floats], None]
_remembered: OrderedDict[tuple[object, ...], Prepared] = OrderedDict()


class TrainingError(ValueError):
    """Data or strata that do not allow a fit; the message says what is missing."""

    exit_code = 65


def plan(
    library: Library,
    versions: Mapping[str, int],
    dataset: Dataset,
    stratum: Stratum,
    *,
    members: int | None = None,
    iterations: int | None = None,
    widened: int | None = None,
    like: Mapping[int, int] | None = None,
) -> list[FitTask]:
    """One task per member for `stratum`, on top of the library's strata at these versions.

    Where `versions` names the stratum itself, training goes on from there with the same input scaling. widened: units of its
    own that a new pair or triple adds, whatever the strata below have; as the recipe says when left out. like: elements whose
    networks those of new ones are drawn to, by atomic number (potentials.likeness); a stratum that goes on remembers its own.
    """
    recipe = library.recipe if widened is None else replace(library.recipe, widened=widened)
    if members is not None and members != recipe.members:
        raise TrainingError(f"`members` must be {recipe.members}, as in the recipe of {library.path}, got {members}")
    own = dataset.of_stratum(stratum)
    check(own, stratum.name)
    below = [s for s in stratum.subsets() if s != stratum]
    if missing := [s.name for s in below if s.name not in versions]:
        raise TrainingError(f"{stratum.name} needs the strata {', '.join(missing)} below it; train them first")
    frozen = [library.stratum(s, versions[s.name]) for s in below]
    warm = stratum.name in versions
    beneath = tuple(t.parameters for t in frozen)
    lowest = {t.stratum.numbers[0]: float(t.metadata["lowest"]) for t in frozen if t.stratum.order == 1}
    if warm:
        stored = library.stratum(stratum, versions[stratum.name])
        scaling = stored.parameters
        like = remembered_likeness([stored]) | dict(like or {})
        if widened is not None and widened != (there := scaling.n_own):
            raise TrainingError(
                f"{stratum.name} is there already, with {there} units of its own, and goes on with them, "
                f"got widened {widened}; leave that out, or make a library where the stratum is new"
            )
    liked = likeness_of(library, versions, (stratum,), like)
    spent = 0.0
    if not warm:
        scaling, spent = _new(recipe, own.training(), stratum, beneath, lowest, liked)
    usual = ITERATIONS.get(stratum.order, ITERATIONS_WIDENED if recipe.widened else ITERATIONS_ABOVE)
    return [
        FitTask(
            strata=(stratum,),
            member=member,
            recipe=recipe,
            dataset=own,
            iterations=usual if iterations is None else iterations,
            scalings={stratum: scaling},
            warm=warm,
            frozen=beneath,
            known={t.stratum: t.environments for t in frozen},
            parents={t.stratum.name: t.content_hash() for t in frozen},
            lowest=lowest,
            like=liked,
            seconds=spent,
        )
        for member in range(recipe.members)
    ]


def _new(
    recipe: Recipe,
    training: Dataset,
    stratum: Stratum,
    below: Sequence[StratumParameters],
    lowest: Mapping[int, float],
    like: Likeness,
) -> tuple[StratumParameters, float]:
    """Of a stratum that is new: what its inputs are scaled by, and its part of what lies under the networks; CPU s of that."""
    made, seconds = fitted(recipe, training, (stratum,), below, lowest, like.strata)
    atoms = made.get(stratum)
    seen = tables(training, recipe, stratum, lowest, [*below, StratumParameters(stratum, {}, {}, {}, embedded=atoms)])
    return replace(scaling_of(recipe, stratum, [(stratum, seen)]), embedded=atoms), seconds


def remembered_likeness(strata: Iterable[TrainedStratum]) -> dict[int, int]:
    """The elements that those of these strata are like, by atomic number."""
    names = {z: y for trained in strata for z, y in trained.metadata.get("like", {}).items()}
    return {Stratum.parse(z).numbers[0]: Stratum.parse(y).numbers[0] for z, y in names.items()}


def likeness_of(
    library: Library, versions: Mapping[str, int], strata: Sequence[Stratum], like: Mapping[int, int] | None
) -> Likeness:
    """What strata that are fitted are drawn to: by those of the library at these versions, or its pretrained ones."""
    if not like:
        return pretrained_of(library, strata)
    there = {s: library.stratum(s, versions[s.name]).parameters for s in map(Stratum.parse, versions)}
    return Likeness.of(there, strata, like)


def pretrained_of(library: Library, strata: Sequence[Stratum]) -> Likeness:
    """The pretrained networks of these strata and of what is below them, as far as the library has them."""
    if (other := library.pretrained) is None:
        return NONE
    wanted = {s for stratum in strata for s in stratum.subsets()}
    there = [other.stratum(s).parameters for s in other.strata() if s in wanted]
    return Likeness.to_pretrained(there, other.version()) if there else NONE


def check(data: Dataset, name: str) -> None:
    """TrainingError where these crystals cannot be fitted."""
    if not len(data.training()):
        if len(data):
            raise TrainingError(
                f"no crystals of {name} to train on: all {len(data)} are held out; label some of other families"
            )
        raise TrainingError(f"no crystals of {name} to train on; label some with exactly these elements")
    if len(methods := sorted(set(data.methods))) > 1:
        raise TrainingError(f"crystals of {name} have labels of {', '.join(methods)}; keep those of one method")
    if unlabelled := int((~np.isfinite(data.labels.energies)).sum()):
        raise TrainingError(f"{unlabelled} crystals of {name} have no finite energy; leave them out")


def fit_member(task: FitTask, watch: Watch | None = None, checkpoint: Path | None = None) -> FitResult:
    """The parameters of one member; the same on any number of cores, and when it was cut.

    watch: called after every improvement with the problem and its parameters. checkpoint: a file that keeps where the fit
    stands, from which it goes on when it is there; it must belong to this task, and is removed in the end.
    """
    started = time.process_time()
    saved = None if checkpoint is None else Checkpoint(checkpoint)
    with threadpool_limits(limits=1):
        prepared, bases, ground = _prepared(task)
        layout = layout_of(task, bases)
        p, iterations = start(task, layout, bases), 0
        if layout.size:
            problem = problem_of(task, prepared, layout)
            minimum = minimise(
                problem,
                p,
                drawn_to(task, layout, bases, ground),
                decay_of(task, layout),
                task.iterations,
                None if watch is None else lambda p: watch(problem, p),
                None if saved is None else saved.progress,
                None if saved is None else saved.keep,
                CLOSE_DAMPING if task.anchored else FIRST_DAMPING,
            )
            p, iterations = minimum.parameters, minimum.iterations
    columns: dict[Stratum, dict[int, Floats]] = {s: {} for s in task.strata}
    for z in task.elements:
        changes = {s: b.raw() @ layout.columns(p, s, z).T for (s, centre), b in bases.items() if centre == z}
        weights = ground.with_changes(task.recipe, task.member, z, changes)
        for stratum in task.strata:
            if z in stratum.numbers:
                own = weights.get(stratum, np.zeros((0, task.recipe.hidden)))
                columns[stratum][z] = own / task.scalings[stratum].scale[z][:, None]
    heads = {}
    for stratum in (s for s in task.strata if s.order == 1):
        (z,) = stratum.numbers
        head, basis = layout.head(p, z), bases[stratum, z]
        # the networks' own inputs may be centred elsewhere than the fit's
        moved = (task.scalings[stratum].scale_shift[z] - basis.shift) @ basis.raw() @ layout.columns(p, stratum, z).T
        heads[z] = replace(head, biases=head.biases + moved)
    own_units: dict[Stratum, dict[int, OwnUnits]] = {}
    for stratum in (s for s in task.strata if layout.has_own(s)):
        for z in stratum.numbers:
            w, b, v = layout.own(p, stratum, z)
            unscaled = bases[stratum, z].raw() @ w.T / task.scalings[stratum].scale[z][:, None]
            own_units.setdefault(stratum, {})[z] = OwnUnits(unscaled, b.copy(), v.copy())
    seconds = time.process_time() - started
    if saved is not None:
        seconds += saved.seconds
        saved.forget()
    return FitResult(task.member, columns, heads, iterations, seconds, own_units)


def layout_of(task: FitTask, bases: Bases) -> Layout:
    """Of the parameters of a task's fit."""
    sizes = {key: basis.axes.shape[1] for key, basis in bases.items()}
    heads = [s.numbers[0] for s in task.strata if s.order == 1]
    return Layout(sizes, heads, task.recipe.hidden, task.recipe.second, {s: task.own_units(s) for s in task.strata})


def problem_of(task: FitTask, prepared: Sequence[Batch], layout: Layout) -> Problem:
    """The residuals of a task's training crystals; a fold of them validates where it is large enough."""
    training = task.dataset.training()
    validating: NDArray[np.bool_] = training.folds(FOLDS) == task.member % FOLDS
    if validating.sum() < FEWEST or 2 * validating.sum() > len(validating):  # of one family, all of them could
        validating[:] = False
    heads = {p.stratum.numbers[0]: Head.of(p, task.member) for p in task.frozen if p.stratum.order == 1}
    return Problem(prepared, layout, task.member, heads, validating)


def decay_of(task: FitTask, layout: Layout) -> Floats:
    """How strongly each parameter is drawn to its prior: the more, the fewer crystals speak of it."""
    fitting, shape = task.recipe.fitting, task.recipe.shape
    scarce, decay = scarcity(task), np.full(layout.size, fitting.decay)
    for stratum in task.strata:
        for z in stratum.numbers:
            if shape.block_size(stratum.order):
                of_columns = fitting.decay if stratum.order == 1 else fitting.pull
                layout.columns(decay, stratum, z)[:] = of_columns * scarce[stratum]
            if stratum.order == 1:
                place = layout.place(z)
                decay[place] = fitting.decay * scarce[stratum]
                decay[place.stop - 1] = fitting.decay * FREE_SHIFT
    return decay


def _prepared(task: FitTask) -> Prepared:
    """Crystals, inputs and the ground of a fit, which the members of a committee share."""
    key = (
        task.dataset.content_hash(),
        task.recipe,
        task.strata,
        tuple(task.own_units(s) for s in task.strata),
        task.warm,
        task.anchored,
        tuple(sorted(task.parents.items())),
        tuple(sorted(task.lowest.items())),
        tuple(
            s.scale[z].tobytes() + s.columns[z].tobytes()
            for s in (*task.scalings.values(), *task.like.strata)
            for z in s.stratum.numbers
        ),
        tuple(s.embedded.tobytes() for s in task.scalings.values() if s.embedded is not None),
    )
    if key not in _remembered:
        while len(_remembered) >= KEPT:
            _remembered.popitem(last=False)
        _remembered[key] = prepare(task)
    return _remembered[key]


def prepare(task: FitTask) -> Prepared:
    """Without memory of earlier fits."""
    training, recipe = task.dataset.training(), task.recipe
    strata = np.array([s.name for s in training.strata()], dtype=object)
    companies = [s for s in Stratum(task.elements).subsets() if s.name in set(strata.tolist())]
    places = {s: np.flatnonzero(strata == s.name) for s in companies}
    below = (*task.frozen, *task.scalings.values())
    known = [(s, tables(training.select(places[s]), recipe, s, task.lowest, below)) for s in companies]
    if len(training) and not any(found for _, found in known):
        names = ", ".join(s.name for s in task.strata)
        raise TrainingError(
            f"no crystal of {names} to train on has features that can be computed; atoms too close or too many"
        )
    bases, ground = bases_of(task, known), Ground.of(task)
    shifts = {p.stratum.numbers[0]: p for p in (*task.frozen, *task.scalings.values()) if p.stratum.order == 1}
    free_heads = {s.numbers[0] for s in task.strata if s.order == 1}
    widened = {s for s in task.strata if task.own_units(s)}
    made: list[Batch] = []
    for company, found in known:
        constant = {}
        for z in company.numbers:
            flat = {s: w.reshape(len(w), recipe.members * recipe.hidden) for s, w in ground.raw[z].items()}
            weights = whole(
                recipe.shape, company, z, {s: w for s, w in flat.items() if set(s.numbers) <= set(company.numbers)}
            )
            unary = shifts[z]
            biases = -(unary.scale_shift[z] @ flat[Stratum((z,))]).reshape(recipe.members, recipe.hidden)
            if z not in free_heads and unary.biases is not None:
                biases = biases + unary.biases
            constant[z] = (weights.reshape(len(weights), recipe.members, recipe.hidden), biases)
        at = [int(places[company][t.place]) for t in found]
        made += batches(recipe.shape, company, found, at, bases, constant, widened, task.frozen)
        if task.anchored:
            made += anchors(task, company, training.select(places[company]), found, at, bases, constant)
    return made, bases, ground
