"""Refined strata: better where all their elements are seen, and nothing else is touched."""

from dataclasses import replace

import numpy as np
import pytest

from potentials import kernels
from potentials.__main__ import main
from potentials.library import Library
from potentials.refine import BELOW, finish_refined, plan_refined, refines
from potentials.stratum import Stratum
from potentials.train import finish, fit_member, plan
from tests.crystals import AG, CU, PD
from tests.labelled import SMALL, dataset, rms, train, whole

REFINED = replace(SMALL, refined=True)
PAIR = Stratum((CU, PD))


def below(library):
    return [library.stratum(Stratum((z,))) for z in PAIR.numbers]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """The pair as its columns make it, and refined."""
    folder = tmp_path_factory.mktemp("refined")
    plain, refined = (Library.create(folder / name, REFINED) for name in ("plain", "refined"))
    for library in (plain, refined):
        train(library, ["Cu", "Pd"], n=60)
    tasks = plan(plain, plain.versions(), whole(), PAIR, iterations=25)
    trained = finish(tasks, [fit_member(t) for t in tasks])
    plain.add(trained)
    assert refines(REFINED, whole(), PAIR)
    more = plan_refined(REFINED, whole(), trained, below(refined))
    refined.add(finish_refined(more, [fit_member(t).to_json() for t in more], trained))
    return plain, refined


def test_a_refined_pair_is_better(libraries):
    plain, refined = libraries
    test = dataset((CU, PD), 60, 9)
    assert rms(refined, test) < 0.9 * rms(plain, test)
    metadata = refined.stratum(PAIR).metadata
    assert metadata["refined"]["n_data"] == 180
    assert metadata["errors"]["energy_train"] < metadata["refined"]["errors_before"]["energy_train"]
    assert metadata["seconds_training"] > plain.stratum(PAIR).metadata["seconds_training"]


def test_what_lies_below_keeps_its_bytes_and_its_bits(libraries):
    plain, refined = libraries
    for name in ("Cu", "Pd"):
        assert refined.content(name, 1) == plain.content(name, 1)
    assert refined.content("CuPd", 1) != plain.content("CuPd", 1)
    structures = dataset((PD,), 20, 9).structures
    alone = refined.assemble(Stratum((PD,))).evaluate(structures)
    for library in libraries:
        beside = library.assemble(PAIR).evaluate(structures)
        np.testing.assert_array_equal(beside.member_energies, alone.member_energies)
        np.testing.assert_array_equal(beside.forces, alone.forces)


@pytest.mark.parametrize("z", PAIR.numbers)
def test_an_atom_keeps_its_energy_when_an_element_comes_into_sight(libraries, z):
    """The pair's networks give the atoms of an element's crystals the energies that the element's own give them."""
    library, crystals = libraries[1], dataset((z,), 40, 9).structures
    alone = replace(library.assemble(Stratum((z,))).model, repulsion=False)
    net = library.stratum(PAIR).parameters.refined[z]
    features = np.concatenate(kernels.features(crystals, SMALL.shape, PAIR.numbers))
    units = np.tanh(np.einsum("ad,mdh->amh", features, net.weights) + net.biases)
    said = (np.einsum("amh,mh->am", units, net.outputs) + net.shifts).mean(axis=1)
    apart = said - kernels.evaluate(crystals, alone).atomic_energies
    assert np.sqrt(np.mean(apart**2)) < 0.02


def test_what_stands_above_stands_on_the_columns(libraries, tmp_path):
    """A triple is trained on the same ground, whether the pairs below are refined or not."""
    said = []
    for library in libraries:
        copy = library.copy(tmp_path / library.path.name)
        train(copy, ["Ag", "CuAg", "PdAg"])
        data = dataset((CU, PD, AG), 30, 0)
        tasks = plan(copy, copy.versions(), data, Stratum((CU, PD, AG)), iterations=3)
        said.append([fit_member(t) for t in tasks])
    for a, b in zip(*said, strict=True):
        for z in (CU, PD, AG):
            np.testing.assert_array_equal(a.columns[Stratum((CU, PD, AG))][z], b.columns[Stratum((CU, PD, AG))][z])


