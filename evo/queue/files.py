"""Small files that appear whole or not at all, on file systems where another machine may remove them at any moment.

A file is one line: the CRC-32 of the rest as 8 hex digits, a blank, JSON with shortest round-trip numbers.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GONE = (errno.ENOENT, errno.ESTALE)  # the latter where the file system is a network's


@contextmanager
def unless_gone() -> Iterator[None]:
    """What is done here with a file is left undone when the file is gone."""
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise


def listed(folder: Path) -> list[Path]:
    """The files of a folder, without those that are being written."""
    return [f for f in folder.iterdir() if f.suffix == ".json" and not f.name.startswith(".")]


def read(file: Path) -> dict[str, Any] | None:
    """What the file says; None when it is gone or damaged."""
    content = content_of(file)
    return None if content is None else parsed(content)


def content_of(file: Path) -> bytes | None:
    """What is in the file, None when it is gone."""
    with unless_gone():
        return file.read_bytes()
    return None


def parsed(content: bytes) -> dict[str, Any] | None:
    """What a file of this content says; None when it is damaged."""
    checksum, _, text = content.rstrip(b"\n").partition(b" ")
    if not text or checksum != b"%08x" % zlib.crc32(text):
        return None
    found: dict[str, Any] = json.loads(text)
    return found


def write(file: Path, record: dict[str, Any], writer: str) -> None:
    """Durable and complete when this returns; `writer` keeps two who write the same file apart."""
    text = json.dumps(record, sort_keys=True).encode()
    part = file.with_name(f".{file.stem}.{writer}")
    with open(part, "wb") as stream:
        stream.write(b"%08x %b\n" % (zlib.crc32(text), text))
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, file)


def touched(file: Path) -> float | None:
    """When it was last touched, by the file system's clock; None when it is gone."""
    with unless_gone():
        return file.stat().st_mtime
    return None
