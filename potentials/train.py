"""Train one stratum on top of those below it, which stay as they are.

`plan` makes one task per committee member, `fit_member` is a pure function that any process may run, `finish` puts the
results together:

    tasks = plan(library, library.versions(), dataset, Stratum.parse("CuPd"))
    library.add(finish(tasks, [fit_member(task) for task in tasks]))
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from potentials import kernels
from potentials.dataset import Dataset, only_method
from potentials.environments import Environments, remember
from potentials.fit import Frozen, Layout, Scaled, StratumProblem, rows_of
from potentials.levenberg import minimise
from potentials.library import Library
from potentials.network import StratumParameters, fold
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum
from potentials.structures import Floats, Structures
from potentials.tables import heights, tables

ITERATIONS = {1: 100}  # for a new element; a new pair or triple starts closer
ITERATIONS_ABOVE = 12
SPREAD = (0.5, 0.3, 0.3)  # of the first pre-activations, biases, outputs (eV) of a unary stratum
FREE_SHIFT = 1e-6  # decay of e relative to the other parameters: a cohesive energy is not to be small


@dataclass(frozen=True, eq=False)
class FitTask:
    """All that one member's fit depends on."""

    stratum: Stratum
    member: int
    recipe: Recipe
    dataset: Dataset  # crystals of exactly this stratum, held-out ones included
    iterations: int
    scaling: StratumParameters  # of the stratum's inputs; its columns are where a warm start begins, else zero
    warm: bool
    frozen: tuple[StratumParameters, ...]  # every stratum below, all members, canonical order
    known: Mapping[Stratum, Environments]  # surroundings of the frozen strata
    parents: Mapping[str, str]  # their content hashes, by name
    lowest: Mapping[int, float]  # eV/atom of each element at its most stable


