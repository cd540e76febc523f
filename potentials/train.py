"""Train one stratum on top of those below it, which stay as they are.

`plan` makes one task per committee member, `fit_member` is a pure function that any process may run, `finish` puts the
results together:

    tasks = plan(library, library.versions(), dataset, Stratum.parse("CuPd"))
    library.add(finish(tasks, [fit_member(task) for task in tasks]))
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from potentials import kernels
from potentials.dataset import Dataset
from potentials.environments import Environments, remember
from potentials.fit import Frozen, Head, Layout, Scaled, StratumProblem, rows_of
from potentials.levenberg import minimise
from potentials.library import Library
from potentials.network import StratumParameters, fold
from potentials.start import prior, scaling_of, start
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum
from potentials.structures import Floats
from potentials.tables import heights, tables
from potentials.task import FitResult, FitTask

__all__ = ["FitResult", "FitTask", "TrainingError", "finish", "fit_member", "plan"]

ITERATIONS = {1: 100}  # for a new element; a new pair or triple starts closer
ITERATIONS_ABOVE = 12
FREE_SHIFT = 1e-6  # decay of e relative to the other parameters: a cohesive energy is not to be small


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
    if not len(own.training()):
        raise TrainingError(f"no crystals of {stratum.name} to train on; label some with exactly these elements")
    if len(methods := sorted(set(own.methods))) > 1:
        raise TrainingError(f"crystals of {stratum.name} have labels of {', '.join(methods)}; keep those of one method")
    if unlabelled := int((~np.isfinite(own.labels.energies)).sum()):
        raise TrainingError(f"{unlabelled} crystals of {stratum.name} have no finite energy; leave them out")
    below = [s for s in stratum.subsets() if s != stratum]
    if missing := [s.name for s in below if s.name not in versions]:
        raise TrainingError(f"{stratum.name} needs the strata {', '.join(missing)} below it; train them first")
    frozen = [library.stratum(s, versions[s.name]) for s in below]
    warm = stratum.name in versions
    if warm:
        scaling = library.stratum(stratum, versions[stratum.name]).parameters
    else:
        scaling = scaling_of(own.training().structures, recipe, stratum)
    lowest = {t.stratum.numbers[0]: float(t.metadata["lowest"]) for t in frozen if t.stratum.order == 1}
    return [
        FitTask(
            stratum=stratum,
            member=member,
            recipe=recipe,
            dataset=own,
            iterations=iterations if iterations is not None else ITERATIONS.get(stratum.order, ITERATIONS_ABOVE),
            scaling=scaling,
            warm=warm,
            frozen=tuple(t.parameters for t in frozen),
            known={t.stratum: t.environments for t in frozen},
            parents={t.stratum.name: t.content_hash() for t in frozen},
            lowest=lowest,
        )
        for member in range(recipe.members)
    ]


def fit_member(task: FitTask) -> FitResult:
    """The parameters of one member; the same on any number of cores."""
    started = time.process_time()
    with threadpool_limits(limits=1):
        layout = _layout(task)
        found, iterations = start(task, layout), 0
        if layout.size:
            problem = _problem(task, task.dataset.training(), layout)
            fitting = task.recipe.fitting
            decay = np.full(len(found), fitting.decay if layout.unary else fitting.pull)
            if layout.unary:
                decay[-1] *= FREE_SHIFT
            minimum = minimise(problem, found, prior(task, layout), decay, task.iterations)
            found, iterations = minimum.parameters, minimum.iterations
    seconds = time.process_time() - started
    columns = {z: np.ascontiguousarray(layout.columns(found, k).T) for k, z in enumerate(task.stratum.numbers)}
    if not layout.unary:
        return FitResult(task.stratum, task.member, columns, None, None, None, iterations, seconds)
    head = layout.head(found, 0)
    above = (head.biases, head.outputs, head.shift)
    deep = (head.second_weights, head.second_biases)
    return FitResult(task.stratum, task.member, columns, *above, iterations, seconds, *deep)


def finish(tasks: Sequence[FitTask], results: Sequence[FitResult | Mapping[str, Any]]) -> TrainedStratum:
    """The stratum made of all members' results (or their JSON values), with errors and known surroundings."""
    task = tasks[0]
    parsed = [r if isinstance(r, FitResult) else FitResult.from_json(r) for r in results]
    made = sorted(parsed, key=lambda r: r.member)
    if [r.member for r in made] != list(range(task.recipe.members)) or any(r.stratum != task.stratum for r in made):
        raise ValueError(f"{task.stratum.name} needs one result of each of its {task.recipe.members} members")
    biases = [r.biases for r in made if r.biases is not None]
    outputs = [r.outputs for r in made if r.outputs is not None]
    shifts = [r.shift for r in made if r.shift is not None]
    second_weights = [r.second_weights for r in made if r.second_weights is not None]
    second_biases = [r.second_biases for r in made if r.second_biases is not None]
    parameters = replace(
        task.scaling,
        columns={z: np.stack([r.columns[z] for r in made]) for z in task.stratum.numbers},
        biases=np.stack(biases) if biases else None,
        outputs=np.stack(outputs) if outputs else None,
        shifts=np.array(shifts) if shifts else None,
        second_weights=np.stack(second_weights) if second_weights else None,
        second_biases=np.stack(second_biases) if second_biases else None,
    )
    per_atom = task.dataset.labels.energies / task.dataset.structures.sizes
    metadata = {
        "method": task.dataset.methods[0],
        "data": task.dataset.content_hash(),
        "n_data": len(task.dataset),
        "errors": _errors(task, parameters),
        "lowest": float(per_atom.min()) if task.stratum.order == 1 else None,
        "iterations": [r.iterations for r in made],
        "seconds_labels": float(task.dataset.seconds.sum()),
        "seconds_training": float(sum(r.seconds for r in made)),
    }
    return TrainedStratum(parameters, _environments(task), dict(task.parents), metadata)


