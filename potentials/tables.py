"""Tables a fit works on: features of every centre, their derivatives, and the labels as weighted rows.

Rows of a crystal of N atoms: its energy, 3 N derivatives by positions, six by strain (where the label has a stress). A
row that has no label has weight zero.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from potentials import kernels
from potentials.dataset import Dataset
from potentials.network import Model, StratumParameters, embedded_atoms
from potentials.recipe import Fitting, Recipe
from potentials.stratum import Stratum
from potentials.structures import VOIGT, Floats, Prediction, Structures

KEPT = 2  # tables of so many data sets are remembered: the members of a committee share theirs
STRAIN = np.ravel_multi_index(VOIGT, (3, 3))  # among the nine row-major strain columns


@dataclass(frozen=True, eq=False)
class Centres:
    """All centres of one element in one crystal; q = 3 N + 6 derivatives by positions and strain."""

    features: Floats  # (n, D) unscaled
    slopes: Floats  # (n, q, D)


@dataclass(frozen=True, eq=False)
class Table:
    """One crystal."""

    centres: dict[int, Centres]  # by atomic number
    targets: Floats  # (1 + q,) eV and its derivatives, without the baseline; 0 where unknown
    weights: Floats  # (1 + q,) 1/unit of each row; 0 where unknown
    place: int  # of the crystal in its data set


_remembered: OrderedDict[tuple[object, ...], list[Table]] = OrderedDict()


def tables(
    dataset: Dataset,
    recipe: Recipe,
    stratum: Stratum,
    lowest: Mapping[int, float],
    below: Collection[StratumParameters] = (),
) -> list[Table]:
    """One Table per crystal of `dataset`, whose elements are those of `stratum`; remembered by content.

    A crystal whose features cannot be computed (collapsed) is left out.

    lowest: eV per atom of each element at its most stable, by atomic number; energies above their mean are high.
    below: strata whose embedded-atom potential belongs to the baseline, if they have one; others than subsets do not matter.
    """
    within = [p for p in below if p.embedded is not None and set(p.stratum.numbers) <= set(stratum.numbers)]
    atoms = tuple(sorted((p.stratum.name, p.embedded.tobytes()) for p in within if p.embedded is not None))
    key = (dataset.content_hash(), recipe, stratum, tuple(sorted(lowest.items())), atoms)
    if key not in _remembered:
        _remembered[key] = _tables(dataset, recipe, stratum, lowest, within)
        while len(_remembered) > KEPT:
            _remembered.popitem(last=False)
    _remembered.move_to_end(key)
    return _remembered[key]


def heights(dataset: Dataset, lowest: Mapping[int, float]) -> Floats:
    """(n,) eV/atom above the lowest crystal, compositions compared by way of the elements' `lowest`."""
    s = dataset.structures
    per_atom = np.array([lowest.get(int(z), 0.0) for z in s.numbers])
    excess = (dataset.labels.energies - np.add.reduceat(per_atom, s.offsets[:-1])) / s.sizes
    return np.asarray(excess - excess.min())


def baseline(
    structures: Structures, recipe: Recipe, stratum: Stratum, below: Collection[StratumParameters] = ()
) -> Prediction:
    """What the repulsions and the embedded-atom potential of the strata `below` say: networks of weight zero."""
    n = stratum.order
    weights, lanes = np.zeros((n, recipe.shape.n_features(n), 1)), np.zeros((n, 1))
    model = Model(
        recipe.shape,
        stratum.numbers,
        1,
        1,
        weights,
        lanes,
        lanes,
        lanes,
        recipe.repulsion,
        core_energy=recipe.core_energy,
        embedded=embedded_atoms(recipe.shape, stratum.numbers, below, recipe.degree),
    )
    return kernels.evaluate(structures, model)


def _tables(
    dataset: Dataset,
    recipe: Recipe,
    stratum: Stratum,
    lowest: Mapping[int, float],
    below: Collection[StratumParameters],
) -> list[Table]:
    structures, labels, fitting = dataset.structures, dataset.labels, recipe.fitting
    base, height = baseline(structures, recipe, stratum, below), heights(dataset, lowest)
    result = []
    for c, (features, jacobian) in enumerate(kernels.jacobians(structures, recipe.shape, stratum.numbers)):
        if not np.isfinite(jacobian).all():
            continue
        atoms = slice(structures.offsets[c], structures.offsets[c + 1])
        numbers, n = structures.numbers[atoms], int(structures.sizes[c])
        # (n, D, 3 n + 9) -> (n, 3 n + 6, D)
        slopes = np.concatenate([jacobian[:, :, : 3 * n], jacobian[:, :, 3 * n + STRAIN]], axis=2).transpose(0, 2, 1)
        centres = {
            z: Centres(features[numbers == z], np.ascontiguousarray(slopes[numbers == z]))
            for z in stratum.numbers
            if (numbers == z).any()
        }
        whole = bool(structures.periodic[c].all())
        virial = (labels.stresses[c] - base.stresses[c]) * structures.volumes[c] if whole else np.full((3, 3), np.nan)
        energy = labels.energies[c] - base.energies[c]
        targets = np.concatenate(
            [[energy], (base.forces[atoms] - labels.forces[atoms]).ravel(), virial.ravel()[STRAIN]]
        )
        weights = _weights(fitting, n, labels.forces[atoms], float(height[c])) * np.sqrt(dataset.weights[c])
        known = np.isfinite(targets)
        result.append(Table(centres, np.where(known, targets, 0.0), np.where(known, weights, 0.0), c))
    return result


def _weights(fitting: Fitting, n: int, forces: Floats, height: float) -> Floats:
    """(1 + 3 n + 6,) per eV, per eV/Å, per eV."""
    calm = 1.0 / (1.0 + (height / fitting.high_energy) ** 2)
    gentle = 1.0 / (1.0 + (forces**2).sum(axis=1) / fitting.high_force**2)
    units = np.concatenate([[fitting.energy * n], np.full(3 * n, fitting.force), np.full(6, fitting.virial * n)])
    return np.concatenate([[calm], np.repeat(gentle, 3), np.full(6, calm)]) / units
