"""Runner: one program as a job, in a session and a folder of its own, with a time limit; no orphan is ever left.

A program may hang, crash, write nonsense or start others. What it did is told by what it wrote, never by its exit status:
some codes end with 0 after an error.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.reference import guard

# Variables by which an MPI launcher or Slurm tells a process that it is a rank. A program that inherits them takes itself for
# one: GPAW refuses to run, Open MPI aborts, MPICH takes the outer job down.
RANK_VARIABLES = (
    "PMI_", "PMIX_", "OMPI_", "OPAL_", "PRTE_", "HYDI_", "HYDRA_", "MPIR_", "MPI_LOCAL", "I_MPI_", "SLURM_",
    "GFORTRAN_UNBUFFERED",
)  # fmt: skip
# of these, what Slurm says of the step and the process; the rest is about the allocation
STEP_VARIABLES = (
    "SLURM_STEP", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_TASK_PID", "SLURM_CPU_BIND",
    "SLURM_MPI_TYPE", "SLURM_PMI", "SLURM_SRUN_COMM", "SLURM_LAUNCH_NODE",
)  # fmt: skip
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LATE = 60.0  # s after its time limit at which even the guard is ended; it may wait that long for a busy machine
TAIL = 300  # characters of the program's last words that are kept


@dataclass(frozen=True)
class Finished:
    """How a program ended."""

    status: int  # of the program; 128 + signal, or one of guard's
    seconds: float  # CPU time of the program and of all that it started
    words: str  # the end of what it wrote to its error output

    @property
    def time_over(self) -> bool:
        return self.status == guard.TIME_OVER

    @property
    def asked_to_end(self) -> bool:
        """By SIGTERM, as a batch system sends it to all processes of a job: that says nothing of the calculation."""
        return self.status in (guard.ENDED, 128 + signal.SIGTERM)


def run(
    command: Sequence[str],
    folder: Path,
    *,
    seconds: float,
    threads: int = 1,
    variables: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program in `folder`, at most so many seconds of wall time; its output is in stdout and stderr there."""
    start = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(seconds), *command]
    environment = clean_environment(os.environ, threads, command[0]) | dict(variables or {})
    with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
        process = subprocess.Popen(
            start,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            status, used = _wait(process, seconds + LATE)
        except BaseException:  # whatever ends this process must end the job too
            _end(process)
            raise
    return Finished(status, used, _tail(folder / "stderr"))


def ask(command: Sequence[str], *, seconds: float) -> tuple[Finished, str]:
    """How a short program ended and what it wrote to its output."""
    with tempfile.TemporaryDirectory(prefix="reference-") as folder:
        finished = run(command, Path(folder), seconds=seconds)
        return finished, (Path(folder) / "stdout").read_text(encoding="utf-8", errors="replace")


def absent(command: Sequence[str]) -> bool:
    """Whether the program cannot be found here."""
    return shutil.which(command[0]) is None


def clean_environment(environment: Mapping[str, str], threads: int, program: str = "") -> dict[str, str]:
    """Without what makes a program take itself for a rank of our job, and with its number of threads.

    `srun` keeps what tells it of the allocation that it starts programs in, but not of the step that we may be. Of
    LD_LIBRARY_PATH those folders go that belong to our Python: an MPI wheel prepends its own libraries, which shadow those that
    the program was linked with. EVO_LD_LIBRARY_PATH takes its place where it is set.
    """
    libraries = environment.get("EVO_LD_LIBRARY_PATH")
    if libraries is None:
        folders = environment.get("LD_LIBRARY_PATH", "").split(os.pathsep)
        libraries = os.pathsep.join(f for f in folders if f and not Path(f).is_relative_to(sys.prefix))
    within = Path(program).name == "srun"
    kept = {
        k: v
        for k, v in environment.items()
        if k != "LD_LIBRARY_PATH"
        and (
            not k.startswith(RANK_VARIABLES) or (within and k.startswith("SLURM_") and not k.startswith(STEP_VARIABLES))
        )
    }
    if libraries:
        kept["LD_LIBRARY_PATH"] = libraries
    return kept | {name: str(threads) for name in THREAD_VARIABLES}


def _wait(process: subprocess.Popen[bytes], seconds: float) -> tuple[int, float]:
    """Exit status and CPU seconds. wait4 counts the job alone, however many run at once."""
    end = time.monotonic() + seconds
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime
        if time.monotonic() > end:  # the guard itself is stuck
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    _wait(process, LATE)


def _tail(file: Path) -> str:
    with open(file, "rb") as stream:
        stream.seek(max(0, file.stat().st_size - 4 * TAIL))
        text = stream.read().decode("utf-8", "replace")
    return " ".join(text.split())[-TAIL:]
