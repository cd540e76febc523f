"""A library whose strata are drawn to those of another, which learned the same elements from many cheap labels."""

from dataclasses import replace

import numpy as np
import pytest

from potentials.__main__ import main
from potentials.jointly import plan_jointly
from potentials.library import Library, LibraryError
from potentials.likeness import NONE
from potentials.network import Shape
from potentials.stratum import Stratum
from potentials.train import finish, fit_member, plan
from tests.crystals import CU, PD
from tests.labelled import DEEP, SMALL, dataset, rms, train, trained

COPPER, PALLADIUM, PAIR = (Stratum.parse(name) for name in ("Cu", "Pd", "CuPd"))
SHIFT = {CU: -3.0, PD: -5.0}  # eV per atom, of the dear method against the cheap one
SOFTER = 0.93  # times what the cheap one says


@pytest.fixture(scope="module")
def cheap(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("pretrained") / "cheap", ["Cu", "Pd", "CuPd"], n=60)


def dear(numbers, n, seed):
    """Crystals with labels of a method that is like the cheap one, on another scale."""
    data = dataset(numbers, n, seed)
    shift = [sum(SHIFT[z] for z in a.numbers.tolist()) for a in data.structures.to_ase()]
    labels = data.labels
    return replace(
        data,
        labels=replace(
            labels,
            energies=SOFTER * labels.energies + shift,
            forces=SOFTER * labels.forces,
            stresses=SOFTER * labels.stresses,
        ),
        methods=("ref:dear",) * n,
    )


def few():
    return dear((CU,), 8, 0).merge(dear((PD,), 8, 0)).merge(dear((CU, PD), 8, 0))


def fitted(library, data, strata=(COPPER, PALLADIUM, PAIR), iterations=None):
    for stratum in strata:
        tasks = plan(library, library.versions(), data, stratum, iterations=iterations)
        library.add(finish(tasks, [fit_member(task) for task in tasks]))
    return library


def test_before_a_step_the_networks_are_the_pretrained_ones(cheap, tmp_path):
    library = fitted(Library.create(tmp_path / "lib", SMALL, cheap), few(), iterations=0)
    test = dataset((CU, PD), 10, 9)
    ours, theirs = (x.assemble(PAIR).evaluate(test.structures) for x in (library, cheap))
    np.testing.assert_allclose(ours.energies, theirs.energies, atol=1e-9)
    np.testing.assert_allclose(ours.forces, theirs.forces, atol=1e-9)


def test_few_labels_go_further_on_top_of_pretrained_networks(cheap, tmp_path):
    alone = fitted(Library.create(tmp_path / "alone", SMALL), few())
    drawn = fitted(Library.create(tmp_path / "drawn", SMALL, cheap), few())
    for numbers in ((CU,), (PD,), (CU, PD)):
        test = dear(numbers, 40, 9)
        assert rms(drawn, test) < 0.7 * rms(alone, test)
    assert drawn.pretrained is not None
    assert drawn.stratum(PAIR).metadata["pretrained"] == drawn.pretrained.version()
    assert "pretrained" not in alone.stratum(PAIR).metadata and alone.pretrained is None
    # a pair leaves the elements their bytes, and what goes on, or is refitted with all others, is drawn to the same
    before = {name: drawn.content(name, 1) for name in ("Cu", "Pd")}
    fitted(drawn, few(), [PAIR], iterations=3)
    assert {name: drawn.content(name, 1) for name in ("Cu", "Pd")} == before
    again = plan(drawn, drawn.versions(), few(), COPPER)[0]
    refit = plan_jointly(drawn.recipe, few(), PAIR, library=drawn)[0]
    assert again.warm and again.like.pretrained == refit.like.pretrained == drawn.pretrained.version()
    assert plan_jointly(drawn.recipe, few(), PAIR)[0].like is NONE


def test_what_was_pretrained_is_copied_without_its_crystals(cheap, tmp_path):
    library = Library.create(tmp_path / "lib", SMALL, cheap)
    for one in (library, library.copy(tmp_path / "copy"), Library.open(tmp_path / "copy")):
        assert one.pretrained is not None
        there = one.pretrained.stratum(PAIR)
        np.testing.assert_array_equal(there.parameters.columns[CU], cheap.stratum(PAIR).parameters.columns[CU])
        assert not there.environments.factors and one.pretrained.n_crystals() == 0
    # the same once more, as after an interruption, changes nothing
    library.draw_to(cheap)
    Library.create(tmp_path / "empty", SMALL).draw_to(cheap)


