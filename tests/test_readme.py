"""README's commands run as they stand there; only the campaign is made small, and the launcher is the one of the wheel."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.campaigns import MPIEXEC, SMALL, write

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.S)


def commands(marker):
    """The command lines of the block that holds this text, without comments."""
    block = next(b for b in BLOCKS if marker in b)
    return [line.split("#")[0].strip() for line in block.splitlines() if line.split("#")[0].strip()]


@pytest.mark.skipif(not MPIEXEC.exists(), reason="mpiexec of the PyPI wheel is not installed")
def test_a_system_of_your_own_and_its_networks(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(line):
        done = subprocess.run(
            line.split(), cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=250
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    from ase.build import bulk

    for line in commands("evo init"):
        out = run(line)
        if line.startswith("evo init"):
            assert (tmp_path / "my-search" / "campaign.toml").exists()
        if line.startswith("evo check"):
            assert "candidate" in out
            write(tmp_path / "my-search", SMALL.replace('"Pd"', '"Pt"'), chunks=4)
    bulk("Cu", "fcc", a=3.7).write(tmp_path / "crystals.cif")
    for line in commands("potentials describe"):
        out = run(line)
        if "describe" in line:
            assert "CuPt" in out
    assert (tmp_path / "relaxed.extxyz").exists()


def test_a_library_of_your_own_labels(tmp_path, monkeypatch, capsys):
    from ase.build import bulk

    from potentials.__main__ import main
    from potentials.dataset import write_dataset
    from tests.crystals import CU, PD
    from tests.labelled import dataset
    from tests.potentials.vasp_files import ionic_steps, outcar, vasprun

    monkeypatch.chdir(tmp_path)
    for name, form, symbols in (
        ("Cu/OUTCAR", outcar, "Cu"),
        ("Pd/vasprun.xml", vasprun, "Pd"),
        ("CuPd/OUTCAR", outcar, "CuPd"),
    ):
        steps = [bulk("Cu", cubic=True, a=3.7 + 0.02 * k) for k in range(6)]
        for k, atoms in enumerate(steps):
            atoms.numbers[:] = {"Cu": CU, "Pd": PD, "CuPd": [CU, CU, PD, PD]}[symbols]
            atoms.positions[1] += 0.03 * k
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(form(ionic_steps(steps)))
    # crystals of each element beside its one relaxation, all of which may be held out
    data = dataset((CU, PD), 3, 0).followed_by(dataset((CU,), 4, 1)).followed_by(dataset((PD,), 4, 2))
    write_dataset("more.extxyz", replace(data, methods=("vasp:7da35746c467",) * len(data)))
    for line in commands("potentials data add"):
        assert main(line.split()[1:]) == 0, capsys.readouterr().err
    assert "CuPd version 1: 9 crystals" in capsys.readouterr().out


def test_exit_codes_are_those_of_the_program():
    from evo import __main__ as program

    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.M)}
    assert listed == {value for name, value in vars(program).items() if name.startswith("EXIT_")}
