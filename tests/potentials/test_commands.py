"""The command line: data, train, describe, evaluate, relax; errors are one line and an exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import read, write
from ase.spacegroup.symmetrize import check_symmetry

from potentials.__main__ import main
from potentials.dataset import write_dataset
from potentials.library import Library
from potentials.recipe import RECIPES
from potentials.stratum import Stratum
from potentials.units import EV_PER_A3_PER_GPA
from tests.crystals import CU, PD
from tests.labelled import dataset
from tests.potentials.test_reading import OUTPUTS, steps
from tests.potentials.vasp_files import outcar


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    data = dataset((CU,), 24, 0).merge(dataset((PD,), 24, 0)).merge(dataset((CU, PD), 24, 0))
    write_dataset(folder / "data.xyz", data)
    write(folder / "cells.xyz", dataset((CU, PD), 3, 9).structures.to_ase(), format="extxyz")
    arguments = ["train", str(folder / "lib"), "CuPd", "--data", str(folder / "data.xyz"), "--iterations", "6"]
    assert main(arguments) == 0
    return folder


@pytest.fixture
def library(files, tmp_path):
    Library.open(files / "lib").copy(tmp_path / "lib")
    return str(tmp_path / "lib")


def said(capsys, *arguments, code=0):
    assert main([str(a) for a in arguments]) == code
    return capsys.readouterr()


def test_training_makes_what_is_missing_below(files, library, capsys):
    lines = said(capsys, "describe", library).out.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["Cu", "Pd", "CuPd"]
    assert "nn:" in lines[0] and "Cu.1 Pd.1" in lines[5]
    again = said(capsys, "train", library, "CuPd", "--iterations", "1")
    assert again.out.startswith("CuPd version 2: 24 crystals, energy train") and again.out.count("\n") == 1
    assert "CuPd: member 1 of 4, 1 iterations" in again.err


def test_what_stands_on_an_older_version_is_trained_again(library, capsys):
    first = said(capsys, "train", library, "Cu", "--iterations", "2").out
    assert first.splitlines()[1:] == ["CuPd stands on an older version of Cu: train it again"]
    out = said(capsys, "train", library, "CuPd", "--iterations", "1").out
    assert out.startswith("CuPd version 2") and out.count("\n") == 1
    assert Library.open(library).describe()[2].parents == {"Cu": 2, "Pd": 1}


def test_a_training_that_was_killed_goes_on_with_the_next_member(library, capsys, tmp_path):
    """kill -9 after the second member; the same command fits the other two, to the same bytes as one that was not cut."""
    Library.open(library).copy(tmp_path / "whole")
    command = ["train", "CuPd", "--iterations", "4"]
    whole = said(capsys, "train", tmp_path / "whole", *command[1:])
    program = [sys.executable, "-m", "potentials", "train", library, *command[1:]]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as training:
        for line in training.stderr:
            if "member 2 of 4" in line:
                break
        training.kill()
    again = said(capsys, *program[3:])
    assert [("fitted before" in line) for line in again.err.splitlines()[:2]] == [True, True]
    assert "member 4 of 4, 4 iterations" in again.err and "CuPd version 2" in again.out
    hashes = [Library.open(p).stratum(Stratum((CU, PD))).content_hash() for p in (library, tmp_path / "whole")]
    assert hashes[0] == hashes[1]
    assert not os.path.exists(os.path.join(library, "unfinished"))
    assert "fitted before" not in whole.err


def test_members_at_once_are_the_same_members(files, tmp_path, capsys):
    hashes = []
    for name, at_once in (("one", "1"), ("two", "2")):
        words = ["--data", files / "data.xyz", "--recipe", "quick", "--cutoff", "4.5", "--iterations", "3"]
        said(capsys, "train", tmp_path / name, "CuPd", *words, "--at-once", at_once)
        said(capsys, "refit", tmp_path / name, "--iterations", "1", "--at-once", at_once)
        library = Library.open(tmp_path / name)
        hashes.append([library.content(n, v) for n, v in library.versions().items()])
        assert not (tmp_path / name / "unfinished").exists()
    assert hashes[0] == hashes[1]


def test_a_member_that_is_lost_is_said_and_the_others_are_kept(files, tmp_path, capsys):
    words = ["--recipe", "quick", "--cutoff", "4.5", "--iterations", "100", "--at-once", "2"]
    command = [sys.executable, "-m", "potentials", "train", str(tmp_path / "lib"), "Cu"]
    command += ["--data", str(files / "data.xyz"), *words]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        below = [int(p) for p in children.read_text().split()]
        members = [p for p in below if "spawn_main" in Path(f"/proc/{p}/cmdline").read_text()]
        if members:
            os.kill(members[0], signal.SIGKILL)
            break
        time.sleep(0.01)
    _, words_ = running.communicate(timeout=60)
    assert running.returncode == 75
    assert (
        "the process of member 1 ended with SIGKILL; run the same command again" in words_ and words_.count("\n") == 1
    )
    while any(Path(f"/proc/{p}").exists() for p in below) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{p}").exists() for p in below)
    said(capsys, "train", tmp_path / "lib", "Cu", "--iterations", "2")


def test_a_pair_is_widened_where_it_is_new(files, library, tmp_path, capsys):
    quick = [
        "train",
        tmp_path / "quick",
        "CuPd",
        "--recipe",
        "quick",
        "--data",
        files / "data.xyz",
        "--iterations",
        "1",
    ]
    said(capsys, *quick)
    said(capsys, *quick[:3], "--widened", "2", code=65)  # it is there already, narrower
    said(capsys, "train", library, "Cu", "--widened", "2", code=64)
    said(capsys, "train", library, "CuPd", "--widened", "-1", code=64)


def test_a_reader_that_has_seen_enough_is_no_error(library):
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-m", "potentials", "describe", library]
    done = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_ledger_says_what_reuse_saved(library, capsys):
    known = json.loads(said(capsys, "describe", library, "--json").out)
    strata = {row["stratum"]: row for row in known["strata"]}
    assert strata["Cu"]["seconds_labels"] == pytest.approx(24 * 0.01)
    assert strata["CuPd"]["seconds_below"] == pytest.approx(strata["Cu"]["seconds"] + strata["Pd"]["seconds"])
    assert known["ledger"]["saved"] == pytest.approx(strata["CuPd"]["seconds_below"])
    assert known["ledger"]["spent"] == pytest.approx(sum(row["seconds"] for row in strata.values()))
    assert "reuse saved" in said(capsys, "describe", library).out


def test_the_recipe_of_2017_has_its_parameters(files, capsys, tmp_path):
    arguments = ["--data", files / "data.xyz", "--recipe", "vp2017", "--iterations", "1"]
    said(capsys, "train", tmp_path / "lib", "CuPd", *arguments)
    table = said(capsys, "describe", tmp_path / "lib").out.splitlines()
    assert [line.split()[3:5] for line in table[3:5]] == [["431", "431"], ["431", "431"]]
    assert table[5].split()[4:6] == ["1040", "1902"]
    again = said(capsys, "train", tmp_path / "lib", "Cu", "--recipe", "default", code=65).err
    assert "was made with another recipe" in again
    said(capsys, "evaluate", tmp_path / "lib", files / "cells.xyz", "-o", tmp_path / "out.xyz")
    assert all((a.arrays["spreads"] > 0).all() for a in read(tmp_path / "out.xyz", index=":"))


def test_data_are_added_and_listed(tmp_path, capsys):
    library, run = tmp_path / "lib", tmp_path / "run.OUTCAR"
    run.write_text(outcar(steps(4)))
    assert said(capsys, "data", "add", library, run).out == "added 4 crystals (CuPd 4)\n"
    assert said(capsys, "data", "add", library, run).out == "added 0 crystals, 4 were there already\n"
    lines = said(capsys, "data", "list", library).out.splitlines()
    assert lines[1].split()[:4] == ["CuPd", "4", "16", "1"] and lines[1].split()[4] in ("0.0%", "100.0%")
    assert float(lines[1].split()[5]) == 4 * 4 * 7.25
    assert "PAW_PBE Cu 06Sep2000" in lines[2] and "cutoff_eV 400.0" in lines[2]
    error = said(capsys, "data", "add", library, OUTPUTS / "cu.pwo", code=65).err
    assert "the library has those by vasp:" in error and "--shift Cu=..." in error and error.count("\n") == 1
    said(capsys, "data", "add", library, OUTPUTS / "cu.pwo", "--shift", "Cu=1664.1")
    assert "shifted by Cu 1664.1 eV" in said(capsys, "data", "list", library).out
    assert len(Library.open(library).data()) == 5


def test_a_library_of_data_alone_takes_the_recipe_of_its_first_training(files, tmp_path, capsys):
    said(capsys, "data", "add", tmp_path / "new", files / "data.xyz")
    said(capsys, "train", tmp_path / "new", "Cu", "--recipe", "embedded", "--iterations", "1")
    assert Library.open(tmp_path / "new").recipe == RECIPES["embedded"]
    assert main(["train", str(tmp_path / "new"), "Pd", "--recipe", "quick"]) == 65
    assert "made with another recipe" in capsys.readouterr().err


def test_refused_crystals_are_named_or_skipped(tmp_path, capsys):
    library, run = tmp_path / "lib", tmp_path / "OUTCAR"
    run.write_text(outcar(steps(4, cycles=(9, 12, 9, 12)), nelm=12))
    error = said(capsys, "data", "add", library, run, code=65).err
    assert f"{run}: crystal 2 (" in error and "is not converged" in error and "(1 more are refused)" in error
    assert error.count("\n") == 1 and not library.exists()
    result = said(capsys, "data", "add", library, run, "--skip-refused")
    assert result.out == "added 2 crystals (CuPd 2)\n" and result.err.count("is not converged") == 2


def test_evaluate_writes_results_of_ases_own(files, capsys, tmp_path):
    rng = np.random.default_rng(0)
    crystals = [bulk("Cu"), bulk("Pd", cubic=True), *read(files / "cells.xyz", index=":")]
    crystals.append(Atoms("CuPd", [[0, 0, 0], [2.5, 0, 0]]))
    crystals.append(Atoms("Cu2", [[0, 0, 5], [1.3, 1.3, 6.8]], cell=[2.6, 2.6, 20], pbc=(True, True, False)))
    for k, atoms in enumerate(crystals):
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        atoms.info["name"] = f"number {k}"
    write(tmp_path / "in.traj", crystals)
    said(capsys, "evaluate", files / "lib", tmp_path / "in.traj", "-o", tmp_path / "out.extxyz")
    found = read(tmp_path / "out.extxyz", index=":")
    library = Library.open(files / "lib")
    for atoms, crystal in zip(found, crystals, strict=True):
        assert atoms.info["name"] == crystal.info["name"] and atoms.info["spread"] > 0
        np.testing.assert_array_equal(atoms.positions, crystal.positions)
        np.testing.assert_array_equal(atoms.pbc, crystal.pbc)
        assert atoms.get_potential_energy() == pytest.approx(atoms.get_potential_energies().sum(), rel=1e-12)
        assert atoms.info["grade"] == atoms.arrays["grades"].max() > 0
        assert (atoms.arrays["spreads"] > 0).all() and atoms.arrays["spreads"].sum() >= atoms.info["spread"] * (
            1 - 1e-9
        )
        names = set(atoms.get_chemical_symbols())
        used = {n: v for n, v in library.versions().items() if set(n.replace("CuPd", "Cu Pd").split()) <= names}
        assert atoms.info["method"] == library.version(used)
        assert ("stress" in atoms.calc.results) == bool(crystal.pbc.all())
    energy = {}
    for sign in (-1, 1):
        moved = found[3].copy()
        moved.set_cell(moved.cell[:] * (1 + sign * 1e-5), scale_atoms=True)
        write(tmp_path / "moved.traj", moved)
        said(capsys, "evaluate", files / "lib", tmp_path / "moved.traj", "-o", tmp_path / "moved.extxyz")
        energy[sign] = read(tmp_path / "moved.extxyz").get_potential_energy()
    pressure = (energy[1] - energy[-1]) / 2e-5 / found[3].get_volume()
    assert np.trace(found[3].get_stress(voigt=False)) == pytest.approx(pressure, rel=1e-5, abs=1e-6)


def test_an_empty_text_in_a_file_takes_nothing_from_what_is_written(files, capsys, tmp_path):
    layer = Atoms("Cu", cell=[2.5, 2.5, 12.0], pbc=(True, True, False), info={"note": ""})
    write(tmp_path / "layer@1.traj", layer)
    said(capsys, "evaluate", files / "lib", tmp_path / "layer@1.traj", "-o", tmp_path / "out.xyz")
    assert read(tmp_path / "out.xyz").pbc.tolist() == [True, True, False]


def test_a_label_that_is_much_too_low_is_said(tmp_path, capsys):
    data = dataset((CU,), 24, 0)
    data.labels.energies[3] -= 1000.0
    write_dataset(tmp_path / "data.xyz", data)
    found = said(
        capsys,
        "train",
        tmp_path / "lib",
        "Cu",
        "--data",
        tmp_path / "data.xyz",
        "--recipe",
        "quick",
        "--iterations",
        "1",
    )
    assert "of 24 crystals lie near the lowest one" in found.err


def test_evaluate_reads_databases_and_finds_the_same_numbers(files, capsys, tmp_path):
    images = read(files / "cells.xyz", index=":")
    with connect(tmp_path / "cells.db") as base:
        for atoms in images:
            base.write(atoms)
    for name in ("cells.db", "cells.xyz"):
        source = tmp_path / name if name == "cells.db" else files / name
        said(capsys, "evaluate", files / "lib", source, "-o", tmp_path / f"{name}.extxyz", "--threads", "2")
    one, two = (read(tmp_path / f"{name}.extxyz", index=":") for name in ("cells.db", "cells.xyz"))
    assert [a.get_potential_energy() for a in one] == [a.get_potential_energy() for a in two]


def test_a_dash_is_stdout(files, capsys):
    for name in ("-", "/dev/stdout"):
        out = said(capsys, "evaluate", files / "lib", files / "cells.xyz", "-o", name).out
        assert len(read(StringIO(out), index=":", format="extxyz")) == 3


def test_a_link_is_written_through(files, capsys, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target.xyz")
    said(capsys, "evaluate", files / "lib", files / "cells.xyz", "-o", tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and len(read(tmp_path / "target.xyz", index=":", format="extxyz")) == 3


def test_relax(files, capsys, tmp_path):
    def relax(*options):
        out = said(
            capsys, "relax", files / "lib", files / "cells.xyz", "-o", tmp_path / "r.xyz", "--max-calls", "80", *options
        )
        assert "converged" in out.out
        return read(tmp_path / "r.xyz", index=":")

    given = read(files / "cells.xyz", index=":")
    fixed, free, pressed = relax("--fixed-cell"), relax(), relax("--pressure", "15")
    for relaxed in (fixed, free, pressed):
        assert [a.info["outcome"] for a in relaxed].count("converged") >= 2
    np.testing.assert_allclose(fixed[0].cell[:], given[0].cell[:], atol=1e-12)
    assert np.abs(free[0].get_forces()).max() < 0.011
    assert sum(a.get_volume() for a in pressed) < 0.97 * sum(a.get_volume() for a in free)
    for atoms in pressed:
        added = 15 * EV_PER_A3_PER_GPA * atoms.get_volume()
        assert atoms.info["enthalpy"] == pytest.approx(atoms.get_potential_energy() + added)
    assert "enthalpy" not in free[0].info


def test_relax_keeps_the_space_group(files, capsys, tmp_path):
    ordered = bulk("Cu", "sc", a=3.05) + Atoms("Pd", [[1.525, 1.525, 1.525]])
    layered = bulk("Cu", cubic=True) * (1, 1, 2)
    layered.numbers[[0, 1]] = PD
    crystals = [ordered * (2, 1, 1), layered]
    crystals[0].positions[0, 0] += 0.11
    for atoms in crystals:
        atoms.set_cell(atoms.cell[:] * 1.02, scale_atoms=True)
    groups = [check_symmetry(atoms, symprec=1e-3).number for atoms in crystals]
    rng = np.random.default_rng(1)
    for atoms in crystals:
        atoms.positions += rng.normal(scale=1e-3, size=atoms.positions.shape)
    write(tmp_path / "in.xyz", [*crystals, bulk("Pd")], format="extxyz")
    said(capsys, "relax", files / "lib", tmp_path / "in.xyz", "-o", tmp_path / "r.xyz", "--symmetry")
    relaxed = read(tmp_path / "r.xyz", index=":")
    for atoms, group, before in zip(relaxed, groups, crystals, strict=False):
        assert atoms.info["outcome"] == "converged" and np.abs(atoms.get_forces()).max() < 0.011
        assert check_symmetry(atoms, symprec=1e-6).number == group > 1
        assert np.abs(atoms.cell[:] - before.cell[:]).max() > 1e-3


def test_a_crystal_without_space_group_spares_the_others(files, capsys, tmp_path):
    spot = bulk("Cu", cubic=True)
    spot.positions[1] = spot.positions[0]
    nowhere = bulk("Cu", cubic=True)  # spglib would end the process
    nowhere.positions[1, 0] = np.nan
    write(tmp_path / "in.xyz", [bulk("Cu", a=3.7), spot, bulk("Pd"), nowhere], format="extxyz")
    result = said(capsys, "relax", files / "lib", tmp_path / "in.xyz", "-o", tmp_path / "r.xyz", "--symmetry")
    assert "in.xyz: crystal 2 has no space group: " in result.err and result.err.count("\n") == 2
    assert "in.xyz: crystal 4 has no space group: positions or a cell that are not finite" in result.err
    outcomes = [a.info["outcome"] for a in read(tmp_path / "r.xyz", index=":")]
    assert outcomes[0] == outcomes[2] == "converged" != outcomes[1] and outcomes[3] == "not finite"


SHARED = """data_alloy
_cell_length_a 3.7
_cell_length_b 3.7
_cell_length_c 3.7
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Pd1 Pd 0 0 0 0.5
Cu1 Cu 0 0 0 0.5
"""


def test_what_was_said_of_another_relaxation_is_not_kept(files, capsys, tmp_path):
    library, first, second = files / "lib", tmp_path / "one.xyz", tmp_path / "two.xyz"
    said(capsys, "relax", library, files / "cells.xyz", "-o", first, "--pressure", "10", "--max-calls", "3")
    assert {"enthalpy", "pressure_GPa", "outcome"} <= set(read(first).info)
    said(capsys, "relax", library, first, "-o", second, "--max-calls", "3")
    assert "outcome" in read(second).info and not {"enthalpy", "pressure_GPa"} & set(read(second).info)
    said(capsys, "evaluate", library, first, "-o", second)
    assert not {"enthalpy", "pressure_GPa", "outcome"} & set(read(second).info)


def test_what_was_never_trained_on_is_said(files, capsys, tmp_path):
    data, out = files / "data.xyz", tmp_path / "out.xyz"
    for element in ("Cu", "Pd"):
        said(capsys, "train", tmp_path / "lib", element, "--data", data, "--iterations", "2")
    for command in ("evaluate", "relax"):
        more = ["--max-calls", "2"] if command == "relax" else []
        error = said(capsys, command, tmp_path / "lib", files / "cells.xyz", "-o", out, *more).err
        assert "was never trained on CuPd: do not believe what it says of 3 of 3 crystals" in error
    write(tmp_path / "far.xyz", bulk("Cu", a=2.4), format="extxyz")
    error = said(capsys, "evaluate", tmp_path / "lib", tmp_path / "far.xyz", "-o", out).err
    assert "1 of 1 crystals beyond the training data (largest grade" in error
    known = dataset((CU,), 24, 0).structures
    nearest = int(Library.open(tmp_path / "lib").assemble(Stratum.parse("Cu")).grades(known).argmin())
    write(tmp_path / "near.xyz", known.to_ase()[nearest], format="extxyz")
    assert said(capsys, "evaluate", tmp_path / "lib", tmp_path / "near.xyz", "-o", out).err == ""


def test_vacuum_in_a_periodic_box_stays_as_it_is(capsys, tmp_path):
    """A POSCAR or CIF calls slabs periodic; the stress of atoms that are not relaxed yet would strain the empty axis."""
    slab = fcc111("Cu", (1, 1, 5), a=3.6, vacuum=8.0)
    slab.pbc = True
    slab.rattle(0.05, seed=1)
    slab.info.clear()
    wire = Atoms("Cu2", [[0, 0, 0], [0.3, 0, 2.4]], cell=[15.0, 15.0, 4.6], pbc=True)
    write(tmp_path / "in.extxyz", [bulk("Cu", a=3.55), slab, wire])
    result = said(capsys, "relax", "cu-pd-ag-pbe", tmp_path / "in.extxyz", "-o", tmp_path / "out.extxyz")
    assert "crystal 2 holds vacuum across c, wider than the potential reaches (and 1 more such)" in result.err
    whole, flat, thin = read(tmp_path / "out.extxyz", index=":")
    assert [a.info["outcome"] for a in (whole, flat, thin)] == ["converged"] * 3
    assert abs(whole.cell.cellpar()[0] - bulk("Cu", a=3.55).cell.cellpar()[0]) > 0.03
    assert flat.pbc.all() and "stress" in flat.calc.results
    np.testing.assert_array_equal(flat.cell[2], slab.cell[2])
    assert np.abs(flat.cell[:2] - slab.cell[:2]).max() > 1e-3
    np.testing.assert_array_equal(thin.cell[:2], wire.cell[:2])
    assert abs(thin.cell[2, 2] - 4.6) > 1e-3
    error = said(
        capsys, "relax", "cu-pd-ag-pbe", tmp_path / "in.extxyz", "-o", tmp_path / "o.xyz", "--pressure", "5", code=65
    ).err
    assert "crystal 2 holds vacuum across c" in error and error.count("\n") == 1


def test_a_smaller_stress_may_be_asked_for(capsys, tmp_path):
    write(tmp_path / "in.extxyz", bulk("Cu", a=3.7))
    left = []
    for smax in ("0.1", "0.0001"):
        said(capsys, "relax", "cu-pd-ag-pbe", tmp_path / "in.extxyz", "-o", tmp_path / "o.xyz", "--smax", smax)
        left.append(np.abs(read(tmp_path / "o.xyz").get_stress()).max() / EV_PER_A3_PER_GPA)
    assert left[1] < 1e-4 < left[0] < 0.1


def test_what_atoms_carry_stays_with_them(files, capsys, tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.set_tags([3, 1, 2, 0])
    atoms.set_initial_magnetic_moments([0.5, 0.25, 0.0, -1.0])
    atoms.info = {"weights": np.array([1.5, 2.5]), "remark": "two\r lines\u2028here", "virial": "none", "dipole": 1.2}
    write(tmp_path / "in.traj", atoms)
    for command in ("evaluate", "relax"):
        said(capsys, command, files / "lib", tmp_path / "in.traj", "-o", tmp_path / "out.xyz")
        found = read(tmp_path / "out.xyz")
        assert found.get_tags().tolist() == [3, 1, 2, 0] and found.get_tags().dtype.kind == "i"
        assert found.get_initial_magnetic_moments().tolist() == [0.5, 0.25, 0.0, -1.0]
        assert found.info["weights"].tolist() == [1.5, 2.5] and found.info["remark"] == "two  lines here"
        assert not {"virial", "dipole"} & set(found.info) and "dipole" not in found.calc.results
    atoms = bulk("Cu", cubic=True)
    atoms.set_array("layer", np.arange(8.0).reshape(4, 2) / 4)
    atoms.set_array("spreads", np.ones(4))
    write(tmp_path / "in.xyz", atoms, format="extxyz")
    said(capsys, "evaluate", files / "lib", tmp_path / "in.xyz", "-o", tmp_path / "out.xyz")
    found = read(tmp_path / "out.xyz")
    np.testing.assert_array_equal(found.get_array("layer"), atoms.get_array("layer"))
    assert (found.get_array("spreads") != 1.0).all()


def test_an_interruption_is_one_line(files, capsys, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("potentials.library.Library.assemble", interrupted)
    error = said(capsys, "evaluate", files / "lib", files / "cells.xyz", "-o", tmp_path / "o.xyz", code=130).err
    assert error == "potentials: interrupted\n"


def test_a_crystal_too_large_for_memory_is_said_before_anything_is_done(files, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("potentials.memory.free_bytes", lambda device="cpu": 2**24)
    write(tmp_path / "large.xyz", [bulk("Cu"), bulk("Cu").repeat(8)], format="extxyz")
    error = said(capsys, "relax", files / "lib", tmp_path / "large.xyz", "-o", tmp_path / "out.xyz", code=65).err
    assert "crystal 2 has 512 atoms, for which" in error and error.count("\n") == 1


def test_errors_are_one_line_and_a_code(files, capsys, tmp_path):
    library, out = str(files / "lib"), str(tmp_path / "x.xyz")
    data, cells = str(files / "data.xyz"), str(files / "cells.xyz")
    bad = tmp_path / "bad.xyz"
    bad.write_text("nonsense\n")
    gold, cluster = read(cells), read(cells)
    gold.numbers[:] = 79
    write(
        tmp_path / "ghost.xyz",
        Atoms("CuX", cell=[3, 3, 6], positions=[[0, 0, 0], [0, 0, 3]], pbc=True),
        format="extxyz",
    )
    write(tmp_path / "gold.xyz", [read(cells), gold], format="extxyz")
    cluster.pbc = False
    write(tmp_path / "cluster.xyz", cluster, format="extxyz")
    write(tmp_path / "unlabelled.xyz", cluster, format="extxyz")
    fixed = bulk("Cu", cubic=True)
    fixed.set_constraint(FixAtoms([0]))
    write(tmp_path / "fixed.traj", [bulk("Cu"), fixed])
    flat = Atoms("Cu", pbc=True)
    write(tmp_path / "flat.traj", flat)
    (tmp_path / "shared.cif").write_text(SHARED)
    write(tmp_path / "there.cif", bulk("Cu"))
    wrong = [
        (65, ["describe", tmp_path / "nothing"], "holds no library; give the directory of one"),
        (65, ["describe", cells], "is no directory and holds no library"),
        (65, ["evaluate", cells, cells, "-o", out], "is no directory and holds no library"),
        (65, ["relax", tmp_path, cells, "-o", out], "library.json is not there"),
        (65, ["data", "list", tmp_path / "nothing"], "holds no library"),
        (65, ["data", "add", cells, data], "is no directory and holds no library"),
        (65, ["evaluate", library, bad, "-o", out], "bad.xyz cannot be read"),
        (65, ["evaluate", library, tmp_path / "missing.xyz", "-o", out], "missing.xyz cannot be read"),
        (65, ["evaluate", library, tmp_path / "gold.xyz", "-o", out], "gold.xyz: crystal 2: "),
        (65, ["evaluate", library, tmp_path / "gold.xyz", "-o", out], "has no stratum Au"),
        (65, ["evaluate", library, tmp_path / "ghost.xyz", "-o", out], "crystal 1 has an atom of no element (X)"),
        (65, ["evaluate", library, tmp_path / "flat.traj", "-o", out], "periodic along an axis that has no length"),
        (64, ["evaluate", library, cells, "-o", out, "--threads", "0"], "--threads must be at least 1, got 0"),
        (74, ["evaluate", library, cells, "-o", tmp_path / "no" / "x.xyz"], "there is no directory"),
        (74, ["relax", library, cells, "-o", tmp_path], "is a directory; name a file in it"),
        (65, ["relax", library, tmp_path / "shared.cif", "-o", out], "sites that are shared (Pd 0.5, Cu 0.5)"),
        (65, ["evaluate", library, tmp_path / "shared.cif", "-o", out], "give an ordered model"),
        (64, ["evaluate", library, tmp_path / "there.cif", "-o", tmp_path / "there.cif"], "name it there.extxyz"),
        (64, ["evaluate", library, cells, "-o", tmp_path / "x.cif"], "name it x.extxyz"),
        (64, ["relax", library, cells, "-o", out, "--fmax", "0"], "--fmax must be positive"),
        (64, ["relax", library, cells, "-o", out, "--pressure", "1", "--fixed-cell"], "leave out --fixed-cell"),
        (65, ["relax", library, tmp_path / "cluster.xyz", "-o", out, "--pressure", "1"], "crystal 1 is not periodic"),
        (64, ["relax", library, cells, "-o", out, "--smax", "0"], "--smax must be positive"),
        (
            65,
            ["relax", library, tmp_path / "fixed.traj", "-o", out],
            "crystal 2 has constraints (FixAtoms), which this",
        ),
        (65, ["train", library, "CuAg", "--data", data], "no crystals of Ag to train on"),
        (65, ["train", library, "Cu", "--data", bad], "bad.xyz"),
        (64, ["train", library, "Quux", "--data", data], "is not"),
        (64, ["train", library, "Cu", "--iterations", "-1"], "--iterations must not be negative"),
        (
            64,
            ["train", tmp_path / "new", "Cu", "--data", data, "--recipe", "best"],
            "--recipe must be one of default, quick, fine, embedded, vp2017",
        ),
        (64, ["train", tmp_path / "new", "Cu", "--data", data, "--cutoff", "0"], "--cutoff must be positive"),
        (65, ["data", "add", library, data, "--cutoff", "4.2"], "was made with another recipe"),
        (65, ["data", "add", library, tmp_path / "unlabelled.xyz"], "crystal 1 (CuPd) has no finite energy"),
        (64, ["data", "add", library, data, "--shift", "Cu"], "--shift must be like Cu=0.12"),
        (64, ["data", "add", library, data, "--shift", "Cu=nan"], "--shift must be like Cu=0.12"),
        (65, ["data", "add", library, data, "--shift", "Cu=1"], "a shift belongs to labels of one other method"),
    ]
    for code, arguments, text in wrong:
        error = said(capsys, *arguments, code=code).err
        assert text in error and error.count("\n") == 1, arguments
    relax, add = ["relax", library, cells, "-o", out], ["data", "add", str(tmp_path / "new"), data]
    numbers = [
        [*relax, "--pressure", "nan"],
        [*relax, "--fmax", "inf"],
        [*relax, "--fmax", "x"],
        [*add, "--cutoff", "nan"],
    ]
    for arguments in numbers:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        error = capsys.readouterr().err
        assert exit_.value.code == 64 and f"{arguments[-2]}: expected a finite number, got {arguments[-1]}\n" in error
    for arguments in (["evaluate", library], ["data"], ["data", "add", library], ["no-such-command"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 64 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("damage", ["cut", "bit", "index", "missing"])
def test_altered_model_files_are_seen(library, files, capsys, tmp_path, damage):
    path = os.path.join(library, "library.json" if damage == "index" else "CuPd.v0001.npz")
    with open(path, "rb") as stream:
        good = stream.read()
    half = len(good) // 2
    if damage == "missing":
        os.remove(path)
    else:
        with open(path, "wb") as stream:
            stream.write(good[:half] + (b"" if damage != "bit" else bytes([good[half] ^ 1]) + good[half + 1 :]))
    error = said(capsys, "evaluate", library, files / "cells.xyz", "-o", tmp_path / "out.xyz", code=65).err
    assert ("cannot be read" if damage == "missing" else "is damaged") in error and error.count("\n") == 1
    assert os.path.basename(path) in error and not (tmp_path / "out.xyz").exists()


@pytest.mark.parametrize("change", ["recipe", "metadata", "errors", "methods"])
def test_an_index_that_says_something_else_is_seen(library, files, capsys, tmp_path, change):
    path = Path(library) / "library.json"
    index = json.loads(path.read_text())
    version = index["strata"]["CuPd"]["versions"]["1"]
    if change == "recipe":
        index["recipe"]["shape"]["cutoff"] -= 0.5
    if change == "metadata":
        version["metadata"] = []
    if change == "errors":
        version["metadata"]["errors"] = "x"
    if change == "methods":
        del index["data"]["methods"]
    path.write_text(json.dumps(index))
    error = said(capsys, "evaluate", library, files / "cells.xyz", "-o", tmp_path / "out.xyz", code=65).err
    expected = "by another recipe than the library says it has (`shape`)" if change == "recipe" else "is damaged"
    assert expected in error and error.count("\n") == 1


def test_help_imports_neither_torch_nor_numpy():
    program = (
        "import sys, potentials.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
