"""evo reference label: every structure once, whatever interrupts it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from evo.__main__ import main
from evo.reference.collect import key
from evo.reference.collect import structures as structures_of
from potentials.dataset import DataError, read_dataset
from potentials.labelled.identity import differences
from tests.reference.programs import PRETENDER

SLOW = """
import time
from ase.calculators.emt import EMT


class Slow(EMT):
    def __init__(self, seconds=0.0):
        super().__init__()
        self.seconds = seconds

    def calculate(self, atoms=None, *rest):
        time.sleep(self.seconds)
        if len(atoms) == 3:
            raise RuntimeError("SCF did not converge")
        super().calculate(atoms, *rest)
"""


@pytest.fixture
def structures(tmp_path):
    """Four crystals, the third of which fails."""
    made = []
    for n in range(4):
        atoms = bulk("Cu", a=3.5 + 0.07 * n).repeat((n + 1, 1, 1))
        atoms.numbers[0] = 46
        atoms.rattle(0.05, rng=np.random.default_rng(n))
        atoms.info.update(family=f"row {n}", kind="rattle")
        made.append(atoms)
    write(tmp_path / "in.extxyz", made)
    (tmp_path / "slow.py").write_text(SLOW)
    return made


def settings(tmp_path, seconds=0.0):
    file = tmp_path / "reference.toml"
    file.write_text(f'[reference]\nengine = "ase"\ncalculator = "slow:Slow"\noptions = {{ seconds = {seconds} }}\n')
    return file


def label(tmp_path, *more, out="out.extxyz.xz"):
    return main(["reference", "label", str(tmp_path / "in.extxyz"), "-o", str(tmp_path / out), *more])


def test_labels_are_those_of_the_engine(tmp_path, structures, capsys):
    assert label(tmp_path, "--settings", str(settings(tmp_path))) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.extxyz.xz'}\n"
    found = read(tmp_path / "out.extxyz.xz", ":")
    assert [len(a) for a in found] == [1, 2, 4]
    for atoms, given in zip(found, [structures[i] for i in (0, 1, 3)], strict=True):
        given.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(given.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), given.get_forces(), atol=1e-6)
        np.testing.assert_allclose(atoms.get_stress(), given.get_stress(), atol=1e-8)
        assert atoms.info["key"] == key(given) == key(atoms)
    dataset = read_dataset(tmp_path / "out.extxyz.xz")
    assert dataset.families == ("row 0", "row 1", "row 3")
    assert len(set(dataset.methods)) == 1
    assert dataset.methods[0].startswith("ref:")
    failures = json.loads((tmp_path / "out.failures.json").read_text())
    assert [f["failure"] for f in failures] == [["unconverged", "RuntimeError: SCF did not converge"]]


def test_nothing_is_done_twice_and_failures_only_when_asked(tmp_path, structures, capsys):
    options = ["--settings", str(settings(tmp_path))]
    assert label(tmp_path, *options, "--at-most", "2") == 0
    assert "4 structures, 0 done, 4 to do" in capsys.readouterr().err
    assert label(tmp_path, *options) == 0
    assert "4 structures, 2 done, 2 to do" in capsys.readouterr().err
    assert label(tmp_path, *options) == 0
    assert "4 structures, 4 done, 0 to do" in capsys.readouterr().err
    assert label(tmp_path, *options, "--retry") == 0
    assert "4 structures, 3 done, 1 to do" in capsys.readouterr().err


def test_what_crystals_say_of_themselves_later_is_written(tmp_path, structures, capsys):
    options = ["--settings", str(settings(tmp_path))]
    assert label(tmp_path, *options) == 0
    before = read_dataset(tmp_path / "out.extxyz.xz")
    for atoms in structures:
        atoms.info["weight"] = 4.0
        del atoms.info["family"]
    write(tmp_path / "in.extxyz", structures)
    assert label(tmp_path, *options) == 0
    after = read_dataset(tmp_path / "out.extxyz.xz")
    assert after.weights.tolist() == [4.0] * 3 and before.weights.tolist() == [1.0] * 3
    assert after.families == before.families
    assert after.labels.energies.tolist() == before.labels.energies.tolist()


def test_the_labelled_file_and_the_failures_are_enough(tmp_path, structures, capsys):
    options = ["--settings", str(settings(tmp_path))]
    label(tmp_path, *options)
    before = read(tmp_path / "out.extxyz.xz", ":")
    (tmp_path / "out.journal").unlink()
    capsys.readouterr()
    assert label(tmp_path, *options) == 0
    assert "4 structures, 4 done, 0 to do" in capsys.readouterr().err
    after = read(tmp_path / "out.extxyz.xz", ":")
    assert [a.info for a in after] == [a.info for a in before]
    assert [a.get_potential_energy() for a in after] == [a.get_potential_energy() for a in before]


@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -9), ("SIGTERM", 75), ("SIGINT", 75)])
def test_a_stop_at_any_time_loses_only_what_was_running(tmp_path, structures, name, code):
    command = [sys.executable, "-m", "evo", "reference", "label", str(tmp_path / "in.extxyz")]
    command += ["-o", str(tmp_path / "out.extxyz"), "--settings", str(settings(tmp_path, 0.5))]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert running.stderr is not None
    with running.stderr as told:
        while not told.readline().startswith("2/4"):
            pass
        time.sleep(0.1)
        running.send_signal(getattr(signal, name))
        assert running.wait(timeout=30) == code
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert "4 structures, 2 done, 2 to do" in again.stderr
    assert len(read(tmp_path / "out.extxyz", ":")) == 3


def test_two_at_once_give_the_same_file(tmp_path, structures):
    options = ["--settings", str(settings(tmp_path))]
    assert label(tmp_path, *options, out="one.extxyz") == 0
    assert label(tmp_path, *options, "--at-once", "2", out="two.extxyz") == 0
    one, two = (read(tmp_path / name, ":") for name in ("one.extxyz", "two.extxyz"))
    assert [a.info["key"] for a in one] == [a.info["key"] for a in two]
    for a, b in zip(one, two, strict=True):
        assert a.get_potential_energy() == b.get_potential_energy()
        assert (a.get_forces() == b.get_forces()).all()
    first, second = (json.loads((tmp_path / f"{name}.failures.json").read_text()) for name in ("one", "two"))
    assert [f["failure"] for f in first] == [f["failure"] for f in second]


FILES = """
import sys
from pathlib import Path
import numpy as np
from ase.calculators.calculator import FileIOCalculator