@dataclass(frozen=True, eq=False)
class FitResult:
    """One member of one stratum. Arrays by atomic number of the centre."""

    stratum: Stratum
    member: int
    columns: Mapping[int, Floats]  # (n_block, hidden)
    biases: Floats | None  # (hidden,), unary only
    outputs: Floats | None  # (hidden,) eV, unary only
    shift: float | None  # eV per atom, unary only
    iterations: int
    seconds: float  # CPU

    def to_json(self) -> dict[str, Any]:
        """A JSON value that keeps every bit."""
        return {
            "stratum": self.stratum.name,
            "member": self.member,
            "columns": {str(z): _encode(c) for z, c in self.columns.items()},
            "biases": None if self.biases is None else _encode(self.biases),
            "outputs": None if self.outputs is None else _encode(self.outputs),
            "shift": self.shift,
            "iterations": self.iterations,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FitResult:
        return cls(
            stratum=Stratum.parse(data["stratum"]),
            member=data["member"],
            columns={int(z): _decode(c) for z, c in data["columns"].items()},
            biases=None if data["biases"] is None else _decode(data["biases"]),
            outputs=None if data["outputs"] is None else _decode(data["outputs"]),
            shift=data["shift"],
            iterations=data["iterations"],
            seconds=data["seconds"],
        )


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
        raise ValueError(f"`members` must be {recipe.members}, as in the recipe of {library.path}, got {members}")
    own = dataset.of_stratum(stratum)
    if not len(own.training()):
        raise ValueError(f"no crystals of {stratum.name} to train on; label some with exactly these elements")
    only_method(own.methods)
    if unlabelled := int((~np.isfinite(own.labels.energies)).sum()):
        raise ValueError(f"{unlabelled} crystals of {stratum.name} have no finite energy; leave them out")
    below = [s for s in stratum.subsets() if s != stratum]
    if missing := [s.name for s in below if s.name not in versions]:
        raise ValueError(f"{stratum.name} needs the strata {', '.join(missing)} below it; train them first")
    frozen = [library.stratum(s, versions[s.name]) for s in below]
    warm = stratum.name in versions
    if warm:
        scaling = library.stratum(stratum, versions[stratum.name]).parameters
    else:
        scaling = _scaling(own.training().structures, recipe, stratum)
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
        found, iterations = _start(task, layout), 0
        if layout.size:
            problem = _problem(task, task.dataset.training(), layout)
            fitting = task.recipe.fitting
            decay = np.full(len(found), fitting.decay if layout.unary else fitting.pull)
            if layout.unary:
                decay[-1] *= FREE_SHIFT
            minimum = minimise(problem, found, _prior(task, layout), decay, task.iterations)
            found, iterations = minimum.parameters, minimum.iterations
    seconds = time.process_time() - started
    columns = {z: np.ascontiguousarray(layout.columns(found, k).T) for k, z in enumerate(task.stratum.numbers)}
    biases, outputs, shift = layout.rest(found, 0) if layout.unary else (None, None, None)
    return FitResult(task.stratum, task.member, columns, biases, outputs, shift, iterations, seconds)


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
    parameters = replace(
        task.scaling,
        columns={z: np.stack([r.columns[z] for r in made]) for z in task.stratum.numbers},
        biases=np.stack(biases) if biases else None,
        outputs=np.stack(outputs) if outputs else None,
        shifts=np.array(shifts) if shifts else None,
    )
    per_atom = task.dataset.labels.energies / task.dataset.structures.sizes
    metadata = {
        "method": only_method(task.dataset.methods),
        "data": task.dataset.content_hash(),
        "n_data": len(task.dataset),
        "errors": _errors(task, parameters),
        "lowest": float(per_atom.min()) if task.stratum.order == 1 else None,
        "iterations": [r.iterations for r in made],
        "seconds_labels": float(task.dataset.seconds.sum()),
        "seconds_training": float(sum(r.seconds for r in made)),
    }
    return TrainedStratum(parameters, _environments(task), dict(task.parents), metadata)


def _scaling(structures: Structures, recipe: Recipe, stratum: Stratum) -> StratumParameters:
    """Input scaling by these crystals, and columns of zeros.

    A unary block is (f - mean)/deviation. Higher blocks are never shifted: zero must stay zero.
    """
    features = np.concatenate(kernels.features(structures, recipe.shape, stratum.numbers))
    features = np.where(np.isfinite(features), features, 0.0)
    shift, scale, columns = {}, {}, {}
    for z in stratum.numbers:
        blocks = [b for b in recipe.shape.blocks(z, stratum.numbers) if b.stratum == stratum]
        own = features[structures.numbers == z][:, blocks[0].start : blocks[0].stop] if blocks else np.zeros((1, 0))
        smooth = recipe.shape.smoothness(blocks[0]) if blocks else np.zeros(0)
        deviation = own.std(axis=0)
        floor = 1e-6 * deviation.max(initial=0.0) or 1.0
        shift[z] = own.mean(axis=0) if stratum.order == 1 else np.zeros(own.shape[1])
        scale[z] = smooth / np.maximum(deviation, floor)
        columns[z] = np.zeros((recipe.members, own.shape[1], recipe.hidden))
    return StratumParameters(stratum, shift, scale, columns)


def _layout(task: FitTask) -> Layout:
    n_columns = task.recipe.shape.block_size(task.stratum.order)
    return Layout(task.stratum.order, n_columns, task.recipe.hidden, task.stratum.order == 1)


def _start(task: FitTask, layout: Layout) -> Floats:
    """Where the fit begins: the old parameters; zero for the columns of a new pair; random for a new element."""
    old, m = task.scaling, task.member
    if not layout.unary and not task.warm:
        return _prior(task, layout)
    if not layout.unary:
        return np.concatenate([old.columns[z][m].T.ravel() for z in task.stratum.numbers])
    (z,) = task.stratum.numbers
    if task.warm and old.biases is not None and old.outputs is not None and old.shifts is not None:
        return np.concatenate([old.columns[z][m].T.ravel(), old.biases[m], old.outputs[m], [old.shifts[m]]])
    rng = np.random.default_rng([task.recipe.fitting.seed, m, z])
    (block,) = task.recipe.shape.blocks(z, (z,))
    length = float(np.linalg.norm(task.recipe.shape.smoothness(block)))
    columns = rng.normal(scale=SPREAD[0] / length, size=(layout.hidden, layout.n_columns))
    biases, outputs = rng.normal(scale=SPREAD[1], size=layout.hidden), rng.normal(scale=SPREAD[2], size=layout.hidden)
    data = task.dataset.training()
    per_atom = data.labels.energies / data.structures.sizes
    low = heights(data, {}) <= task.recipe.fitting.high_energy
    return np.concatenate([columns.ravel(), biases, outputs, [per_atom[low].mean()]])


def _prior(task: FitTask, layout: Layout) -> Floats:
    """What the parameters are drawn to: for an element zero; for more, every neighbour counts like one of the centre's kind.

    A density that does not tell elements apart has the products P = P^XX + 2 P^XY + P^YY, so the raw weights of the pair are
    those of the centre's own T and P; those of a triple are the means of the two pairs', twice.
    """
    prior = np.zeros(layout.size * layout.n_centres)
    if layout.unary or not layout.size:
        return prior
    n_pair, m = task.recipe.shape.n_pair, task.member
    raw = {(p.stratum, z): p.columns[z][m] * p.scale[z][:, None] for p in task.frozen for z in p.stratum.numbers}
    for k, z in enumerate(task.stratum.numbers):
        others = [y for y in task.stratum.numbers if y != z]
        if len(others) == 1:
            own = raw[Stratum((z,)), z]
            weights = np.concatenate([own[:n_pair], 2 * own[n_pair:], own[n_pair:]])
        else:
            n = task.recipe.shape.n_products
            weights = sum((raw[Stratum.of((z, y)), z][-n:] for y in others), np.zeros(()))
        layout.columns(prior, k)[:] = (weights / task.scaling.scale[z][:, None]).T
    return prior


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
    outputs, shifts = np.zeros((len(numbers), layout.hidden)), np.zeros(len(numbers))
    for p in task.frozen:
        if p.outputs is not None and p.shifts is not None:
            k = numbers.index(p.stratum.numbers[0])
            outputs[k], shifts[k] = p.outputs[m], p.shifts[m]
    made = tables(dataset, task.recipe, task.stratum, task.lowest)
    return StratumProblem(rows_of(made, numbers, new, below, layout.hidden), layout, outputs, shifts)


def _errors(task: FitTask, parameters: StratumParameters) -> dict[str, float]:
    """RMSE of the committee over crystals at most `high_energy` above the lowest, eV/atom and eV/Å."""
    model = fold(task.recipe.shape, task.stratum.numbers, [*task.frozen, parameters], task.recipe.repulsion)
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


def _encode(array: Floats) -> list[Any]:
    return [list(array.shape), base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode()]


def _decode(data: Sequence[Any]) -> Floats:
    shape, text = data
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(float).reshape(shape)
