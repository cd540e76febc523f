"""All strata at once: elements that occur only in compounds, and inputs that crystals of one element hardly vary."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from potentials.jointly import plan_jointly
from potentials.library import Library
from potentials.stratum import Stratum
from potentials.structures import Structures
from potentials.train import finish_all, fit_member
from tests.crystals import CU, PD
from tests.labelled import SMALL, dataset, labelled

BOTH = Stratum((CU, PD))


def one_atom_cells():
    """Strained cells of one atom: every product of odd l is zero in them."""
    rng = np.random.default_rng(3)
    cells = []
    for symbol in ("Cu", "Pd"):
        for _ in range(20):
            atoms = bulk(symbol)
            atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.uniform(-0.06, 0.06, (3, 3))), scale_atoms=True)
            cells.append(atoms)
    return labelled(cells, [f"one atom {k}" for k in range(len(cells))])


@pytest.mark.parametrize("elements", [False, True], ids=["compounds alone", "elements in cells of one atom"])
def test_a_joint_fit_reaches_its_crystals(tmp_path, elements):
    data = dataset((CU, PD), 60, 4)
    if elements:
        data = data.followed_by(one_atom_cells())
    recipe = replace(SMALL, members=1)
    tasks = plan_jointly(recipe, data, BOTH, iterations=30)
    library = Library.create(tmp_path / "lib", recipe)
    library.add_all(finish_all(tasks, [fit_member(task) for task in tasks]))
    errors = library.stratum(BOTH).metadata["errors"]
    assert errors["energy_train"] < 0.02 and errors["force_train"] < 0.15  # eV/atom, eV/Å


def test_nothing_is_known_of_an_element_that_only_occurs_in_compounds(tmp_path):
    data = dataset((CU, PD), 30, 4)
    tasks = plan_jointly(SMALL, data, BOTH, iterations=3)
    library = Library.create(tmp_path / "lib", SMALL)
    library.add_all(finish_all(tasks, [fit_member(task) for task in tasks]))
    potential = library.assemble(BOTH)
    assert np.median(potential.grades(data.training().structures)) < 1
    assert (potential.grades(Structures.from_ase([bulk("Cu"), bulk("Pd")])) > 3).all()