def _layout(task: FitTask) -> Layout:
    n_columns = task.recipe.shape.block_size(task.stratum.order)
    return Layout(task.stratum.order, n_columns, task.recipe.hidden, task.stratum.order == 1, task.recipe.second)


def _problem(task: FitTask, dataset: Dataset, layout: Layout) -> StratumProblem:
    numbers, m = task.stratum.numbers, task.member
    new, below = [], []
    for z in numbers:
        frozen = []
        for block in task.recipe.shape.blocks(z, numbers):
            part = slice(block.start, block.stop)
            if block.stratum == task.stratum:
                new.append(Scaled(part, task.scaling.scale_shift[z], task.scaling.scale[z]))
                continue
            own = next(p for p in task.frozen if p.stratum == block.stratum)
            biases = own.biases[m] if own.biases is not None else np.zeros(layout.hidden)
            frozen.append(Frozen(Scaled(part, own.scale_shift[z], own.scale[z]), own.columns[z][m], biases))
        below.append(frozen)
    heads = [Head.of(p, m) for p in task.frozen if p.stratum.order == 1]  # by ascending centre
    made = tables(dataset, task.recipe, task.stratum, task.lowest)
    return StratumProblem(rows_of(made, numbers, new, below, layout.hidden), layout, heads)


def _errors(task: FitTask, parameters: StratumParameters) -> dict[str, float]:
    """RMSE of the committee over crystals at most `high_energy` above the lowest, eV/atom and eV/Å."""
    recipe = task.recipe
    strata = [*task.frozen, parameters]
    model = fold(recipe.shape, task.stratum.numbers, strata, recipe.repulsion, recipe.core_energy)
    held_out, low = task.dataset.is_held_out(), heights(task.dataset, task.lowest) <= task.recipe.fitting.high_energy
    errors = {}
    for name, rows in (("train", low & ~held_out), ("held_out", low & held_out)):
        data = task.dataset.select(np.flatnonzero(rows))
        predicted = kernels.evaluate(data.structures, model)
        energies = (predicted.energies - data.labels.energies) / data.structures.sizes
        forces = predicted.forces - data.labels.forces
        for kind, missed in (("energy", energies), ("force", forces)):
            known = missed[np.isfinite(missed)]
            if len(known):
                errors[f"{kind}_{name}"] = float(np.sqrt(np.mean(known**2)))
    return errors


def _environments(task: FitTask) -> Environments:
    # what lies higher hardly counts in the fit, so being near it is no reason for trust
    data = task.dataset.training()
    data = data.select(np.flatnonzero(heights(data, task.lowest) <= task.recipe.fitting.high_energy))
    families = [f or f"#{c}" for c, f in enumerate(data.families)]
    tables_ = kernels.features(data.structures, task.recipe.shape, task.stratum.numbers)
    by_element: dict[int, list[Floats]] = {z: [] for z in task.stratum.numbers}
    names: dict[int, list[str]] = {z: [] for z in task.stratum.numbers}
    for (a, b), table, family in zip(pairwise(data.structures.offsets.tolist()), tables_, families, strict=True):
        if not np.isfinite(table).all():
            continue
        for z, row in zip(data.structures.numbers[a:b].tolist(), table, strict=True):
            by_element[z].append(row)
            names[z].append(family)
    features = {z: np.array(t) for z, t in by_element.items()}
    return remember(task.recipe.shape, task.stratum, task.known, features, names)
