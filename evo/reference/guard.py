"""Guard: runs one program and leaves no process behind, whatever happens to the program or to whoever asked for it.

    python guard.py PARENT SECONDS PROGRAM [ARGUMENT...]

Started as the leader of a session of its own (evo/reference/runner.py). Its exit status is that of the program, 128 plus
the signal that ended it, 124 when its time was over, 125 when the guard itself was asked to end or its parent is gone, 127
when the program cannot be started. It needs the standard library alone: it starts in a few hundredths of a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

GRACE = 3.0  # s between asking a program to end and ending it
TIME_OVER, ENDED, NOT_FOUND = 124, 125, 127
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


class Ended(Exception):
    """The guard was asked to end, or its parent died."""


def main(arguments: list[str]) -> int:
    parent, seconds, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; the terminal's ^C reaches it as well
    try:
        _follow_parent(parent)
        try:
            program = subprocess.Popen(command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - the only way out of this process
            return NOT_FOUND
        try:
            status = program.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            status = TIME_OVER
    except Ended:
        status = ENDED
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _clear()
    return 128 - status if status < 0 else status


def _end(*_: object) -> NoReturn:
    raise Ended


def _follow_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent dies, and for the orphans of the program. Linux only."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be followed
        raise Ended


def _clear() -> None:
    """No process of the group or below the guard is left: asked first, then ended."""
    if not _left():
        return
    for asked in (signal.SIGTERM, signal.SIGKILL):
        for process in _left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, asked)
        end = time.monotonic() + GRACE
        while _left() and time.monotonic() < end:
            time.sleep(0.02)


def _left() -> list[int]:
    """All processes below this one that are alive. Those that have ended are reaped."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    found, waiting = [], [os.getpid()]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has just ended
                below = [int(process) for process in task.read_text().split()]
                found += below
                waiting += below
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
