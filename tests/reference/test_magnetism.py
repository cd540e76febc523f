"""Moments and Hubbard U: what each code is told, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo.candidate import atoms_from_json, atoms_to_json
from evo.reference.gpaw import GpawOptions
from evo.reference.job import JobOptions, checked_options
from evo.reference.mesh import Mesh
from evo.reference.pw_files import Found, Garbage, pw_input, read_output
from evo.reference.pw_hubbard import Hubbard, shell, version_numbers
from evo.settings import SettingsError
from tests.reference.test_espresso import fake, printing  # noqa: F401 - a fixture

# Pd2 with two moments to begin with and U = 4 eV on d, Quantum ESPRESSO 6.7; eigenvalues and occupation matrices left out
OUTPUT = (Path(__file__).parent / "data" / "pw_Pd2_U.out").read_text()

NIO = Atoms(
    ["Ni", "O", "Ni", "O"],
    scaled_positions=[[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5], [0.75, 0.75, 0.75]],
    cell=4.17 / 2 * np.array([[2, 1, 1], [1, 2, 1], [1, 1, 2]]),
    pbc=True,
)
OXIDE = {"moments": {"Ni": [2.0, -2.0]}, "hubbard": {"Ni": {"d": 6.0}}}


def test_atoms_of_an_element_take_the_moments_in_turn():
    assert JobOptions(**OXIDE).first_moments(NIO) == [2.0, 0.0, -2.0, 0.0]
    assert JobOptions(moments={"Ni": 1.5}).first_moments(NIO) == [1.5, 0.0, 1.5, 0.0]
    assert JobOptions().first_moments(NIO) == [0.0] * 4
    own = NIO.copy()
    own.set_initial_magnetic_moments([1.0, 0.0, 1.0, 0.5])
    assert JobOptions(**OXIDE).first_moments(own) == [1.0, 0.0, 1.0, 0.5]
    kept = atoms_from_json(atoms_to_json(own))
    assert JobOptions(**OXIDE).first_moments(kept) == [1.0, 0.0, 1.0, 0.5]
    assert not atoms_from_json(atoms_to_json(NIO)).has("initial_magmoms")


def test_u_and_moments_are_physics_and_nothing_changes_without_them():
    assert "hubbard" not in JobOptions().method() and "moments" not in JobOptions().method()
    others = [
        {**OXIDE, "hubbard": {"Ni": {"d": 5.0}}},
        {**OXIDE, "hubbard": {"Ni": {"p": 6.0}}},
        {"hubbard": OXIDE["hubbard"]},
    ]
    assert len({str(JobOptions(**o).method()) for o in (OXIDE, {}, *others)}) == 5


def test_gpaw_takes_u_with_its_paw_sets():
    options = GpawOptions(setups={"Pd": "10", "O": "paw"}, hubbard={"Ni": {"d": 6.0, "p": 1.0}, "Pd": {"d": 4.0}})
    assert options.setups_with_u() == {"Pd": "10:d,4.0", "O": "paw", "Ni": ":d,6.0;p,1.0"}
    with pytest.raises(SettingsError, match=r"write U as hubbard = \{ Ni = \{ d = 6.0 \} \}"):
        checked_options(GpawOptions, {"setups": {"Ni": ":d,6.0"}})
    with pytest.raises(SettingsError, match=r"reference.options: `hubbard.Ni.g"):
        checked_options(GpawOptions, {"hubbard": {"Ni": {"g": 6.0}}})
    with pytest.raises(SettingsError, match=r"reference.options: `moments.Ni"):
        checked_options(GpawOptions, {"moments": {"Ni": []}})


def written(version, hubbard):
    return pw_input(
        NIO,
        control={},
        cutoffs=(680.0, 5440.0),
        smearing=("fermi-dirac", 0.1),
        valences={"Ni": 10.0, "O": 6.0},
        electrons={},
        files={"Ni": "Ni.UPF", "O": "O.UPF"},
        mesh=Mesh((2, 2, 2), False),
        moments=JobOptions(**OXIDE).first_moments(NIO),
        hubbard=Hubbard(hubbard, version),
    )


def test_species_of_pw():
    """A species for each moment, U on both; since 7.1 on a card of its own."""
    text = written((6, 7), {"Ni": ("d", 6.0)})
    for line in (
        "ntyp = 3", "nspin = 2", "starting_magnetization(1) = -0.2", "starting_magnetization(2) = 0.2",
        "lda_plus_u = .true.", "U_projection_type = 'atomic'", "Hubbard_U(1) = 6.0", "Hubbard_U(2) = 6.0",
    ):  # fmt: skip
        assert f"  {line}\n" in text
    assert "ATOMIC_SPECIES\nNi1 58.693 Ni.UPF\nNi2 58.693 Ni.UPF\nO 15.999 O.UPF\n" in text
    assert [line.split()[0] for line in text.split("ATOMIC_POSITIONS angstrom\n")[1].splitlines()[:4]] == [
        "Ni2",
        "O",
        "Ni1",
        "O",
    ]
    newer = written((7, 2), {"Ni": ("d", 6.0)})
    assert "lda_plus_u" not in newer
    assert newer.endswith("HUBBARD (atomic)\nU Ni1-3d 6.0\nU Ni2-3d 6.0\n")
    assert "HUBBARD" not in written((7, 2), {})


def test_shells_and_versions():
    asked = {"Ni": "3d", "Pd": "4d", "Pt": "5d", "O": "2p", "Ce": "4f", "U": "5f", "H": "1s"}
    assert {symbol: shell(symbol, name[1]) for symbol, name in asked.items()} == asked
    assert version_numbers("v.6.7MaX") == (6, 7)


def test_a_recorded_output_with_moments_and_u():
    found = read_output(OUTPUT, 2, "fermi-dirac", stress_may_lack=True)
    assert isinstance(found, Found)
    assert found.moments == [0.3719, 0.3722]
    assert found.occupations == [9.48525, 9.48562]
    assert np.isfinite(found.stress).all()
    asked = Hubbard({"Pd": ("d", 4.0)}, (6, 7))
    assert asked.misplaced(OUTPUT) == ""
    assert Hubbard({"Pd": ("p", 4.0)}, (6, 7)).misplaced(OUTPUT) == "pw.x puts U of Pd on d, not on p"


def test_without_stress_it_is_a_label_where_u_excuses_it():
    start, end = OUTPUT.index("Computing stress"), OUTPUT.index("init_run     :")
    cut = OUTPUT[:start] + OUTPUT[end:]
    with pytest.raises(Garbage, match="no stress"):
        read_output(cut, 2, "fermi-dirac")
    found = read_output(cut, 2, "fermi-dirac", stress_may_lack=True)
    assert isinstance(found, Found)
    assert np.isnan(found.stress).all()


def test_moments_and_occupations_are_in_the_provenance(fake):  # noqa: F811
    palladium = bulk("Pd", a=3.95) * (1, 1, 2)
    found = fake(printing(OUTPUT), hubbard={"Pd": {"d": 4.0}}, moments={"Pd": [1.0, -0.5]}).evaluate(palladium)
    assert found.details["moments"] == [0.3719, 0.3722]
    assert found.details["occupations"] == [9.48525, 9.48562]
    wrong = fake(printing(OUTPUT), hubbard={"Pd": {"p": 4.0}}).evaluate(palladium)
    assert (wrong.reason, "not on p" in wrong.detail) == ("crashed", True)
    with pytest.raises(SettingsError, match="U on one orbital of an element"):
        fake("pass", hubbard={"Pd": {"d": 4.0, "p": 1.0}})
