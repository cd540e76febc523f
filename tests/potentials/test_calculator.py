"""Both adapters: a Potential behind ASE, an ASE calculator behind Evaluate."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculationFailed, Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from potentials.calculator import StratifiedCalculator, from_calculator
from potentials.stratum import Stratum
from potentials.structures import Structures
from tests.crystals import CU
from tests.labelled import dataset, trained


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("calculator") / "lib", ["Cu"]).assemble(Stratum((CU,)))


def test_ase_gets_what_the_potential_says(potential):
    structures = dataset((CU,), 3, 9).structures
    expected = potential.evaluate(structures)
    for c, atoms in enumerate(structures.to_ase()):
        atoms.calc = StratifiedCalculator(potential)
        assert atoms.get_potential_energy() == pytest.approx(expected.energies[c], abs=1e-12)
        np.testing.assert_allclose(
            atoms.get_forces(), expected.forces[structures.offsets[c] : structures.offsets[c + 1]]
        )
        np.testing.assert_allclose(atoms.get_stress(voigt=False), expected.stresses[c], atol=1e-12)
        assert atoms.calc.energy_spread == pytest.approx(expected.spreads[c], abs=1e-12)
    cluster = Atoms("Cu2", positions=[[0, 0, 0], [2.4, 0, 0]])
    cluster.calc = StratifiedCalculator(potential)
    assert np.isfinite(cluster.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError):
        cluster.get_stress()


def test_results_are_ases_own(potential):
    atoms = bulk("Cu", a=3.7)
    atoms.calc = StratifiedCalculator(potential)
    energy = atoms.get_potential_energy()
    kept = SinglePointCalculator(atoms, **atoms.calc.results)
    assert kept.get_property("energy", atoms) == energy == atoms.get_properties(["energy"])["energy"]


def test_a_layer_has_the_stress_of_its_cell(potential):
    """In its plane it is the derivative of the energy; across the vacuum there is none."""

    def layer(strain=0.0):
        atoms = Atoms("Cu2", [[0, 0, 5], [1.3, 1.3, 6.7]], cell=[2.6, 2.6, 20], pbc=(True, True, False))
        atoms.set_cell(atoms.cell[:] @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
        atoms.calc = StratifiedCalculator(potential)
        return atoms

    slope = (layer(1e-4).get_potential_energy() - layer(-1e-4).get_potential_energy()) / 2e-4
    assert layer().get_stress()[0] == pytest.approx(slope / layer().get_volume(), rel=1e-5)
    bare = Atoms("Cu", cell=[2.6, 2.6, 0], pbc=(True, True, False))
    bare.calc = StratifiedCalculator(potential)
    with pytest.raises(PropertyNotImplementedError):
        bare.get_stress()


def test_what_has_no_finite_energy_is_an_error_that_dynamics_stop_at(potential):
    for atoms in (Atoms("Cu2", [[0, 0, 0], [0, 0, 0]]), Atoms("Cu", pbc=True)):
        atoms.calc = StratifiedCalculator(potential)
        with pytest.raises(CalculationFailed, match="no finite energy of Cu"):
            atoms.get_forces()


def test_a_calculator_is_asked_crystal_by_crystal():
    cells = [bulk("Cu", a=3.5), bulk("Pd", a=4.0, cubic=True), bulk("Cu", a=3.7)]
    evaluate = from_calculator(EMT())
    together = evaluate(Structures.from_ase(cells))
    alone = [evaluate(Structures.from_ase([a])) for a in cells]
    assert [e.tobytes() for e in together.energies] == [p.energies[0].tobytes() for p in alone]
    assert together.stresses.tobytes() == b"".join(p.stresses.tobytes() for p in alone)
    assert together.member_energies.shape == (3, 1)


class Moody(Calculator):
    """Energies and forces of zero, no stress; raises for silver."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if 47 in atoms.numbers:
            raise RuntimeError("I do not like silver")
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def test_what_a_calculator_cannot_say_is_nan():
    said = from_calculator(Moody())(Structures.from_ase([bulk("Cu"), bulk("Ag"), molecule("O2")]))
    assert said.energies[0] == 0 and np.isnan(said.energies[1]) and said.energies[2] == 0
    assert np.isnan(said.forces[1]).all() and np.isfinite(said.forces[[0, 2, 3]]).all()
    assert np.isnan(said.stresses[:2]).all() and not said.stresses[2].any()