def test_strata_that_were_not_pretrained_are_new(cheap, tmp_path):
    library = fitted(
        Library.create(tmp_path / "lib", SMALL, trained(tmp_path / "one", ["Cu"], n=30)), few(), iterations=2
    )
    assert library.strata() == [COPPER, PALLADIUM, PAIR]
    assert "pretrained" not in library.stratum(PALLADIUM).metadata


def test_the_pretrained_networks_may_grow_by_an_element(tmp_path):
    base = trained(tmp_path / "base", ["Cu"], n=40)
    library = fitted(Library.create(tmp_path / "lib", SMALL, base), few(), [COPPER], iterations=2)
    wider = base.copy(tmp_path / "wider")
    train(wider, ["Pd", "CuPd"], n=40)
    before = {p: p.read_bytes() for p in library.path.glob("**/Cu.*")}
    library.draw_to(wider)
    fitted(library, few(), [PALLADIUM, PAIR], iterations=2)
    assert library.pretrained is not None and library.pretrained.strata() == [COPPER, PALLADIUM, PAIR]
    assert library.stratum(PAIR).metadata["pretrained"] == library.pretrained.version()
    assert before == {p: p.read_bytes() for p in library.path.glob("**/Cu.*")} and len(before) == 2
    theirs, ours = (x.stratum(PALLADIUM).parameters.columns[PD] for x in (wider, library.pretrained))
    np.testing.assert_array_equal(ours, theirs)
    # what is there already cannot be drawn to anything else afterwards
    with pytest.raises(LibraryError, match="strata that were trained without"):
        library.draw_to(trained(tmp_path / "other", ["Cu"], n=20))
    with pytest.raises(LibraryError, match="strata that were trained without"):
        library.draw_to(base)


def test_what_cannot_be_drawn_to_is_refused(cheap, tmp_path):
    other = replace(SMALL, shape=Shape(4.5, n_max=2, l_max=2, n_pair=5))
    with pytest.raises(LibraryError, match="has networks of another form"):
        Library.create(tmp_path / "other", other, cheap)
    with pytest.raises(LibraryError, match="has networks of another form"):
        Library.create(tmp_path / "other", DEEP, cheap)
    assert not (tmp_path / "other").exists()
    with pytest.raises(LibraryError, match="no strata to draw"):
        Library.create(tmp_path / "new", SMALL, Library.create(tmp_path / "nothing", SMALL))
    mine = trained(tmp_path / "mine", ["Cu"], n=20)
    with pytest.raises(LibraryError, match="strata that were trained without"):
        mine.draw_to(cheap)
    drawn = Library.create(tmp_path / "drawn", SMALL, cheap)
    train(mine, ["Pd"], n=20)
    with pytest.raises(LibraryError, match="strata that were trained without"):
        drawn.draw_to(mine)


def test_the_command_draws_a_new_library_to_another(files, tmp_path, capsys):
    quick = ["--recipe", "quick", "--cutoff", "4.5", "--iterations", "2"]
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert main(["train", first, "Cu", "--data", *files, *quick]) == 0
    for _ in range(2):  # as after an interruption
        words = ["train", second, "Cu", "--data", *files, "--pretrained", first, "--iterations", "2"]
        assert main(words) == 0
    library = Library.open(second)
    assert library.recipe == Library.open(first).recipe
    assert library.pretrained is not None and library.stratum(COPPER).metadata["pretrained"]
    capsys.readouterr()
    assert main(["describe", second]) == 0
    assert f"pretrained {library.pretrained.version()}: " in capsys.readouterr().out
    for words, code in (
        (["train", first, "Cu", "--pretrained", second], 65),
        (["train", second, "Cu", "--pretrained", first, "--from-scratch"], 64),
        (["train", str(tmp_path / "third"), "Cu", "--pretrained", first, "--recipe", "vp2017"], 65),
        (["train", str(tmp_path / "third"), "Cu", "--pretrained", str(tmp_path / "none")], 65),
    ):
        assert main(words) == code
        said = capsys.readouterr().err
        assert said.startswith("potentials") and said.count("\n") == 1
    assert not (tmp_path / "third").exists()
