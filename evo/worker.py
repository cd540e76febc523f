"""Worker: does the tasks of a queue one after the other, anywhere that sees the directory (evo/queue).

It may be started before the campaign or after it, and any number of them. A worker that is killed loses its task to another when
the lease is over; one that is asked to stop gives it back at once.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from evo import orders
from evo.labels import ReferenceSpec
from evo.queue.directory import Queue, Task
from evo.settings import ReferenceSection

POLL = 1.0  # s between two looks at a queue without work
TOUCHES = 10  # in a lease


class Stopped(BaseException):
    """The worker was asked to stop at once; no engine may take it for a failure of a crystal."""


def work(
    directory: Path,
    section: ReferenceSection | None,
    *,
    walltime: float | None,
    idle: float | None,
    say: Callable[[str], None],
) -> bool:
    """Work until nothing has been to do for `idle` seconds, or until asked to stop; whether the queue's campaigns have finished.

    SIGTERM, SIGINT and the end of `walltime` (s) give the task under way back; SIGUSR1 lets it end first. The options in
    `section` take the place of those of the tasks, for a program that is elsewhere here or is started in another way; a
    method that differs is refused. Whatever brings the worker down counts against the task.
    """
    queue = Queue(directory, "worker")
    with _stoppable(walltime) as stop:
        try:
            last = time.monotonic()
            while not stop.asked:
                for name in queue.take_back():
                    say(f"{name}: its worker is lost, it waits again")
                task = queue.take()
                if task is not None:
                    _do(queue, task, section, stop, say)
                    last = time.monotonic()
                elif idle is not None and time.monotonic() - last > idle:
                    return queue.finished()
                else:
                    queue.touch()
                    with stop.interruptible():
                        time.sleep(POLL)
        except Stopped:
            pass
        finally:
            queue.leave()
    return False


def _do(queue: Queue, task: Task, section: ReferenceSection | None, stop: _Stop, say: Callable[[str], None]) -> None:
    """Perform one task and hand its result in, or give it back."""
    say(f"{task.name}: begun")
    start = time.monotonic()
    try:
        with _touching(queue, task), stop.interruptible():
            value = orders.perform(task.record, queue.path, lambda spec: adapted(spec, section))
    except Stopped:
        queue.give_back(task)
        say(f"{task.name}: given back")
        raise
    except Exception as error:
        # a reference that cannot be had here (it says so by its exit code), or a full disk, says nothing against the task
        queue.give_back(task, lost=not (hasattr(error, "exit_code") or isinstance(error, OSError)))
        raise
    try:
        queue.hand_in(task, value)
    except OSError:  # a full disk says nothing against the task
        queue.give_back(task)
        raise
    say(f"{task.name}: done in {time.monotonic() - start:.1f} s")


def adapted(spec: ReferenceSpec, section: ReferenceSection | None) -> ReferenceSpec:
    """The same reference with the options of this machine on top."""
    if section is None or not section.options:
        return spec
    asked: dict[str, Any] = json.loads(spec.section)
    asked["options"] = {**asked["options"], **section.options}
    return replace(spec, section=json.dumps(asked, sort_keys=True))


@contextmanager
def _touching(queue: Queue, task: Task) -> Iterator[None]:
    """The task is touched by a thread while it is worked on; a process that is stopped or hangs touches no more."""
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(task.lease / TOUCHES):
            if not queue.touch(task):
                return  # taken for lost; what comes out is handed in all the same if nobody was faster

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Stop:
    """Whether the worker was asked to stop: now, or after its task."""

    def __init__(self) -> None:
        self.asked = False
        self._now = False
        self._running = False

    def ask(self, number: int, _: object) -> None:
        self.asked = True
        if number != signal.SIGUSR1:
            self._now = True
            if self._running:
                self._running = False
                raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What is done here may end at any moment; elsewhere files are being moved."""
        self._running = True
        try:
            if self._now:
                raise Stopped
            yield
        finally:
            self._running = False


@contextmanager
def _stoppable(walltime: float | None) -> Iterator[_Stop]:
    """Signals, and the clock, ask to stop."""
    stop = _Stop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM)
    before = {number: signal.signal(number, stop.ask) for number in numbers}
    if walltime is not None:
        signal.setitimer(signal.ITIMER_REAL, walltime)
    try:
        yield stop
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)
