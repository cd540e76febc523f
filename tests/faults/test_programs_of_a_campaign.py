"""Programs of the reference that a batch system ends, or that are broken: no crystal is blamed for that."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.faults.campaigns import evo, write
from tests.reference.programs import PRETENDER, below, gone, wait_for

CAMPAIGN = """
[system]
elements = ["Cu", "Pd"]
atoms = [1, 3]
[search]
chunks = 3
chunk_size = 6
in_flight = 1
[network]
library = "cu-pd-ag-pbe"
[reference]
engine = "gpaw"
every = 1
lag = 1
per_round = 3
max_calls = 30
final_steps = 0
[reference.options]
command = {command}
pulay = {{ Cu = 0.1, Pd = 0.1 }}
"""


@pytest.fixture
def campaign(tmp_path):
    """Writes the campaign with a pretender of this mode as its program."""

    def written(mode):
        (tmp_path / "pretender.py").write_text(PRETENDER)
        command = json.dumps([sys.executable, str(tmp_path / "pretender.py"), mode])
        return write(tmp_path / "c", CAMPAIGN.format(command=command))

    return written


def told(directory):
    """What the reference said of each crystal: its failure, or None."""
    with sqlite3.connect(directory / "out" / "campaign.sqlite") as database:
        rows = database.execute("SELECT key, value FROM results").fetchall()
    return {key: json.loads(value)["failure"] for key, value in rows if "reference/c" in key}


def test_a_broken_program_ends_the_campaign_and_is_asked_again(campaign):
    directory = campaign("silent")
    done = evo("run", directory, "--quiet")
    assert done.returncode == 69, done.stderr
    assert re.search(r"the reference crashed \d times in a row.*asks again", done.stderr.splitlines()[-1])
    assert set(map(str, told(directory).values())) <= {"None"}
    campaign("good")
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    assert len(told(directory)) >= 5 and set(map(str, told(directory).values())) == {"None"}


def test_sigterm_to_every_process_of_the_job_loses_the_call_and_blames_no_crystal(campaign, tmp_path):
    """As a batch system sends it when the time of a job is over."""
    directory, mark = campaign("hangs"), tmp_path / "mark"
    run = subprocess.Popen(
        [sys.executable, "-m", "evo", "run", str(directory), "--quiet"],
        env=os.environ | {"MARK": str(mark)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(mark)
        everyone = [run.pid, *below(run.pid)]
        for process in everyone:
            os.kill(process, signal.SIGTERM)
        _, words = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 75, words
    assert gone(everyone, 30.0) and told(directory) == {}
    campaign("good")
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    assert told(directory) and set(map(str, told(directory).values())) == {"None"}
