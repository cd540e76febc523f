"""Processes of this machine that answer questions, each one at a time; what one of them does cannot hurt the others.

For calculators that take minutes and may crash, hang or leak. All of them end with this process, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType, TracebackType
from typing import Any, NoReturn, TypeVar

from evo.parallel import die_with_parent

PATIENCE = 30.0  # s that a process may take to end what it has started
Q = TypeVar("Q")


@dataclass(frozen=True, slots=True)
class Died:
    """The answer of a process that ended instead."""

    reason: str  # for instance "ended by SIGSEGV"


class Ended(BaseException):
    """This process was asked to end; no calculator may take it for a failure of its own."""


class Processes:
    """A context: on leaving it no process is left, whatever they were at."""

    def __init__(self, number: int, function: Callable[[Any], Any]) -> None:
        """function: picklable. Each process gets a copy of it and keeps that for all its questions."""
        if number < 1:
            raise ValueError(f"at least one process, got {number}")
        self._function = function
        # what they leave in folders of their own when they are ended goes with it
        self._folder = tempfile.TemporaryDirectory(prefix="processes-", ignore_cleanup_errors=True)
        self._workers = [_Worker(function, self._folder.name) for _ in range(number)]

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.gone()
        self._folder.cleanup()

    def answers(
        self, questions: Iterable[Q], waiting: Callable[[], AbstractContextManager[Any]] = nullcontext
    ) -> Iterator[tuple[Q, Any]]:
        """Each question with its answer, or Died, in the order in which they come; questions are taken as processes get free.

        `waiting` is entered only while nothing has come, so that what it lets interrupt loses no answer.
        """
        left, more = iter(questions), True
        busy: dict[Connection, tuple[int, Q]] = {}
        free = list(range(len(self._workers)))
        while True:
            while free and more:
                try:
                    question = next(left)
                except StopIteration:
                    more = False
                else:
                    place = free.pop()
                    self._workers[place].ask(question)
                    busy[self._workers[place].connection] = place, question
            if not busy:
                return
            with waiting():
                ready = wait(list(busy))
            for connection in ready:
                assert isinstance(connection, Connection)  # that is all that was waited for
                place, question = busy.pop(connection)
                answer = self._workers[place].answer()
                if isinstance(answer, Died):
                    self._workers[place] = _Worker(self._function, self._folder.name)
                free.append(place)
                yield question, answer


class _Worker:
    """One process and the line to it."""

    def __init__(self, function: Callable[[Any], Any], folder: str) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks, and MPI
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function, folder, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()  # so that its death ends the line

    def ask(self, question: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died; that is what it will answer
            self.connection.send(question)

    def answer(self) -> Any:
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.connection.close()
            self._process.join()
            status = self._process.exitcode or 0
            return Died(f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}")

    def end(self) -> None:
        if self._process.is_alive():
            self._process.terminate()

    def gone(self) -> None:
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()


def _serve(connection: Connection, function: Callable[[Any], Any], folder: str, parent: int) -> None:
    die_with_parent(parent)
    tempfile.tempdir = folder
    signal.signal(signal.SIGTERM, _end)
    for number in (signal.SIGINT, signal.SIGUSR1):  # a terminal or a batch system sends them to all; the parent decides
        signal.signal(number, signal.SIG_IGN)
    try:
        while True:
            connection.send(function(connection.recv()))
    except (Ended, EOFError, BrokenPipeError):
        sys.stderr.flush()
        os._exit(0)  # nothing of a calculator's own may hold up the end


def _end(_: int, __: FrameType | None) -> NoReturn:
    raise Ended
