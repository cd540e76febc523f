"""Journal: a file to which results are appended, each durable before the next is begun; a kill loses nothing that was written.

One line per record: the CRC-32 of the rest as 8 hex digits, a blank, JSON with shortest round-trip numbers. A line that was
cut short or altered is left out when the file is read, so its result is worked out again.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from pathlib import Path
from typing import Any


class Locked(RuntimeError):
    """Another process is writing this journal."""

    exit_code = 73


class Journal:
    """Open for appending by one process at a time; `records` holds what was there."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise Locked(f"{path} is being written by another process; wait for it or end it") from None
        content = path.read_bytes()
        self.records = read(content)
        if content and not content.endswith(b"\n"):
            self._write(b"\n")  # what follows must not be added to a line that was cut short

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; on return it is on the disk. OSError when it cannot be, for instance because the disk is full."""
        text = json.dumps(record, sort_keys=True).encode()
        self._write(b"%08x %b\n" % (zlib.crc32(text), text))
        self.records.append(record)

    def close(self) -> None:
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        while line:  # a full disk may take a part without saying so
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)


def read(content: bytes) -> list[dict[str, Any]]:
    """The records of a journal's content, without lines that are damaged."""
    records = []
    for line in content.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(text) and text:
            records.append(json.loads(text))
    return records
