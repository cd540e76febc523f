"""Relaxations of one side: under symmetry, at fixed volume, and let go."""

from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.emt import EMT

from potentials.assess.prototypes import crystals, element
from potentials.assess.side import Side
from potentials.assess.space_group import space_group
from potentials.assess.stability import disturbed
from potentials.stratum import Stratum
from potentials.structures import Prediction, Structures
from tests.assess.sides import SMALL, emt

CU = 29
CUPD = {c.name: c for c in crystals(Stratum.parse("CuPd"))}


def test_a_saddle_is_kept_with_symmetry_and_left_without():
    side, bcc = emt(), element(CU, "bcc")
    kept = side.relaxed(bcc)
    assert kept.converged and space_group(kept.atoms, 1e-5) == 229
    fallen = side.release([disturbed(kept.atoms, 0.03, np.random.default_rng(0))])[0]
    assert space_group(fallen.atoms) == 225
    fcc = side.relaxed(element(CU, "fcc"))
    assert fallen.energy == pytest.approx(fcc.energy, abs=1e-5)
    assert kept.energy - fcc.energy == pytest.approx(0.0327, abs=2e-4)


@pytest.mark.parametrize("name", ["CuPd B2", "CuPd L1_0", "CuPd L1_1", "Cu3Pd D0_19", "Cu3Pd D0_22", "Cu2Pd MoPt2"])
def test_relaxed_prototypes_keep_their_group_and_end_at_zero_stress(name):
    found = emt().relaxed(CUPD[name])
    assert found.converged and space_group(found.atoms, 1e-4) == CUPD[name].prototype.space_group
    atoms = found.atoms.copy()
    atoms.calc = EMT()
    assert np.abs(atoms.get_forces()).max() < SMALL.fmax and np.abs(atoms.get_stress()).max() < SMALL.smax
    assert atoms.get_potential_energy() == pytest.approx(found.energy, abs=1e-9)


def test_at_fixed_volume_the_shape_relaxes():
    side, l1_0 = emt(), CUPD["CuPd L1_0"]
    start = side.relaxed(l1_0).atoms
    volume = 0.95 * start.cell.volume
    atoms = start.copy()
    atoms.set_cell(atoms.cell[:] * 0.95 ** (1 / 3), scale_atoms=True)
    found = side.relax(atoms, cell="volume")
    assert found.converged and found.atoms.cell.volume == pytest.approx(volume, rel=1e-9)
    # no tetragonal strain of this volume has a lower energy
    for c in (0.99, 1.01):
        strained = found.atoms.copy()
        strained.set_cell(strained.cell[:] @ np.diag([c**-0.5, c**-0.5, c]), scale_atoms=True)
        assert side.energies([strained])[0] > found.energy
    assert (
        abs(found.atoms.cell.lengths()[2] / found.atoms.cell.lengths()[0] - start.cell[2, 2] / start.cell[0, 0]) > 1e-4
    )


def test_a_fixed_cell_stays():
    side = emt()
    atoms = side.relaxed(CUPD["Cu3Pd L1_2"]).atoms.copy()
    atoms.positions[0] += 0.2
    found = side.relax(atoms, cell="fixed")
    np.testing.assert_array_equal(found.atoms.cell[:], atoms.cell[:])
    assert found.energy == pytest.approx(side.relaxed(CUPD["Cu3Pd L1_2"]).energy, abs=1e-5)


def test_what_does_not_converge_has_no_energy_and_a_reason():
    side = emt(type(SMALL)(max_calls=2))
    found = side.relaxed(CUPD["CuPd L1_0"])
    assert not found.converged and np.isnan(found.energy)
    assert side.trouble(CUPD["CuPd L1_0"]) == "CuPd L1_0 not relaxed (step limit)"


def double_well(tilt: float) -> Side:
    """Energies of the cell alone: minima near ln(c/a) = -0.2 and 0.2, the first lower where `tilt` is positive."""

    def energy(cell: np.ndarray, n: int) -> float:
        a, c, volume = np.linalg.norm(cell[0]), np.linalg.norm(cell[2]), abs(np.linalg.det(cell)) / n
        x = np.log(c / a / 2**0.5)  # 0: the cubes of fcc
        return float(n * (20 * (x * x - 0.04) ** 2 + tilt * x + (np.log(volume / 13.0)) ** 2))

    def evaluate(structures: Structures) -> Prediction:
        cells, sizes, h = structures.cells, structures.sizes, 1e-5
        energies = np.array([energy(cell, int(n)) for cell, n in zip(cells, sizes, strict=True)])
        stresses = np.zeros((len(cells), 3, 3))
        for k, (cell, n) in enumerate(zip(cells, sizes, strict=True)):
            for i in range(3):
                more, less = (energy(cell @ np.diag(1 + sign * h * np.eye(3)[i]), int(n)) for sign in (1, -1))
                stresses[k, i, i] = (more - less) / (2 * h * abs(np.linalg.det(cell)))
        atoms = len(structures.numbers)
        return Prediction(energies, np.zeros((atoms, 3)), stresses, energies[:, None], np.zeros(atoms))

    return Side("double well", evaluate, SMALL)


def test_both_sides_are_compared_at_the_minimum_of_the_reference_and_a_lower_one_is_told():
    l1_0 = CUPD["CuPd L1_0"]
    reference, network = double_well(0.02), double_well(-0.02)

    def shape(side: Side) -> float:
        lengths = side.relaxed(l1_0).atoms.cell.lengths()
        return float(np.log(lengths[2] / lengths[0] / 2**0.5))

    assert shape(reference) == pytest.approx(-0.2, abs=0.02) and shape(network) == pytest.approx(0.2, abs=0.02)
    guided = replace(double_well(-0.02), guide=reference)
    assert shape(guided) == pytest.approx(-0.2, abs=0.02)
    # 2 tilts of 0.2 apart
    assert guided.trouble(l1_0) == "the ideal CuPd L1_0 relaxes to another minimum, 8.0 meV/atom lower"
    assert reference.trouble(l1_0) == ""
    alike = replace(double_well(0.02), guide=reference)
    assert alike.trouble(l1_0) == "" and alike.relaxed(l1_0).energy == pytest.approx(reference.relaxed(l1_0).energy)
