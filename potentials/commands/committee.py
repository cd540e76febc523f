"""The fits of a committee, one member after another or some at a time, each in a process of its own.

What a member has found is kept as soon as it is finished (commands/unfinished.py), and is the same on any number of processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from potentials.commands import unfinished
from potentials.commands.command import Misused

if TYPE_CHECKING:
    from potentials.task import FitResult, FitTask


class MemberLostError(RuntimeError):
    """The process of a member ended without a word, for instance because memory was short."""

    exit_code = 75


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a training may take."""

    iterations: int | None  # at most, of each fit; None: the usual number
    at_once: int = 1  # members under way


def add_effort(parser: argparse.ArgumentParser) -> None:
    """The arguments --iterations and --at-once."""
    parser.add_argument(
        "--iterations", metavar="N", type=int, default=None, help="at most, instead of the usual number"
    )
    text = "members of the committee fitted at a time, each on a core; the result is the same (default 1)"
    parser.add_argument("--at-once", metavar="N", type=int, default=1, help=text)


def effort_of(chosen: argparse.Namespace) -> Effort:
    """What they say."""
    if chosen.iterations is not None and chosen.iterations < 0:
        raise Misused(f"--iterations must not be negative, got {chosen.iterations}")
    if chosen.at_once < 1:
        raise Misused(f"--at-once must be at least 1, got {chosen.at_once}")
    return Effort(chosen.iterations, chosen.at_once)


def fitted(library: Path, tasks: Sequence[FitTask], at_once: int) -> Iterator[tuple[FitResult, bool]]:
    """The result of each task, in their order, and whether an earlier run had it; Ctrl-C loses what is not finished."""
    known = [unfinished.find(library, task) for task in tasks]
    missing = [k for k, found in enumerate(known) if found is None]
    if at_once == 1 or len(missing) < 2:
        for task, found in zip(tasks, known, strict=True):
            yield found or _fit(library, task), found is not None
        return
    with _Processes(library, [tasks[k] for k in missing], at_once) as processes:
        for task, found in zip(tasks, known, strict=True):
            if found is None:
                processes.wait_for(task)
            result = found or unfinished.find(library, task)
            assert result is not None, "a member that has ended well has kept its result"
            yield result, found is not None


def _fit(library: Path, task: FitTask) -> FitResult:
    from potentials.train import fit_member

    done = fit_member(task, checkpoint=unfinished.checkpoint(library, task))
    unfinished.keep(library, task, done)
    return done


class _Processes:
    """A context in which tasks are done, some at a time; on leaving it none is left."""

    def __init__(self, library: Path, tasks: Sequence[FitTask], at_once: int) -> None:
        self._library, self._left, self._most = library, list(tasks), at_once
        self._running: dict[Connection, tuple[FitTask, multiprocessing.process.BaseProcess]] = {}
        self._done: set[int] = set()  # members

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *error: object) -> None:
        processes = [process for _, process in self._running.values()]
        for process in processes:
            process.kill()
        for process in processes:
            process.join()

    def wait_for(self, task: FitTask) -> None:
        """Until this one is done; what goes wrong in another one meanwhile is raised here, too."""
        while task.member not in self._done:
            self._start()
            for connection in wait(list(self._running)):
                assert isinstance(connection, Connection)  # that is all that was waited for
                own, process = self._running[connection]
                try:
                    error = connection.recv()
                except EOFError:
                    process.join()
                    how = signal.Signals(-status).name if (status := process.exitcode or 0) < 0 else f"status {status}"
                    raise MemberLostError(
                        f"the process of member {own.member + 1} ended with {how}; run the same command again, "
                        "with a smaller --at-once if memory is short"
                    ) from None
                if error is not None:
                    raise error
                process.join()
                del self._running[connection]
                self._done.add(own.member)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads of numpy and torch
        while self._left and len(self._running) < self._most:
            task = self._left.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_member, args=(self._library, task, theirs, os.getpid()), daemon=True)
            process.start()
            theirs.close()  # so that its death ends the line
            self._running[ours] = task, process


def _member(library: Path, task: FitTask, connection: Connection, parent: int) -> None:
    """In the process of one member."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    error: Exception | None = None
    try:
        _fit(library, task)
    except Exception as found:  # noqa: BLE001 - the parent raises it
        error = found
    with suppress(BrokenPipeError):
        connection.send(error)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