PROGRAM = "import time; x = open('in').read(); time.sleep(0.4); open('out', 'w').write(x)"


class Files(FileIOCalculator):
    implemented_properties = ["energy", "forces"]

    def __init__(self):
        super().__init__(command=f'{sys.executable} -c "{PROGRAM}"')

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        Path(self.directory, "in").write_text(str(len(atoms)))

    def read_results(self):
        number = int(Path(self.directory, "out").read_text())
        self.results = {"energy": -1.0 * number, "forces": np.zeros((number, 3))}
"""


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_calculators_that_work_through_files_do_not_read_each_other(tmp_path, structures, monkeypatch, at_once):
    (tmp_path / "files.py").write_text(FILES)
    file = tmp_path / "reference.toml"
    file.write_text('[reference]\nengine = "ase"\ncalculator = "files:Files"\n')
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    assert label(tmp_path, "--settings", str(file), "--at-once", at_once) == 0
    found = read(tmp_path / "out.extxyz.xz", ":")
    assert [a.get_potential_energy() for a in found] == [-1.0, -2.0, -3.0, -4.0]
    assert not list((tmp_path / "here").iterdir())
    if at_once == "2":
        assert not list((tmp_path / "tmp").glob("processes-*"))


def test_a_program_that_was_asked_to_end_is_asked_again(tmp_path, structures, capsys):
    """As a batch system does it, which ends all that it has started, in any order."""
    (tmp_path / "pretender.py").write_text(PRETENDER)
    options = "command = [{!r}, {!r}, {!r}]"

    def file(mode):
        text = options.format(sys.executable, str(tmp_path / "pretender.py"), mode)
        (tmp_path / "reference.toml").write_text(f'[reference]\nengine = "gpaw"\n[reference.options]\n{text}\n')
        return str(tmp_path / "reference.toml")

    assert label(tmp_path, "--settings", file("asked to end")) == 75
    capsys.readouterr()
    assert label(tmp_path, "--settings", file("good")) == 0
    assert "4 structures, 0 done, 4 to do" in capsys.readouterr().err
    assert len(read(tmp_path / "out.extxyz.xz", ":")) == 4


def test_moments_that_a_file_does_not_have(tmp_path):
    plain = bulk("Cu")
    write(tmp_path / "in.pwi", plain, pseudopotentials={"Cu": "Cu.UPF"})
    assert read(tmp_path / "in.pwi").has("initial_magmoms")  # zeros of ASE's making
    assert not structures_of(tmp_path / "in.pwi")[0].has("initial_magmoms")
    plain.set_initial_magnetic_moments([0.0])
    write(tmp_path / "run@2.extxyz", plain)
    assert structures_of(tmp_path / "run@2.extxyz")[0].has("initial_magmoms")  # told, not made up
    canted = bulk("Cu")
    canted.set_initial_magnetic_moments([[0.0, 0.0, 2.0]])
    write(tmp_path / "vectors.traj", canted)
    with pytest.raises(DataError, match="structure 1 has moments of three components"):
        structures_of(tmp_path / "vectors.traj")


@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -9), ("SIGTERM", 75)])
def test_a_stop_of_two_at_once_leaves_no_process_and_loses_nothing(tmp_path, structures, name, code):
    command = [sys.executable, "-m", "evo", "reference", "label", str(tmp_path / "in.extxyz"), "--at-once", "2"]
    command += ["-o", str(tmp_path / "out.extxyz"), "--settings", str(settings(tmp_path, 1.5))]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert running.stderr is not None
    with running.stderr as told:
        while not told.readline().startswith("2/4"):
            pass
        below = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        time.sleep(0.3)
        running.send_signal(getattr(signal, name))
        assert running.wait(timeout=60) == code
    assert len(below) >= 2
    end = time.monotonic() + 30
    while any(Path(f"/proc/{process}").exists() for process in below) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [process for process in below if Path(f"/proc/{process}").exists()]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert "4 structures, 2 done, 2 to do" in again.stderr
    assert len(read(tmp_path / "out.extxyz", ":")) == 3


def test_a_calculator_that_ends_its_process_is_a_crash(tmp_path, structures, capsys):
    (tmp_path / "fatal.py").write_text(
        "import os, signal\nfrom ase.calculators.emt import EMT\nclass Fatal(EMT):\n"
        "    def calculate(self, atoms=None, *rest):\n"
        "        if len(atoms) == 3:\n            os.kill(os.getpid(), signal.SIGSEGV)\n"
        "        super().calculate(atoms, *rest)\n"
    )
    file = tmp_path / "reference.toml"
    file.write_text('[reference]\nengine = "ase"\ncalculator = "fatal:Fatal"\n')
    assert label(tmp_path, "--settings", str(file), "--at-once", "2") == 0
    failures = json.loads((tmp_path / "out.failures.json").read_text())
    assert [f["failure"] for f in failures] == [["crashed", "its process ended by SIGSEGV"]]
    assert len(read(tmp_path / "out.extxyz.xz", ":")) == 3


def test_a_file_that_is_not_there_is_not_named(tmp_path, structures, capsys):
    write(tmp_path / "in.extxyz", structures[2])  # the one that fails
    assert label(tmp_path, "--settings", str(settings(tmp_path))) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "nothing is labelled" in told.err


@pytest.mark.parametrize("option", ["--at-once", "--at-most"])
def test_numbers_are_at_least_one(tmp_path, structures, capsys, option):
    with pytest.raises(SystemExit) as ended:
        label(tmp_path, option, "0")
    assert ended.value.code == 64
    assert f"argument {option}: must be a number of 1 or more, got 0" in capsys.readouterr().err


def test_a_key_that_reads_as_a_number_is_still_that_crystal(tmp_path, capsys):
    """ASE reads 74230e1156399850 as infinity, and 0123 as 123."""
    made = []
    n = 0
    while len(made) < 2:  # one crystal in a few hundred
        atoms = bulk("Cu", a=3.5 + 1e-5 * n)
        n += 1
        if key(atoms).isdecimal() or re.fullmatch(r"\d+e\d+", key(atoms)):
            made.append(atoms)
    write(tmp_path / "in.extxyz", made)
    assert label(tmp_path, out="out.extxyz") == 0
    (tmp_path / "out.journal").unlink()
    capsys.readouterr()
    assert label(tmp_path, out="out.extxyz") == 0
    assert "2 structures, 2 done, 0 to do" in capsys.readouterr().err
    assert len(read(tmp_path / "out.extxyz", ":")) == 2


def test_a_broken_engine_is_not_asked_about_every_crystal(tmp_path, capsys):
    write(tmp_path / "in.extxyz", [bulk("Cu", a=3.4 + n / 100).repeat((1, 1, 2)) for n in range(9)])
    (tmp_path / "broken.py").write_text(
        "from ase.calculators.emt import EMT\nclass Broken(EMT):\n"
        "    def calculate(self, atoms=None, *rest):\n"
        "        if len(atoms) == 2:\n            raise OSError('libxc is gone')\n"
        "        super().calculate(atoms, *rest)\n"
    )
    file = tmp_path / "reference.toml"
    file.write_text('[reference]\nengine = "ase"\ncalculator = "broken:Broken"\n')
    assert label(tmp_path, "--settings", str(file)) == 69
    assert "5 crashes in a row, the last: OSError: libxc is gone; mend it, then --retry" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "out.failures.json").read_text())) == 5


def test_two_methods_are_never_mixed(tmp_path, structures, capsys):
    assert label(tmp_path, "--settings", str(settings(tmp_path))) == 0
    assert label(tmp_path) == 65  # EMT, the default
    assert "energies of two methods cannot be mixed: choose another OUT" in capsys.readouterr().err
    assert label(tmp_path, "--settings", str(settings(tmp_path, 0.5))) == 65
    assert "(1.seconds 0.0 against 0.5); energies of two methods" in capsys.readouterr().err


def test_what_two_methods_have_different():
    one = {"cutoff": 400.0, "files": {"Cu": 64 * "a", "Pd": "b"}, "versions": ["1"]}
    two = {"cutoff": 300.0, "files": {"Cu": 64 * "c", "Pd": "b"}, "versions": ["2"], "hubbard": {"Ni": {"d": 6.0}}}
    assert differences(one, two) == [
        "cutoff 400.0 against 300.0",
        f"files.Cu {21 * 'a'}... against {21 * 'c'}...",
        'hubbard not set against {"Ni": {"d": 6.0}}',
        'versions ["1"] against ["2"]',
    ]
    assert differences(one, one) == []


@pytest.mark.parametrize(
    ("file", "out", "code", "message"),
    [
        ("none.extxyz", "out.extxyz", 65, "none.extxyz is not there; name a file of structures"),
        ("bad.extxyz", "out.extxyz", 65, "bad.extxyz cannot be read: "),
        ("in.extxyz", "out.json", 65, "OUT must end in .extxyz, .extxyz.gz, .extxyz.xz, .extxyz.bz2, got out.json"),
        ("in.extxyz", "in.extxyz", 65, "OUT is there already and was not written by this command"),
        ("si.extxyz", "out.extxyz", 64, "EMT cannot do Si"),
    ],
)
def test_bad_input_is_one_line(tmp_path, structures, capsys, file, out, code, message):
    (tmp_path / "bad.extxyz").write_text("three\nof\nthem\n")
    write(tmp_path / "si.extxyz", Atoms("Si", cell=np.eye(3) * 3, pbc=True))
    assert main(["reference", "label", str(tmp_path / file), "-o", str(tmp_path / out)]) == code
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert message in told[0]


def test_settings_of_a_campaign_or_the_reference_alone(tmp_path, structures, capsys):
    campaign = tmp_path / "campaign.toml"
    campaign.write_text('[system]\nelements = ["Cu", "Pd"]\n[reference]\nengine = "emt"\n')
    assert label(tmp_path, "--settings", str(campaign)) == 0
    campaign.write_text('[reference]\nengin = "emt"\n')
    assert label(tmp_path, "--settings", str(campaign)) == 64
    assert "did you mean `engine`?" in capsys.readouterr().err
    campaign.write_text('[reference]\nengine = "none"\n')
    assert label(tmp_path, "--settings", str(campaign)) == 64


def test_what_reads_as_a_number_is_passed_on(tmp_path, structures, capsys):
    """ASE makes numpy's integers and arrays of it, which JSON does not take."""
    odd = bulk("Cu")
    odd.info |= {"weight": np.int64(2), "family": np.array([1, 2])}
    write(tmp_path / "in.extxyz", [odd, bulk("Pd")], format="extxyz")
    assert label(tmp_path, "--settings", str(settings(tmp_path))) == 0
    assert len(read_dataset(tmp_path / "out.extxyz.xz")) == 2
    assert read(tmp_path / "out.extxyz.xz", index=0).info["weight"] == 2
