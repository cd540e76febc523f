"""GPAW where it is installed: a recorded energy, forces and stress that are its derivatives, one method."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo.reference import EngineAbsent, Label, open_reference
from evo.reference.gpaw import Gpaw, open_gpaw
from evo.settings import ReferenceSection
from evo.shipped import library_for
from potentials.library import Library
from tests.faults.campaigns import MPIEXEC
from tests.reference.programs import PAIR

PULAY = {"Cu": 0.57, "Pd": 0.25, "Ag": 0.264}


@pytest.fixture(scope="module")
def engine() -> Gpaw:
    try:
        return open_gpaw({"kspacing": 0.2, "pulay": PULAY})
    except EngineAbsent as error:
        pytest.skip(f"GPAW is not installed: {error}")


def test_the_reference_that_init_writes_is_the_one_of_the_shipped_labels(engine):
    """So a campaign that switches it on goes on learning on the library's own data."""
    name, options = library_for(["Cu", "Pd"])
    reference = open_reference(ReferenceSection(engine="gpaw", options=options), ".")
    assert set(Library.open(name).data_as_labelled().methods) == {reference.method}


def evaluated(engine: Gpaw, atoms: Atoms) -> Label:
    found = engine.evaluate(atoms)
    assert isinstance(found, Label)
    return found


def test_a_real_calculation(engine):
    """CuPd at random; recorded with GPAW 26.7.0 and gpaw-data 1.2.1."""
    found = evaluated(engine, PAIR)
    assert found.energy == pytest.approx(RECORDED[0], abs=2e-3)
    assert found.energy_zero == pytest.approx(RECORDED[1], abs=2e-3)
    np.testing.assert_allclose(found.forces[0], RECORDED[2], atol=5e-3)
    assert np.trace(found.stress) / 3 == pytest.approx(RECORDED[3], abs=1e-3)
    assert (found.details["mesh"], found.details["centred"], found.details["k_points"]) == ((2, 2, 2), True, 12)
    assert found.details["bands"] == int(np.ceil(1.1 * (11 + 16) / 2)) + 4
    skewed = PAIR.copy()
    skewed.set_cell(np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]]) @ np.asarray(PAIR.cell))
    again = evaluated(engine, skewed)
    assert again.energy == pytest.approx(found.energy, abs=1e-6)
    np.testing.assert_allclose(again.forces, found.forces, atol=1e-5)
    np.testing.assert_allclose(again.stress, found.stress, atol=1e-6)


RECORDED = (-6.91262, -6.87157, [0.48856, -0.61883, -0.98630], -0.04454)  # eV, eV, eV/Å, eV/Å³


def test_versions_and_paw_sets_are_part_of_the_method(engine):
    files = engine.identity["files"]
    assert set(files["versions"]) == {"gpaw", "gpaw-data"}
    assert files["setups"]["Pd"]["valence"] == 16  # semi-core 4p: without it close atoms repel too much
    assert files["setups"]["Ag"]["valence"] == 17
    small = open_gpaw({"setups": {"Pd": "10", "Ag": "11"}})
    assert small.identity["files"]["setups"]["Pd"]["valence"] == 10


@pytest.mark.parametrize("xc", ["SCAN", "PBE0"])
def test_functionals_without_paw_sets_are_run_with_those_they_are_used_with(engine, xc):
    found = open_gpaw({"xc": xc})
    assert found.cannot([29, 46]) == set()
    assert found.about["setups"]["Cu"] == engine.about["setups"]["Cu"] and found.identity != engine.identity


