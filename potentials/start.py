"""Where a fit begins and what it is drawn to: input scaling, first parameters, prior."""

from __future__ import annotations

import numpy as np

from potentials import kernels
from potentials.environments import deviations
from potentials.fit import Head, Layout
from potentials.network import StratumParameters
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures
from potentials.tables import heights
from potentials.task import FitTask

SPREAD = (0.5, 0.3, 0.3)  # of the first pre-activations, biases, outputs (eV) of an element


def scaling_of(structures: Structures, recipe: Recipe, stratum: Stratum) -> StratumParameters:
    """Input scaling by these crystals, and columns of zeros.

    A unary block is (f - mean)/deviation. Higher blocks are never shifted: zero must stay zero. Scaled by range, no block
    is: f/max f.
    """
    features = np.concatenate(kernels.features(structures, recipe.shape, stratum.numbers))
    features = np.where(np.isfinite(features), features, 0.0)
    shift, scale, columns = {}, {}, {}
    for z in stratum.numbers:
        blocks = [b for b in recipe.shape.blocks(z, stratum.numbers) if b.stratum == stratum]
        own = features[structures.numbers == z][:, blocks[0].start : blocks[0].stop] if blocks else np.zeros((1, 0))
        smooth = recipe.shape.smoothness(blocks[0]) if blocks else np.zeros(0)
        by_range = recipe.scaling == "range"
        shift[z] = own.mean(axis=0) if stratum.order == 1 and not by_range else np.zeros(own.shape[1])
        scale[z] = smooth / (greatest(own) if by_range else deviations(own))
        columns[z] = np.zeros((recipe.members, own.shape[1], recipe.hidden))
    return StratumParameters(stratum, shift, scale, columns)


def greatest(table: Floats) -> Floats:
    """(D,) greatest absolute values of the columns of (n, D), never so small that scaling by them would magnify noise."""
    most = np.abs(table).max(axis=0)
    return np.asarray(np.maximum(most, 1e-6 * most.max(initial=0.0) or 1.0))


def start(task: FitTask, layout: Layout) -> Floats:
    """Where the fit begins: the old parameters; zero for the columns of a new pair; random for a new element."""
    old, m = task.scaling, task.member
    if not layout.unary and not task.warm:
        return prior(task, layout)
    if not layout.unary:
        return np.concatenate([old.columns[z][m].T.ravel() for z in task.stratum.numbers])
    (z,) = task.stratum.numbers
    if task.warm:
        return layout.join(old.columns[z][m], Head.of(old, m))
    rng = np.random.default_rng([task.recipe.fitting.seed, m, z])
    columns = rng.normal(scale=SPREAD[0] / _length(task), size=(layout.hidden, layout.n_columns))
    biases = rng.normal(scale=SPREAD[1], size=layout.hidden)
    outputs = rng.normal(scale=SPREAD[2], size=layout.last)
    data = task.dataset.training()
    per_atom = data.labels.energies / data.structures.sizes
    low = heights(data, {}) <= task.recipe.fitting.high_energy
    shift = float(per_atom[low].mean())
    if not layout.second:
        return layout.join(columns.T, Head(biases, outputs, shift))
    weights = rng.normal(scale=layout.hidden**-0.5, size=(layout.hidden, layout.second))
    second_biases = rng.normal(scale=SPREAD[1], size=layout.second)
    return layout.join(columns.T, Head(biases, outputs, shift, weights, second_biases))


def _length(task: FitTask) -> float:
    """The length of a typical vector of scaled inputs, without their mean."""
    (z,) = task.stratum.numbers
    shape = task.recipe.shape
    if task.recipe.scaling == "deviation":
        (block,) = shape.blocks(z, (z,))
        return float(np.linalg.norm(shape.smoothness(block)))
    features = np.concatenate(kernels.features(task.dataset.training().structures, shape, (z,)))
    features = features[np.isfinite(features).all(axis=1)]
    return float(np.linalg.norm(deviations(features) * task.scaling.scale[z]))


def prior(task: FitTask, layout: Layout) -> Floats:
    """What the parameters are drawn to: for an element zero; for more, every neighbour counts like one of the centre's kind.

    A density that does not tell elements apart has the products P = P^XX + 2 P^XY + P^YY, so the raw weights of the pair are
    those of the centre's own T and P; those of a triple are the means of the two pairs', twice. Symmetry functions have
    G4 = G4(XX) + G4(XY) + G4(YY), so there unlike neighbours count once.
    """
    values = np.zeros(layout.size * layout.n_centres)
    if layout.unary or not layout.size:
        return values
    shape, m = task.recipe.shape, task.member
    n_pair, unlike = shape.n_pair, shape.unlike
    raw = {(p.stratum, z): p.columns[z][m] * p.scale[z][:, None] for p in task.frozen for z in p.stratum.numbers}
    for k, z in enumerate(task.stratum.numbers):
        others = [y for y in task.stratum.numbers if y != z]
        if len(others) == 1:
            own = raw[Stratum((z,)), z]
            weights = np.concatenate([own[:n_pair], unlike * own[n_pair:], own[n_pair:]])
        else:
            n = shape.n_products
            weights = unlike / 2 * sum((raw[Stratum.of((z, y)), z][-n:] for y in others), np.zeros(()))
        layout.columns(values, k)[:] = (weights / task.scaling.scale[z][:, None]).T
    return values
