"""Recipes: the sizes of the published architecture, JSON that older libraries keep, training by ranges of the inputs."""

from dataclasses import replace

import numpy as np
import pytest

from potentials import kernels
from potentials.environments import Environments
from potentials.features.symmetry_functions import VP2017
from potentials.library import Library, LibraryError, Recipe
from potentials.network import Shape, fold
from potentials.recipe import RECIPES, GuptaRecipe, recipe_from_json
from potentials.stratum import Stratum
from potentials.stratum_file import TrainedStratum
from tests.crystals import AG, CU, PD, stratum_parameters
from tests.labelled import DEEP, FEW, dataset, trained


def test_vp2017_has_the_sizes_of_the_publication(tmp_path):
    """431 adjustable parameters of an element, 1,040 of 1,902 of a pair, 660 of 5,073 of three elements."""
    recipe = RECIPES["vp2017"]
    assert not recipe.repulsion and recipe.scaling == "range"
    library = Library.create(tmp_path / "lib", recipe)
    for stratum in Stratum((CU, PD, AG)).subsets():
        parameters = stratum_parameters(stratum, recipe.shape, recipe.members, recipe.hidden, recipe.second)
        library.add(TrainedStratum(parameters, Environments({}, {}, {}), {}, {}))
    sizes = [(row.n_parameters, row.n_total) for row in library.describe()]
    assert sizes == [(431, 431)] * 3 + [(1040, 1902)] * 3 + [(660, 5073)]
    shallow = stratum_parameters(Stratum((CU,)), recipe.shape, recipe.members, recipe.hidden)
    with pytest.raises(LibraryError, match=r"Cu must have a second layer of 10 units .*, got 0"):
        library.add(TrainedStratum(shallow, Environments({}, {}, {}), {}, {}))


@pytest.mark.parametrize("recipe", [*RECIPES.values(), DEEP, GuptaRecipe()], ids=str)
def test_json_keeps_a_recipe(recipe):
    assert recipe_from_json(recipe.to_json()) == recipe


def test_json_of_the_density_is_as_it_always_was():
    assert set(Recipe(Shape(5.0, 3, 2, 4)).to_json()) == {"shape", "hidden", "members", "repulsion", "fitting"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": -1}, "`second` must be at least 0"),
        ({"scaling": "none"}, '`scaling` must be "deviation" or "range"'),
        ({"core_energy": -1.0}, "`core_energy` must be an energy"),
    ],
)
def test_wrong_recipes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{"shape": VP2017} | change)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("recipe") / "lib", ["Cu", "Pd", "CuPd"], DEEP)


def test_inputs_are_scaled_by_their_greatest_values(library):
    for name in ("Cu", "CuPd"):
        own = library.stratum(Stratum.parse(name))
        assert not any(shift.any() for shift in own.parameters.scale_shift.values())
    data = dataset((CU,), 40, 0).training().structures
    scale = library.stratum(Stratum.parse("Cu")).parameters.scale[CU]
    greatest = np.concatenate(kernels.features(data, FEW, (CU,))).max(axis=0)
    np.testing.assert_allclose(scale, 1 / greatest)


def test_two_layers_learn(library):
    """Below a third of the spread of the energies, and surroundings that were trained on are known."""
    for row in library.describe():
        own = dataset(Stratum.parse(row.stratum).numbers, 40, 0)
        spread = np.std(own.labels.energies / own.structures.sizes)
        assert row.errors["energy_train"] < spread / 3
    potential = library.assemble(Stratum.parse("CuPd"))
    grades = potential.grades(dataset((CU, PD), 40, 0).training().structures)
    assert np.median(grades) < 1


def test_elements_of_one_and_of_two_layers_do_not_go_together():
    deep, flat = (stratum_parameters(Stratum((z,)), FEW, 2, 4, second) for z, second in ((CU, 3), (PD, 0)))
    with pytest.raises(ValueError, match="must all have a second hidden layer, or none"):
        fold(FEW, (CU, PD), [deep, flat], False)
    model = fold(FEW, (CU,), [deep], False)
    with pytest.raises(ValueError, match="must both be given, or neither"):
        replace(model, second_biases=None)
