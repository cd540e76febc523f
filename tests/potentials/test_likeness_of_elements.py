"""A new element with few crystals: drawn to one that is like it, and trained at once with its pairs."""

import numpy as np
import pytest

from potentials.__main__ import main
from potentials.jointly import plan_jointly, plan_together
from potentials.library import Library
from potentials.likeness import NONE, Model
from potentials.start import drawn_to, start
from potentials.stratum import Stratum
from potentials.train import TrainingError, finish_all, fit_member, layout_of, plan, prepare, problem_of
from tests.crystals import AG, CU, PD
from tests.labelled import dataset, rms, trained

SILVER, PAIR = Stratum((AG,)), Stratum((CU, AG))
LIKE = {AG: PD}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("like") / "lib", ["Cu", "Pd", "CuPd"], n=60)


def added(library, path, strata, data, *, like=None, together=False):
    mine = library.copy(path)
    for group in (strata,) if together else [(s,) for s in strata]:
        if together:
            tasks = plan_together(mine, mine.versions(), data, group, like=like)
        else:
            tasks = plan(mine, mine.versions(), data, group[0], like=like)
        mine.add_all(finish_all(tasks, [fit_member(t) for t in tasks]))
    return mine


def test_before_a_step_a_new_element_and_its_pair_are_the_like_ones(library):
    """Residuals at the start are those of the library's CuPd on the same crystals, taken for CuAg."""
    data = dataset((CU, AG), 6, 0)
    own = data.merge(dataset((AG,), 6, 0))
    (task, *_) = plan_together(library, library.versions(), own, [SILVER, PAIR], like=LIKE)
    batches, bases, ground = prepare(task)
    layout = layout_of(task, bases)
    p = start(task, layout, bases)
    np.testing.assert_allclose(drawn_to(task, layout, bases, ground), p, atol=1e-12)
    model = Model.of(task.recipe.shape, task.like.strata)
    for z in (CU, AG):
        image = {CU: CU, AG: PD}[z]
        there = library.stratum(Stratum((CU, PD))).parameters
        raw = (there.columns[image] * there.scale[image][:, None]).transpose(1, 0, 2)
        np.testing.assert_allclose(ground.raw[z][PAIR], raw, atol=1e-9 * np.abs(raw).max())
        np.testing.assert_array_equal(model.raw[z][PAIR], raw)
    assert np.isfinite(problem_of(task, batches, layout).residuals(p)).all()


def test_few_crystals_go_further_by_a_like_element(library, tmp_path):
    few, test = dataset((AG,), 8, 0), dataset((AG,), 40, 9)
    alone = added(library, tmp_path / "alone", [SILVER], few)
    like = added(library, tmp_path / "like", [SILVER], few, like=LIKE)
    assert rms(like, test) < rms(alone, test)
    assert like.stratum(SILVER).metadata["like"] == {"Ag": "Pd"} and "like" not in alone.stratum(SILVER).metadata
    # a fit of everything from where it stands remembers it, too
    mine = like.copy(tmp_path / "refitted")
    every = few.merge(dataset((CU,), 60, 0)).merge(dataset((PD,), 60, 0))
    tasks = plan_jointly(mine.recipe, every, SILVER, library=mine)
    mine.add_all(finish_all(tasks, [fit_member(t) for t in tasks]))
    assert mine.stratum(SILVER).metadata["like"] == {"Ag": "Pd"}
    assert rms(mine, test) < 1.3 * rms(like, test)
    # what goes on from there is drawn to it still, and what was there has kept its bytes
    (again, *_) = plan(like, like.versions(), few, SILVER)
    assert again.warm and again.like.names() == {"Ag": "Pd"}
    for name in ("Cu", "Pd", "CuPd"):
        assert like.content(name, 1) == library.content(name, 1)
    assert plan(library, library.versions(), few, SILVER)[0].like is NONE


def test_pairs_shape_an_element_that_is_trained_with_them(library, tmp_path):
    data, test = dataset((AG,), 4, 0).merge(dataset((CU, AG), 30, 0)), dataset((CU, AG), 40, 9)
    apart = added(library, tmp_path / "apart", [SILVER, PAIR], data)
    at_once = added(library, tmp_path / "at-once", [SILVER, PAIR], data, together=True)
    assert rms(at_once, test) < rms(apart, test)
    assert at_once.stratum(PAIR).metadata["together"] == ["Ag", "CuAg"]
    assert at_once.stratum(PAIR).parents == {
        "Cu": library.stratum(Stratum((CU,))).content_hash(),
        "Ag": at_once.stratum(SILVER).content_hash(),
    }


def test_what_cannot_be_trained_together_is_named(library):
    data = dataset((AG,), 4, 0).merge(dataset((CU, AG), 4, 0))
    for strata, message in (
        ([PAIR], "the strata Ag are missing below"),
        ([Stratum((CU,)), SILVER], "Cu is there already"),
        ([SILVER, PAIR, Stratum((PD, AG))], "no crystals of PdAg"),
    ):
        with pytest.raises(TrainingError, match=message):
            plan_together(library, library.versions(), data, strata)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Pd", "--like", "Pd"], "--like must be NEW=OLD"),
        (["Pd", "--like", "Pd=Ag"], "--like must name a new element"),
        (["Pd", "--like", "Cu=Pd"], "--like must name a new element"),
        (["CuPd", "--together", "--from-scratch"], "--together does not go with"),
        (["Pd", "CuPd", "--from-scratch"], "are for one stratum"),
    ],
)
def test_the_command_says_what_does_not_go(files, tmp_path, capsys, words, message):
    path = str(tmp_path / "lib")
    assert (
        main(["train", path, "Cu", "--data", *files, "--recipe", "quick", "--cutoff", "4.5", "--iterations", "2"]) == 0
    )
    capsys.readouterr()
    assert main(["train", path, *words]) == 64
    assert message in capsys.readouterr().err


def test_the_command_trains_an_element_with_its_pair(files, tmp_path, capsys):
    path, quick = str(tmp_path / "lib"), ["--recipe", "quick", "--cutoff", "4.5", "--iterations", "3"]
    assert main(["train", path, "Cu", "--data", *files, *quick]) == 0
    before = Library.open(path).content("Cu", 1)
    capsys.readouterr()
    assert main(["train", path, "CuPd", "--together", "--like", "Pd=Cu", "--iterations", "3"]) == 0
    out = capsys.readouterr().out
    assert "Pd version 1" in out and "CuPd version 1" in out
    library = Library.open(path)
    assert library.versions() == {"Cu": 1, "Pd": 1, "CuPd": 1} and library.content("Cu", 1) == before
    assert library.stratum(Stratum((PD,))).metadata["together"] == ["Pd", "CuPd"]
