"""The reference elsewhere: workers that are killed, stopped, cannot, or die of a crystal; the campaign ends all the same."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from ase.build import bulk

from evo import labels, orders
from evo.candidate import atoms_to_json
from evo.notes import read_notes
from evo.queue import files
from evo.queue.directory import Queue
from evo.settings import ReferenceSection
from tests.faults.campaigns import SMALL, evo, write
from tests.reference.programs import PRETENDER, below, gone, wait_for

# EMT, except that it takes its time, kills whoever asks about CuPd, and does not converge where two atoms are alike
SLOW = """
import os, time
import numpy as np
from ase.calculators.emt import EMT

class Slow(EMT):
    def __init__(self, seconds=0.0, kills=0, fails=0):
        super().__init__()
        self.given = seconds, kills, fails

    def calculate(self, atoms=None, *rest):
        seconds, kills, fails = self.given
        if seconds:
            time.sleep(seconds)
        counts = [int((atoms.numbers == z).sum()) for z in (29, 46)]
        if kills and counts[0] == counts[1]:
            os.abort()
        if fails and max(counts) == 2:
            raise RuntimeError("SCF did not converge")
        super().calculate(atoms, *rest)
"""

CAMPAIGN = """
[campaign]
seed = 4
[system]
elements = ["Cu", "Pd"]
atoms = [1, 3]
[search]
chunks = 4
chunk_size = 4
symmetric_start = 2
[relax]
engine = "ase"
calculator = "ase.calculators.emt:EMT"
[reference]
engine = "ase"
calculator = "slow:Slow"
options = {{ {options} }}
every = 2
lag = 1
per_round = 3
max_calls = 16
final_steps = 2
{queue}
"""
QUEUE = 'queue = "out/queue"\nlease = 3.0'


def campaign(directory, options, queue=QUEUE):
    write(directory, CAMPAIGN.format(options=options, queue=queue))
    (directory / "slow.py").write_text(SLOW)
    return directory


def started(*arguments, **environment):
    """`evo` as the leader of a session of its own, as on another machine."""
    command = [sys.executable, "-m", "evo", *map(str, arguments)]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, **environment}
    )


def worker(directory, *options, **environment):
    return started("reference", "work", directory / "out" / "queue", *options, **environment)


def ended(process, seconds=200):
    _, words = process.communicate(timeout=seconds)
    return process.returncode, words


def stored(directory):
    """What the reference said, by key, without what is measured."""
    with sqlite3.connect(directory / "out" / "campaign.sqlite") as database:
        rows = database.execute("SELECT key, value FROM results ORDER BY key").fetchall()
    kept = {key: without_seconds(json.loads(value)) for key, value in rows}
    return {key: value for key, value in kept.items() if key != "reference/about"}


def without_seconds(value):
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def hull(directory):
    return read_notes(directory)["phases"]


def holder(directory, among):
    """Process id of a worker that has just taken a task."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for file in (directory / "out" / "queue" / "taken").glob("*.json"):
            process = int(file.stem.split("-")[-2])
            if process in among:
                return process
        time.sleep(0.01)
    raise AssertionError("no worker took a task")


def test_a_killed_worker_changes_nothing(tmp_path):
    """Without a queue, and with two workers of which one, started before the campaign, is killed while it holds a task."""
    plain = campaign(tmp_path / "plain", "", queue="")
    assert evo("run", plain, "--quiet").returncode == 0
    directory = campaign(tmp_path / "c", "seconds = 0.15")
    workers = [worker(directory)]
    run = started("run", directory, "--quiet")
    workers.append(worker(directory))
    try:
        victim = next(w for w in workers if w.pid == holder(directory, {w.pid for w in workers}))
        os.killpg(victim.pid, signal.SIGKILL)
        code, words = ended(run)
        assert code == 0, words
        (other,) = [w for w in workers if w is not victim]
        other.terminate()
        code, words = ended(other)
        assert code == 75
        assert "its worker is lost, it waits again" in words or "done" in words
        assert ended(victim)[0] == -signal.SIGKILL
    finally:
        for process in (run, *workers):
            process.kill()
            process.communicate()
    kept = ("reference/", "final/")
    assert any(key.split("/", 1)[-1].startswith(kept) or key.startswith(kept) for key in stored(directory))
    crystals = {k: v for k, v in stored(directory).items() if not k.startswith("reference/method")}
    assert crystals == {k: v for k, v in stored(plain).items() if not k.startswith("reference/method")}
    same = [[{k: v for k, v in row.items() if k != "id"} for row in hull(d)] for d in (plain, directory)]
    assert same[0] == same[1]
    queue = directory / "out" / "queue"
    assert [f for part in ("waiting", "taken", "done") for f in (queue / part).iterdir()] == []


