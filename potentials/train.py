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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from potentials import kernels
from potentials.batches import Bases, Batch, batches
from potentials.calibration import Calibration
from potentials.dataset import Dataset
from potentials.environments import Environments, remember
from potentials.fit import Layout, Problem
from potentials.heads import Head
from potentials.levenberg import minimise
from potentials.library import Library
from potentials.network import StratumParameters, fold
from potentials.potential import Potential
from potentials.prior import whole
from potentials.start import Ground, bases_of, drawn_to, scaling_of, start
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum
from potentials.structures import Floats
from potentials.tables import heights, tables
from potentials.task import FitResult, FitTask

__all__ = ["FitResult", "FitTask", "TrainingError", "finish", "finish_all", "fit_member", "plan"]

ITERATIONS = {1: 100}  # for a new element; a new pair or triple starts closer
ITERATIONS_ABOVE = 30
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
) -> list[FitTask]:
    """One task per member for `stratum`, on top of the library's strata at these versions.

    Where `versions` names the stratum itself, training goes on from there with the same input scaling.
    """
    recipe = library.recipe
    if members is not None and members != recipe.members:
        raise TrainingError(f"`members` must be {recipe.members}, as in the recipe of {library.path}, got {members}")
    own = dataset.of_stratum(stratum)
    check(own, stratum.name)
    below = [s for s in stratum.subsets() if s != stratum]
    if missing := [s.name for s in below if s.name not in versions]:
        raise TrainingError(f"{stratum.name} needs the strata {', '.join(missing)} below it; train them first")
    frozen = [library.stratum(s, versions[s.name]) for s in below]
    warm = stratum.name in versions
    lowest = {t.stratum.numbers[0]: float(t.metadata["lowest"]) for t in frozen if t.stratum.order == 1}
    if warm:
        scaling = library.stratum(stratum, versions[stratum.name]).parameters
    else:
        scaling = scaling_of(recipe, stratum, [(stratum, tables(own.training(), recipe, stratum, lowest))])
    return [
        FitTask(
            strata=(stratum,),
            member=member,
            recipe=recipe,
            dataset=own,
            iterations=iterations if iterations is not None else ITERATIONS.get(stratum.order, ITERATIONS_ABOVE),
            scalings={stratum: scaling},
            warm=warm,
            frozen=tuple(t.parameters for t in frozen),
            known={t.stratum: t.environments for t in frozen},
            parents={t.stratum.name: t.content_hash() for t in frozen},
            lowest=lowest,
        )
        for member in range(recipe.members)
    ]


def check(data: Dataset, name: str) -> None:
    """TrainingError where these crystals cannot be fitted."""
    if not len(data.training()):
        raise TrainingError(f"no crystals of {name} to train on; label some with exactly these elements")
    if len(methods := sorted(set(data.methods))) > 1:
        raise TrainingError(f"crystals of {name} have labels of {', '.join(methods)}; keep those of one method")
    if unlabelled := int((~np.isfinite(data.labels.energies)).sum()):
        raise TrainingError(f"{unlabelled} crystals of {name} have no finite energy; leave them out")


def fit_member(task: FitTask, watch: Watch | None = None) -> FitResult:
    """The parameters of one member; the same on any number of cores.

    watch: called after every improvement with the problem and its parameters.
    """
    started = time.process_time()
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
                _decay(task, layout),
                task.iterations,
                None if watch is None else lambda p: watch(problem, p),
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
    return FitResult(task.member, columns, heads, iterations, time.process_time() - started)


def finish(tasks: Sequence[FitTask], results: Sequence[FitResult | Mapping[str, Any]]) -> TrainedStratum:
    """The only stratum made of all members' results (or their JSON values), with errors and known surroundings."""
    (trained,) = finish_all(tasks, results)
    return trained


