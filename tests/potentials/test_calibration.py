"""Bands hold nine true energies in ten: on made-up errors, and on crystals that a library has never seen."""

import numpy as np
import pytest

from potentials.calibration import FEWEST, SHARE, Calibration
from potentials.stratum import Stratum
from tests.crystals import CU, PD
from tests.labelled import dataset, trained


def drawn(rng, n):
    """Errors whose size follows the spread and the grade, as in a committee that knows when it errs."""
    spreads, grades = rng.gamma(2.0, 0.002, n), rng.gamma(3.0, 0.2, n)
    return np.abs(rng.normal(size=n)) * np.hypot(2 * spreads, 0.004 * grades), spreads, grades


def test_nine_in_ten_lie_inside():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        calibration = Calibration.of(*drawn(rng, 60), 60 * [""])
        errors, spreads, grades = drawn(rng, 400)
        shares.append(np.mean(errors <= calibration.bands(spreads, grades)))
    assert SHARE - 0.01 < np.mean(shares) < SHARE + 0.03
    assert np.quantile(shares, 0.05) > SHARE - 0.1


def test_bands_grow_with_spread_and_grade():
    calibration = Calibration.of(*drawn(np.random.default_rng(1), 100), 100 * [""])
    narrow, by_spread, by_grade, lost = calibration.bands(
        np.array([1e-3, 1e-2, 1e-3, 1e-3]), np.array([0.5, 0.5, 5, np.inf])
    )
    assert by_spread > 2 * narrow and by_grade > 2 * narrow and np.isinf(lost)
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize("n_families", [3, 19])
def test_steps_of_relaxations_count_as_one(n_families):
    """Twelve steps of each relaxation, which err alike: of three of them nothing follows, though there are 36 crystals."""
    rng, shares, alone = np.random.default_rng(3), [], []
    n = 12 * n_families
    for _ in range(300):
        scale = np.repeat(np.abs(rng.normal(size=n_families)), 12)
        errors, ones = scale * rng.uniform(0.9, 1.1, n) * 1e-3, np.full(n, 1e-3)
        new = np.abs(rng.normal(size=400)) * 1e-3
        for found, names in ((shares, [f"relaxation {c // 12}" for c in range(n)]), (alone, n * [""])):
            if (calibration := Calibration.of(errors, ones, 0 * ones, names)) is not None:
                found.append(np.mean(new <= calibration.bands(np.full(400, 1e-3), np.zeros(400))))
    if n_families < FEWEST:
        assert not shares and np.mean(alone) < 0.8
    else:
        assert SHARE - 0.01 < np.mean(shares) < SHARE + 0.03


def test_too_few_families_give_none():
    errors, spreads, grades = drawn(np.random.default_rng(2), 10)
    assert FEWEST == 9
    assert Calibration.of(errors[:8], spreads[:8], grades[:8], 8 * [""]) is None
    nine = Calibration.of(errors[:9], spreads[:9], grades[:9], 9 * [""])
    assert nine.number == 9 and (errors[:9] <= nine.bands(spreads[:9], grades[:9])).all()  # the largest of nine scores
    assert Calibration.of(errors[:9], spreads[:9], grades[:9], [*"aabcdefgh"]) is None
    assert Calibration.of(errors, spreads, grades, [*"aabcdefghi"]).number == 10
    assert Calibration.of(errors, spreads, np.where(np.arange(10) < 3, np.inf, grades), 10 * [""]) is None


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("calibration") / "lib", ["Cu", "Pd", "CuPd"], n=320)


@pytest.mark.parametrize("numbers", [(CU,), (CU, PD)])
def test_a_library_knows_its_errors(library, numbers):
    new = dataset(numbers, 160, 11)
    potential = library.assemble(Stratum(numbers))
    predicted, sizes = potential.evaluate(new.structures), new.structures.sizes
    bands = potential.bands(new.structures, predicted, potential.grades(new.structures))
    inside = np.abs(predicted.energies - new.labels.energies) / sizes <= bands
    assert 0.75 < inside.mean() < 0.995
    assert np.median(bands) < 0.1