def test_a_crystal_that_kills_is_given_up_after_three_workers(tmp_path):
    """And one that does not converge has no energy; the campaign ends, neither is called stable."""
    directory = campaign(tmp_path / "c", "kills = 1, fails = 1")
    run = started("run", directory, "--quiet")
    deaths = 0
    try:
        while run.poll() is None:
            one = worker(directory, "--idle", "00:01")
            code, words = ended(one)
            assert code in (0, 75, -signal.SIGABRT), words  # 75: nothing to do, and the campaign has not finished
            deaths += code == -signal.SIGABRT
        assert ended(run)[0] == 0
    finally:
        run.kill()
        run.communicate()
    found = [v for k, v in stored(directory).items() if "reference/c" in k]
    killers = [v for v in found if v["failure"] == ["crashed", "3 workers were lost with it"]]
    assert killers and all(sorted(v["crystal"]["numbers"]) == [29, 46] for v in killers)
    assert deaths == 3 * len(killers)
    unconverged = [v for v in found if v["failure"] is not None and v["failure"][0] == "unconverged"]
    assert unconverged and all(len(v["crystal"]["numbers"]) > 1 for v in unconverged)
    for row in hull(directory):
        assert row["status"] != "stable" or row["n_atoms"] == 1 or row["formula"] not in ("CuPd", "Cu2Pd", "CuPd2")


DEADLY = """
import os
from pathlib import Path
from ase.calculators.emt import EMT

class Deadly(EMT):
    def calculate(self, atoms=None, *rest):
        if Path(__file__).with_name("down").exists() and len(set(atoms.numbers)) == 2:
            os.abort()
        super().calculate(atoms, *rest)
"""


def test_a_bootstrap_that_kills_ends_the_campaign_and_is_asked_again(tmp_path):
    text = SMALL.replace("[reference]\n", f'[reference]\nengine = "ase"\ncalculator = "deadly:Deadly"\n{QUEUE}\n')
    directory = write(tmp_path / "c", text.replace("max_calls = 60", "max_calls = 30"), chunks=1)
    (directory / "deadly.py").write_text(DEADLY)
    (directory / "down").touch()
    code, words = with_workers(directory)
    assert code == 69, words
    assert "the reference crashed for all" in words and "crystals of CuPd in the bootstrap" in words
    assert "3 workers were lost with it" in words and "asks again" in words
    (directory / "down").unlink()
    code, words = with_workers(directory)
    assert code == 0, words


def with_workers(directory):
    """How `evo run` ends, and what it says; there is always one worker, however many are lost."""
    run = started("run", directory, "--quiet")
    try:
        while run.poll() is None:
            code, words = ended(worker(directory, "--idle", "00:01"))
            assert code in (0, 75, -signal.SIGABRT), words
        return ended(run)
    finally:
        run.kill()
        run.communicate()


def slug(mode):
    return f"{mode.replace(' ', '-')}-1"


@pytest.fixture
def posted(tmp_path):
    """A single point that waits in a queue, by an engine whose program behaves as its mode says; and what it says in the end."""
    program = tmp_path / "pretender.py"
    program.write_text(PRETENDER)
    (tmp_path / "out").mkdir()
    queue = Queue(tmp_path / "out" / "queue", "campaign")

    def post(mode, method="", command=None, **options):
        (tmp_path / f"{mode}.toml").write_text(settings(mode, command))
        section = ReferenceSection(engine="gpaw", options={"command": command or there(mode), "seconds": 60, **options})
        spec = labels.ReferenceSpec(labels.spec_of(section, str(tmp_path)).section, str(tmp_path), method)
        record = orders.describe(queue.path, labels.single_point, spec, atoms_to_json(bulk("Cu")), "")
        queue.post(slug(mode), record | {"lease": 2.0})
        return queue

    def there(mode):
        return [sys.executable, str(program), mode]

    def settings(mode, command):
        return f"[reference]\noptions = {{ command = {json.dumps(command or there(mode))} }}\n"

    return post


MODES = {"no mercy": "unconverged", "text": "garbage", "killed": "crashed", "hangs": "timeout", "good": None}


