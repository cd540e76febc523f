"""Queue: tasks and results as files in one directory, for processes on any machines that see it. No server, no locks.

    waiting/NAME~K.json         a task that nobody works on; K workers were lost with it before
    taken/NAME~K@WORKER.json    the same file while WORKER works on it and touches it
    done/NAME.json              its result
    present/WORKER              touched by everybody who takes part
    open/CAMPAIGN               from the first run of a campaign to its end, running or not

A task moves by a rename, which one process alone can win. Whoever touches its file no more for the task's *lease* (network file
systems show a touch up to a minute late) is taken for lost, and anybody moves the file back. So a task may be done twice, when a
worker was only asleep; its result is a function of the task alone, and whoever waits for it takes it once.
A file appears by a rename and is never changed (files.py).
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo.queue import files

MOST_LOST = 3  # workers; then it is the task
WAITING, TAKEN, DONE, PRESENT, OPEN = "waiting", "taken", "done", "present", "open"
NAME = re.compile(r"(?P<name>[A-Za-z0-9.-]+)~(?P<lost>\d+)(?:@(?P<worker>[A-Za-z0-9.-]+))?\.json")
FORGOTTEN = 86400.0  # s after which somebody who has said nothing is no more mentioned
BLINK = 5.0  # s: a task on its way from one directory to the next is in neither listing


@dataclass(frozen=True)
class Task:
    """A task where it lies at the moment."""

    name: str
    lost: int  # workers that were lost with it
    file: Path
    record: dict[str, Any]  # what is to be done; "lease" in seconds

    @property
    def lease(self) -> float:
        return float(self.record["lease"])


def census(path: Path) -> str:
    """Who is there and what there is to do, in words."""
    queue = Queue(path, "census")
    counts = queue.counts()
    queue.leave()
    return f"{counts['workers']} workers there, {counts['taken']} tasks with them, {counts['waiting']} waiting"


class Queue:
    """One participant's view of the directory. `role` is the first word of its name, such as "worker"."""

    def __init__(self, path: Path, role: str) -> None:
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
        self.path = path
        self.me = f"{role}-{host}-{os.getpid()}-{time.time_ns() % 10**9}"
        for part in (WAITING, TAKEN, DONE, PRESENT):
            (path / part).mkdir(parents=True, exist_ok=True)
        self._presence = path / PRESENT / self.me
        self._unseen: dict[str, float] = {}  # since when a task that is waited for was nowhere
        now = self._now()
        for file in (path / PRESENT).iterdir():  # of those who were killed
            if now - (files.touched(file) or now) > FORGOTTEN:
                file.unlink(missing_ok=True)

    # ---- for whoever wants results

    def post(self, name: str, record: dict[str, Any]) -> None:
        """See to it that this task is in the queue; nothing when it is there already, taken or done."""
        if name not in self.known():
            files.write(self.path / WAITING / f"{name}~0.json", record, self.me)

    def result(self, name: str) -> Any:
        """The result of this task, None when there is none. A damaged one is thrown away."""
        file = self.path / DONE / f"{name}.json"
        content = files.content_of(file)
        if content is None:  # it may come while we look
            return None
        found = files.parsed(content)
        if found is None:
            file.unlink(missing_ok=True)
        return None if found is None else found["value"]

    def poisoned(self) -> list[Task]:
        """Tasks with which so many workers were lost that nobody takes them any more."""
        return [task for task in self._tasks(WAITING) if task.lost >= MOST_LOST]

    def known(self) -> set[str]:
        """Names of all tasks, whatever their state."""
        # in the order in which a task moves, so that none is missed
        moving = [m["name"] for part in (WAITING, TAKEN) for _, m in self._listed(part)]
        return {*moving, *(f.stem for f in files.listed(self.path / DONE))}

    def vanished(self, names: set[str]) -> set[str]:
        """Of these, the ones that are nowhere, and were nowhere some seconds ago."""
        gone = names - self.known()
        now = time.monotonic()
        self._unseen = {name: self._unseen.get(name, now) for name in gone}
        return {name for name, since in self._unseen.items() if now - since > BLINK}

    def forget(self, name: str) -> None:
        """Remove every trace of a task."""
        for part in (WAITING, TAKEN):
            for file, match in self._listed(part):
                if match["name"] == name:
                    file.unlink(missing_ok=True)
        (self.path / DONE / f"{name}.json").unlink(missing_ok=True)

    def begin(self, campaign: str) -> None:
        """This campaign has tasks, now or later, until it says `finish`."""
        (self.path / OPEN).mkdir(exist_ok=True)
        (self.path / OPEN / campaign).touch()

    def finish(self, campaign: str) -> None:
        """This campaign will have no more tasks."""
        (self.path / OPEN / campaign).unlink(missing_ok=True)

    # ---- for workers

    def finished(self) -> bool:
        """Whether campaigns have been here, and all have come to their end."""
        return (self.path / OPEN).is_dir() and not any((self.path / OPEN).iterdir())

    def take(self) -> Task | None:
        """The task that has waited longest, from now on ours."""
        found = [(files.touched(file), file, match) for file, match in self._listed(WAITING)]
        for _, file, match in sorted(((a, f, m) for a, f, m in found if a is not None), key=lambda x: x[:2]):
            if int(match["lost"]) >= MOST_LOST:
                continue
            if (self.path / DONE / f"{match['name']}.json").exists():
                file.unlink(missing_ok=True)  # somebody who was taken for lost has handed it in
                continue
            target = self.path / TAKEN / f"{match['name']}~{match['lost']}@{self.me}.json"
            with files.unless_gone():  # somebody else was faster
                os.utime(file)  # before it is ours, or its age would make us look lost
                os.rename(file, target)
                record = files.read(target)
                if record is not None:
                    return Task(match["name"], int(match["lost"]), target, record)
                target.unlink(missing_ok=True)  # damaged; whoever wants it will see that it has vanished
        return None

    def touch(self, task: Task | None = None) -> bool:
        """Say that we are alive and at work on the task; False when it is ours no more."""
        self._presence.touch()
        if task is not None:
            with files.unless_gone():
                os.utime(task.file)
                return True
            return False
        return True

    def hand_in(self, task: Task, value: Any) -> None:
        """The result is there; nobody need work on the task any more."""
        if task.file.exists() or task.name in self.known():  # else it was handed in by another and is taken note of
            files.write(self.path / DONE / f"{task.name}.json", {"value": value, "worker": self.me}, self.me)
        task.file.unlink(missing_ok=True)
        for file, match in self._listed(WAITING):
            if match["name"] == task.name:
                file.unlink(missing_ok=True)

    def give_back(self, task: Task, *, lost: bool = False) -> None:
        """Somebody else shall do it; `lost` when it brought its worker down."""
        target = self.path / WAITING / f"{task.name}~{task.lost + lost}.json"
        with files.unless_gone():
            os.rename(task.file, target)

    # ---- for all

    def take_back(self) -> list[str]:
        """Move tasks whose worker is lost back to those that wait; their names."""
        taken = list(self._tasks(TAKEN))
        if not taken:
            return []
        now = self._now()
        found = []
        for task in taken:
            touched = files.touched(task.file)
            if touched is not None and now - touched > task.lease:
                self.give_back(task, lost=True)
                found.append(task.name)
        return found

    def counts(self) -> dict[str, int]:
        """How many tasks wait, are taken and are done, and how many workers were there in the last minutes."""
        now = self._now()
        ages = [files.touched(f) for f in (self.path / PRESENT).iterdir() if f.name.startswith("worker-")]
        parts = {part: len(list(self._listed(part))) for part in (WAITING, TAKEN)}
        parts[DONE] = len(files.listed(self.path / DONE))
        return parts | {"workers": sum(a is not None and now - a < 300.0 for a in ages)}

    def leave(self) -> None:
        """Take no part any more."""
        self._presence.unlink(missing_ok=True)

    def _now(self) -> float:
        """The file system's time, by which the files of all machines are stamped."""
        self._presence.touch()
        return self._presence.stat().st_mtime

    def _listed(self, part: str) -> Iterator[tuple[Path, re.Match[str]]]:
        for file in files.listed(self.path / part):
            match = NAME.fullmatch(file.name)
            if match is not None:
                yield file, match

    def _tasks(self, part: str) -> Iterator[Task]:
        for file, match in self._listed(part):
            record = files.read(file)
            if record is not None:
                yield Task(match["name"], int(match["lost"]), file, record)
