"""The command line: train, describe, evaluate, relax; errors are one line and an exit code."""

import subprocess
import sys

import numpy as np
import pytest
from ase.io import read, write

from potentials.__main__ import main
from potentials.dataset import write_dataset
from tests.crystals import CU, PD
from tests.labelled import dataset


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    data = dataset((CU,), 24, 0).merge(dataset((PD,), 24, 0)).merge(dataset((CU, PD), 24, 0))
    write_dataset(folder / "data.xyz", data)
    write(folder / "cells.xyz", dataset((CU, PD), 3, 9).structures.to_ase(), format="extxyz")
    arguments = ["train", str(folder / "lib"), "CuPd", "--data", str(folder / "data.xyz"), "--iterations", "6"]
    assert main(arguments) == 0
    return folder


def test_training_makes_what_is_missing_below(files, capsys):
    assert main(["describe", str(files / "lib")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == ["Cu", "Pd", "CuPd"]
    assert "nn:" in lines[0]


def test_evaluate_and_relax_write_extxyz(files, capsys):
    library, cells = str(files / "lib"), str(files / "cells.xyz")
    assert main(["evaluate", library, cells, "-o", str(files / "said.xyz")]) == 0
    said = read(files / "said.xyz", index=":")
    assert len(said) == 3 and all(np.isfinite(a.get_potential_energy()) for a in said)
    assert said[0].info["method"].startswith("nn:") and said[0].info["grade"] > 0

    def relax(*options: str) -> list:
        assert main(["relax", library, cells, "-o", str(files / "relaxed.xyz"), "--max-calls", "80", *options]) == 0
        return read(files / "relaxed.xyz", index=":")

    fixed, free, pressed = relax("--fixed-cell"), relax(), relax("--pressure", "15")
    for relaxed in (fixed, free, pressed):
        assert [a.info["outcome"] for a in relaxed].count("converged") >= 2
    np.testing.assert_allclose(fixed[0].cell[:], said[0].cell[:], atol=1e-6)
    assert sum(a.get_volume() for a in pressed) < 0.97 * sum(a.get_volume() for a in free)
    assert "converged" in capsys.readouterr().out


def test_errors_are_one_line_and_a_code(files, capsys):
    library, out = str(files / "lib"), str(files / "x.xyz")
    (files / "bad.xyz").write_text("nonsense\n")
    write(files / "gold.xyz", dataset((CU,), 1, 9).structures.to_ase()[0] * 1, format="extxyz")
    gold = read(files / "gold.xyz")
    gold.numbers[:] = 79
    write(files / "gold.xyz", gold, format="extxyz")
    wrong = [
        (65, ["describe", str(files / "nothing")], "holds no library"),
        (65, ["evaluate", library, str(files / "bad.xyz"), "-o", out], "bad.xyz cannot be read"),
        (65, ["evaluate", library, str(files / "missing.xyz"), "-o", out], "missing.xyz cannot be read"),
        (65, ["evaluate", library, str(files / "gold.xyz"), "-o", out], "has no stratum Au"),
        (65, ["train", library, "CuAg", "--data", str(files / "data.xyz")], "no crystals of Ag to train on"),
        (65, ["train", library, "Cu", "--data", str(files / "bad.xyz")], "bad.xyz"),
        (64, ["train", library, "Quux", "--data", str(files / "data.xyz")], "is not"),
    ]
    for code, arguments, text in wrong:
        assert main(arguments) == code
        error = capsys.readouterr().err
        assert text in error and error.count("\n") == 1
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", library])
    assert exit_.value.code == 64 and capsys.readouterr().err.count("\n") == 1


def test_help_imports_neither_torch_nor_numpy():
    program = (
        "import sys, potentials.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
