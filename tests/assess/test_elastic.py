"""Elastic constants against second derivatives of the energy, and the symmetry of the matrix against all six strains."""

import numpy as np
import pytest

from potentials.assess.elastic import COLUMN, ROW, averages, elastic_constants, measure
from potentials.assess.eos import equation_of_state
from potentials.assess.prototypes import crystals, element
from potentials.stratum import Stratum
from potentials.structures import Structures
from tests.assess.sides import emt

CUPD = {c.name: c for c in crystals(Stratum.parse("CuPd"))}
CASES = [element(29), element(29, "hcp"), CUPD["CuPd L1_0"], CUPD["CuPd L1_1"], CUPD["Cu3Pd L1_2"], CUPD["Cu2Pd MoPt2"]]


def strained(side, crystal, strain):
    """The relaxed crystal under a (6,) Voigt strain, positions relaxed."""
    tensor = np.zeros((3, 3))
    for k, e in enumerate(strain):
        tensor[ROW[k], COLUMN[k]] += e / 2
        tensor[COLUMN[k], ROW[k]] += e / 2
    atoms = side.relaxed(crystal).atoms.copy()
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + tensor), scale_atoms=True)
    return side.relax(atoms, cell="fixed", fmax=1e-4)


@pytest.mark.parametrize("crystal", CASES, ids=[c.name for c in CASES])
def test_constants_are_second_derivatives_of_the_energy(crystal):
    side, step = emt(), 4e-3
    constants = elastic_constants(side, crystal)
    start = side.relaxed(crystal)
    directions = [
        *np.eye(6),
        np.array([1, 1, 0, 0, 0, 0]),
        np.array([0, 1, 1, 0, 0, 0]),
        np.array([1, -0.5, 0.3, 0.4, 0.2, 0.6]),
    ]
    for d in directions:
        energies = [strained(side, crystal, s * step * d).energy for s in (-1, 0, 1)]
        curvature = (energies[0] - 2 * energies[1] + energies[2]) / step**2 / start.atoms.cell.volume
        assert d @ constants @ d == pytest.approx(curvature, rel=0.01, abs=0.004), d


@pytest.mark.parametrize("name", ["CuPd L1_1", "CuPd L1_0"])
def test_the_matrix_is_that_of_all_six_strains(name):
    side, step, full = emt(), 5e-3, np.zeros((6, 6))
    for k in range(6):
        ends = [strained(side, CUPD[name], sign * step * np.eye(6)[k]).atoms for sign in (1, -1)]
        up, down = side.ask(Structures.from_ase(ends)).stresses
        full[:, k] = ((up - down) / (2 * step))[ROW, COLUMN]
    np.testing.assert_allclose(elastic_constants(side, CUPD[name]), full, atol=0.004)  # eV/Å3, 0.6 GPa


def test_bulk_modulus_is_that_of_the_equation_of_state():
    side = emt()
    bulk, shear = averages(elastic_constants(side, element(29)))
    assert bulk == pytest.approx(equation_of_state(side, element(29)).bulk_modulus, rel=5e-3)
    assert 0 < shear < bulk


def test_what_gives_way_is_named():
    values = {(v.subject, v.quantity): v for v in measure(emt(), [CUPD["CuPd B2"], element(29)]).values}
    # by EMT, B2 CuPd has C11 < C12
    assert values["CuPd B2", "C11"].value < values["CuPd B2", "C12"].value
    assert "mechanically unstable" in values["CuPd B2", "C11"].note
    assert np.isnan(values["CuPd B2", "shear modulus"].value)
    assert values["Cu fcc", "C11"].note == "" and values["Cu fcc", "C44"].value > 0