@pytest.mark.nightly
@pytest.mark.timeout(7200)  # half a minute of work, but other work may go on
def test_nickel_oxide():
    """AFM-II, U = 6 eV on Ni d (Cococcioni and de Gironcoli 2005, doi:10.1103/PhysRevB.71.035105: a gap, and 1.6 to 1.8 mu_B).

    Recorded with GPAW 26.7.0 and gpaw-data 1.2.1, half a CPU minute.
    """
    a = 4.17
    nio = Atoms(
        ["Ni", "Ni", "O", "O"],
        scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]],
        cell=a / 2 * np.array([[2, 1, 1], [1, 2, 1], [1, 1, 2]]),
        pbc=True,
    )
    try:
        engine = open_gpaw(
            {"kspacing": 0.2, "cutoff": 600.0, "hubbard": {"Ni": {"d": 6.0}}, "moments": {"Ni": [2.0, -2.0]}}
        )
    except EngineAbsent as error:
        pytest.skip(f"GPAW is not installed: {error}")
    found = evaluated(engine, nio)
    moments = found.details["moments"]
    np.testing.assert_allclose(moments, [moments[0], -moments[0], 0.0, 0.0], atol=0.02)
    assert found.energy == pytest.approx(-25.32413, abs=5e-3)
    assert moments[0] == pytest.approx(1.738, abs=0.02)
    assert found.details["gap"] == pytest.approx(3.187, abs=0.05)
    assert found.energy == pytest.approx(found.energy_zero, abs=1e-3)  # an insulator has no entropy of smearing
    plain = engine.options.model_copy(update={"hubbard": {}})
    assert plain.method() != engine.options.method()


@pytest.mark.nightly
def test_forces_and_stress_are_derivatives_of_the_energy(engine):
    """The stress to 1.2 GPa, because the basis jumps with the volume; with its Pulay term it would be 4 GPa off."""
    found = evaluated(engine, PAIR)
    step = 0.01
    for atom, axis in ((0, 0), (1, 2)):
        energies = []
        for sign in (-1, 1):
            moved = PAIR.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(evaluated(engine, moved).energy)
        assert -(energies[1] - energies[0]) / (2 * step) == pytest.approx(found.forces[atom, axis], abs=5e-3)
    energies = []
    for sign in (-1, 1):
        strained = PAIR.copy()
        strained.set_cell(np.asarray(PAIR.cell) * (1 + sign * step), scale_atoms=True)
        energies.append(evaluated(engine, strained).energy)
    pressure = (energies[1] - energies[0]) / (2 * step) / 3 / PAIR.cell.volume
    assert np.trace(found.stress) / 3 == pytest.approx(pressure, abs=1.2 / 160.2)


@pytest.mark.nightly
@pytest.mark.parametrize(("symbol", "a"), [("Cu", 3.641), ("Pd", 3.946), ("Ag", 4.145)])
def test_no_pressure_at_the_lattice_constant(symbol, a):
    """Lattice constants from energies at 400 eV; without the Pulay constants Cu would be 8 GPa off."""
    try:
        engine = open_gpaw({"kspacing": 0.06, "pulay": PULAY})
    except EngineAbsent as error:
        pytest.skip(f"GPAW is not installed: {error}")
    found = evaluated(engine, bulk(symbol, a=a))
    assert abs(np.trace(found.stress) / 3 * 160.2) < 0.4


@pytest.mark.nightly
@pytest.mark.skipif(not MPIEXEC.exists(), reason="mpiexec of the PyPI wheel is not installed")
def test_from_a_rank_of_an_mpi_job(engine, tmp_path):
    """GPAW refuses to run, or takes itself for a rank, when it inherits a launcher's environment."""
    code = (
        "from mpi4py import MPI; from ase.build import bulk; from evo.reference.gpaw import open_gpaw\n"
        "found = open_gpaw({'kspacing': 0.3}).evaluate(bulk('Cu'))\n"
        f"open(f'{tmp_path}/{{MPI.COMM_WORLD.rank}}', 'w').write(repr(found.energy))"
    )
    subprocess.run([MPIEXEC, "-n", "2", sys.executable, "-c", code], check=True, timeout=250)
    first, second = (float((tmp_path / rank).read_text()) for rank in "01")
    assert first == pytest.approx(second, abs=1e-9)  # runs of one input differ by 1e-12 eV
