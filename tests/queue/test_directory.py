"""A directory as a queue: every task is taken by one worker, comes back when that worker is lost, and is done once."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from evo.queue.directory import MOST_LOST, Queue

RECORD = {"what": [1, 2.5], "lease": 0.5}


@pytest.fixture
def place(tmp_path):
    return tmp_path / "queue"


def test_from_hand_to_hand(place):
    boss, worker = Queue(place, "campaign"), Queue(place, "worker")
    boss.post("a-1", RECORD)
    boss.post("a-1", RECORD)
    task = worker.take()
    assert task is not None
    assert (task.name, task.lost, task.record) == ("a-1", 0, RECORD)
    assert worker.take() is None
    boss.post("a-1", RECORD)  # it is under way
    assert worker.take() is None
    assert boss.result("a-1") is None
    assert boss.counts() == {"waiting": 0, "taken": 1, "done": 0, "workers": 1}
    worker.hand_in(task, {"energy": -1.5})
    assert boss.result("a-1") == {"energy": -1.5}
    boss.post("a-1", RECORD)  # it is done
    assert worker.take() is None
    boss.forget("a-1")
    assert boss.known() == set()
    worker.leave()
    assert boss.counts()["workers"] == 0


def test_many_workers_one_winner(place):
    boss = Queue(place, "campaign")
    for n in range(20):
        boss.post(f"t-{n}", RECORD)
    workers = [Queue(place, f"worker-{n}") for n in range(8)]

    def drain(worker):
        found = []
        while (task := worker.take()) is not None:
            found.append(task.name)
        return found

    with ThreadPoolExecutor(8) as threads:
        taken = [name for names in threads.map(drain, workers) for name in names]
    assert sorted(taken) == sorted(f"t-{n}" for n in range(20))


def test_the_oldest_first(place):
    boss, worker = Queue(place, "campaign"), Queue(place, "worker")
    for n, name in enumerate(["c-1", "a-1", "b-1"]):
        boss.post(name, RECORD)
        os.utime(place / "waiting" / f"{name}~0.json", (1000 + n, 1000 + n))
    assert [worker.take().name for _ in range(3)] == ["c-1", "a-1", "b-1"]


def test_a_task_that_waited_long_is_not_taken_for_lost(place):
    """Its file is old, its lease begins when it is taken."""
    boss, worker = Queue(place, "campaign"), Queue(place, "worker")
    boss.post("a-1", RECORD)
    os.utime(place / "waiting" / "a-1~0.json", (1000, 1000))
    assert worker.take() is not None
    assert boss.take_back() == []


def test_a_lost_worker(place):
    boss, worker, other = Queue(place, "campaign"), Queue(place, "worker"), Queue(place, "worker")
    boss.post("a-1", RECORD)
    task = worker.take()
    assert task is not None
    time.sleep(0.3)
    assert worker.touch(task)
    time.sleep(0.3)
    assert boss.take_back() == []  # it was touched within the lease
    time.sleep(0.4)
    assert boss.take_back() == ["a-1"]
    assert not worker.touch(task)
    again = other.take()
    assert again is not None
    assert again.lost == 1
    # the worker was only asleep: what it brings is as good, and nobody does it a third time
    worker.hand_in(task, "early")
    assert boss.result("a-1") == "early"
    other.hand_in(again, "late")
    boss.forget("a-1")
    other.hand_in(again, "later still")  # known to nobody any more
    assert boss.known() == set()


def test_given_back_on_request_does_not_count(place):
    boss, worker = Queue(place, "campaign"), Queue(place, "worker")
    boss.post("a-1", RECORD)
    for lost in range(MOST_LOST):
        task = worker.take()
        worker.give_back(task)
        task = worker.take()
        assert task.lost == lost
        assert not boss.poisoned()
        worker.give_back(task, lost=True)
    assert worker.take() is None
    assert [t.name for t in boss.poisoned()] == ["a-1"]


def test_damaged_files_are_no_tasks_and_no_results(place):
    boss, worker = Queue(place, "campaign"), Queue(place, "worker")
    boss.post("a-1", RECORD)
    file = place / "waiting" / "a-1~0.json"
    content = file.read_bytes()
    for broken in (b"", content[:-5], content.replace(b"2.5", b"3.5"), b"{}"):
        file.write_bytes(broken)
        assert worker.take() is None
        assert not file.exists()
    boss.post("a-1", RECORD)
    worker.hand_in(worker.take(), [1.0, float("nan")])
    file = place / "done" / "a-1.json"
    file.write_bytes(file.read_bytes()[:-3])
    assert boss.result("a-1") is None
    assert not file.exists()


def test_what_was_removed_is_noticed_but_not_at_once(place, monkeypatch):
    boss = Queue(place, "campaign")
    boss.post("a-1", RECORD)
    (place / "waiting" / "a-1~0.json").unlink()
    assert boss.vanished({"a-1"}) == set()
    monkeypatch.setattr("evo.queue.directory.BLINK", 0.0)
    assert boss.vanished({"a-1"}) == {"a-1"}
    boss.post("a-1", RECORD)
    assert boss.vanished({"a-1"}) == set()


def test_a_queue_has_finished_when_all_its_campaigns_have(place):
    """A worker that ends earlier is wanted again."""
    boss, other = Queue(place, "campaign"), Queue(place, "campaign")
    assert not boss.finished()  # none has begun
    boss.begin("one")
    other.begin("two")
    boss.begin("one")  # again, after a stop
    boss.finish("one")
    assert not boss.finished()
    other.finish("two")
    assert boss.finished() and Queue(place, "worker").finished()
