"""Few crystals draw parameters harder to their prior, each member to its own; many change nothing."""

from dataclasses import replace

import numpy as np
import pytest

from potentials.fit import Layout
from potentials.library import Library
from potentials.start import PART, drawn_to, scarcity, start
from potentials.stratum import Stratum
from potentials.train import FREE_SHIFT, decay_of, finish, fit_member, layout_of, plan, prepare
from tests.crystals import CU, PD
from tests.labelled import SMALL, dataset

COPPER, PAIR = Stratum((CU,)), Stratum((CU, PD))


def tasks_of(tmp_path, few, n=20):
    recipe = replace(SMALL, fitting=replace(SMALL.fitting, few=few))
    return plan(Library.create(tmp_path / str(few), recipe), {}, dataset((CU,), n, 0), COPPER)


def priors(task) -> tuple[Layout, np.ndarray, np.ndarray]:
    _, bases, ground = prepare(task)
    layout = layout_of(task, bases)
    return layout, drawn_to(task, layout, bases, ground), start(task, layout, bases)


def test_the_recipes_own_strength_from_few_on(tmp_path):
    for few in (0, 10):
        for task in tasks_of(tmp_path, few):
            layout, prior, _ = priors(task)
            decay = decay_of(task, layout)
            assert scarcity(task) == {COPPER: 1.0} and not prior.any()
            assert decay[:-1] == pytest.approx(SMALL.fitting.decay)
            assert decay[-1] == SMALL.fitting.decay * FREE_SHIFT


def test_strength_grows_with_the_square_of_what_is_missing(tmp_path):
    task = tasks_of(tmp_path, 90)[0]
    n = len(task.dataset.training())
    layout, _, _ = priors(task)
    assert scarcity(task)[COPPER] == (90 / n) ** 2 > 10
    decay = decay_of(task, layout)
    assert decay[:-1] == pytest.approx(SMALL.fitting.decay * (90 / n) ** 2)
    assert decay[-1] == SMALL.fitting.decay * FREE_SHIFT  # an energy of an atom is not to be small


def test_members_are_drawn_to_a_part_of_where_each_began(tmp_path):
    first, second = (priors(task) for task in tasks_of(tmp_path, 90))
    part = PART * (1 - 1 / scarcity(tasks_of(tmp_path, 91)[0])[COPPER])
    for _, prior, begun in (first, second):
        assert prior[:-1] == pytest.approx(part * begun[:-1], rel=2e-3)  # 91 instead of 90
        assert prior[-1] == 0.0
    assert np.abs(first[1] - second[1]).max() > 0.01


def test_a_pair_counts_its_own_crystals(tmp_path):
    recipe = replace(SMALL, fitting=replace(SMALL.fitting, few=30))
    library, versions = Library.create(tmp_path / "lib", recipe), {}
    data = dataset((CU,), 40, 0).merge(dataset((PD,), 40, 0)).merge(dataset((CU, PD), 16, 0))
    for name in ("Cu", "Pd"):
        tasks = plan(library, versions, data, Stratum.parse(name), iterations=2)
        versions[name] = library.add(finish(tasks, [fit_member(task) for task in tasks]))
    task = plan(library, versions, data, PAIR)[0]
    n = len(data.of_stratum(PAIR).training())
    _, bases, _ = prepare(task)
    assert scarcity(task) == {PAIR: (30 / n) ** 2}
    assert decay_of(task, layout_of(task, bases)) == pytest.approx(SMALL.fitting.pull * (30 / n) ** 2)
