"""A whole campaign with real DFT, killed twice in the middle and gone on with: at most half an hour of one core, nightly."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time

import pytest

from evo.notes import read_notes
from evo.reference import EngineAbsent
from evo.reference.gpaw import open_gpaw
from tests.faults.campaigns import NETWORK, evo, write
from tests.reference.programs import below, gone

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(4 * 3600)]

# numbers of no use but as cheap as they come: a few points in k, small PAW sets, much smearing
CAMPAIGN = (
    """
[campaign]
seed = 2
[system]
elements = ["Cu", "Pd"]
atoms = [1, 2]
[search]
chunks = 4
chunk_size = 6
symmetric_start = 2
in_flight = 2
[reference]
engine = "gpaw"
every = 2
lag = 1
per_round = 3
max_calls = 16
final_steps = 2
[reference.options]
cutoff = 300.0
kspacing = 0.2
width = 0.3
setups = { Pd = "10" }
seconds = 3600.0
[bootstrap]
max_calls = 40
"""
    + NETWORK
)
MOST_SECONDS = 1800.0  # CPU, of all calls


def results(directory):
    database = directory / "out" / "campaign.sqlite"
    if not database.exists():
        return {}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60) as opened:
        try:
            rows = opened.execute("SELECT key, value FROM results").fetchall()
        except sqlite3.OperationalError:  # it is being made
            return {}
    return {key: json.loads(value) for key, value in rows}


def killed_at(directory, prefix, n):
    """Run until so many results with this prefix are there, kill -9 while DFT runs; nothing may be left. What was there."""
    run = subprocess.Popen(
        [sys.executable, "-m", "evo", "run", str(directory), "--quiet"], stderr=subprocess.PIPE, text=True
    )
    try:
        while sum(key.startswith(prefix) for key in results(directory)) < n:
            assert run.poll() is None, run.communicate()[1]
            time.sleep(0.5)
        while not (processes := below(run.pid)):
            assert run.poll() is None, run.communicate()[1]
            time.sleep(0.05)
    finally:
        run.kill()
        run.communicate()
    assert gone(processes, 30.0)
    return results(directory)


def test_bootstrap_search_dft_and_retraining_through_two_kills(tmp_path):
    try:
        open_gpaw({"setups": {"Pd": "10"}})
    except EngineAbsent as error:
        pytest.skip(f"GPAW is not installed: {error}")
    directory = write(tmp_path / "c", CAMPAIGN)
    first = killed_at(directory, "bootstrap/", 1)
    second = killed_at(directory, "relax/", 2)
    assert set(first) < set(second)
    done = subprocess.run(
        [sys.executable, "-m", "evo", "run", str(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    last = results(directory)
    for before in (first, second):  # nothing was done twice
        assert {key: last[key] for key in before} == before
    assert {"bootstrap", "train", "relax", "reference"} <= {key.split("/")[0] for key in last}
    rows = read_notes(directory)["phases"]
    stable = [row for row in rows if row["status"] == "stable"]
    assert {"Cu", "Pd"} <= {row["formula"] for row in stable}
    assert all(row["energy_reference"] is not None for row in stable)
    labels = [x for key, value in last.items() if key.startswith("bootstrap/") for x in value["labels"]]
    for key, value in last.items():
        name = key.split("/", 1)[-1] if key.startswith("end") else key
        labels += [value] if name.startswith("reference/c") else value if name.startswith("final/") else []
    sound = [x for x in labels if x["failure"] is None]
    assert len(sound) > 0.8 * len(labels)
    assert all(x["seconds"] > 0.5 and x["details"]["k_points"] > 0 for x in sound)
    spent = sum(x["seconds"] for x in sound)
    print(f"{len(sound)} labels, {spent:.0f} CPU s of DFT, {len(labels) - len(sound)} failures")
    assert spent < MOST_SECONDS
    assert evo("results", directory).returncode == 0
