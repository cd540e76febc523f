"""Where a fit begins and what it is drawn to: input scaling, first parameters, prior."""

from __future__ import annotations

import numpy as np

from potentials import kernels
from potentials.environments import deviations
from potentials.fit import Layout
from potentials.network import StratumParameters
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures
from potentials.tables import heights
from potentials.task import FitTask

SPREAD = (0.5, 0.3, 0.3)  # of the first pre-activations, biases, outputs (eV) of an element


def scaling_of(structures: Structures, recipe: Recipe, stratum: Stratum) -> StratumParameters:
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
        shift[z] = own.mean(axis=0) if stratum.order == 1 else np.zeros(own.shape[1])
        scale[z] = smooth / deviations(own)
        columns[z] = np.zeros((recipe.members, own.shape[1], recipe.hidden))
    return StratumParameters(stratum, shift, scale, columns)


def start(task: FitTask, layout: Layout) -> Floats:
    """Where the fit begins: the old parameters; zero for the columns of a new pair; random for a new element."""
    old, m = task.scaling, task.member
    if not layout.unary and not task.warm:
        return prior(task, layout)
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


def prior(task: FitTask, layout: Layout) -> Floats:
    """What the parameters are drawn to: for an element zero; for more, every neighbour counts like one of the centre's kind.

    A density that does not tell elements apart has the products P = P^XX + 2 P^XY + P^YY, so the raw weights of the pair are
    those of the centre's own T and P; those of a triple are the means of the two pairs', twice.
    """
    values = np.zeros(layout.size * layout.n_centres)
    if layout.unary or not layout.size:
        return values
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
        layout.columns(values, k)[:] = (weights / task.scaling.scale[z][:, None]).T
    return values
