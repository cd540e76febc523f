"""Equations of state against the formula, ASE's own fit, and the published numbers of EMT."""

import numpy as np
import pytest
from ase.eos import EquationOfState as Peer

from potentials.assess.eos import cube_atoms, equation_of_state, fit, measure
from potentials.assess.prototypes import crystals, element
from potentials.stratum import Stratum
from potentials.units import GPA_PER_EV_PER_A3
from tests.assess.sides import emt

AG = 47


def birch_murnaghan(v, v0, e0, b0, b1):
    x = (v0 / v) ** (2 / 3)
    return e0 + 9 * v0 * b0 / 16 * ((x - 1) ** 3 * b1 + (x - 1) ** 2 * (6 - 4 * x))


@pytest.mark.parametrize("truth", [(11.9, -3.72, 0.9, 5.5), (25.0, 4.0, 0.1, 3.0)])
def test_the_formula_is_recovered(truth):
    volumes = truth[0] * np.linspace(0.95, 1.08, 8)  # the minimum need not be in the middle
    found = fit(volumes, birch_murnaghan(volumes, *truth))
    assert found is not None
    np.testing.assert_allclose([found.volume, found.energy, found.bulk_modulus, found.derivative], truth, rtol=1e-6)
    np.testing.assert_allclose(found.energies_at(volumes), birch_murnaghan(volumes, *truth), atol=1e-8)
    assert found.residual < 1e-9


def test_no_minimum_is_said():
    volumes = np.linspace(10.0, 12.0, 7)
    assert fit(volumes, -volumes) is None


def test_silver_is_that_of_the_ase_tutorial():
    # V0 = 16.781 Å3 and B = 100.1 GPa by EMT: ASE documentation, "Equation of state"
    found = equation_of_state(emt(), element(AG))
    assert found is not None
    assert found.volume == pytest.approx(16.78, abs=0.01)
    assert found.bulk_modulus * GPA_PER_EV_PER_A3 == pytest.approx(100.1, abs=1.0)
    peer_volume, peer_energy, peer_modulus = Peer(found.volumes, found.energies, eos="birchmurnaghan").fit()
    assert found.volume == pytest.approx(peer_volume, rel=1e-4)
    assert found.energy == pytest.approx(peer_energy, abs=1e-6)
    assert found.bulk_modulus == pytest.approx(peer_modulus, rel=1e-3)


def test_the_conventional_cube():
    known = {c.name: cube_atoms(c) for name in ("Cu", "CuPd", "CuPdAg") for c in crystals(Stratum.parse(name))}
    expected = {"Cu fcc": 4, "Cu bcc": 2, "Cu hcp": 0, "CuPd B2": 2, "CuPd B32": 16, "Cu3Pd L1_2": 4, "Cu3Pd D0_3": 16}
    assert {k: known[k] for k in expected} == expected
    assert known["Ag2CuPd L2_1"] == 16 and known["CuPd L1_0"] == 0


def test_a0_is_the_edge_of_the_relaxed_cube():
    side = emt()
    values = {v.quantity: v.value for v in measure(side, [element(AG)]).values}
    assert values["a0"] == pytest.approx(side.relaxed(element(AG)).atoms.cell.lengths()[0] * 2**0.5, abs=2e-3)
    b2 = next(c for c in crystals(Stratum.parse("CuPd")) if c.name == "CuPd B2")
    values = {v.quantity: v.value for v in measure(side, [b2]).values}
    assert values["a0"] == pytest.approx(side.relaxed(b2).atoms.cell.lengths()[0], abs=2e-3)
