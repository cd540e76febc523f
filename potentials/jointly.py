"""Train all strata of some elements at once: the traditional way, for comparison, and the refit of a young library.

    tasks = plan_jointly(recipe, dataset, elements)
    for trained in finish_all(tasks, [fit_member(task) for task in tasks]): library.add(trained)

The columns of a pair or triple are drawn to what the element-blind prior makes of the columns below them in the same fit, so
directions that the data leave open (an element that only occurs in compounds) stay sensible.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from potentials.dataset import Dataset
from potentials.library import Library
from potentials.network import StratumParameters
from potentials.recipe import Recipe
from potentials.start import scaling_of
from potentials.stratum import Stratum
from potentials.tables import tables
from potentials.task import FitTask
from potentials.train import TrainingError, check

ITERATIONS = 60
LARGEST = 3  # elements of a stratum with parameters of its own


def plan_jointly(
    recipe: Recipe,
    dataset: Dataset,
    elements: Stratum,
    *,
    iterations: int | None = None,
    library: Library | None = None,
) -> list[FitTask]:
    """One task per member for every stratum of these elements, on all their crystals.

    library: where the strata are that the fit starts from; without one it starts from nothing. TrainingError where an element
    occurs in no crystal to train on.
    """
    own = dataset.select([c for c, s in enumerate(dataset.strata()) if set(s.numbers) <= set(elements.numbers)])
    check(own, elements.name)
    seen = {z for s in own.training().strata() for z in s.numbers}
    if absent := [Stratum((z,)).name for z in elements.numbers if z not in seen]:
        raise TrainingError(
            f"no crystals with {', '.join(absent)} to train {elements.name} on; label some, or name fewer elements"
        )
    strata = tuple(s for s in elements.subsets() if s.order <= LARGEST)
    lowest = lowest_of(own.training())
    if library is not None:
        scalings = {s: library.stratum(s).parameters for s in strata}
    else:
        scalings = _scalings(recipe, own.training(), strata, lowest)
    return [
        FitTask(
            strata=strata,
            member=member,
            recipe=recipe,
            dataset=own,
            iterations=ITERATIONS if iterations is None else iterations,
            scalings=scalings,
            warm=library is not None,
            frozen=(),
            known={},
            parents={},
            lowest=lowest,
        )
        for member in range(recipe.members)
    ]


def lowest_of(data: Dataset) -> dict[int, float]:
    """eV per atom of each element at its most stable; by least squares over the compounds where it does not occur alone."""
    numbers = sorted(set(data.structures.numbers.tolist()))
    strata, per_atom = data.strata(), data.labels.energies / data.structures.sizes
    offsets = data.structures.offsets
    shares = np.array(
        [[np.mean(data.structures.numbers[a:b] == z) for z in numbers] for a, b in pairwise(offsets.tolist())]
    )
    guess = np.linalg.lstsq(shares, per_atom, rcond=None)[0]
    found = dict(zip(numbers, guess.tolist(), strict=True))
    for z in numbers:
        alone = [e for e, s in zip(per_atom, strata, strict=True) if s == Stratum((z,))]
        if alone:
            found[z] = float(min(alone))
    return found


def _scalings(
    recipe: Recipe, data: Dataset, strata: tuple[Stratum, ...], lowest: Mapping[int, float]
) -> dict[Stratum, StratumParameters]:
    companies = sorted(set(data.strata()), key=Stratum.sort_key)
    known = [(s, tables(data.of_stratum(s), recipe, s, lowest)) for s in companies]
    return {s: scaling_of(recipe, s, known) for s in strata}
