"""Files that are archives: read whatever their names say, written as their names say."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

SUFFIXES = (".gz", ".bz2", ".xz")


def content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is an archive of gzip, bzip2 or xz."""
    return content_of(path.read_bytes())


def content_of(data: bytes) -> bytes:
    """The same of the bytes of a file; these themselves where they are no archive."""
    for magic, unpack in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ", lzma.decompress)):
        if data.startswith(magic):
            return unpack(data)
    return data


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file itself, or of an archive a copy of what is in it, which has the name without the last ending.

    ASE's reader of extxyz goes back and forth in a file, and an archive begins anew each time.
    """
    data = path.read_bytes()
    plain = content_of(data)
    if plain is data:
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / (path.stem if path.suffix in SUFFIXES else path.name)
        copy.write_bytes(plain)
        yield copy


def packed(data: bytes, name: str) -> bytes:
    """These bytes as a file of this name holds them: an archive where it ends in .gz, .bz2 or .xz, the same each time."""
    if name.endswith(".gz"):
        return gzip.compress(data, mtime=0)
    if name.endswith(".bz2"):
        return bz2.compress(data)
    return lzma.compress(data) if name.endswith(".xz") else data
