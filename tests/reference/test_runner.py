"""The runner's contract: a program ends with its limit, its helpers and its parent, and it is no rank of our job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from evo.reference import guard
from evo.reference.runner import RANK_VARIABLES, absent, clean_environment, run
from tests.reference.programs import below, gone, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process groups are tested on Linux")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_status_and_cpu_time(tmp_path):
    busy = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\nprint('done')"
    finished = run(python(busy + "\nraise SystemExit(3)"), tmp_path, seconds=60)
    assert finished.status == 3
    assert not finished.time_over
    assert 0.3 <= finished.seconds < 3
    assert (tmp_path / "stdout").read_text() == "done\n"


def test_last_words_are_kept(tmp_path):
    finished = run(python("raise MemoryError('no room ' + 'x' * 5000 + ' at the end')"), tmp_path, seconds=60)
    assert finished.status == 1
    assert finished.words.endswith("x at the end")
    assert len(finished.words) <= 300


def test_a_program_that_is_not_there(tmp_path):
    assert absent(["no-such-program-here"])
    finished = run(["no-such-program-here"], tmp_path, seconds=60)
    assert finished.status == guard.NOT_FOUND
    assert "no-such-program-here: No such file" in finished.words


def test_a_program_that_is_killed(tmp_path):
    assert run(python("import os; os.kill(os.getpid(), 9)"), tmp_path, seconds=60).status == 128 + 9


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
daemon = subprocess.Popen(["sleep", "1000"], start_new_session=True)
other = subprocess.Popen(["sh", "-c", "sleep 1000; true"])
open("pids", "w").write(f"{os.getpid()} {daemon.pid} {other.pid}")
time.sleep(1000)
"""


def test_the_time_limit_ends_all_that_was_started(tmp_path):
    before = set(below(os.getpid()))
    finished = run(python(STUBBORN), tmp_path, seconds=5.0)
    assert finished.time_over
    assert gone([int(p) for p in (tmp_path / "pids").read_text().split()], 1.0)
    assert set(below(os.getpid())) <= before


def test_helpers_end_with_a_program_that_ends_well(tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)"
    assert run(python(code), tmp_path, seconds=60).status == 0
    assert gone([int((tmp_path / "stdout").read_text())], 1.0)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_the_end_of_the_parent_is_the_end_of_the_job(tmp_path, name):
    code = (  # tests that run in the background inherit a SIGINT that is ignored
        "import signal, sys; from pathlib import Path; from evo.reference.runner import run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"run([sys.executable, '-c', {STUBBORN!r}], Path({str(tmp_path)!r}), seconds=1000)"
    )
    parent = subprocess.Popen(python(code), stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(tmp_path / "pids")
        processes = below(parent.pid)
        assert len(processes) >= 4  # guard, program, daemon, shell
        parent.send_signal(getattr(signal, name))
        parent.wait(timeout=30)
        assert gone(processes, 4 * guard.GRACE)
    finally:
        parent.kill()
        parent.wait()


def test_a_program_is_no_rank_of_our_job(tmp_path, monkeypatch):
    for prefix in RANK_VARIABLES:
        monkeypatch.setenv(prefix + "X", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{sys.prefix}/lib/openmpi{os.pathsep}/modules/lib{os.pathsep}")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("KEPT", "yes")
    show = python("import json, os; print(json.dumps(dict(os.environ)))")
    run(show, tmp_path, seconds=60, threads=2, variables={"MINE": "1"})
    seen = json.loads((tmp_path / "stdout").read_text())
    assert not [name for name in seen if name.startswith(RANK_VARIABLES)]
    assert seen["LD_LIBRARY_PATH"] == "/modules/lib"  # what the program was linked with, without the MPI of our Python
    assert seen["OMP_NUM_THREADS"] == seen["OPENBLAS_NUM_THREADS"] == "2"
    assert (seen["KEPT"], seen["MINE"]) == ("yes", "1")


def test_a_users_own_library_path_can_be_kept():
    kept = clean_environment({"LD_LIBRARY_PATH": "/mpi", "EVO_LD_LIBRARY_PATH": "/own"}, 1)
    assert kept["LD_LIBRARY_PATH"] == "/own"


def test_srun_knows_its_allocation_and_nothing_of_our_step():
    ours = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_PROCID": "3",
        "SLURM_STEP_ID": "0",
        "PMI_RANK": "3",
    }
    kept = clean_environment(ours, 1, "/usr/bin/srun")
    assert {k for k in kept if not k.endswith("_THREADS")} == {"SLURM_JOB_ID", "SLURM_JOB_NODELIST"}
    assert {k for k in clean_environment(ours, 1, "pw.x") if not k.endswith("_THREADS")} == set()
