"""Vacancies, surfaces and stacking faults against cells put together by hand and relaxed by ASE."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, fcc110
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from potentials.assess.prototypes import element
from potentials.assess.stacking_fault import column, stacking_fault_energies
from potentials.assess.surface import slab, surface_energies
from potentials.assess.vacancy import measure, vacancy
from tests.assess.sides import emt, emt_reference

CU, PD = 29, 46


def energy(atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = EMT()
    return atoms.get_potential_energy()


def relaxed_energy(atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = EMT()
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
    return atoms.get_potential_energy()


@pytest.fixture(scope="module")
def side():
    return emt()


def cube(side, z):
    return bulk(Atoms([z]).symbols[0], cubic=True, a=side.relaxed(element(z)).atoms.cell.lengths()[0] * 2**0.5)


def test_vacancy(side):
    found = vacancy(side, element(PD))
    perfect = cube(side, PD) * (2, 2, 2)
    assert found.n_atoms == len(perfect) == 32
    share = 31 / 32 * energy(perfect)
    assert found.unrelaxed == pytest.approx(energy(perfect[1:]) - share, abs=1e-6)
    assert found.relaxed == pytest.approx(relaxed_energy(perfect[1:]) - share, abs=1e-4)
    assert found.relaxed < found.unrelaxed - 1e-3


def test_vacancy_at_the_geometry_of_the_other_side():
    mine, theirs = emt(), emt_reference()
    given = vacancy(theirs, element(PD))
    values = {v.quantity: v.value for v in measure(mine, [element(PD)], [given]).values}
    assert values["at the reference's geometry"] == pytest.approx(given.relaxed, abs=1e-6)


@pytest.mark.parametrize(("facet", "build"), [("(100)", fcc100), ("(110)", fcc110)])
def test_surface(side, facet, build):
    edge = cube(side, PD).cell.lengths()[0]
    n = len(slab(side, element(PD), facet))
    atoms = build("Pd", (1, 1, n), a=edge, vacuum=9.0)
    assert np.ptp(atoms.positions[:, 2]) > 7.5
    area = np.linalg.norm(np.cross(*atoms.cell[:2]))
    inner = n * energy(cube(side, PD)) / 4
    relaxed, cut = surface_energies(side, element(PD), facet)
    assert cut == pytest.approx((energy(atoms) - inner) / (2 * area), abs=1e-6)
    assert relaxed == pytest.approx((relaxed_energy(atoms) - inner) / (2 * area), abs=1e-5)
    assert relaxed < cut


def stack(sequence: str, edge: float) -> Atoms:
    """Close-packed layers A, B, C of copper between vacuum."""
    nearest = edge / 2**0.5
    cell = np.array([[nearest, 0, 0], [nearest / 2, nearest * 0.75**0.5, 0], [0, 0, 60.0]])
    shift = (cell[0] + cell[1]) / 3
    places = ["ABC".index(s) * shift + [0, 0, 10 + k * edge / 3**0.5] for k, s in enumerate(sequence)]
    return Atoms(f"Cu{len(sequence)}", positions=places, cell=cell, pbc=True)


def test_stacking_fault_is_a_missing_layer(side):
    edge = cube(side, CU).cell.lengths()[0]
    relaxed, unrelaxed = stacking_fault_energies(side, element(CU))
    perfect, faulted = stack("ABCABCABCABC", edge), stack("ABCABCBCABCA", edge)  # ...ABC|BCA...: A is missing
    area = np.linalg.norm(np.cross(*perfect.cell[:2]))
    assert unrelaxed == pytest.approx((energy(faulted) - energy(perfect)) / area, abs=2e-5)
    assert relaxed <= unrelaxed + 1e-9
    assert unrelaxed != pytest.approx(0.0, abs=1e-4)


def test_the_columns_have_the_neighbours_of_fcc_and_of_a_fault(side):
    perfect, faulted = (column(CU, 3.6, 9, fault=f) * (3, 3, 1) for f in (False, True))
    for atoms, second in ((perfect, 0), (faulted, 2)):
        # atoms two layers up lie straight above only where the middle layer is stacked as in hcp
        layers = atoms[: len(atoms)]
        height = 2 * 3.6 / 3**0.5
        matrix = layers.get_all_distances(mic=True)
        straight = np.isclose(matrix, height, atol=1e-6).sum() / 9
        assert straight == 2 * second
    assert energy(perfect) == pytest.approx(len(perfect) * energy(bulk("Cu", a=3.6)), abs=1e-8)
