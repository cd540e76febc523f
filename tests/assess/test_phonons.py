"""Phonons against the eigenvalues of a whole supercell's Hessian, computed here."""

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.build import make_supercell
from ase.calculators.emt import EMT

from potentials.assess.prototypes import crystals, element
from potentials.assess.stability import measure as stability
from potentials.stratum import Stratum
from tests.assess.sides import SMALL, emt

pytest.importorskip("phonopy")
from potentials.assess.phonons import deviations, measure, phonons, supercell_matrix

B2 = next(c for c in crystals(Stratum.parse("CuPd")) if c.name == "CuPd B2")
CU = element(29)


def frequencies_of_supercell(side, crystal):
    """(3 N,) THz, ascending, negative where imaginary: those of every q that fits into the supercell."""
    atoms = make_supercell(side.relaxed(crystal).atoms, supercell_matrix(crystal, side.settings.supercell))
    atoms.calc = EMT()
    n, step = len(atoms), 0.01
    hessian = np.zeros((3 * n, 3 * n))
    for i in range(n):
        for k in range(3):
            ends = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.calc = atoms.calc
                moved.positions[i, k] += sign * step
                ends.append(moved.get_forces().ravel())
            hessian[3 * i + k] = (ends[1] - ends[0]) / (2 * step)
    roots = np.repeat(1 / np.sqrt(atoms.get_masses()), 3)
    squares = np.linalg.eigvalsh(0.5 * (hessian + hessian.T) * np.outer(roots, roots))
    per_thz = units.fs * 1e3 / (2 * np.pi)
    return np.sign(squares) * np.sqrt(np.abs(squares)) * per_thz


@pytest.mark.parametrize(("crystal", "points"), [(CU, ["X", "L"]), (B2, ["X", "M", "R"])], ids=["Cu fcc", "CuPd B2"])
def test_modes_that_fit_into_the_supercell(crystal, points):
    side = emt(replace(SMALL, supercell=5.5 if crystal is B2 else 7.0))  # two cubes along every edge: X, M, R, L fit
    found = phonons(side, crystal)
    every = frequencies_of_supercell(side, crystal)
    times = round(abs(np.linalg.det(supercell_matrix(crystal, side.settings.supercell))))
    assert len(every) == 3 * times * len(crystal.build(1.0))
    for name in points:
        for frequency in found.points[name]:
            # B2 is a saddle by EMT: near zero a root magnifies what the finite displacement leaves
            assert np.abs(every - frequency).min() < (0.01 if frequency > 1 else 0.05), (name, frequency)
    np.testing.assert_allclose(found.points["G"][:3], 0.0, atol=1e-3)


def test_a_repeated_primitive_cell_has_the_same_modes_where_they_fit():
    cubes, primitive = (phonons(emt(replace(SMALL, **s)), CU) for s in ({"supercell": 7.0}, {"repeat": 2}))
    for name in ("X", "L"):
        np.testing.assert_allclose(primitive.points[name], cubes.points[name], atol=0.02)
    between = abs(primitive.points["K"] - cubes.points["K"])  # no mode of eight atoms
    assert between.max() > 0.02


def test_bands_and_mesh():
    found = phonons(emt(), CU)
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.mesh.shape == (len(found.weights), 3) and found.mesh.min() > 0
    assert found.bands.shape == (len(found.path), 3) and (np.diff(found.path) >= 0).all()
    at = np.argmin(np.abs(found.path - found.ticks["X"]))
    np.testing.assert_allclose(found.bands[at], found.points["X"], atol=1e-6)
    # Γ to X
    edge = emt().relaxed(CU).atoms.cell.lengths()[0] * 2**0.5
    assert found.ticks["X"] == pytest.approx(2 * np.pi / edge, rel=1e-6)


def test_deviations_of_scaled_forces():
    side = emt()
    stiff = emt()

    def stiffer(structures, evaluate=side.evaluate):
        said = evaluate(structures)
        return type(said)(said.energies, 1.21 * said.forces, said.stresses, said.member_energies, said.atomic_energies)

    stiff.relaxed(CU)
    stiff.evaluate = stiffer
    mine, theirs = measure(stiff, [CU])[1], measure(side, [CU])[1]
    found = {d.quantity: d.value for d in deviations(mine, theirs)}
    # every frequency is sqrt(1.21) times as high
    assert found["RMS / RMS of reference"] == pytest.approx(10.0, abs=0.01)
    assert found["RMS of relative differences"] == pytest.approx(10.0, abs=0.01)
    rms = np.sqrt(np.average((theirs["Cu fcc"].mesh ** 2).mean(axis=1), weights=theirs["Cu fcc"].weights))
    assert found["RMS"] == pytest.approx(0.1 * rms, rel=1e-3)


def test_an_unstable_prototype_is_named():
    values = {v.quantity: v for v in measure(emt(), [B2])[0].values}
    assert values["lowest"].value < -0.1 and "dynamically unstable" in values["lowest"].note
    losses = {v.subject: v for v in stability(emt(), [B2, CU]).values}
    assert losses["CuPd B2"].value > 10 and "falls to space group" in losses["CuPd B2"].note
    assert abs(losses["Cu fcc"].value) < 0.05 and losses["Cu fcc"].note == ""