def finish_all(tasks: Sequence[FitTask], results: Sequence[FitResult | Mapping[str, Any]]) -> list[TrainedStratum]:
    """The strata made of all members' results (or their JSON values), canonical order."""
    task = tasks[0]
    parsed = [r if isinstance(r, FitResult) else FitResult.from_json(r) for r in results]
    made = sorted(parsed, key=lambda r: r.member)
    names = ", ".join(s.name for s in task.strata)
    if [r.member for r in made] != list(range(task.recipe.members)) or any(
        set(r.columns) != set(task.strata) for r in made
    ):
        raise ValueError(f"{names} needs one result of each of its {task.recipe.members} members")
    known, parents, below = dict(task.known), dict(task.parents), {p.stratum: p for p in task.frozen}
    finished = []
    n_fitted = len(task.dataset)
    for stratum in task.strata:
        parameters = _parameters(task, stratum, made)
        below[stratum] = parameters
        subsets = stratum.subsets()
        data = task.dataset.of_stratum(stratum)
        surroundings = _environments(task, stratum, data, known)
        per_atom = data.labels.energies / data.structures.sizes
        share = sum(r.seconds for r in made) * (1.0 if len(task.strata) == 1 else len(data) / n_fitted)
        metadata = {
            "method": task.dataset.methods[0],
            "data": data.content_hash(),
            "n_data": len(data),
            "together": [s.name for s in task.strata] if len(task.strata) > 1 else [],
            "errors": _errors(task, stratum, data, [below[s] for s in subsets if s in below]),
            "calibration": _calibration(task, stratum, data.held_out(), below, {**known, stratum: surroundings}),
            "lowest": _lowest(task, stratum, per_atom) if stratum.order == 1 else None,
            "iterations": [r.iterations for r in made],
            "seconds_labels": float(data.seconds.sum()),
            "seconds_training": float(share),
        }
        own_parents = {s.name: parents[s.name] for s in subsets if s != stratum and s.name in parents}
        trained = TrainedStratum(parameters, surroundings, own_parents, metadata)
        known[stratum], parents[stratum.name] = trained.environments, trained.content_hash()
        finished.append(trained)
    return finished


def layout_of(task: FitTask, bases: Bases) -> Layout:
    """Of the parameters of a task's fit."""
    sizes = {key: basis.axes.shape[1] for key, basis in bases.items()}
    heads = [s.numbers[0] for s in task.strata if s.order == 1]
    return Layout(sizes, heads, task.recipe.hidden, task.recipe.second)


def problem_of(task: FitTask, prepared: Sequence[Batch], layout: Layout) -> Problem:
    """The residuals of a task's training crystals; a fold of them validates where it is large enough."""
    training = task.dataset.training()
    validating: NDArray[np.bool_] = training.folds(FOLDS) == task.member % FOLDS
    if validating.sum() < FEWEST:
        validating[:] = False
    heads = {p.stratum.numbers[0]: Head.of(p, task.member) for p in task.frozen if p.stratum.order == 1}
    return Problem(prepared, layout, task.member, heads, validating)


def _decay(task: FitTask, layout: Layout) -> Floats:
    fitting = task.recipe.fitting
    decay = np.full(layout.size, fitting.decay)
    for stratum in task.strata:
        for z in stratum.numbers:
            if stratum.order > 1 and task.recipe.shape.block_size(stratum.order):
                layout.columns(decay, stratum, z)[:] = fitting.pull
            elif stratum.order == 1:
                decay[layout.place(z).stop - 1] *= FREE_SHIFT
    return decay


