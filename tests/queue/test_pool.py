"""A pool whose tasks go to a queue: what arrives, what is found again, what is given up."""

from __future__ import annotations

import pytest

from evo.parallel import SerialPool
from evo.queue.directory import MOST_LOST, Queue
from evo.queue.pool import QueuePool, task_name


def far(x):
    raise AssertionError("this is done elsewhere")


def near(x):
    return 10 * x


def describe(function, *arguments):
    return {"x": arguments[0]} if function is far else None


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setattr("evo.queue.pool.WATCH", 0.0)
    monkeypatch.setattr("evo.queue.pool.POLL", 0.001)
    monkeypatch.setattr("evo.queue.pool.SLOWEST_POLL", 0.001)

    def build():
        queue = Queue(tmp_path / "q", "campaign")
        return QueuePool(SerialPool(), queue, describe, lambda record: {"given up": record["x"]}, lease=50.0)

    return build, Queue(tmp_path / "q", "worker")


def test_near_and_far(opened):
    build, worker = opened
    pool = build()
    pool.submit("a/1", far, 1)
    pool.submit("b/2", near, 2)
    assert pool.collect() == [("b/2", 20)]
    assert pool.collect() == []  # nobody works; the caller can be stopped
    task = worker.take()
    assert (task.record, task.name) == ({"x": 1, "lease": 50.0}, task_name("a/1", {"x": 1}))
    worker.hand_in(task, 7)
    assert pool.collect() == [("a/1", 7)]
    assert worker.known() == {task.name}  # kept until the caller has had time to store it
    assert pool.collect() == []
    assert worker.known() == set()


def test_a_stop_leaves_the_task_and_the_next_run_finds_the_result(opened):
    build, worker = opened
    pool = build()
    pool.submit("a/1", far, 1)
    pool.cancel()
    assert pool.collect() == []
    pool.close()
    worker.hand_in(worker.take(), 7)
    again = build()
    again.submit("a/1", far, 1)
    assert worker.take() is None
    assert again.collect() == [("a/1", 7)]


def test_what_somebody_removed_is_posted_again(opened, monkeypatch):
    build, worker = opened
    monkeypatch.setattr("evo.queue.directory.BLINK", 0.0)
    pool = build()
    pool.submit("a/1", far, 1)
    worker.forget(task_name("a/1", {"x": 1}))
    while (task := worker.take()) is None:
        assert pool.collect() == []
    assert task.record["x"] == 1


def test_a_task_that_three_workers_did_not_survive(opened):
    build, worker = opened
    pool = build()
    pool.submit("a/1", far, 1)
    for _ in range(MOST_LOST):
        assert pool.collect() == []
        worker.give_back(worker.take(), lost=True)
    assert pool.collect() == [("a/1", {"given up": 1})]
    assert worker.known() == set()


def test_names_hold_what_is_asked():
    assert task_name("end4/reference/c00001-02", {"x": 1}) != task_name("end4/reference/c00001-02", {"x": 2})
    assert task_name("end4/reference/c00001-02", {"x": 1}).startswith("end4.reference.c00001-02-")
