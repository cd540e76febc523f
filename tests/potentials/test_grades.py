"""Extrapolation grades: crystals like the training data are inside, squeezed and overlapping ones are not."""

from dataclasses import replace

import numpy as np
import pytest

from potentials.environments import EDGE, _edge
from potentials.stratum import Stratum
from potentials.structures import Structures
from tests.crystals import CU, PD, crystal
from tests.labelled import dataset, trained


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("grades") / "lib", ["Cu", "Pd", "Ag", "CuPd", "CuAg"])


@pytest.mark.parametrize("numbers", [(CU,), (CU, PD)])
def test_crystals_of_the_same_kind_are_inside(library, numbers):
    grades = library.assemble(Stratum(numbers)).grades(dataset(numbers, 40, 9).structures)
    assert (grades < 1).mean() > 0.6 and np.median(grades) < 1
    own = library.assemble(Stratum(numbers)).grades(dataset(numbers, 40, 0).training().structures)
    assert np.median(own) < 0.5


@pytest.mark.parametrize("numbers", [(CU,), (CU, PD)])
def test_squeezed_and_overlapping_crystals_are_outside(library, numbers):
    potential = library.assemble(Stratum(numbers))
    atoms = [a for a in dataset(numbers, 40, 0).structures.to_ase() if len(a) > 1]
    squeezed, overlapping = [a.copy() for a in atoms], [a.copy() for a in atoms]
    for a in squeezed:
        a.set_cell(a.cell[:] * 0.75, scale_atoms=True)
    for a in overlapping:
        d = a.get_distances(0, range(1, len(a)), mic=True, vector=True)
        nearest = int(np.argmin(np.linalg.norm(d, axis=1)))
        a.positions[1 + nearest] = a.positions[0] + 0.5 * d[nearest]
    for wrong in (squeezed, overlapping):
        grades = potential.grades(Structures.from_ase(wrong))
        assert (grades > 2).mean() > 0.9 and grades.min() > 1


@pytest.mark.parametrize("numbers", [(CU,), (CU, PD)])
def test_atoms_that_have_lost_their_neighbours_are_outside(library, numbers):
    """All features vanish there: that is far from the data, not their origin."""
    potential = library.assemble(Stratum(numbers))
    atoms = dataset(numbers, 40, 0).structures.to_ase()
    for factor in (2.0, 4.0):
        far = [a.copy() for a in atoms]
        for a in far:
            a.set_cell(a.cell[:] * factor, scale_atoms=True)
        assert potential.grades(Structures.from_ase(far)).min() > 1


def test_a_library_from_before_the_constant_has_its_old_grades(library):
    """Also when a stratum with one stands on those without."""
    potential = library.assemble(Stratum((CU, PD)))
    structures = dataset((CU, PD), 20, 9).structures
    old, mixed = {}, {}
    for stratum, known in potential.environments.items():
        old[stratum] = replace(known, factors={z: f[:, :-1] for z, f in known.factors.items()})
        mixed[stratum] = known if stratum.order == 2 else old[stratum]
    grades = [replace(potential, environments=e, _known={}).grades(structures) for e in (old, mixed)]
    assert np.isfinite(grades[0]).all()
    np.testing.assert_array_equal(*grades)
    assert (grades[0] != potential.grades(structures)).any()


def test_an_untrained_set_is_infinitely_far(library):
    potential = library.assemble(Stratum.parse("CuPdAg"))
    rng = np.random.default_rng(0)
    unknown = [crystal(rng, 4, (46, 47)) for _ in range(3)]
    for a in unknown:
        a.numbers[:2] = (46, 47)
    assert np.isinf(potential.grades(Structures.from_ase(unknown))).all()
    collapsed = crystal(rng, 2, (CU,))
    collapsed.set_cell(np.zeros((3, 3)))
    assert np.isinf(potential.grades(Structures.from_ase([collapsed]))).all()


def test_a_grade_is_the_crystals_own(library):
    potential = library.assemble(Stratum.parse("CuPdAg"))
    structures = dataset((CU,), 10, 9).merge(dataset((CU, PD), 10, 9)).structures
    whole = potential.grades(structures)
    single = [potential.grades(structures.select([c]))[0] for c in range(len(structures))]
    np.testing.assert_array_equal(whole, single)
    np.testing.assert_array_equal(whole[:10], library.assemble(Stratum((CU,))).grades(structures.select(range(10))))


def test_leaving_a_family_out_is_what_it_says():
    """The edge against leverages of data sets that lack one family each."""
    rng = np.random.default_rng(0)
    rows, families = rng.normal(size=(60, 5)), np.repeat(np.arange(20), 3)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    inverse = (vectors / np.sqrt(values)).T
    left_out = []
    for family in range(20):
        others = rows[families != family]
        within = np.linalg.inv(others.T @ others)
        left_out += [float(x @ within @ x) for x in rows[families == family]]
    assert _edge(rows, inverse, families.astype(str)) == pytest.approx(np.percentile(left_out, EDGE), rel=1e-9)
