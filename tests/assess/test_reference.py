"""The reference is asked once about each crystal, whatever interrupts it; what cannot be a reference is refused."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from potentials.assess import Reference, Side, UsageError
from potentials.assess.identity import Identity
from potentials.assess.prototypes import element
from potentials.assess.reference import load_calculator
from potentials.calculator import from_calculator
from potentials.structures import Structures

CELLS = Structures.from_ase([bulk("Cu", a=3.5 + 0.02 * k) for k in range(5)] + [bulk("Pd", cubic=True, a=3.9)])

MORTAL = """
import os, signal
from ase.calculators.emt import EMT

class Mortal(EMT):
    def __init__(self, log, last):
        super().__init__()
        self.log, self.last = log, last

    def calculate(self, *args, **kwargs):
        with open(self.log, "a") as stream:
            stream.write("asked\\n")
        with open(self.log) as stream:
            if len(stream.readlines()) == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
        super().calculate(*args, **kwargs)
"""

PROGRAM = """
import sys
from pathlib import Path
from potentials.assess import Reference, Side
from potentials.assess.eos import equation_of_state
from potentials.assess.prototypes import element
reference = Reference.load("mortal:Mortal", {"log": sys.argv[1], "last": int(sys.argv[3])}, Path(sys.argv[2]))
print(repr(equation_of_state(Side.of_reference(reference), element(29)).bulk_modulus), reference.calls)
"""


def test_answers_are_those_of_the_calculator_and_kept(tmp_path):
    cache = tmp_path / "out" / "answers.jsonl"
    first = Reference.load("ase.calculators.emt:EMT", {}, cache)
    said, straight = first.evaluate(CELLS), from_calculator(EMT())(CELLS)
    np.testing.assert_allclose(said.energies, straight.energies, atol=1e-9)
    np.testing.assert_allclose(said.forces, straight.forces, atol=1e-9)
    np.testing.assert_allclose(said.stresses, straight.stresses, atol=1e-9)
    assert first.calls == first.answers == 6
    again = Reference.load("ase.calculators.emt:EMT", {}, cache)
    kept = again.evaluate(CELLS)
    assert again.calls == 0 and kept.energies.tobytes() == said.energies.tobytes()
    assert kept.forces.tobytes() == said.forces.tobytes() and kept.stresses.tobytes() == said.stresses.tobytes()
    other = Reference.load("ase.calculators.emt:EMT", {"asap_cutoff": True}, cache)
    other.evaluate(CELLS)
    assert other.calls == 6  # other arguments are another reference


def test_rounding_errors_are_no_new_question():
    reference = Reference(EMT(), "emt")
    reference.evaluate(CELLS)
    nearly = Structures(
        CELLS.numbers, CELLS.positions + 1e-14, CELLS.cells * (1 + 1e-15), CELLS.periodic, CELLS.offsets
    )
    reference.evaluate(nearly)
    assert reference.calls == 6


def test_half_a_line_costs_one_question(tmp_path):
    cache = tmp_path / "answers.jsonl"
    Reference.load("ase.calculators.emt:EMT", {}, cache).evaluate(CELLS)
    cache.write_bytes(cache.read_bytes()[:-40])
    after = Reference.load("ase.calculators.emt:EMT", {}, cache)
    after.evaluate(CELLS)
    assert after.calls == 1
    last = Reference.load("ase.calculators.emt:EMT", {}, cache)
    last.evaluate(CELLS)
    assert last.calls == 0


def test_a_killed_run_goes_on_where_it_stood(tmp_path):
    (tmp_path / "mortal.py").write_text(MORTAL)

    def run(log: str, cache: str, last: int) -> subprocess.CompletedProcess:
        paths = [str(tmp_path), str(Path(__file__).resolve().parents[2])]
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / log), str(tmp_path / cache), str(last)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    whole = run("whole.log", "whole.jsonl", 0)
    assert whole.returncode == 0, whole.stderr
    value, calls = whole.stdout.split()
    # the log that the calculator writes grows over both runs, so the kill comes once
    killed = run("killed.log", "killed.jsonl", 6)
    assert killed.returncode == -signal.SIGKILL
    resumed = run("killed.log", "killed.jsonl", 6)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.split() == [value, str(int(calls) - 5)]


def test_arguments_count_with_the_content_of_their_files(tmp_path):
    file = tmp_path / "potential.txt"
    file.write_text("one")
    first = Identity("a:B", {"file": str(file)}).key
    assert first == Identity("a:B", {"file": str(file)}).key
    (tmp_path / "copy.txt").write_text("one")
    assert first == Identity("a:B", {"file": str(tmp_path / "copy.txt")}).key
    file.write_text("two")
    assert first != Identity("a:B", {"file": str(file)}).key
    assert Identity("a:B", {}).key != Identity("a:C", {}).key


def test_the_users_own_module_counts_with_its_content(tmp_path, monkeypatch):
    """And is found in the directory where the command runs."""
    monkeypatch.chdir(tmp_path)
    module = tmp_path / "my_own_dft.py"
    program = "from ase.calculators.emt import EMT\ndef calculator():\n    return EMT({})\n"
    for text, calls in (("", 6), ("", 0), ("asap_cutoff=True", 6)):
        module.write_text(program.format(text))
        sys.modules.pop("my_own_dft", None)
        importlib.invalidate_caches()
        reference = Reference.load("my_own_dft:calculator", {}, tmp_path / "answers.jsonl")
        reference.evaluate(CELLS)
        assert reference.calls == calls
    sys.path.remove(str(tmp_path))


def test_a_file_that_is_written_does_not_count(tmp_path):
    log = tmp_path / "log.txt"
    arguments = {"options": [{"txt": str(log)}]}
    first = Identity("a:B", arguments)
    log.write_text("first line")
    assert first.notice() == [str(log)] and first.notice() == []
    log.write_text("and more")
    assert Identity("a:B", arguments, first.written).key == first.key


class Moody(Calculator):
    """Energies and forces of zero, no stress; raises for silver, not a number for gold."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if 47 in atoms.numbers:
            raise RuntimeError("I do not like silver")
        self.results = {"energy": float("nan") if 79 in atoms.numbers else 0.0, "forces": np.zeros((len(atoms), 3))}


def test_failures_have_a_reason_and_are_asked_again():
    reference = Reference(Moody(), "moody")
    silver = Structures.from_ase([bulk("Ag")])
    for calls in (1, 2):
        assert np.isnan(reference.evaluate(silver).energies).all()
        assert reference.calls == calls and reference.failure == "RuntimeError: I do not like silver"
    assert np.isnan(reference.evaluate(Structures.from_ase([bulk("Au")])).energies).all()
    assert reference.failure == "energy or forces are not finite"
    reference.evaluate(Structures.from_ase([bulk("Cu")]))
    found = Side.of_reference(reference).relaxed(element(29))
    assert not found.converged and found.outcome == "not finite: it gives no stress"


@pytest.mark.parametrize(
    ("path", "arguments", "text"),
    [
        ("nothing", {}, "is no import path"),
        ("no_such_package:EMT", {}, "cannot be imported"),
        ("ase.calculators.emt:ETM", {}, "cannot be imported"),
        ("ase.build:bulk", {"sides": 3}, "cannot be made with"),
        ("json:dumps", {"obj": 1}, "is no ASE calculator"),
    ],
)
def test_no_calculator(path, arguments, text):
    with pytest.raises(UsageError, match=text) as error:
        load_calculator(path, arguments)
    assert "\n" not in str(error.value) and error.value.exit_code == 64
