"""Files that are archives: read whatever their names say, written as their names say."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path


def content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is an archive of gzip, bzip2 or xz."""
    data = path.read_bytes()
    for magic, unpack in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ", lzma.decompress)):
        if data.startswith(magic):
            return unpack(data)
    return data


def packed(data: bytes, name: str) -> bytes:
    """These bytes as a file of this name holds them: an archive where it ends in .gz, .bz2 or .xz, the same each time."""
    if name.endswith(".gz"):
        return gzip.compress(data, mtime=0)
    if name.endswith(".bz2"):
        return bz2.compress(data)
    return lzma.compress(data) if name.endswith(".xz") else data
