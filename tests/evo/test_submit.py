"""Scripts for Slurm: what they ask for, and that they do what Slurm needs of them. sbatch and scontrol are stood in for."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evo.settings import SettingsError
from evo.submit import PATIENCE, Job, SlurmAbsent, scripts, submit
from tests.faults.campaigns import BY_EMT, evo, processes, write

QUEUE = '\n[reference]\nengine = "emt"\nqueue = "out/queue"\n'


@pytest.fixture
def with_queue(tmp_path):
    return write(tmp_path / "a b", BY_EMT.replace('\n[reference]\nengine = "none"\n', QUEUE), chunks=1)


def test_both_scripts(with_queue):
    job = Job(ranks=4, workers=8, cores=32, time="12:00:00", ranks_options=["--gres=gpu:4"], setup=["module load vasp"])
    made = scripts(with_queue, job)
    assert list(made) == ["ranks", "workers"]
    for line in ("#SBATCH --ntasks=4", "#SBATCH --gres=gpu:4", "#SBATCH --time=12:00:00", "module load vasp"):
        assert f"\n{line}\n" in made["ranks"]
    assert (
        f"mpirun -n 4 {evo.__globals__['sys'].executable} -m evo run '{with_queue}' --quiet & pid=$!" in made["ranks"]
    )
    for line in ("#SBATCH --array=1-8", "#SBATCH --ntasks=32", "#SBATCH --signal=B:USR1@600", "#SBATCH --requeue"):
        assert f"\n{line}\n" in made["workers"]
    assert f"-m evo reference work '{with_queue}/out/queue' --idle" in made["workers"]
    assert "\n#SBATCH --job-name=evo-a-b\n" in made["ranks"]  # sbatch cuts its lines at blanks
    mpirun = Path(sys.executable).with_name("mpirun")
    assert f"\n{mpirun if mpirun.exists() else 'mpirun'} -n 4 " in made["ranks"]  # whatever PATH a job has
    assert "gpu" not in made["workers"]
    assert "srun -n 4 " in scripts(with_queue, Job(ranks=4, launcher="srun"))["ranks"]
    for text in made.values():
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_without_a_queue_there_are_no_workers(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    assert list(scripts(directory, Job())) == ["ranks"]
    with pytest.raises(SettingsError, match=r'workers need reference.queue, for instance queue = "out/queue"'):
        scripts(directory, Job(workers_options=["--partition=cpu"]))
    for asked in (["--workers", "3"], ["--workers", "1"], ["--cores", "8"]):
        done = evo("submit", directory, "--print", *asked)
        assert done.returncode == 64 and done.stdout == ""
        assert "workers need reference.queue" in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_is_wrong_is_told(with_queue):
    with pytest.raises(SettingsError, match="one word such as --gres=gpu:1, got '--x\\\\nrm'"):
        scripts(with_queue, Job(ranks_options=["--x\nrm"]))
    with pytest.raises(SettingsError, match="--launcher must be mpirun or srun, got 'aprun'"):
        scripts(with_queue, Job(launcher="aprun"))
    with pytest.raises(SettingsError, match="--time must be HH:MM:SS or MM:SS, got '1 day'"):
        scripts(with_queue, Job(time="1 day"))
    with pytest.raises(
        SettingsError, match="--time must be at least 20 minutes, got 00:15:00; jobs are told 10 minutes"
    ):
        scripts(with_queue, Job(time="00:15:00"))


def stand_in(folder, name, body):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


def test_submitting(with_queue, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(SlurmAbsent, match="sbatch is not here; write the scripts with --print"):
        submit(with_queue, Job())
    stand_in(tmp_path / "bin", "sbatch", 'head -1 "$1" | grep -q bash && echo "Submitted batch job 7"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert submit(with_queue, Job()) == ["ranks: Submitted batch job 7", "workers: Submitted batch job 7"]
    stand_in(tmp_path / "bin", "sbatch", "echo invalid partition >&2; exit 1")
    with pytest.raises(SlurmAbsent, match=r"sbatch refused .*ranks.sh: invalid partition"):
        submit(with_queue, Job())


def test_a_job_that_is_told_to_end_is_put_back(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=400)
    stand_in(tmp_path / "bin", "scontrol", f'echo "$@" > "{tmp_path}/told"')
    done = evo("submit", directory, "--print", "--ranks-option=--qos=x")
    assert done.returncode == 0, done.stderr
    name, _, text = done.stdout.partition("\n")
    assert name == "#### ranks.sh"
    script = tmp_path / "ranks.sh"
    script.write_text(text)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "42"}
    job = subprocess.Popen(["bash", str(script)], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        database = directory / "out" / "campaign.sqlite"
        end = time.monotonic() + 120
        while not database.exists() and time.monotonic() < end:  # its handlers are in place before that
            time.sleep(0.05)
        job.send_signal(signal.SIGUSR1)  # as Slurm does, to the script alone
        _, words = job.communicate(timeout=150)
    finally:
        job.kill()
        for process in processes(directory):
            os.kill(process, signal.SIGKILL)
    assert job.returncode == 75, words
    assert (tmp_path / "told").read_text() == "requeue 42\n"


def test_a_job_that_does_not_end_in_time_is_put_back_all_the_same(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    stand_in(tmp_path / "bin", "scontrol", f'echo "$@" > "{tmp_path}/told"')
    text = scripts(directory, Job())["ranks"]
    begun = tmp_path / "begun"
    program = (
        f"import signal, time; signal.signal(signal.SIGUSR1, signal.SIG_IGN); open({str(begun)!r}, 'w'); time.sleep(20)"
    )
    deaf = f"{sys.executable} -c {shlex.quote(program)}"
    text = re.sub(r"(?m)^.* & pid=\$!$", lambda _: f"{deaf} & pid=$!", text).replace(f"sleep {PATIENCE}", "sleep 0.2")
    script = tmp_path / "ranks.sh"
    script.write_text(text)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "43"}
    job = subprocess.Popen(["bash", str(script)], env=environment)
    try:
        end = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.05)
        job.send_signal(signal.SIGUSR1)
        while not (tmp_path / "told").exists() and time.monotonic() < end and job.poll() is None:
            time.sleep(0.05)
        assert job.poll() is None  # its program goes on until Slurm ends it
        time.sleep(0.2)
        assert (tmp_path / "told").read_text() == "requeue 43\n"
    finally:
        job.terminate()  # passed on to the program
        job.communicate(timeout=30)