def test_what_an_engine_does_to_a_worker(posted, tmp_path):
    """One worker outlives them all."""
    for mode in MODES:
        queue = posted(mode, seconds=3.0 if mode == "hangs" else 60.0)
    code, words = ended(worker(tmp_path, "--idle", "00:01", MARK=str(tmp_path / "mark")))
    assert code == 75, words  # whoever posted these has not said that there will be no more
    for mode, reason in MODES.items():
        failure = queue.result(slug(mode))["failure"]
        assert failure == reason if reason is None else failure[0] == reason
    assert gone([int(p) for p in wait_for(tmp_path / "mark").split()], 1.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_ends_with_its_engine_and_another_does_the_task(posted, tmp_path, number):
    queue = posted("hangs")
    posted("good").forget("good-1")  # good.toml is left, which starts the program in another way
    first = worker(tmp_path, MARK=str(tmp_path / "mark"))
    try:
        wait_for(tmp_path / "mark")
        processes = below(first.pid)
        assert len(processes) >= 3
        first.send_signal(number)
        code, words = ended(first)
        assert code == (75 if number == signal.SIGTERM else -number), words
    finally:
        first.kill()
        first.communicate()
    assert gone(processes, 15.0)
    second = worker(tmp_path, "--settings", tmp_path / "good.toml", "--idle", "00:04")
    queue.begin("one")
    queue.finish("one")
    code, words = ended(second)
    assert code == 0, words
    assert ("its worker is lost" in words) == (number == signal.SIGKILL)
    assert queue.result("hangs-1")["energy"] == -3.5


def test_a_worker_may_not_change_what_labels_depend_on(tmp_path):
    (tmp_path / "here.toml").write_text("[reference.options]\ncutoff = 300.0\n")
    code, words = ended(worker(tmp_path, "--settings", tmp_path / "here.toml"))
    assert code == 64
    assert "`cutoff` is the campaign's; a worker's own are command, launcher" in words


def test_status_says_how_far_the_bootstrap_is_and_who_works(tmp_path):
    directory = campaign(tmp_path / "c", "seconds = 1.0")
    file = directory / "campaign.toml"
    networks = file.read_text().replace('[relax]\nengine = "ase"\ncalculator = "ase.calculators.emt:EMT"\n', "")
    file.write_text(networks + "\n[bootstrap]\nmax_calls = 30\n")
    run = started("run", directory, "--quiet")
    one = worker(directory)
    try:
        said = told(directory)
        assert said.splitlines()[0].startswith("bootstrap 0/")
        assert said.splitlines()[1].startswith("queue out/queue: 1 workers there, 1 tasks with them, ")
    finally:
        for process in (run, one):
            process.kill()
            process.communicate()


def told(directory):
    """What `evo status` says once the bootstrap has begun."""
    end = time.monotonic() + 120
    while "1 tasks with them" not in (said := evo("status", directory).stdout) or "bootstrap" not in said:
        assert time.monotonic() < end, said
    return said


def test_walltime_gives_the_task_back(posted, tmp_path):
    queue = posted("hangs")
    one = worker(tmp_path, "--walltime", "00:03", MARK=str(tmp_path / "mark"))
    code, words = ended(one)
    assert code == 75
    assert "given back" in words or not (tmp_path / "mark").exists()
    task = queue.take()
    assert task is not None
    assert task.lost == 0


def test_usr1_lets_the_task_end(tmp_path):
    queue = Queue(tmp_path / "out" / "queue", "campaign")
    (tmp_path / "slow.py").write_text(SLOW)
    section = ReferenceSection(engine="ase", calculator="slow:Slow", options={"seconds": 1.5})
    spec = labels.spec_of(section, str(tmp_path))
    for n in range(3):
        record = orders.describe(queue.path, labels.single_point, spec, atoms_to_json(bulk("Cu", a=3.6 + n)), "")
        queue.post(f"t-{n}", record | {"lease": 60.0})
    one = worker(tmp_path)
    holder(tmp_path, {one.pid})
    one.send_signal(signal.SIGUSR1)
    code, words = ended(one)
    assert code == 75
    assert words.count("done in") == 1
    assert queue.counts()["waiting"] == 2


def test_a_worker_that_cannot_says_so_and_leaves_the_task(posted, tmp_path):
    queue = posted("good", command=["no-such-python"])
    code, words = ended(worker(tmp_path))
    assert code == 69
    assert words.strip().splitlines()[-1].startswith("evo: no-such-python is not here; install GPAW")
    queue.forget("good-1")
    posted("good", method="ref:000000000000")
    code, words = ended(worker(tmp_path))
    assert code == 65
    assert "the campaign began with ref:000000000000; energies of two methods cannot be mixed" in words
    task = queue.take()
    assert task is not None
    assert task.lost == 0


def test_a_program_of_another_version_ends_a_campaign_that_goes_on(tmp_path):
    directory = campaign(tmp_path / "c", "", queue="")
    assert evo("run", directory, "--quiet", "--walltime", "00:00").returncode == 75
    with sqlite3.connect(directory / "out" / "campaign.sqlite") as database:  # something has been worked out
        database.execute("INSERT INTO results (key, value) VALUES ('bootstrap/0', '{}')")
    (directory / "slow.py").write_text(SLOW + "\n# another version\n")
    done = evo("run", directory, "--quiet")
    assert done.returncode == 65
    assert "this campaign began with ref:" in done.stderr


def test_a_result_that_comes_while_we_look_is_kept(tmp_path, monkeypatch):
    """A file that was not there when it was read may be there a moment later: it is not a damaged one."""
    queue, file = Queue(tmp_path, "campaign"), tmp_path / "done" / "a.json"
    looked = files.content_of

    def late(asked):
        found = looked(asked)
        files.write(file, {"value": 7, "worker": "w"}, "w")
        return found

    monkeypatch.setattr(files, "content_of", late)
    assert queue.result("a") is None
    monkeypatch.undo()
    assert queue.result("a") == 7
    file.write_text("damaged")
    assert queue.result("a") is None and not file.exists()
