"""QueuePool: a pool of ranks, some of whose tasks are done by workers elsewhere, through a directory."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

from evo.parallel import Pool, Results
from evo.queue.directory import Queue

POLL = 0.2  # s between two looks at the directory at first
SLOWEST_POLL = 5.0  # s, when nothing has come for long
WATCH = 2.0  # s between two searches for tasks whose worker is lost

Record = dict[str, Any]


class QueuePool:
    """Tasks that `describe` has a record of go to the queue, all others to the pool of ranks.

    `give_up(record)` is the result of a task with which too many workers were lost. A task is known by what its record says, so
    one that was posted before a stop is found again, and its result with it. `lease`: seconds, see directory.py. `campaign`: its
    name in the directory until it has finished.
    """

    def __init__(
        self,
        ranks: Pool,
        queue: Queue,
        describe: Callable[..., Record | None],
        give_up: Callable[[Record], Any],
        lease: float,
        campaign: str = "campaign",
    ) -> None:
        self.size = ranks.size
        self._campaign = campaign
        queue.begin(campaign)
        self._lease = lease
        self._ranks, self._queue = ranks, queue
        self._describe, self._give_up = describe, give_up
        self._waiting: dict[str, tuple[str, Record]] = {}  # key and record by the task's name in the queue
        self._handed: list[str] = []  # given to the caller, who stores it before asking again
        self._watched = 0.0
        self._quiet = POLL

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        record = self._describe(function, *arguments)
        if record is None:
            self._ranks.submit(key, function, *arguments)
            return
        name = task_name(key, record)
        self._waiting[name] = key, record
        self._queue.post(name, record | {"lease": self._lease})

    def attach(self, stopped: Callable[[], bool], keep: Callable[[Results], None]) -> None:
        self._ranks.attach(stopped, keep)

    def collect(self) -> Results:
        """Results of the ranks or of the workers; nothing after a while without any, so that the caller can be stopped."""
        for name in self._handed:
            self._queue.forget(name)
        self._handed = []
        found = self._arrived()
        if found:
            self._quiet = POLL
            return found
        found = self._ranks.collect()
        if not found and self._waiting:
            time.sleep(self._quiet)
            self._quiet = min(1.2 * self._quiet, SLOWEST_POLL)
        return found

    def cancel(self) -> None:
        """Forget what ranks have not begun, and wait no more for the queue: workers go on, the next run finds what they did."""
        self._ranks.cancel()
        self._waiting.clear()

    def close(self) -> None:
        self.leave()
        self._ranks.close()

    def finish(self) -> None:
        """There will be no more tasks: workers that wait for some may go."""
        self._queue.finish(self._campaign)

    def leave(self) -> None:
        """Take no part in the queue any more; the ranks stay."""
        self._queue.leave()

    def _arrived(self) -> Results:
        found: dict[str, Any] = {}
        for name in self._waiting.keys() & self._queue.known():
            value = self._queue.result(name)
            if value is not None:
                found[name] = value
        if time.monotonic() - self._watched > WATCH:
            self._watched = time.monotonic()
            found |= self._watch()
        self._handed = sorted(found)
        return [(self._waiting.pop(name)[0], found[name]) for name in self._handed]

    def _watch(self) -> dict[str, Any]:
        """Tasks of lost workers go back, those that were removed are posted again, those that kill are given up."""
        self._queue.take_back()
        for name in self._queue.vanished(set(self._waiting)):
            self._queue.post(name, self._waiting[name][1] | {"lease": self._lease})
        given_up = {}
        for task in self._queue.poisoned():
            if task.name in self._waiting:
                self._queue.forget(task.name)
                given_up[task.name] = self._give_up(task.record)
        return given_up


def task_name(key: str, record: Record) -> str:
    """The key as far as a file's name can hold it, and 12 hex digits of what the record says."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9.-]', '.', key)}-{digest}"
