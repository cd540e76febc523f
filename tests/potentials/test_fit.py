"""The least-squares problem: its Jacobian is the derivative of its residuals, and the minimiser finds minima."""

from dataclasses import replace

import numpy as np
import pytest

from potentials.jointly import plan_jointly
from potentials.levenberg import PATIENCE, minimise
from potentials.start import start
from potentials.stratum import Stratum
from potentials.train import layout_of, plan, prepare, problem_of
from tests.crystals import AG, CU, PD
from tests.labelled import DEEP, SMALL, dataset, trained


@pytest.fixture(scope="module", params=[SMALL, DEEP], ids=["density", "two layers"])
def library(request, tmp_path_factory):
    names = ["Cu", "Pd", "Ag", "CuPd", "CuAg", "PdAg"]
    return trained(tmp_path_factory.mktemp("fit") / "lib", names, request.param)


@pytest.mark.parametrize("numbers", [(CU,), (CU, PD), (CU, PD, AG)])
def test_rows_are_derivatives_of_the_residuals(library, numbers):
    stratum = Stratum(numbers)
    below = {n: v for n, v in library.versions().items() if n != stratum.name}
    check_rows(plan(library, below, dataset(numbers, 8, 5), stratum)[1])


@pytest.mark.parametrize("recipe", [SMALL, DEEP], ids=["density", "two layers"])
def test_rows_of_a_joint_fit_are_derivatives_of_the_residuals(recipe):
    data = dataset((CU,), 4, 5).merge(dataset((CU, PD), 5, 5)).merge(dataset((CU, PD, AG), 4, 5))
    check_rows(plan_jointly(recipe, data, Stratum((CU, PD, AG)))[1])


def check_rows(task):
    prepared, bases, _ = prepare(task)
    prepared = [
        replace(b, centres=tuple(replace(c, s=c.s.astype(float), z=c.z.astype(float)) for c in b.centres))
        for b in prepared
    ]
    layout = layout_of(task, bases)
    problem = problem_of(task, prepared, layout)
    rng = np.random.default_rng(0)
    p = start(task, layout, bases)
    p = p + 0.1 * rng.normal(size=len(p))
    analytic = problem.jacobian(p).astype(float)
    step = 1e-5
    for k in rng.choice(len(p), size=min(len(p), 40), replace=False):
        move = np.zeros(len(p))
        move[k] = step
        numeric = (problem.residuals(p + move) - problem.residuals(p - move)) / (2 * step)
        np.testing.assert_allclose(analytic[:, k], numeric, atol=2e-5 * max(1.0, np.abs(numeric).max()))
    matrix, gradient = problem.normal(p)
    lower = np.tril_indices(len(p))
    scale = np.abs(analytic.T @ analytic).max()
    np.testing.assert_allclose(matrix[lower], (analytic.T @ analytic)[lower], atol=1e-5 * scale)
    exact = analytic.T @ problem.residuals(p)
    np.testing.assert_allclose(gradient, exact, atol=1e-4 * np.abs(exact).max())


class Rosenbrock:
    """Residuals 10 (y - x²) and 1 - x: minimum at (1, 1). Validated by the distance to `best`, where that is given."""

    def __init__(self, best=None):
        self.best = best
        self.matrices = 0

    @property
    def validates(self):
        return self.best is not None

    def residuals(self, p):
        return np.array([10 * (p[1] - p[0] ** 2), 1 - p[0]])

    def costs(self, p):
        r = self.residuals(p)
        return float(r @ r), 0.0 if self.best is None else float(((p - self.best) ** 2).sum())

    def normal(self, p):
        self.matrices += 1
        j = np.array([[-20 * p[0], 10.0], [-1.0, 0.0]])
        return j.T @ j, j.T @ self.residuals(p)


def test_the_minimiser_crosses_a_curved_valley():
    nothing = np.zeros(2)
    end = minimise(Rosenbrock(), np.array([-1.2, 1.0]), nothing, nothing, 100)
    np.testing.assert_allclose(end.parameters, [1.0, 1.0], atol=1e-6)
    pulled = minimise(Rosenbrock(), np.array([-1.2, 1.0]), np.array([0.0, 5.0]), np.full(2, 1e6), 100)
    np.testing.assert_allclose(pulled.parameters, [0.0, 5.0], atol=1e-2)


def test_the_minimiser_stops_where_the_validation_is_best():
    nothing, start_ = np.zeros(2), np.array([-1.2, 1.0])
    early = Rosenbrock(best=np.array([-0.9, 0.9]))
    end = minimise(early, start_, nothing, nothing, 100)
    assert np.linalg.norm(end.parameters - early.best) < np.linalg.norm(start_ - early.best)
    assert early.matrices == end.iterations < 100
    free = Rosenbrock()
    minimise(free, start_, nothing, nothing, 100)
    assert early.matrices < free.matrices + PATIENCE
