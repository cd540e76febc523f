"""README's commands run as they stand there; only the campaign is made small, and the launcher is the one of the wheel."""

import os
import re
import subprocess
import sys
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


def test_exit_codes_are_those_of_the_program():
    from evo import __main__ as program

    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.M)}
    assert listed == {value for name, value in vars(program).items() if name.startswith("EXIT_")}
