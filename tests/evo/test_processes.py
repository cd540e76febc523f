"""Processes: every question is answered once, and none of them outlives its reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from evo.processes import Died, Processes


def answer(question):
    """A number's square and who found it; 13 is the death of it, other names are files that tell that it waits."""
    if question == 13:
        os.kill(os.getpid(), signal.SIGSEGV)
    if isinstance(question, str):
        Path(question).write_text(str(os.getpid()))
        time.sleep(600)
    time.sleep(0.05)
    return question**2, os.getpid()


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def waited_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_every_question_is_answered_by_one_of_them():
    with Processes(2, answer) as processes:
        found = dict(processes.answers(range(10)))
        again = dict(processes.answers([20]))
    assert {q: a[0] for q, a in (found | again).items()} == {n: n * n for n in [*range(10), 20]}
    pids = {a[1] for a in (found | again).values()}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert waited_for(lambda: not any(alive(p) for p in pids))


def test_the_death_of_one_is_its_answer():
    with Processes(2, answer) as processes:
        found = dict(processes.answers([1, 13, 2, 3, 4]))
    assert found.pop(13) == Died("ended by SIGSEGV")
    assert {q: a[0] for q, a in found.items()} == {1: 1, 2: 4, 3: 9, 4: 16}


def test_what_cannot_even_start_is_an_answer_too():
    with Processes(1, _Unreadable()) as processes:
        assert list(processes.answers([1, 2])) == [(n, Died("ended with status 1")) for n in (1, 2)]


class _Unreadable:
    def __call__(self, question):
        raise AssertionError("never read")

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise OSError("the library it needs is gone")


def test_none_is_left_where_it_was_left_in_the_middle(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(KeyboardInterrupt), Processes(2, answer) as processes:

        @contextmanager
        def interrupted():
            assert waited_for(lambda: all(f.exists() and f.read_text() for f in files))
            raise KeyboardInterrupt
            yield

        list(processes.answers([str(f) for f in files], interrupted))
    assert not any(alive(int(f.read_text())) for f in files)


def test_all_that_has_come_is_given_out_before_anything_is_waited_for_again():
    """An interruption while waiting would lose it otherwise."""
    waits = []

    def waiting():
        waits.append(time.sleep(2.0))  # all three answers are there by then
        return nullcontext()

    with Processes(3, answer) as processes:
        found = [q for q, _ in processes.answers([5, 6, 7], waiting)]
    assert sorted(found) == [5, 6, 7]
    assert len(waits) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize(("parent", "code"), [("os.getppid()", 0), ("os.getppid() + 1", -signal.SIGKILL)])
def test_a_process_whose_parent_is_gone_ends(parent, code):
    """Whatever the parent's number is: in a container it may be 1."""
    program = f"import os; from evo.parallel import die_with_parent; die_with_parent({parent})"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == code


ORPHAN = """
import os, sys, time
from pathlib import Path
from evo.parallel import PARENT, die_with_parent
Path(sys.argv[1]).write_text(str(os.getpid()))
while os.getppid() == PARENT:
    time.sleep(0.01)
die_with_parent()
Path(sys.argv[1] + ".outlived").touch()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_parent_is_the_one_that_there_was_at_first(tmp_path):
    file = tmp_path / "pid"
    shell = subprocess.Popen(["sh", "-c", '"$@" & sleep 600', "sh", sys.executable, "-c", ORPHAN, str(file)])
    try:
        assert waited_for(lambda: file.exists() and file.read_text())
    finally:
        shell.kill()
        shell.wait()
    assert waited_for(lambda: not alive(int(file.read_text())))
    assert not Path(f"{file}.outlived").exists()


def test_a_number_of_processes_is_at_least_one():
    with pytest.raises(ValueError, match="at least one process, got 0"):
        Processes(0, answer)
