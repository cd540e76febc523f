"""The libraries that come with the package: read by name from anywhere, never changed."""

import hashlib

import pytest
from ase.build import bulk
from ase.io import read, write

from potentials.__main__ import main
from potentials.library import Library, LibraryError
from potentials.storage import shipped
from potentials.stratum import Stratum

NAME = "cu-pd-ag-pbe"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sums(shipped.SHELF)
    yield tmp_path
    assert sums(shipped.SHELF) == before


def sums(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_it_has_all_strata_with_data_and_errors(elsewhere, capsys):
    assert shipped.names() == [NAME]
    library = Library.open(NAME)
    assert [s.name for s in library.strata()] == ["Cu", "Pd", "Ag", "CuPd", "CuAg", "PdAg", "CuPdAg"]
    assert all(library.n_crystals(s.name) for s in library.strata())
    assert main(["describe", NAME]) == 0
    printed = capsys.readouterr().out
    assert "CuPdAg" in printed and "held out" in printed and "CPU s" in printed


def test_metals_have_their_pbe_lattice_constants(elsewhere):
    """GPAW: 3.641, 3.946, 4.145 Å at 400 eV, with the Pulay stress removed."""
    write("metals.extxyz", [bulk(s, "fcc", a=a) for s, a in (("Cu", 3.5), ("Pd", 3.8), ("Ag", 4.3))])
    assert main(["relax", NAME, "metals.extxyz", "-o", "out.extxyz"]) == 0
    found = [(4 * a.cell.volume) ** (1 / 3) for a in read("out.extxyz", ":")]
    assert found == pytest.approx([3.641, 3.946, 4.145], rel=0.01)


def test_a_directory_of_the_user_comes_first(elsewhere):
    ours = Library.open(NAME)
    ours.copy(NAME)
    assert Library.open(NAME).path != ours.path
    assert Library.open(NAME, elsewhere.parent).path == ours.path


@pytest.mark.parametrize("command", ["data add", "train", "refit"])
def test_it_is_not_changed(elsewhere, command, capsys):
    atoms = read(str(next((shipped.SHELF / NAME / "data").glob("Cu.*"))), 0)
    atoms.info["family"] = "another"
    atoms.rattle(0.01)
    write("new.extxyz", atoms)
    arguments = {
        "data add": ["data", "add", NAME, "new.extxyz"],
        "train": ["train", NAME, "Cu"],
        "refit": ["refit", NAME],
    }
    few = [] if command == "data add" else ["--iterations", "0"]
    assert main([*arguments[command], *few]) == 65
    assert f"potentials copy {NAME} DIR" in capsys.readouterr().err
    assert not (elsewhere / NAME).exists()


def test_a_copy_is_the_users_own(elsewhere, capsys):
    assert main(["copy", NAME, "mine"]) == 0
    library = Library.open("mine")
    assert library.version() in capsys.readouterr().out and library.version() == Library.open(NAME).version()
    library.use({})
    library.note_from_scratch(Stratum.parse("CuPd"), 1.0)
    assert main(["copy", NAME, "mine"]) == 65
    assert "holds a library already" in capsys.readouterr().err


def test_what_is_not_there_is_told_with_the_names_that_are(elsewhere):
    with pytest.raises(LibraryError, match=f"no-such is not there .* or {NAME}"):
        Library.open("no-such")