def _prepared(task: FitTask) -> Prepared:
    """Crystals, inputs and the ground of a fit, which the members of a committee share."""
    key = (
        task.dataset.content_hash(),
        task.recipe,
        task.strata,
        task.warm,
        tuple(sorted(task.parents.items())),
        tuple(sorted(task.lowest.items())),
        tuple(s.scale[z].tobytes() + s.columns[z].tobytes() for s in task.scalings.values() for z in s.stratum.numbers),
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
    known = [(s, tables(training.select(places[s]), recipe, s, task.lowest)) for s in companies]
    bases, ground = bases_of(task, known), Ground.of(task)
    shifts = {p.stratum.numbers[0]: p for p in (*task.frozen, *task.scalings.values()) if p.stratum.order == 1}
    free_heads = {s.numbers[0] for s in task.strata if s.order == 1}
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
        made += batches(recipe.shape, company, found, [int(places[company][t.place]) for t in found], bases, constant)
    return made, bases, ground


def _parameters(task: FitTask, stratum: Stratum, made: Sequence[FitResult]) -> StratumParameters:
    columns = {z: np.stack([r.columns[stratum][z] for r in made]) for z in stratum.numbers}
    if stratum.order > 1:
        return replace(task.scalings[stratum], columns=columns)
    heads = [r.heads[stratum.numbers[0]] for r in made]
    weights = [h.second_weights for h in heads if h.second_weights is not None]
    biases = [h.second_biases for h in heads if h.second_biases is not None]
    return replace(
        task.scalings[stratum],
        columns=columns,
        biases=np.stack([h.biases for h in heads]),
        outputs=np.stack([h.outputs for h in heads]),
        shifts=np.array([h.shift for h in heads]),
        second_weights=np.stack(weights) if weights else None,
        second_biases=np.stack(biases) if biases else None,
    )


def _lowest(task: FitTask, stratum: Stratum, per_atom: Floats) -> float:
    return float(per_atom.min()) if len(per_atom) else task.lowest[stratum.numbers[0]]


def _errors(task: FitTask, stratum: Stratum, data: Dataset, strata: Sequence[StratumParameters]) -> dict[str, float]:
    """RMSE of the committee over crystals at most `high_energy` above the lowest, eV/atom and eV/Å."""
    recipe = task.recipe
    model = fold(recipe.shape, stratum.numbers, strata, recipe.repulsion, recipe.core_energy)
    if not len(data):
        return {}
    held_out, low = data.is_held_out(), heights(data, task.lowest) <= task.recipe.fitting.high_energy
    errors = {}
    for name, rows in (("train", low & ~held_out), ("held_out", low & held_out)):
        part = data.select(np.flatnonzero(rows))
        predicted = kernels.evaluate(part.structures, model)
        energies = (predicted.energies - part.labels.energies) / part.structures.sizes
        forces = predicted.forces - part.labels.forces
        for kind, missed in (("energy", energies), ("force", forces)):
            known = missed[np.isfinite(missed)]
            if len(known):
                errors[f"{kind}_{name}"] = float(np.sqrt(np.mean(known**2)))
    return errors


def _calibration(
    task: FitTask,
    stratum: Stratum,
    held_out: Dataset,
    strata: Mapping[Stratum, StratumParameters],
    known: Mapping[Stratum, Environments],
) -> dict[str, Any] | None:
    """JSON; None where too little is held out."""
    recipe = task.recipe
    held_out = (
        held_out.select(np.flatnonzero(heights(held_out, task.lowest) <= recipe.fitting.high_energy))
        if len(held_out)
        else held_out
    )
    if not len(held_out):
        return None
    subsets = [s for s in stratum.subsets() if s in strata]
    model = fold(recipe.shape, stratum.numbers, [strata[s] for s in subsets], recipe.repulsion, recipe.core_energy)
    potential = Potential(model, stratum, "", {s: known[s] for s in subsets if known[s].factors})
    predicted, sizes = potential.evaluate(held_out.structures), held_out.structures.sizes
    errors = np.abs(predicted.energies - held_out.labels.energies) / sizes
    made = Calibration.of(errors, predicted.spreads / sizes, potential.grades(held_out.structures))
    return None if made is None else made.to_json()


def _environments(task: FitTask, stratum: Stratum, own: Dataset, known: Mapping[Stratum, Environments]) -> Environments:
    # what lies higher hardly counts in the fit, so being near it is no reason for trust
    data = own.training()
    if len(data):
        data = data.select(np.flatnonzero(heights(data, task.lowest) <= task.recipe.fitting.high_energy))
    families = [f or f"#{c}" for c, f in enumerate(data.families)]
    tables_ = kernels.features(data.structures, task.recipe.shape, stratum.numbers)
    by_element: dict[int, list[Floats]] = {z: [] for z in stratum.numbers}
    names: dict[int, list[str]] = {z: [] for z in stratum.numbers}
    for (a, b), table, family in zip(pairwise(data.structures.offsets.tolist()), tables_, families, strict=True):
        if not np.isfinite(table).all():
            continue
        for z, row in zip(data.structures.numbers[a:b].tolist(), table, strict=True):
            by_element[z].append(row)
            names[z].append(family)
    width = task.recipe.shape.n_features(stratum.order)
    features = {z: np.array(t).reshape(-1, width) for z, t in by_element.items()}
    below = {s: e for s, e in known.items() if set(s.numbers) < set(stratum.numbers)}
    # fitted together, an element may have no crystals of its own
    scales = task.scalings[stratum].scale if len(task.strata) > 1 else None
    return remember(task.recipe.shape, stratum, below, features, names, scales)
