"""The same campaign gives the same candidates and the same energies to the last bit, on any ranks, cut anywhere."""

import json
import random
import sqlite3
import time

import pytest

from tests.faults.campaigns import MPIEXEC, SMALL, evo, kill, processes, start, without_seconds, write

CHUNKS = 6
pytestmark = pytest.mark.skipif(not MPIEXEC.exists(), reason="mpiexec of the PyPI wheel is not installed")


def contents(directory):
    """Every result of the store as text (floats in full), without CPU seconds, which are measured."""
    with sqlite3.connect(directory / "out" / "campaign.sqlite") as database:
        rows = database.execute("SELECT key, value FROM results ORDER BY key").fetchall()
    return {key: json.dumps(without_seconds(json.loads(value))) for key, value in rows}


def table(directory):
    return json.loads(evo("results", directory, "--json").stdout)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """One rank, uninterrupted."""
    directory = write(tmp_path_factory.mktemp("straight"), SMALL, chunks=CHUNKS)
    done = evo("run", directory)
    assert done.returncode == 0, done.stderr
    return contents(directory), table(directory)


def test_the_campaign_is_whole(straight):
    results, rows = straight
    kinds = {key.split("/")[0] for key in results}
    assert {"bootstrap", "train", "relax", "reference"} <= kinds
    assert any(row["status"] == "stable" for row in rows)


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_do_not_matter(tmp_path, straight, ranks):
    directory = write(tmp_path / "c", SMALL, chunks=CHUNKS)
    process = start(ranks, "run", directory)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert contents(directory) == straight[0]
    assert table(directory) == straight[1]


@pytest.mark.parametrize("victim", ["mpiexec", "rank"])
def test_kill_9_and_go_on(tmp_path, straight, victim):
    directory = write(tmp_path / "c", SMALL, chunks=CHUNKS)
    rng = random.Random(7)
    for _ in range(4):
        process = start(2, "run", directory)
        for _ in range(rng.randint(1, 9)):  # lines of progress, so that the cuts fall in different stages
            process.stderr.readline()
        if victim == "mpiexec":
            process.kill()
        elif pids := processes(directory):
            kill(rng.choice(pids))
        process.communicate(timeout=60)
        end = time.monotonic() + 10
        while processes(directory) and time.monotonic() < end:
            time.sleep(0.05)
        assert not processes(directory)
    done = evo("run", directory)
    assert done.returncode == 0, done.stderr
    assert contents(directory) == straight[0]
    assert table(directory) == straight[1]


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_drain_and_go_on(tmp_path, straight, signal_name, ranks):
    import signal

    directory = write(tmp_path / "c", SMALL, chunks=CHUNKS)
    process = start(ranks, "run", directory)
    for _ in range(3):
        process.stderr.readline()
    process.send_signal(getattr(signal, signal_name))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "nothing is lost" in err
    done = evo("run", directory)
    assert done.returncode == 0, done.stderr
    assert contents(directory) == straight[0]


def test_walltime_drains(tmp_path):
    directory = write(tmp_path / "c", SMALL, chunks=400)
    done = evo("run", directory, "--walltime", "0:03")
    assert done.returncode == 75, done.stderr
