"""One process at a time changes a library.

The lock is the kernel's (flock), so that it ends with its owner, also by kill -9; the file only says who that is. One
that a dead process left behind is taken over.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from potentials.stratum_file import LibraryError

NAME = "library.lock"
PATIENCE = 20.0  # s; a change takes less


class LibraryLockedError(LibraryError):
    """Another process is changing the library."""

    exit_code = 73


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Alone in this library; LibraryLockedError when another process stays in it for longer than PATIENCE."""
    path, end = directory / NAME, time.monotonic() + PATIENCE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the last owner may have removed the file between our opening it and having it
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                    break
        except BlockingIOError:
            if time.monotonic() > end:
                owner = _owner(descriptor)
                os.close(descriptor)
                raise LibraryLockedError(
                    f"{directory} is being changed by {owner}; wait for it, or stop it, and run this again"
                ) from None
            time.sleep(0.05)
        os.close(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {owner['pid']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
