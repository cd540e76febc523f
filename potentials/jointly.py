"""Train several strata at once: all of some elements, which is the traditional way, for comparison, and the refit of a young
library; or new ones on top of those that are there, which stay as they are.

    tasks = plan_jointly(recipe, dataset, elements)
    tasks = plan_together(library, library.versions(), dataset, strata)
    for trained in finish_all(tasks, [fit_member(task) for task in tasks]): library.add(trained)

An element with few crystals of its own gains by the second: those of its pairs shape its networks too.

The columns of a pair or triple are drawn to what the element-blind prior makes of the columns below them in the same fit, so
directions that the data leave open (an element that only occurs in compounds) stay sensible.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from potentials.dataset import Dataset
from potentials.embedded import fitted
from potentials.library import Library
from potentials.likeness import NONE
from potentials.network import StratumParameters
from potentials.recipe import Recipe
from potentials.start import scaling_of
from potentials.stratum import Stratum
from potentials.tables import tables
from potentials.task import FitTask
from potentials.train import TrainingError, check, likeness_of, remembered_likeness

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
    spent, liked = 0.0, NONE
    if library is not None:
        liked = likeness_of(
            library, library.versions(), strata, remembered_likeness(library.stratum(s) for s in strata)
        )
        scalings = {s: library.stratum(s).parameters for s in strata}
    else:
        scalings, spent = _scalings(recipe, own.training(), strata, lowest, ())
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
            like=liked,
            seconds=spent,
        )
        for member in range(recipe.members)
    ]


def plan_together(
    library: Library,
    versions: Mapping[str, int],
    dataset: Dataset,
    strata: Sequence[Stratum],
    *,
    iterations: int | None = None,
    like: Mapping[int, int] | None = None,
) -> list[FitTask]:
    """One task per member for new strata, on all their crystals; what they stand on stays as it is at these versions.

    like: as in `potentials.train.plan`. TrainingError where a stratum below is missing, or one of `strata` is there already, or
    has no crystals.
    """
    wanted, recipe = sorted(set(strata), key=Stratum.sort_key), library.recipe
    for stratum in wanted:
        if stratum.name in versions:
            raise TrainingError(f"{stratum.name} is there already; only new strata are trained together")
        check(dataset.of_stratum(stratum), stratum.name)
    own = dataset.select([c for c, s in enumerate(dataset.strata()) if s in wanted])
    check(own, ", ".join(s.name for s in wanted))
    below = sorted({s for w in wanted for s in w.subsets()} - set(wanted), key=Stratum.sort_key)
    if missing := [s.name for s in below if s.name not in versions]:
        raise TrainingError(
            f"the strata {', '.join(missing)} are missing below; name them as well, or train them first"
        )
    frozen = [library.stratum(s, versions[s.name]) for s in below]
    lowest = lowest_of(own.training()) | {
        t.stratum.numbers[0]: float(t.metadata["lowest"]) for t in frozen if t.stratum.order == 1
    }
    beneath, liked = [t.parameters for t in frozen], likeness_of(library, versions, wanted, like)
    scalings, spent = _scalings(recipe, own.training(), tuple(wanted), lowest, beneath, liked.strata)
    return [
        FitTask(
            strata=tuple(wanted),
            member=member,
            recipe=recipe,
            dataset=own,
            iterations=ITERATIONS if iterations is None else iterations,
            scalings=scalings,
            warm=False,
            frozen=tuple(beneath),
            known={t.stratum: t.environments for t in frozen},
            parents={t.stratum.name: t.content_hash() for t in frozen},
            lowest=lowest,
            like=liked,
            seconds=spent,
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
    recipe: Recipe,
    data: Dataset,
    strata: tuple[Stratum, ...],
    lowest: Mapping[int, float],
    below: Collection[StratumParameters],
    begin: Collection[StratumParameters] = (),
) -> tuple[dict[Stratum, StratumParameters], float]:
    """Of their inputs, with the potential under their networks where the recipe has one; CPU s of that."""
    companies = sorted(set(data.strata()), key=Stratum.sort_key)
    atoms, seconds = fitted(recipe, data, strata, below, lowest, begin)
    under = [*below, *(StratumParameters(s, {}, {}, {}, embedded=own) for s, own in atoms.items())]
    known = [(s, tables(data.of_stratum(s), recipe, s, lowest, under)) for s in companies]
    return {s: replace(scaling_of(recipe, s, known), embedded=atoms.get(s)) for s in strata}, seconds
