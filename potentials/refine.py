"""Refine a pair or triple: a whole network for each of its elements, which speaks for centres that see exactly this set.

A stratum adds columns to networks that stay as they are; what its own crystals say of the blocks below has nowhere to go. A
refined stratum has room for it: networks that begin as the assembled ones and are then free, fitted to all crystals of the set
and its subsets, those of subsets with less weight, because the strata below speak for those, and with atoms' energies held
near to where they were (`anchors`). Nothing that stands on the stratum uses these networks, and nothing below changes.

    trained = finish(tasks, [fit_member(task) for task in tasks])  # potentials.train
    tasks = plan_refined(recipe, dataset, trained, below)
    trained = finish_refined(tasks, [fit_member(task) for task in tasks], trained)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from potentials.dataset import Dataset
from potentials.finish import calibration_of, errors_of
from potentials.heads import Head
from potentials.network import RefinedNetwork
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum
from potentials.structures import Floats
from potentials.task import FitResult, FitTask

ITERATIONS = {2: 25, 3: 15}
FEWEST = 10  # training crystals of the set and of each of its subsets, below which the networks would forget more than they learn
BELOW = 0.3  # weight of a crystal for each element that it lacks


def refines(recipe: Recipe, dataset: Dataset, stratum: Stratum) -> bool:
    """Whether this stratum is to be refined: by the recipe, where it and all its subsets have crystals enough."""
    counts = Counter(dataset.training().strata())
    return recipe.refined and stratum.order in ITERATIONS and all(counts[s] >= FEWEST for s in stratum.subsets())


def plan_refined(
    recipe: Recipe,
    dataset: Dataset,
    trained: TrainedStratum,
    below: Sequence[TrainedStratum],
    *,
    iterations: int | None = None,
) -> list[FitTask]:
    """One task per member for a stratum just trained on those `below`, which are all its subsets.

    dataset: crystals of the set and of all its subsets, others are left out.
    """
    stratum = trained.stratum
    whole: Dataset | None = None
    for s in stratum.subsets():
        part = dataset.of_stratum(s)
        weighted = replace(part, weights=part.weights * BELOW ** (stratum.order - s.order))
        whole = weighted if whole is None else whole.merge(weighted)
    assert whole is not None  # a stratum has itself among its subsets
    strata = sorted((*below, trained), key=lambda t: Stratum.sort_key(t.stratum))
    started = {t.stratum: t.parameters for t in strata}
    return [
        FitTask(
            strata=tuple(started),
            member=member,
            recipe=recipe,
            dataset=whole,
            iterations=ITERATIONS[stratum.order] if iterations is None else iterations,
            scalings=started,
            warm=True,
            frozen=(),
            known={t.stratum: t.environments for t in strata},
            parents=dict(trained.parents),
            lowest={t.stratum.numbers[0]: float(t.metadata["lowest"]) for t in strata if t.stratum.order == 1},
            anchored=True,
        )
        for member in range(recipe.members)
    ]


def finish_refined(
    tasks: Sequence[FitTask], results: Sequence[FitResult | Mapping[str, Any]], trained: TrainedStratum
) -> TrainedStratum:
    """The stratum with the networks that came out (results or their JSON values), its errors and calibration by them."""
    task, stratum = tasks[0], trained.stratum
    parsed = [r if isinstance(r, FitResult) else FitResult.from_json(r) for r in results]
    made = sorted(parsed, key=lambda r: r.member)
    if [r.member for r in made] != list(range(task.recipe.members)):
        raise ValueError(f"{stratum.name} needs one result of each of its {task.recipe.members} members")
    refined = {z: _network(task, stratum, z, made) for z in stratum.numbers}
    parameters = replace(trained.parameters, refined=refined)
    strata = {**task.scalings, stratum: parameters}
    data = task.dataset.of_stratum(stratum)
    seconds = sum(r.seconds for r in made)
    metadata = {
        **trained.metadata,
        "errors": errors_of(task, stratum, data, list(strata.values())),
        "calibration": calibration_of(task, stratum, data.held_out(), strata, task.known),
        "seconds_training": trained.metadata["seconds_training"] + seconds,
        "refined": {
            "iterations": [r.iterations for r in made],
            "n_data": len(task.dataset),
            "seconds": seconds,
            "errors_before": trained.metadata["errors"],
        },
    }
    return replace(trained, parameters=parameters, metadata=metadata)


def _network(task: FitTask, stratum: Stratum, z: int, made: Sequence[FitResult]) -> RefinedNetwork:
    blocks = [b.stratum for b in task.recipe.shape.blocks(z, stratum.numbers)]
    own = Stratum((z,))
    weights, biases = [], []
    for result in made:
        parts: list[Floats] = [result.columns[s][z] * task.scalings[s].scale[z][:, None] for s in blocks]
        weights.append(np.concatenate(parts))
        # the input of an element's block is shifted
        biases.append(result.heads[z].biases - task.scalings[own].scale_shift[z] @ parts[blocks.index(own)])
    heads: list[Head] = [r.heads[z] for r in made]
    return RefinedNetwork(
        np.stack(weights), np.stack(biases), np.stack([h.outputs for h in heads]), np.array([h.shift for h in heads])
    )
