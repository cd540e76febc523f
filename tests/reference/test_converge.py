"""evo reference converge: noise is half of what the two meshes differ by, and nothing is calculated twice."""

from __future__ import annotations

import sys

import pytest
from ase.io import write

from evo.__main__ import main
from evo.reference.job_cell import reduced
from evo.reference.mesh import mesh
from tests.reference.programs import PAIR, PRETENDER


@pytest.fixture
def asked(tmp_path):
    """Runs the command in front of a program in this mode."""
    (tmp_path / "pretender.py").write_text(PRETENDER)
    write(tmp_path / "in.extxyz", [PAIR, PAIR.repeat((1, 1, 2))])

    def run(mode: str, *values: str) -> int:
        command = [sys.executable, str(tmp_path / "pretender.py"), mode]
        settings = tmp_path / "reference.toml"
        settings.write_text(f'[reference]\nengine = "gpaw"\n[reference.options]\ncommand = {command}\n')
        out = ["-o", str(tmp_path / "out.journal"), "--settings", str(settings)]
        return main(["reference", "converge", str(tmp_path / "in.extxyz"), *out, "--vary", *values])

    return run


def test_noise_and_shift_of_every_combination(asked, capsys):
    assert asked("mesh", "kspacing=0.2,0.1", "width=0.2,0.1") == 0
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [r[0] for r in rows] == [f"kspacing {h}, width {w}" for h in (0.2, 0.1) for w in (0.2, 0.1)]
    for row, spacing, shift in zip(rows, (0.2, 0.2, 0.1, 0.1), (2.0, 0.0, 2.0, 0.0), strict=True):
        noise = [100 / len(mesh(reduced(a), spacing).points()) for a in (PAIR, PAIR.repeat((1, 1, 2)))]
        rms, largest = (sum(x**2 for x in noise) / 2) ** 0.5, max(noise)
        assert row[1] == "2"
        assert row[2] == f"{rms:.1f} ({largest:.1f})"
        assert float(row[5]) == pytest.approx(shift, abs=0.1)


def test_going_on_asks_only_for_what_is_missing(asked, capsys):
    assert asked("mesh", "kspacing=0.2") == 0
    first = capsys.readouterr()
    assert len(first.err.splitlines()) == 4
    assert asked("mesh", "kspacing=0.2") == 0
    second = capsys.readouterr()
    assert (second.out, second.err) == (first.out, "")
    assert asked("mesh", "kspacing=0.2,0.15") == 0
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_failures_are_told_and_left_out(asked, capsys):
    assert asked("silent", "kspacing=0.2") == 0
    told = capsys.readouterr()
    assert "crashed: attempt 1: status 0" in told.err
    assert "| kspacing 0.2 | 0 | nan (nan)" in told.out


def test_bad_usage_is_one_line(asked, tmp_path, capsys):
    assert asked("mesh", "kspacing") == 64
    assert "write --vary name=value,value, for instance kspacing=0.06,0.04, got kspacing" in capsys.readouterr().err
    assert asked("mesh", "kspacings=0.1") == 64
    assert "did you mean `kspacing`?" in capsys.readouterr().err
    settings = tmp_path / "emt.toml"
    settings.write_text('[reference]\nengine = "emt"\n')
    out = ["-o", str(tmp_path / "x.journal"), "--settings", str(settings), "--vary", "kspacing=0.1"]
    assert main(["reference", "converge", str(tmp_path / "in.extxyz"), *out]) == 64
    assert 'reference.engine = "emt" has no mesh to converge; gpaw or espresso or vasp have' in capsys.readouterr().err
