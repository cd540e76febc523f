"""What other programs read of a campaign."""

from __future__ import annotations

import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import read

from evo.candidate import atoms_to_json
from evo.report.export import write
from evo.report.phases import Phase
from potentials.units import EV_PER_A3_PER_GPA


def phase(enthalpy):
    copper = bulk("Cu", a=3.4).repeat((2, 1, 1))
    return Phase(
        formula="Cu",
        space_group="Fm-3m",
        space_group_number=225,
        n_atoms=2,
        status="stable",
        energy_network=None,
        energy_reference=enthalpy,
        formation_network=None,
        formation_reference=0.0,
        above_hull_network=None,
        above_hull_reference=0.0,
        decomposition={},
        id="a",
        operator="random",
        ancestors=[],
        crystal=atoms_to_json(copper),
    )


@pytest.mark.parametrize("suffix", ["extxyz", "db"])
def test_the_energy_is_without_the_work_of_the_pressure(tmp_path, suffix):
    pressure = 50 * EV_PER_A3_PER_GPA
    write([phase(3.0)], tmp_path / f"x.{suffix}", pressure)
    atoms = read(tmp_path / f"x.{suffix}")
    assert atoms.get_potential_energy() == pytest.approx(6.0 - pressure * atoms.cell.volume)
    remarks = atoms.info if suffix == "extxyz" else connect(tmp_path / "x.db").get(1).key_value_pairs
    assert remarks["enthalpy"] == pytest.approx(6.0)


def test_without_pressure_it_is_the_energy_alone(tmp_path):
    assert write([phase(3.0)], tmp_path / "x.extxyz") == [tmp_path / "x.extxyz"]
    atoms = read(tmp_path / "x.extxyz")
    assert atoms.get_potential_energy() == pytest.approx(6.0)
    assert "enthalpy" not in atoms.info
