"""The pool over real ranks: all results, a failing rank ends the job, kill -9 leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evo import parallel

MPIEXEC = Path(sys.executable).parent / "mpiexec"
WORK = Path(__file__).with_name("pool_program.py")

needs_mpi = pytest.mark.skipif(not MPIEXEC.exists(), reason="mpiexec of the PyPI wheel is not installed")


def start(*arguments, ranks=3):
    return subprocess.Popen(
        [str(MPIEXEC), "-n", str(ranks), sys.executable, str(WORK), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(what, ranks):
    """What the program printed, which must have ended well."""
    process = start(what, f"marker-{what}-{os.getpid()}", ranks=ranks)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def ranks_of(marker):
    """Process ids of the ranks started with this marker on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if marker in line and str(WORK) in line and "python" in line[0] and state != "Z":
                found.append(int(entry.name))
    return found


def wait_gone(marker, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not ranks_of(marker):
            return True
        time.sleep(0.05)
    return False


@needs_mpi
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_result_arrives_once(ranks):
    out = told("sum", ranks)
    assert out.split() == ["40", str(sum(x * x for x in range(40)))]


@needs_mpi
def test_large_messages_both_ways_do_not_lock():
    out = told("large", 3)
    assert out.split() == ["40", str(sum(range(40)))]


@needs_mpi
def test_a_rank_sleeps_until_rank_0_takes_its_result():
    """While rank 0 calculates for minutes, the others' cores are free for what else runs there."""
    out = told("busy", 2)
    assert float(out) < 1.0  # CPU s; a blocking send spins for all of the four


@needs_mpi
def test_ranks_are_served_while_rank_0_works():
    """Seven tasks of 6 s in all, the longest of 3: two ranks need 3 s when none of them waits for the other."""
    out = told("uneven", 2)
    n, seconds = out.split()
    assert n == "7"
    assert float(seconds) < 4.4  # a rank that holds a second task meanwhile, or waits for rank 0, takes 4.5 or more


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_nothing_begins_after_a_stop(ranks):
    out = told("stop", ranks)
    assert 1 <= int(out) <= 2 * ranks - 1  # what was under way, and what had been sent: two to each rank but the first


@needs_mpi
def test_results_are_kept_while_rank_0_works():
    out = told("keep", 2)
    n_kept, n_returned, last = out.split()
    assert (n_kept, n_returned) == ("3", "1")
    assert float(last) < 2.0  # long before the 2.5 s of rank 0 are over


@needs_mpi
def test_a_quick_task_does_not_wait_behind_a_slow_one():
    out = told("behind", 2)
    first, seconds = out.split()
    assert first == "quick"
    assert float(seconds) < 1.5


@needs_mpi
def test_tasks_run_in_the_first_thread():
    out = told("alarm", 2)
    assert out.split() == ["6"]


@needs_mpi
def test_a_launcher_of_another_mpi_is_told(tmp_path):
    """Each rank would believe to be alone, and do everything itself."""
    command = [sys.executable, "-m", "evo", "run", str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2"}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 69, done.stderr
    assert "one of 2 ranks" in done.stderr
    assert "MPI4PY_LIBMPI" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_batch_script_of_slurm_needs_no_mpi(monkeypatch):
    """It has SLURM_PROCID, though nothing has started ranks there."""
    for name in parallel.LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # not installed
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert isinstance(parallel.open_pool(), parallel.SerialPool)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(parallel.MpiAbsent):
        parallel.open_pool()


# what gives a process numbers of its own, as containers do
ALONE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
needs_unshare = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0,
    reason="no namespaces of processes for this user",
)


@needs_mpi
@needs_unshare
def test_the_parent_of_a_rank_may_be_process_1():
    """In a container it is the shell that was started there."""
    shell = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, str(WORK), "sum", f"marker-alone-{os.getpid()}"]
    done = subprocess.run([str(MPIEXEC), "-n", "2", *ALONE, *shell], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["40", str(sum(x * x for x in range(40)))]


@needs_mpi
def test_an_exception_on_a_rank_ends_the_job_with_its_trace():
    marker = f"marker-fail-{os.getpid()}"
    process = start("fail", marker)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "planted" in err
    assert wait_gone(marker)


@needs_mpi
@pytest.mark.parametrize("victim", ["mpiexec", "first", "last"])
def test_kill_9_leaves_no_process(victim):
    marker = f"marker-kill-{victim}-{os.getpid()}"
    process = start("forever", marker)
    assert process.stdout.readline().strip() == "ready"
    pids = sorted(ranks_of(marker))
    assert len(pids) == 3
    if victim == "mpiexec":
        process.kill()
    else:
        os.kill(pids[0 if victim == "first" else -1], signal.SIGKILL)
    assert wait_gone(marker), ranks_of(marker)
    process.communicate(timeout=10)
