"""Prospects against Monte Carlo and by construction."""

import numpy as np
import pytest

from evo.hull import Hull, Point
from evo.prospects import LONGEST, Prospects, batch, chances, lowerings, promising

A, B = 29, 46
ENDS = [Point({A: 1}, 0.0, "r", "a"), Point({B: 1}, 0.0, "r", "b")]


def prospects(counts, means, deviations, vectors=None, seconds=None):
    n = len(means)
    return Prospects(
        counts,
        np.array(means, dtype=float),
        np.array(deviations, dtype=float),
        np.zeros((n, 0)) if vectors is None else np.array(vectors, dtype=float),
        np.ones(n) if seconds is None else np.array(seconds, dtype=float),
    )


@pytest.mark.parametrize(("mean", "deviation"), [(-0.05, 0.02), (0.0, 0.01), (0.03, 0.02), (0.2, 0.01)])
def test_chance_and_lowering_are_those_of_drawn_energies(mean, deviation):
    drawn = np.random.default_rng(0).normal(mean, deviation, 400_000)
    level = np.zeros(1)
    told = prospects([{A: 1, B: 1}], [mean], [deviation])
    assert chances(told, level)[0] == pytest.approx((drawn < 0).mean(), abs=3e-3)
    assert lowerings(told.means, told.deviations, level)[0] == pytest.approx(np.maximum(-drawn, 0).mean(), abs=3e-5)


def test_a_composition_without_a_hull_comes_first():
    told = prospects([{A: 1, B: 1}, {A: 1, 47: 1}], [-0.5, 5.0], [0.01, 0.01])
    assert batch(Hull.of(ENDS), told, 1) == [1]


def test_low_comes_first_and_doubt_counts():
    told = prospects([{A: 1, B: 1}, {A: 1, B: 2}, {A: 2, B: 1}], [-0.02, -0.05, 0.001], [0.003, 0.003, 0.05])
    assert batch(Hull.of(ENDS), told, 3)[0] == 1
    # a sure thing slightly above the hull is worth less than a doubtful one
    sure, doubtful = [0.005, 0.005], [0.003, 0.03]
    assert batch(Hull.of(ENDS), prospects([{A: 1, B: 1}, {A: 1, B: 2}], sure, doubtful), 1) == [1]


def test_a_batch_spreads_over_compositions():
    """Ten nearly equal crystals of AB, lowest of all, and one of A3B: the second call is not for the next AB."""
    counts = [{A: 1, B: 1}] * 10 + [{A: 3, B: 1}]
    told = prospects(counts, [-0.05 + 1e-4 * i for i in range(10)] + [-0.04], [0.003] * 11)
    assert batch(Hull.of(ENDS), told, 2) == [0, 10]


def test_a_batch_spreads_over_kinds():
    """Of two crystals as doubtful, the one that looks like what was just chosen waits."""
    counts = [{A: 1, B: 1}, {A: 1, B: 2}, {A: 1, B: 2}]
    looks = [[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]
    told = prospects(counts, [0.0, 0.02, 0.02], [0.03, 0.03, 0.03], looks)
    assert batch(Hull.of(ENDS), told, 2) == [0, 2]


def test_cheap_calls_come_first():
    counts = [{A: 1, B: 1}, {A: 1, B: 2}]
    assert batch(Hull.of(ENDS), prospects(counts, [-0.03, -0.03], [0.01, 0.01], seconds=[8.0, 1.0]), 1) == [1]


def test_no_crystal_twice_and_no_more_than_there_are():
    told = prospects([{A: 1, B: 1}] * 5, [0.0] * 5, [0.01] * 5)
    assert sorted(batch(Hull.of(ENDS), told, 9)) == [0, 1, 2, 3, 4]


def test_the_promising_are_the_lowest_for_their_cost():
    n = LONGEST + 50
    told = prospects([{A: 1, B: 1}] * n, np.linspace(0.1, -0.1, n), [0.01] * n)
    assert promising(Hull.of(ENDS), told) == list(range(n - 1, n - 1 - LONGEST, -1))
