"""Relaxations of one side: under symmetry, at fixed volume, and let go."""

import numpy as np
import pytest
from ase.calculators.emt import EMT

from potentials.assess.prototypes import crystals, element
from potentials.assess.space_group import space_group
from potentials.assess.stability import disturbed
from potentials.stratum import Stratum
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
