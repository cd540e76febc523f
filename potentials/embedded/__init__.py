"""Embedded-atom potentials of few parameters, fitted to labels: the baseline that networks stand on where a recipe says so.

Some ten parameters for each element and each pair of elements (`potentials.kernels.embedded` has the formulas) know of metals
what a network has to learn from labels: how bonds weaken as their number grows, and what becomes of them far from any label.
What belongs to an element or to a pair is fitted with its stratum, and stays as it is under whatever stands on it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from potentials.dataset import Dataset
from potentials.embedded.residuals import Residuals, Scaled
from potentials.embedded.state import Layout
from potentials.levenberg import minimise
from potentials.network import StratumParameters
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.structures import Floats, Labels
from potentials.tables import baseline

ROUNDS, ITERATIONS = 2, 20  # of the fit; the scale of the parameters is set anew in each


class Fitted(NamedTuple):
    """What a fit of such a potential has made."""

    strata: dict[Stratum, Floats]  # parameters of each
    seconds: float  # CPU


def fitted(
    recipe: Recipe,
    dataset: Dataset,
    strata: Collection[Stratum],
    below: Collection[StratumParameters],
    lowest: Mapping[int, float],
    begin: Collection[StratumParameters] = (),
    iterations: int = ITERATIONS,
) -> Fitted:
    """The parameters of those of `strata` that have some, by energies, forces and stresses of these crystals.

    below: the strata that they stand on, which stay as they are. lowest: eV/atom of elements at their most stable, where known;
    crystals `high_energy` of the recipe above them count half. begin: what the fit starts from, and is drawn to where no label
    speaks; pairs else begin with what their elements say. Nothing is fitted where the recipe has no such potential, or `strata`
    no element or pair. ValueError where there are no crystals, or one has no finite energy.
    """
    chosen = {s for s in strata if s.order <= 2}
    if not chosen or not recipe.embedded:
        return Fitted({}, 0.0)
    started = time.process_time()
    if not len(dataset) or not np.isfinite(dataset.labels.energies).all():
        raise ValueError(f"an embedded-atom potential needs crystals with finite energies, got {len(dataset)} crystals")
    species = tuple(sorted({z for s in strata for z in s.numbers}))
    layout = Layout(species, recipe.shape.cutoff, recipe.degree)
    given = {p.stratum: p.embedded for p in below if p.embedded is not None and p.stratum in layout.places}
    fixed = dict(given)
    if absent := [s for s in layout.places if s not in chosen and s not in given]:
        # no stratum has these pairs: as evaluation has them
        p = np.zeros(layout.size)
        for stratum, own in given.items():
            p[layout.places[stratum]] = own
        layout.follow(p, absent)
        fixed |= {s: p[layout.places[s]] for s in absent}
    problem = Residuals(_without_repulsion(recipe, dataset, species), layout, fixed, lowest, recipe.fitting.high_energy)
    start = problem.start({p.stratum: p.embedded for p in begin if p.embedded is not None and p.stratum in chosen})
    p = problem.linear(start)
    for _ in range(ROUNDS):
        scaled = Scaled(problem, p, start)
        p = scaled.parameters(minimise(scaled, scaled.zero, scaled.prior, scaled.decay, iterations).parameters)
    return Fitted({s: p[layout.places[s]] for s in problem.strata}, time.process_time() - started)


def _without_repulsion(recipe: Recipe, dataset: Dataset, species: tuple[int, ...]) -> Dataset:
    base, labels = baseline(dataset.structures, recipe, Stratum(species)), dataset.labels
    energies, forces, stresses = (np.nan_to_num(a) for a in (base.energies, base.forces, base.stresses))
    return replace(
        dataset, labels=Labels(labels.energies - energies, labels.forces - forces, labels.stresses - stresses)
    )
