"""The reference is asked about the symmetric crystal that a candidate is meant to be, where its energy is the same."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo import ideal as ideal_crystals
from evo.candidate import Candidate, Origin
from evo.ideal import SAME, Exact, idealised
from evo.relaxers import CalculatorRelaxer, NetworkRelaxer, evaluate
from evo.symmetry import space_group
from potentials.structures import Structures

LENNARD_JONES = CalculatorRelaxer("ase.calculators.lj:LennardJones", '{"rc": 6.0}', ".", "lj")
EMT = CalculatorRelaxer("ase.calculators.emt:EMT", "{}", ".", "emt")


def cu3pd():
    return Atoms(
        "PdCu3", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], cell=3 * [3.7], pbc=True
    )


def candidate(atoms):
    return Candidate("c00000-00", atoms, Origin("test"))


def ideal(atoms, pressure=0.0):
    return idealised([candidate(atoms)], EMT, pressure)[0]


def per_atom(atoms):
    return float(evaluate(EMT, Structures.from_ase([atoms])).energies[0]) / len(atoms)


def test_a_supercell_a_thousandth_off_is_asked_about_as_its_primitive_cell():
    atoms = cu3pd().repeat((2, 1, 1))
    atoms.rattle(0.001, seed=1)
    atoms.set_cell(atoms.cell @ (np.eye(3) + 1e-3 * np.random.default_rng(2).normal(size=(3, 3))), scale_atoms=True)
    assert space_group(atoms, 1e-4) == 1
    found = ideal(atoms)
    assert len(found) == 4
    assert space_group(found, 1e-6) == 221
    assert per_atom(found) <= per_atom(atoms) + SAME
    assert found.cell.volume / 4 == pytest.approx(atoms.cell.volume / 8, rel=1e-3)


def test_a_distortion_that_lowers_the_energy_stays():
    """Simple cubic copper gains 1.3 meV by a shear that is within the tolerance."""
    shear = np.eye(3) + 0.01 * (np.ones((3, 3)) - np.eye(3))
    atoms = Atoms("Cu", cell=2.4 * shear, pbc=True)
    assert space_group(atoms, 0.1) == 221
    found = ideal(atoms)
    assert space_group(found, 0.1) == 221
    assert space_group(found, 1e-5) == 166
    assert per_atom(found) == pytest.approx(per_atom(atoms), abs=SAME)


def test_what_has_no_symmetry_is_asked_about_as_it_is():
    atoms = bulk("Cu", "fcc", 3.6, cubic=True)
    atoms.rattle(0.3, seed=1)
    found = ideal(atoms)
    assert np.allclose(
        np.sort(found.get_all_distances(mic=True).ravel()), np.sort(atoms.get_all_distances(mic=True).ravel())
    )
    assert idealised([], EMT, 0.0) == []


def test_clusters_are_left_alone():
    atoms = Atoms("Cu3", positions=[[0, 0, 0], [2.4, 0, 0], [1.2, 2.1, 0]])
    assert np.array_equal(ideal(atoms).positions, atoms.positions)


def test_under_pressure_too():
    atoms = cu3pd().repeat((1, 1, 2))
    atoms.rattle(0.001, seed=3)
    assert len(ideal(atoms, pressure=0.5)) == 4


def test_what_has_moments_stays_in_its_cell():
    """The atoms of antiferromagnetic NiO repeat after half of the cell that its moments need."""
    nio = bulk("NiO", "rocksalt", a=4.17)
    double = nio.repeat((2, 1, 1))
    assert len(idealised([candidate(double)], LENNARD_JONES, 0.0)[0]) == 2
    assert idealised([candidate(double)], LENNARD_JONES, 0.0, magnetic=[28])[0] is double
    assert len(idealised([candidate(double)], LENNARD_JONES, 0.0, magnetic=[26])[0]) == 2


def test_what_is_asked_about_hangs_on_the_network_of_the_moment_alone(monkeypatch):
    """Not on one before it that somebody had asked, a table for instance; what the reference was asked about stays."""

    def by_network(candidates, relaxer, pressure, magnetic):
        made = []
        for c in candidates:
            made.append(c.atoms.copy())
            made[-1].info["by"] = relaxer.method
        return made

    monkeypatch.setattr(ideal_crystals, "idealised", by_network)
    old, new = (NetworkRelaxer("library", (), (29,), method) for method in ("nn:1", "nn:2"))
    shown, asked, moved = (Candidate(name, bulk("Cu"), Origin("test")) for name in ("shown", "asked", "moved"))
    exact = Exact(0.0, ())
    crystals = exact.of([shown, asked, moved], old)
    exact.settle([asked], [crystals[1]])
    exact.settle([moved])
    assert [a.info.get("by") for a in exact.of([shown, asked, moved], new)] == ["nn:2", "nn:1", None]
    assert exact.of([asked], new)[0] is exact.found(asked) is crystals[1]
    assert exact.found(moved) is moved.atoms
    assert exact.of([shown], new)[0] is exact.of([shown], new)[0]
