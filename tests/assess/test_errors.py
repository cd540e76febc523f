"""Errors on labelled crystals whose errors are known."""

import numpy as np
import pytest

from potentials.assess import errors
from potentials.structures import Prediction
from potentials.units import GPA_PER_EV_PER_A3
from tests.crystals import CU, PD
from tests.labelled import dataset

DATA = dataset((CU,), 40, 3).merge(dataset((CU, PD), 20, 3))


def said(energy=0.0, force=0.0, stress=0.0):
    """The labels, off by these: eV per atom by crystal, eV/Å, eV/Å³."""

    def evaluate(structures):
        labels = DATA.labels
        energies = labels.energies + energy * structures.sizes
        return Prediction(energies, labels.forces + force, labels.stresses + stress, energies[:, None], np.zeros(0))

    return evaluate


def by_key(summaries):
    return {(s.stratum, s.kind): s for s in summaries}


def test_known_errors_by_stratum():
    off = np.where(np.arange(60) < 40, 0.010, -0.004)
    found = by_key(errors(said(off, 0.03, 0.001), DATA)[0])
    assert [s for s, kind in found if kind == "energy"] == ["Cu", "CuPd", "all"]
    assert found["Cu", "energy"].rmse == pytest.approx(0.010) and found["CuPd", "energy"].mae == pytest.approx(0.004)
    assert found["all", "energy"].rmse == pytest.approx(np.sqrt((40 * 0.01**2 + 20 * 0.004**2) / 60))
    assert found["all", "energy"].median == pytest.approx(0.010)
    assert (found["Cu", "force"].rmse, found["Cu", "force"].trimmed) == pytest.approx((0.03, 0.03))
    assert found["Cu", "stress"].mae == pytest.approx(0.001 * GPA_PER_EV_PER_A3)
    assert (found["Cu", "force"].n_crystals, found["all", "force"].n_crystals) == (40, 60)


def test_the_worst_twentieth_of_the_crystals_is_trimmed():
    off = np.full(60, 0.001)
    off[[3, 17]] = 1.0  # two of the forty of copper
    found = by_key(errors(said(off), DATA)[0])
    assert found["Cu", "energy"].trimmed == pytest.approx(0.001)
    assert found["Cu", "energy"].rmse == pytest.approx(np.sqrt((2 + 38e-6) / 40))
    assert found["Cu", "energy"].median == pytest.approx(0.001)


def test_what_has_no_number_is_counted():
    off = np.zeros(60)
    off[5] = np.nan
    found = by_key(errors(said(off), DATA)[0])
    assert (found["Cu", "energy"].n_crystals, found["Cu", "energy"].n_failed) == (39, 1)
    assert found["Cu", "energy"].rmse == pytest.approx(0.0, abs=1e-12)
    assert found["all", "energy"].n_failed == 1 and found["CuPd", "energy"].n_failed == 0


def test_parity_holds_every_component():
    parity = {(p.stratum, p.kind): p for p in errors(said(), DATA)[1]}
    copper = DATA.structures.sizes[:40].sum()
    assert len(parity["Cu", "force"].labels) == 3 * copper == len(parity["Cu", "force"].predictions)
    assert len(parity["Cu", "energy"].labels) == 40 and ("all", "energy") not in parity
