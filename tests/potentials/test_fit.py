"""The least-squares problem: its Jacobian is the derivative of its residuals, and the minimiser finds minima."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from potentials.jointly import plan_jointly
from potentials.levenberg import PATIENCE, Tall, Wide, minimise
from potentials.library import Library
from potentials.refine import plan_refined
from potentials.start import start
from potentials.stratum import Stratum
from potentials.train import TrainingError, finish, fit_member, layout_of, plan, prepare, problem_of
from tests.crystals import AG, CU, PD
from tests.labelled import DEEP, SMALL, WIDE, dataset, train, trained


@pytest.fixture(scope="module", params=[SMALL, WIDE, DEEP], ids=["density", "widened", "two layers"])
def library(request, tmp_path_factory):
    names = ["Cu", "Pd", "Ag", "CuPd", "CuAg", "PdAg"]
    return trained(tmp_path_factory.mktemp("fit") / "lib", names, request.param)


@pytest.mark.parametrize("numbers", [(CU,), (CU, PD), (CU, PD, AG)])
def test_rows_are_derivatives_of_the_residuals(library, numbers):
    stratum = Stratum(numbers)
    below = {n: v for n, v in library.versions().items() if n != stratum.name}
    check_rows(plan(library, below, dataset(numbers, 8, 5), stratum)[1])


@pytest.mark.parametrize("recipe", [SMALL, WIDE, DEEP], ids=["density", "widened", "two layers"])
def test_rows_of_a_joint_fit_are_derivatives_of_the_residuals(recipe):
    data = dataset((CU,), 4, 5).merge(dataset((CU, PD), 5, 5)).merge(dataset((CU, PD, AG), 4, 5))
    check_rows(plan_jointly(recipe, data, Stratum((CU, PD, AG)))[1])


def test_rows_of_a_refined_fit_are_derivatives_of_the_residuals(tmp_path):
    """Those of anchors among them: one for each atom."""
    library, pair = trained(tmp_path / "lib", ["Cu", "Pd", "CuPd"]), Stratum((CU, PD))
    data = dataset((CU,), 4, 5).merge(dataset((PD,), 4, 5)).merge(dataset((CU, PD), 5, 5))
    below = [library.stratum(Stratum((z,))) for z in (CU, PD)]
    task = plan_refined(SMALL, data, library.stratum(pair), below)[1]
    found = sum(len(b.places) for b in prepare(task)[0] if b.targets.shape[1] == 1)
    assert found == data.training().structures.sizes.sum()
    check_rows(task)


def test_what_is_fitted_is_what_the_library_says(library, tmp_path):
    """The predictions of a finished stratum, by the kernel, are those of its problem; lower strata say the same as before."""
    stratum = Stratum((CU, PD, AG))
    data = dataset(stratum.numbers, 8, 5)
    tasks = plan(library, {n: v for n, v in library.versions().items() if n != "CuPdAg"}, data, stratum, iterations=2)
    seen = {}
    results = [fit_member(t, lambda problem, p, m=t.member: seen.__setitem__(m, (problem, p))) for t in tasks]
    shutil.copytree(library.path, tmp_path / "lib")
    own = Library.open(tmp_path / "lib")
    own.add(finish(tasks, results))
    training = data.training()
    said = own.assemble(stratum).evaluate(training.structures)
    for m, (problem, p) in seen.items():
        validates = any(v.any() for _, v in problem.batches)
        assert not validates  # or the last step need not be the best
        for batch, _ in problem.batches:
            missed = problem.predictions(p, batch)[:, 0] - batch.targets[:, 0]
            expected = said.member_energies[batch.places, m] - training.labels.energies[batch.places]
            np.testing.assert_allclose(missed, expected, atol=1e-8)


def test_a_pair_is_widened_on_a_narrow_library(tmp_path):
    """The architecture grows from one stratum on; what was there keeps its bytes, and its crystals their bits."""
    library = trained(tmp_path / "lib", ["Cu", "Pd", "Ag", "CuAg", "PdAg"])
    pair, before = Stratum((CU, PD)), {s.name: library.stratum(s).content_hash() for s in library.strata()}
    crystals = dataset((PD, AG), 6, 3).structures
    said = library.assemble(Stratum((PD, AG))).evaluate(crystals)
    tasks = plan(library, library.versions(), dataset(pair.numbers, 30, 0), pair, iterations=8, widened=3)
    library.add(finish(tasks, [fit_member(t) for t in tasks]))
    assert library.stratum(pair).parameters.n_own == 3
    narrow = trained(tmp_path / "narrow", ["Cu", "Pd", "CuPd"])
    more = library.stratum(pair).n_parameters - narrow.stratum(pair).n_parameters
    assert more == 2 * 3 * (library.recipe.shape.block_size(2) + 2)
    assert {n: library.stratum(Stratum.parse(n)).content_hash() for n in before} == before
    train(library, ["CuPdAg"])
    assert library.stratum(Stratum((CU, PD, AG))).parameters.n_own == 0
    again = library.assemble(Stratum((CU, PD, AG))).evaluate(crystals)
    np.testing.assert_array_equal(again.member_energies, said.member_energies)
    np.testing.assert_array_equal(again.forces, said.forces)
    goes_on = plan(library, library.versions(), dataset(pair.numbers, 30, 0), pair, iterations=2)
    assert goes_on[0].own_units(pair) == 3
    with pytest.raises(TrainingError, match="is there already, with 3 units of its own"):
        plan(library, library.versions(), dataset(pair.numbers, 30, 0), pair, widened=2)


def check_rows(task):
    prepared, bases, _ = prepare(task)
    prepared = [
        replace(
            b,
            centres=tuple(
                replace(
                    c,
                    s=c.s.astype(float),
                    z=c.z.astype(float),
                    own=tuple(replace(o, s=o.s.astype(float)) for o in c.own),
                )
                for c in b.centres
            ),
        )
        for b in prepared
    ]
    layout = layout_of(task, bases)
    problem = problem_of(task, prepared, layout)
    rng = np.random.default_rng(0)
    p = start(task, layout, bases)
    p = p + 0.1 * rng.normal(size=len(p))
    analytic, missed = problem.rows(p)
    np.testing.assert_allclose(missed, problem.residuals(p), atol=1e-12 * np.abs(missed).max())
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

    wide = False

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


def test_equations_of_residuals_and_of_parameters_have_one_solution():
    rng = np.random.default_rng(3)
    for rows, columns in ((5, 40), (30, 40), (60, 20)):
        j, r = rng.normal(size=(rows, columns)), rng.normal(size=rows)
        added, pulled = rng.uniform(1e-3, 10.0, size=columns), rng.normal(size=columns)
        wide, tall = Wide(j, r), Tall(j.T @ j, j.T @ r)
        np.testing.assert_allclose(wide.gradient, tall.gradient, atol=1e-12)
        np.testing.assert_allclose(wide.diagonal, tall.diagonal, atol=1e-12)
        expected = np.linalg.solve(j.T @ j + np.diag(added), -(j.T @ r + pulled))
        for system in (wide, tall):
            np.testing.assert_allclose(system.step(added, pulled), expected, rtol=1e-8, atol=1e-10)


def test_a_fit_of_few_crystals_ends_where_it_did_by_the_other_equations(library, monkeypatch):
    pair = Stratum((CU, PD))
    below = {n: v for n, v in library.versions().items() if n != pair.name}
    task = plan(library, below, dataset(pair.numbers, 12, 0), pair, iterations=8)[0]
    ends = []
    for needed in (0, 1_000_000):
        monkeypatch.setattr("potentials.fit.WIDE", needed)
        ends.append(fit_member(task))
    for z in pair.numbers:
        scale = np.abs(ends[0].columns[pair][z]).max()
        np.testing.assert_allclose(ends[0].columns[pair][z], ends[1].columns[pair][z], atol=1e-3 * scale)


def test_the_minimiser_crosses_a_curved_valley():
    nothing = np.zeros(2)
    end = minimise(Rosenbrock(), np.array([-1.2, 1.0]), nothing, nothing, 100)
    np.testing.assert_allclose(end.parameters, [1.0, 1.0], atol=1e-6)
    pulled = minimise(Rosenbrock(), np.array([-1.2, 1.0]), np.array([0.0, 5.0]), np.full(2, 1e6), 100)
    np.testing.assert_allclose(pulled.parameters, [0.0, 5.0], atol=1e-2)


@pytest.mark.parametrize("cut", [0, 1, 7, 20, 60])
def test_a_minimisation_that_was_cut_ends_at_the_same_bits(cut):
    nothing, start_ = np.zeros(2), np.array([-1.2, 1.0])
    best = np.array([0.4, 0.2])
    states = []
    whole = minimise(Rosenbrock(best), start_, nothing, nothing, 60, keep=states.append)
    assert [s.iteration for s in states] == list(range(1, len(states) + 1)) and len(states) == whole.iterations
    progress = states[min(cut, len(states)) - 1] if cut else None
    again = minimise(Rosenbrock(best), start_, nothing, nothing, 60, progress=progress)
    np.testing.assert_array_equal(again.parameters, whole.parameters)
    assert again.iterations == whole.iterations


def test_a_fit_goes_on_from_its_checkpoint(library, tmp_path, monkeypatch):
    """Cut after three iterations; the same bits in the end, and the time of both parts."""
    monkeypatch.setattr("potentials.checkpoint.EVERY", 0.0)
    pair = Stratum((CU, PD))
    below = {n: v for n, v in library.versions().items() if n != pair.name}
    task = plan(library, below, dataset(pair.numbers, 30, 0), pair, iterations=8)[0]
    whole, file = fit_member(task), tmp_path / "fit.npz"
    seen = []

    def cut(problem, p):
        seen.append(p)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_member(task, cut, file)
    assert file.exists()
    again = []
    ended = fit_member(task, lambda problem, p: again.append(p), file)
    assert not file.exists() and len(again) < len(seen) + 4
    for z in pair.numbers:
        np.testing.assert_array_equal(ended.columns[pair][z], whole.columns[pair][z])
    assert ended.iterations == whole.iterations
    file.write_bytes(b"half a file")
    assert fit_member(task, checkpoint=file).iterations == whole.iterations  # one that cannot be read is none


def test_the_minimiser_stops_where_the_validation_is_best():
    nothing, start_ = np.zeros(2), np.array([-1.2, 1.0])
    early = Rosenbrock(best=np.array([-0.9, 0.9]))
    end = minimise(early, start_, nothing, nothing, 100)
    assert np.linalg.norm(end.parameters - early.best) < np.linalg.norm(start_ - early.best)
    assert early.matrices == end.iterations < 100
    free = Rosenbrock()
    minimise(free, start_, nothing, nothing, 100)
    assert early.matrices < free.matrices + PATIENCE
