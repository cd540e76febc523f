"""What the fits of all members make: parameters of the strata, their errors, their calibration, the surroundings they know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from potentials import kernels
from potentials.calibration import Calibration
from potentials.dataset import Dataset
from potentials.environments import Environments, remember
from potentials.network import OwnUnits, StratumParameters, fold
from potentials.potential import Potential
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum
from potentials.structures import Floats
from potentials.tables import heights
from potentials.task import FitResult, FitTask


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
        share = (task.seconds + sum(r.seconds for r in made)) * (1.0 if len(task.strata) == 1 else len(data) / n_fitted)
        metadata = {
            "method": task.dataset.methods[0],
            "data": data.content_hash(),
            "n_data": len(data),
            "together": [s.name for s in task.strata] if len(task.strata) > 1 else [],
            "errors": errors_of(task, stratum, data, [below[s] for s in subsets if s in below]),
            "calibration": calibration_of(task, stratum, data.held_out(), below, {**known, stratum: surroundings}),
            "lowest": _lowest(task, stratum, per_atom) if stratum.order == 1 else None,
            "iterations": [r.iterations for r in made],
            "seconds_labels": float(data.seconds.sum()),
            "seconds_training": float(share),
        }
        if liked := task.like.names():
            metadata["like"] = liked
        if task.like.pretrained:
            metadata["pretrained"] = task.like.pretrained
        own_parents = {s.name: parents[s.name] for s in subsets if s != stratum and s.name in parents}
        trained = TrainedStratum(parameters, surroundings, own_parents, metadata)
        known[stratum], parents[stratum.name] = trained.environments, trained.content_hash()
        finished.append(trained)
    return finished


def _parameters(task: FitTask, stratum: Stratum, made: Sequence[FitResult]) -> StratumParameters:
    columns = {z: np.stack([r.columns[stratum][z] for r in made]) for z in stratum.numbers}
    if stratum.order > 1:
        return replace(task.scalings[stratum], columns=columns, own_units=_own_units(stratum, made), refined=None)
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


def _own_units(stratum: Stratum, made: Sequence[FitResult]) -> dict[int, OwnUnits] | None:
    if not all(stratum in r.own_units for r in made):
        return None
    by_member = {z: [r.own_units[stratum][z] for r in made] for z in stratum.numbers}
    return {
        z: OwnUnits(*(np.stack([getattr(u, name) for u in units]) for name in ("weights", "biases", "outputs")))
        for z, units in by_member.items()
    }


def _lowest(task: FitTask, stratum: Stratum, per_atom: Floats) -> float:
    return float(per_atom.min()) if len(per_atom) else task.lowest[stratum.numbers[0]]


def errors_of(task: FitTask, stratum: Stratum, data: Dataset, strata: Sequence[StratumParameters]) -> dict[str, float]:
    """RMSE of the committee over crystals at most `high_energy` above the lowest, eV/atom and eV/Å, and how many these are."""
    recipe = task.recipe
    model = fold(recipe.shape, stratum.numbers, strata, recipe.repulsion, recipe.core_energy, recipe.degree)
    if not len(data):
        return {}
    held_out, low = data.is_held_out(), heights(data, task.lowest) <= task.recipe.fitting.high_energy
    errors: dict[str, float] = {}
    for name, rows in (("train", low & ~held_out), ("held_out", low & held_out)):
        part = data.select(np.flatnonzero(rows))
        errors[f"crystals_{name}"] = len(part)
        predicted = kernels.evaluate(part.structures, model)
        energies = (predicted.energies - part.labels.energies) / part.structures.sizes
        forces = predicted.forces - part.labels.forces
        for kind, missed in (("energy", energies), ("force", forces)):
            known = missed[np.isfinite(missed)]
            if len(known):
                errors[f"{kind}_{name}"] = float(np.sqrt(np.mean(known**2)))
    return errors


def calibration_of(
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
    model = fold(
        recipe.shape, stratum.numbers, [strata[s] for s in subsets], recipe.repulsion, recipe.core_energy, recipe.degree
    )
    potential = Potential(model, stratum, "", {s: known[s] for s in subsets if known[s].factors})
    predicted, sizes = potential.evaluate(held_out.structures), held_out.structures.sizes
    errors = np.abs(predicted.energies - held_out.labels.energies) / sizes
    made = Calibration.of(errors, predicted.spreads / sizes, potential.grades(held_out.structures), held_out.families)
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
