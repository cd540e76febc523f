"""Submit: the Slurm scripts of a campaign, one for the ranks that search and one for the workers that ask the reference.

Slurm tells the script with USR1 some minutes before its time is over, it tells the program, and a program that was stopped (exit
code 75) is put back into the queue of jobs: it goes on where it was. So is one that is still in a calculation when time is nearly
over; a worker that had nothing to do while its campaign waits for ranks; and none whose campaign has finished.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.settings import SettingsError, duration, load

NOTICE = 600  # s before the end of a job at which it is told
PATIENCE = 480  # s of these, after which a job that has not ended is put back as it is
LAUNCHERS = ("mpirun", "srun")
# programs are started with an environment of their own, where this is their LD_LIBRARY_PATH
PROGRAMS = 'export EVO_LD_LIBRARY_PATH="${LD_LIBRARY_PATH-}"'


class SlurmAbsent(RuntimeError):
    """There is no sbatch here, or it refused."""

    exit_code = 69


@dataclass(frozen=True)
class Job:
    """What is asked of Slurm."""

    ranks: int = 1
    launcher: str = "mpirun"  # of the ranks
    workers: int | None = None  # jobs, each with one worker; 0: none; None: one where the campaign has a queue
    cores: int = 1  # of a worker: what the program's own launcher has to share out
    time: str = "24:00:00"
    ranks_options: Sequence[str] = ()  # further lines of sbatch, such as "--gres=gpu:1"
    workers_options: Sequence[str] = ()
    setup: Sequence[str] = ()  # shell lines that come first, such as "module load espresso"


def scripts(directory: Path, job: Job) -> dict[str, str]:
    """The scripts by name: "ranks", and "workers" where the campaign has a queue. SettingsError says what to write instead."""
    settings = load(directory / "campaign.toml")
    for option in (*job.ranks_options, *job.workers_options):
        if not re.fullmatch(r"--[a-z][\w-]*(=[^\n]*)?", option):
            raise SettingsError(f"an option of sbatch is one word such as --gres=gpu:1, got {option!r}")
    if duration(job.time, "--time") < 2 * NOTICE:
        raise SettingsError(
            f"--time must be at least {2 * NOTICE // 60} minutes, got {job.time}; jobs are told {NOTICE // 60} minutes before"
        )
    if job.launcher not in LAUNCHERS:
        raise SettingsError(f"--launcher must be {' or '.join(LAUNCHERS)}, got {job.launcher!r}")
    home = directory.absolute()
    evo = f"{shlex.quote(sys.executable)} -m evo"
    launch = _launcher(job.launcher, job.ranks) if job.ranks > 1 else ""
    name = "evo-" + re.sub(r"[^\w.-]", "-", home.name)  # sbatch cuts its lines at blanks
    made = {
        "ranks": _script(
            [f"--job-name={name}", f"--ntasks={job.ranks}", f"--time={job.time}", *job.ranks_options],
            [*job.setup, PROGRAMS],
            f"{launch}{evo} run {shlex.quote(str(home))} --quiet",
        )
    }
    workers = 1 if job.workers is None else job.workers
    if settings.reference.queue and workers:
        queue = (home / settings.reference.queue).absolute()
        array = [f"--array=1-{workers}", f"--ntasks={job.cores}", f"--time={job.time}"]
        made["workers"] = _script(
            [f"--job-name={name}-work", *array, *job.workers_options],
            [*job.setup, PROGRAMS],
            f"{evo} reference work {shlex.quote(str(queue))} --idle 01:00:00",
        )
    elif job.workers or (workers and (job.workers_options or job.cores > 1)):
        raise SettingsError(
            f'{directory / "campaign.toml"}: workers need reference.queue, for instance queue = "out/queue"'
        )
    return made


def submit(directory: Path, job: Job) -> list[str]:
    """Write the scripts beside the results and hand them to sbatch; what it says of each."""
    made = scripts(directory, job)
    if shutil.which("sbatch") is None:
        raise SlurmAbsent("sbatch is not here; write the scripts with --print and submit them where Slurm is")
    folder = directory / "out" / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    for name, text in made.items():
        file = folder / f"{name}.sh"
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(["sbatch", str(file.absolute())], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SlurmAbsent(f"sbatch refused {file}: {' '.join(done.stderr.split())[-200:]}")
        said.append(f"{name}: {done.stdout.strip()}")
    return said


def _launcher(launcher: str, ranks: int) -> str:
    """How ranks are started; mpirun is the one beside this Python where there is one, for which mpi4py was built."""
    own = Path(sys.executable).with_name(launcher)
    return f"{shlex.quote(str(own)) if own.exists() else launcher} -n {ranks} "


def _script(options: Sequence[str], setup: Sequence[str], command: str) -> str:
    lines = ["#!/bin/bash", *(f"#SBATCH {o}" for o in options)]
    lines += [f"#SBATCH --signal=B:USR1@{NOTICE}", "#SBATCH --requeue", "#SBATCH --open-mode=append", *setup]
    return (
        "\n".join(lines)
        + f"""
late() {{ sleep {PATIENCE}; scontrol requeue "$SLURM_JOB_ID"; }}
trap '' USR1 # until the program has a handler of its own
{command} & pid=$!
trap 'kill -USR1 $pid; [ -n "$later" ] || {{ late & later=$!; }}' USR1
trap 'kill -TERM $pid' TERM
wait $pid; code=$?
while kill -0 $pid 2>/dev/null; do wait $pid; code=$?; done
if [ -n "$later" ]; then pkill -P $later; kill $later 2>/dev/null; fi
[ $code -eq 75 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code
"""
    )
