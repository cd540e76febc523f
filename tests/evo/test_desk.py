"""Memoised tasks: computed once, replayed without a pool, drained without loss."""

import pytest

from evo.desk import Desk, Drained, Unknown
from evo.parallel import SerialPool
from evo.store import Store

CALLS = []


def square(x):
    CALLS.append(x)
    return x * x


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "c.sqlite", writer=True)
    yield opened
    opened.close()


def test_a_task_is_computed_once(store):
    CALLS.clear()
    for _ in range(2):
        desk = Desk(store, SerialPool())
        for x in range(3):
            desk.ask(f"s/{x}", square, x)
        assert [desk.result(f"s/{x}") for x in (2, 0, 1)] == [4, 0, 1]
    assert CALLS == [0, 1, 2]


def test_replay_ends_where_knowledge_ends(store):
    first = Desk(store, SerialPool())
    first.ask("s/1", square, 1)
    first.result("s/1")
    replay = Desk(store, None)
    replay.ask("s/1", square, 1)
    assert replay.result("s/1") == 1
    replay.ask("s/2", square, 2)
    with pytest.raises(Unknown):
        replay.result("s/2")


def test_a_result_nobody_asked_for_is_an_error(store):
    with pytest.raises(KeyError, match="nobody asked"):
        Desk(store, SerialPool()).result("s/1")


def test_drain_keeps_what_was_finished(store):
    stop = []
    desk = Desk(store, SerialPool(), lambda: bool(stop))
    desk.ask("s/1", lambda: stop.append(True) or 1)
    desk.ask("s/2", square, 2)
    with pytest.raises(Drained):
        desk.result("s/2")
    assert store.get("s/1") == 1
    assert store.get("s/2") is None


def test_nothing_is_begun_after_a_stop(store):
    """It may be half an hour of DFT."""
    desk = Desk(store, SerialPool(), lambda: True)
    desk.ask("s/1", square, 1)
    with pytest.raises(Drained):
        desk.result("s/1")
    assert store.get("s/1") is None


def test_what_is_remembered_stays(store):
    desk = Desk(store, SerialPool())
    assert desk.remember("library", "a") == "a"
    assert desk.remember("library", "b") == "a"


def test_what_was_asked_to_end_is_no_result(store):
    """A batch system sends SIGTERM to the programs too; what they did not finish is asked for again."""
    tries, stop = [], []

    def ended(value):
        return value == "ended"

    def task(end):
        tries.append(end)
        stop.extend([True] * (len(tries) == end))
        return "ended"

    desk = Desk(store, SerialPool(), lambda: bool(stop), ended)
    desk.ask("s/1", task, 1)
    with pytest.raises(Drained):
        desk.result("s/1")
    assert store.get("s/1") is None and tries == [1]
    stop.clear()
    desk = Desk(store, SerialPool(), lambda: False, ended)
    desk.ask("s/1", square, 3)
    assert desk.result("s/1") == 9
    tries.clear()
    desk.ask("s/2", task, 0)  # nobody asked us to stop, but somebody ends it every time
    assert desk.result("s/2") == "ended" and tries == [0, 0, 0]
