"""The reference: right numbers, and a value with a reason for everything that goes wrong."""

import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from evo.candidate import Failure
from evo.reference import Label, Reference, ReferenceUnavailable, load_calculator, open_reference
from evo.settings import ReferenceSection


class Faulty(Calculator):
    """A calculator that goes wrong in the way asked for; a Lennard-Jones-like constant otherwise."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, fault="none", **kwargs):
        super().__init__(**kwargs)
        self.fault = fault
        self.calls = 0
        if fault == "constructor":
            raise RuntimeError("no licence found")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        n = len(atoms)
        self.results = {"energy": -1.0 * n, "forces": np.zeros((n, 3)), "stress": np.zeros(6)}
        if self.fault == "nan energy":
            self.results["energy"] = np.nan
        elif self.fault == "inf forces":
            self.results["forces"][0, 0] = np.inf
        elif self.fault == "nan stress":
            self.results["stress"][2] = np.nan
        elif self.fault == "wrong shape":
            self.results["forces"] = np.zeros((n + 1, 3))
        elif self.fault == "raises":
            raise ZeroDivisionError("in the third shell")
        elif self.fault == "exits":
            raise SystemExit(3)
        elif self.fault == "scf":
            raise RuntimeError("SCF did not converge in 60 steps")
        elif self.fault == "flag":
            self.results["converged"] = False
        elif self.fault == "warns":
            np.float64(1.0) / np.zeros(1)


class NoStress(Faulty):
    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        del self.results["stress"]


class OldStyle:
    """Not a subclass of ASE's Calculator, and without a free energy."""

    def get_potential_energy(self, atoms=None, force_consistent=False):
        from ase.calculators.calculator import PropertyNotImplementedError

        if force_consistent:
            raise PropertyNotImplementedError
        return -2.0

    def get_forces(self, atoms=None):
        return np.zeros((len(atoms), 3))

    def get_stress(self, atoms=None):
        return np.full((3, 3), 0.25)


A_NUMBER = 3


def faulty(fault="none", name="Faulty"):
    options = {"fault": fault} if name != "OldStyle" else {}
    return open_reference(ReferenceSection(engine="ase", calculator=f"{__name__}:{name}", options=options))


def emt():
    reference = open_reference(ReferenceSection(engine="emt"))
    assert reference is not None
    return reference


def alloy(seed=1):
    atoms = bulk("Cu", a=3.8).repeat((2, 1, 1))
    atoms.numbers[1] = 46
    atoms.rattle(0.1, rng=np.random.default_rng(seed))
    return atoms


def test_emt_equals_ase():
    atoms = alloy()
    found = emt().evaluate(atoms)
    expected = atoms.copy()
    expected.calc = EMT()
    assert isinstance(found, Label)
    assert found.energy == expected.get_potential_energy()
    np.testing.assert_array_equal(found.forces, expected.get_forces())
    np.testing.assert_array_equal(found.stress, expected.get_stress(voigt=False))
    assert 0 < found.seconds < 5
    assert atoms.calc is None


def test_a_crystal_gives_the_same_bits_whatever_came_before():
    reference = emt()
    alone = reference.evaluate(alloy(2))
    for seed in range(5):
        reference.evaluate(alloy(seed))
    again = reference.evaluate(alloy(2))
    assert again.energy == alone.energy
    np.testing.assert_array_equal(again.forces, alone.forces)


def test_a_label_is_not_changed_by_the_next_evaluation():
    reference = emt()
    first = reference.evaluate(alloy(1))
    kept = first.forces.copy()
    reference.evaluate(alloy(2))
    np.testing.assert_array_equal(first.forces, kept)


def test_emt_knows_its_elements():
    assert emt().can([13, 28, 29, 46, 47, 78, 79]) == set()
    assert emt().can([29, 8, 14]) == {8, 14}


def test_elements_it_cannot_do_are_refused_with_what_to_write():
    emt().require([29, 46])
    with pytest.raises(ReferenceUnavailable, match=r'EMT cannot do O, Si, only Al, Ni, .*set reference.engine = "ase"'):
        emt().require([29, 8, 14])
    reference = open_reference(ReferenceSection(engine="ase", calculator="ase.calculators.emt:EMT"))
    with pytest.raises(ReferenceUnavailable, match="EMT cannot do Si"):
        reference.require([29, 14])


def test_no_engine_no_reference():
    assert open_reference(ReferenceSection(engine="none")) is None


def test_method_names_engine_options_and_calculator():
    methods = [
        emt().method,
        open_reference(ReferenceSection(engine="emt", options={"asap_cutoff": True})).method,
        open_reference(ReferenceSection(engine="ase", calculator="ase.calculators.emt:EMT")).method,
        faulty().method,
        faulty("raises").method,
    ]
    assert len(set(methods)) == len(methods)
    assert all(m.startswith("ref:") and len(m) == 16 for m in methods)
    assert emt().method == methods[0]


def test_travels_between_ranks():
    copy = pickle.loads(pickle.dumps(emt()))
    assert isinstance(copy, Reference)
    assert copy.evaluate(alloy()).energy == emt().evaluate(alloy()).energy


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        ("nan energy", "not finite", "energy"),
        ("inf forces", "not finite", "forces"),
        ("nan stress", "not finite", "stress"),
        ("wrong shape", "not finite", "forces"),
        ("raises", "crashed", "ZeroDivisionError: in the third shell"),
        ("exits", "crashed", "SystemExit: 3"),
        ("scf", "unconverged", "SCF did not converge"),
        ("flag", "unconverged", "converged = False"),
    ],
)
def test_faults_are_values_with_a_reason(fault, reason, detail):
    found = faulty(fault).evaluate(alloy())
    assert isinstance(found, Failure)
    assert found.reason == reason
    assert detail in found.detail