def test_crystals_of_subsets_weigh_less(libraries):
    (task, *_) = plan_refined(REFINED, whole(), libraries[0].stratum(PAIR), below(libraries[0]))
    for own, weight in (((CU,), BELOW), ((PD,), BELOW), ((CU, PD), 1.0)):
        np.testing.assert_array_equal(task.dataset.of_stratum(Stratum(own)).weights, weight)


@pytest.mark.parametrize(("recipe", "data"), [(SMALL, whole()), (REFINED, dataset((CU, PD), 60, 0))])
def test_only_where_the_recipe_says_so_and_all_subsets_have_crystals(recipe, data):
    assert not refines(recipe, data, PAIR)


def test_recipes_that_cannot_be_refined():
    with pytest.raises(ValueError, match="`refined` strata need the density, one hidden layer"):
        replace(REFINED, widened=2)
    with pytest.raises(ValueError, match="`refined` strata need the density"):
        replace(REFINED, second=3)


def test_the_command_refines_by_default(files, tmp_path, capsys):
    path = str(tmp_path / "lib")
    assert main(["train", path, "CuPd", "--data", *files, "--cutoff", "4.5", "--iterations", "2"]) == 0
    assert "CuPd refined: member 4 of 4" in capsys.readouterr().err
    library = Library.open(path)
    assert library.recipe.refined and library.stratum(PAIR).parameters.refined
    assert not (library.path / "unfinished").exists()
    assert main(["train", path, "CuPd", "--widened", "2"]) == 64
    assert "--recipe quick" in capsys.readouterr().err
    assert main(["refit", path, "--iterations", "1"]) == 0
    assert "CuPd refined: member 4 of 4" in capsys.readouterr().err
    library = Library.open(path)
    assert library.versions() == {"Cu": 2, "Pd": 2, "CuPd": 2} and library.stratum(PAIR).parameters.refined
    assert library.assemble(PAIR).evaluate(dataset((CU, PD), 3, 9).structures).energies.shape == (3,)
    new = tmp_path / "new"
    assert main(["train", str(new), "CuPd", "--widened", "2"]) == 64  # and nothing is made that would be in the way
    assert "--recipe quick" in capsys.readouterr().err and not new.exists()
    quick = str(tmp_path / "quick")
    arguments = ["--recipe", "quick", "--cutoff", "4.5", "--iterations", "2"]
    assert main(["train", quick, "CuPd", "--data", *files, *arguments]) == 0
    assert "refined" not in capsys.readouterr().err
    assert Library.open(quick).stratum(PAIR).parameters.refined is None


def test_atoms_of_a_pair_keep_near_the_assembled_energies(libraries):
    """So that an atom's energy does not jump where the assembled network takes over, as a further element comes into sight."""
    plain, refined = libraries
    crystals = dataset((CU, PD), 40, 9).structures
    said = [library.assemble(PAIR).evaluate(crystals).atomic_energies for library in (plain, refined)]
    for z in PAIR.numbers:
        apart = (said[1] - said[0])[crystals.numbers == z]
        assert abs(apart.mean()) < 0.01 and np.median(np.abs(apart)) < 0.005  # tails: what neither knows


def test_a_stratum_retrained_without_its_subsets_data_drops_its_networks(libraries, tmp_path):
    library = libraries[1].copy(tmp_path / "lib")
    data = dataset((CU, PD), 60, 0)
    labels = replace(data.labels, energies=data.labels.energies + 0.3 * data.structures.sizes)
    moved = replace(data, labels=labels)
    tasks = plan(library, library.versions(), moved, PAIR, iterations=20)
    library.add(finish(tasks, [fit_member(t) for t in tasks]))
    assert library.stratum(PAIR).parameters.refined is None
    assert rms(library, moved) < 0.15
