"""Libraries that earlier versions wrote: this one opens and verifies them, and says of crystals what they said."""

import shutil

import numpy as np
import pytest
from ase.io import read

from potentials.__main__ import main
from potentials.library import Library
from tests.crystals import CU, PD
from tests.labelled import dataset, train
from tests.potentials.save_library import SAVED

VERSIONS = sorted(p.name for p in SAVED.iterdir() if p.is_dir())


@pytest.fixture(params=VERSIONS)
def library(request, tmp_path):
    shutil.copytree(SAVED / request.param, tmp_path / request.param)
    return Library.open(tmp_path / request.param)


def test_it_is_read_and_verified(library):
    assert [s.name for s in library.strata()] == ["Cu", "Pd", "CuPd"]
    for stratum in library.strata():
        trained = library.stratum(stratum)
        assert trained.metadata["method"] == "ref:emt" and trained.members == 2
    data = library.data()
    expected = dataset((CU,), 12, 0).followed_by(dataset((PD,), 12, 0)).followed_by(dataset((CU, PD), 12, 0))
    assert data.families == expected.families and set(data.methods) == {"ref:emt"}
    np.testing.assert_allclose(data.labels.energies, expected.labels.energies, rtol=1e-12)
    assert [row.parents for row in library.describe()] == [{}, {}, {"Cu": 1, "Pd": 1}]


def test_its_predictions_stay(library, tmp_path):
    recorded = SAVED / f"{library.path.name}.extxyz"
    assert main(["evaluate", str(library.path), str(recorded), "-o", str(tmp_path / "now.extxyz")]) == 0
    for then, now in zip(read(recorded, index=":"), read(tmp_path / "now.extxyz", index=":"), strict=True):
        for name, value in then.calc.results.items():
            np.testing.assert_allclose(now.calc.results[name], value, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(now.arrays["grades"], then.arrays["grades"], rtol=1e-6)
        assert now.info["method"] == then.info["method"]
        assert now.info["spread"] == pytest.approx(then.info["spread"], rel=1e-8)


def test_it_can_be_added_to(library):
    before = library.version()
    train(library, ["Ag", "CuAg"], n=12, iterations=2)
    old = {name: version for name, version in library.versions().items() if "Ag" not in name}
    assert library.version(old) == before
