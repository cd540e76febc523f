"""Averages over a crystal's operations: they change nothing symmetric, and take away what is not."""

import numpy as np
import pytest
from ase.calculators.emt import EMT

from potentials.assess.prototypes import crystals, element
from potentials.assess.stability import disturbed
from potentials.assess.symmetry import Operations, space_group
from potentials.stratum import Stratum
from tests.assess.sides import emt

CRYSTALS = [c for name in ("Cu", "CuPd") for c in crystals(Stratum.parse(name))]


@pytest.mark.parametrize("crystal", CRYSTALS, ids=[c.name for c in CRYSTALS])
def test_forces_and_stress_of_a_symmetric_crystal_stay(crystal):
    atoms = crystal.build(12.0)
    operations = Operations.of(atoms)
    atoms.calc = EMT()
    forces, stress = operations.average(atoms.cell[:], atoms.get_forces(), atoms.get_stress(voigt=False))
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-10)
    np.testing.assert_allclose(stress, atoms.get_stress(voigt=False), atol=1e-10)


def test_what_breaks_the_symmetry_goes():
    rng = np.random.default_rng(0)
    l1_2 = next(c for c in CRYSTALS if c.name == "Cu3Pd L1_2").build(12.0)
    noise = rng.normal(size=(3, 3))
    forces, stress = Operations.of(l1_2).average(l1_2.cell[:], rng.normal(size=(4, 3)), noise + noise.T)
    np.testing.assert_allclose(forces, 0.0, atol=1e-12)  # every site of L1_2 is fixed by symmetry
    np.testing.assert_allclose(stress, 2 * np.trace(noise) / 3 * np.eye(3), atol=1e-12)
    l1_0 = next(c for c in CRYSTALS if c.name == "CuPd L1_0").build(12.0)
    stress = Operations.of(l1_0).average(l1_0.cell[:], np.zeros((2, 3)), noise + noise.T)[1]
    assert stress[0, 0] == pytest.approx(stress[1, 1]) and abs(stress[0, 0] - stress[2, 2]) > 0.1
    average = Operations.of(l1_0).average(l1_0.cell[:], np.zeros((2, 3)), stress)[1]
    np.testing.assert_allclose(average, stress, atol=1e-12)


def test_a_saddle_is_kept_with_symmetry_and_left_without():
    side, bcc = emt(), element(29, "bcc")
    kept = side.relaxed(bcc)
    assert kept.converged and space_group(kept.atoms, 1e-5) == 229
    fallen = side.release([disturbed(kept.atoms, 0.03, np.random.default_rng(0))])[0]
    assert space_group(fallen.atoms, 0.05) == 225
    fcc = side.relaxed(element(29, "fcc"))
    assert fallen.energy == pytest.approx(fcc.energy, abs=1e-5)
    assert kept.energy - fcc.energy == pytest.approx(0.0327, abs=2e-4)
