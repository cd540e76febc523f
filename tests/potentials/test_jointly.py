"""All strata of some elements at once: from scratch, as a comparison, and as the refit of a library."""

import json

import numpy as np
import pytest

from potentials.__main__ import main
from potentials.jointly import lowest_of, plan_jointly
from potentials.library import Library
from potentials.stratum import Stratum
from potentials.train import TrainingError, finish_all, fit_member
from tests.crystals import CU, PD
from tests.labelled import SMALL, dataset, rms, train, trained, whole

BOTH = Stratum((CU, PD))


def test_everything_at_once_is_as_good_as_one_after_the_other(tmp_path):
    library = Library.create(tmp_path / "at-once", SMALL)
    tasks = plan_jointly(SMALL, whole(), BOTH)
    made = finish_all(tasks, [fit_member(t) for t in tasks])
    assert [t.stratum.name for t in made] == ["Cu", "Pd", "CuPd"]
    assert set(made[2].parents) == {"Cu", "Pd"} and made[2].metadata["together"] == ["Cu", "Pd", "CuPd"]
    library.add_all(made)
    stratified = trained(tmp_path / "stratified", ["Cu", "Pd", "CuPd"], n=60)
    test = dataset((CU, PD), 40, 9)
    assert rms(library, test) < 1.5 * rms(stratified, test)
    assert rms(library, dataset((CU,), 40, 9)) < 2 * rms(stratified, dataset((CU,), 40, 9))


def test_elements_that_occur_only_in_a_compound(tmp_path):
    data = dataset((CU, PD), 60, 0)
    assert set(lowest_of(data)) == {CU, PD}
    library = Library.create(tmp_path / "lib", SMALL)
    tasks = plan_jointly(SMALL, data, BOTH)
    made = finish_all(tasks, [fit_member(t) for t in tasks])
    assert [t.metadata["n_data"] for t in made] == [0, 0, 60]
    library.add_all(made)
    test = dataset((CU, PD), 40, 9)
    assert rms(library, test) < 0.3 * float(np.std(test.labels.energies / test.structures.sizes))


def test_from_scratch_fills_an_empty_library_and_only_compares_with_a_full_one(files, tmp_path, capsys):
    new, old = str(tmp_path / "new"), str(tmp_path / "old")
    assert main(["train", new, "CuPd", "--from-scratch", "--data", *files, "--cutoff", "4.5", "--iterations", "3"]) == 0
    assert "CuPd version 1: 24 crystals" in capsys.readouterr().out
    assert [s.name for s in Library.open(new).strata()] == ["Cu", "Pd", "CuPd"]
    assert main(["train", old, "CuPd", "--data", *files, "--cutoff", "4.5", "--iterations", "3"]) == 0
    before = Library.open(old).version()
    capsys.readouterr()
    assert main(["train", old, "CuPd", "--from-scratch", "--iterations", "3"]) == 0
    assert "CuPd from scratch, not kept: 24 crystals" in capsys.readouterr().out
    assert Library.open(old).version() == before
    assert main(["describe", old, "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["ledger"]["from_scratch"] > 0


def test_a_refit_is_a_new_version_of_everything(files, tmp_path, capsys):
    path, quick = str(tmp_path / "lib"), ["--recipe", "quick", "--cutoff", "4.5", "--iterations", "6"]
    assert main(["train", path, "CuPd", "--data", *files, *quick]) == 0
    library = Library.open(path)
    first, error = library.versions(), rms(library, dataset((CU, PD), 24, 0).training())
    capsys.readouterr()
    assert main(["refit", path, "--iterations", "3"]) == 0
    assert "Cu version 2" in capsys.readouterr().out
    library = Library.open(path)
    assert library.versions() == {"Cu": 2, "Pd": 2, "CuPd": 2}
    assert rms(library, dataset((CU, PD), 24, 0).training()) < 2 * error
    library.use(first)
    assert library.assemble(BOTH).evaluate(dataset((CU, PD), 4, 9).structures).energies.shape == (4,)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["CuPd", "--iterations", "-1"], 64, "must not be negative"),
        (["Xx"], 64, "Xx"),
        (["Cu"], 65, "CuPd stand on strata of Cu and would need training again"),
        (["CuAg"], 65, "has no stratum Ag, CuAg to refit"),
    ],
)
def test_what_cannot_be_refitted_says_why(files, tmp_path, capsys, arguments, code, message):
    path = str(tmp_path / "lib")
    assert main(["train", path, "CuPd", "--data", *files, "--cutoff", "4.5", "--iterations", "1"]) == 0
    capsys.readouterr()
    assert main(["refit", path, *arguments]) == code
    assert message in capsys.readouterr().err


def test_an_element_without_crystals_is_named(files, tmp_path, capsys):
    with pytest.raises(
        TrainingError, match=r"no crystals with Pd to train CuPd on; label some, or name fewer elements"
    ):
        plan_jointly(SMALL, dataset((CU,), 24, 0), BOTH)
    path = str(tmp_path / "lib")
    assert main(["train", path, "CuPdAg", "--from-scratch", "--data", files[0], "--cutoff", "4.5"]) == 65
    error = capsys.readouterr().err
    assert "no crystals with Pd, Ag to train" in error and error.count("\n") == 1
    bare = Library.create(tmp_path / "bare", SMALL)  # its strata came without their crystals
    train(bare, ["Cu", "Pd", "CuPd"], 24, 1)
    assert main(["data", "add", str(tmp_path / "bare"), files[0]]) == 0
    assert main(["refit", str(tmp_path / "bare")]) == 65
    assert "no crystals with Pd to train CuPd on" in capsys.readouterr().err


def test_an_empty_library_has_nothing_to_refit(files, tmp_path, capsys):
    path = str(tmp_path / "lib")
    assert main(["data", "add", path, *files]) == 0
    assert main(["refit", path]) == 65
    assert "has no strata to refit; train them first" in capsys.readouterr().err