def test_floating_point_warnings_of_a_calculator_stay_inside():
    assert isinstance(faulty("warns").evaluate(alloy()), Label)


@pytest.mark.parametrize("name", ["NoStress", "OldStyle"])
def test_lesser_calculators_serve(name):
    found = faulty(name=name).evaluate(alloy())
    assert isinstance(found, Label)
    assert found.energy == -2.0
    assert np.isnan(found.stress).all() if name == "NoStress" else (found.stress == 0.25).all()


def test_molecules_have_no_stress():
    water = molecule("H2O", vacuum=5.0)
    found = open_reference(ReferenceSection(engine="ase", calculator="ase.calculators.emt:EMT")).evaluate(water)
    assert isinstance(found, Label)
    assert np.isnan(found.stress).all()


def test_moments_reach_the_calculator():
    up, down = alloy(), alloy()
    up.set_initial_magnetic_moments([2.0] * len(up))
    down.set_initial_magnetic_moments([2.0, -2.0] * (len(up) // 2))
    reference = open_reference(ReferenceSection(engine="ase", calculator="tests.evo.test_reference:OfMoments"))
    assert [reference.evaluate(a).energy for a in (up, down, alloy())] == [2.0 * len(up), 0.0, 0.0]


def test_a_skewed_cell_of_a_sound_crystal_is_no_collapse():
    atoms = bulk("Cu")
    skewed = atoms.copy()
    skewed.set_cell(np.array([[1, 0, 0], [3, 1, 0], [0, 3, 1]]) @ np.asarray(atoms.cell))
    found = emt().evaluate(skewed)
    assert isinstance(found, Label)
    assert found.energy == pytest.approx(emt().evaluate(atoms).energy, abs=1e-9)


def bad_crystals():
    nan = bulk("Cu")
    nan.positions[0] = np.nan
    yield nan
    yield Atoms("Cu2", positions=np.zeros((2, 3)), cell=np.eye(3) * 4, pbc=True)
    yield Atoms("Cu", cell=np.zeros((3, 3)), pbc=True)
    yield Atoms("Cu", cell=np.eye(3) * 1e-3, pbc=True)
    yield Atoms("Si2", positions=[[0, 0, 0], [2, 0, 0]], cell=np.eye(3) * 4, pbc=True)
    yield Atoms(cell=np.eye(3), pbc=True)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("crystal", list(bad_crystals()), ids=["nan", "coincident", "flat", "tiny", "Si", "empty"])
def test_bad_crystals_are_failures(crystal):
    assert isinstance(emt().evaluate(crystal), Failure)


def test_one_calculation_gives_energy_forces_and_stress():
    reference = faulty()
    calculator = reference.calculator()
    from evo.reference.label import label

    label(calculator, alloy())
    assert calculator.calls == 1


def test_ase_finds_what_a_calculator_cannot_do():
    reference = open_reference(ReferenceSection(engine="ase", calculator="ase.calculators.emt:EMT"))
    assert reference.can([29, 14, 46]) == {14}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ase.calculators.emt", r'no import path; write calculator = "package.module:Class"'),
        (":EMT", "no import path"),
        ("no_such_package_here.calc:Calc", "needs the package no_such_package_here, which is not installed"),
        ("ase.calculators.nothing:EMT", "package ase has no module ase.calculators.nothing"),
        ("ase.calculators.emt:Emt", "has no `Emt`; it has .*EMT"),
        (f"{__name__}:A_NUMBER", "is not a class or function"),
        ("builtins:dict", "is no ASE calculator"),
    ],
)
def test_bad_import_paths_say_what_to_write(path, message):
    with pytest.raises(ReferenceUnavailable, match=message):
        load_calculator(path, {})


def test_a_constructor_that_fails_is_told_with_its_signature():
    with pytest.raises(ReferenceUnavailable, match=r"no licence found; it takes \(fault='none'"):
        faulty("constructor")
    with pytest.raises(ReferenceUnavailable, match=r"options \{'depth': 3\}: TypeError.*it takes \(\)"):
        load_calculator(f"{__name__}:OldStyle", {"depth": 3})


def test_a_file_beside_the_campaign(tmp_path):
    (tmp_path / "mine.py").write_text("from ase.calculators.emt import EMT\nclass Mine(EMT):\n    pass\n")
    settings = ReferenceSection(engine="ase", calculator="mine:Mine")
    reference = open_reference(settings, str(tmp_path))
    assert reference.evaluate(alloy()).energy == emt().evaluate(alloy()).energy
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text("from ase.calculators.emt import EMT as Mine\n")
    assert open_reference(settings, str(other)).method != reference.method  # another source is another method
    (tmp_path / "broken.py").write_text("import no_such_package_here\n")
    with pytest.raises(ReferenceUnavailable, match="needs the package no_such_package_here"):
        load_calculator("broken:Calc", {}, str(tmp_path))
    (tmp_path / "typo.py").write_text("def f(:\n")
    with pytest.raises(ReferenceUnavailable, match="SyntaxError"):
        load_calculator("typo:Calc", {}, str(tmp_path))


def test_a_method_may_build_the_calculator():
    assert load_calculator(f"{__name__}:Makers.make", {"fault": "x"}).fault == "x"


class Makers:
    @staticmethod
    def make(fault):
        return Faulty(fault)


class OfMoments(Calculator):
    """Its energy is the sum of the moments that the crystal begins with."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        total = float(atoms.get_initial_magnetic_moments().sum())
        self.results = {"energy": total, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}
