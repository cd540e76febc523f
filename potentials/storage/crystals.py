"""The labelled crystals of a library: data/CuPd.extxyz.gz for each stratum, only ever added to.

What is added is one more member at the end of the gzip file. The index says how many bytes of the file count and what
their SHA-256 is. It is written last, so a process that is killed in between leaves bytes that nobody counts, and that the
next one overwrites; and whoever has read an older index still finds what it lists.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potentials.labelled.files import parse, render
from potentials.labelled.record import Dataset
from potentials.stratum_file import LibraryError

FOLDER = "data"


def data_file(directory: Path, name: str) -> Path:
    """Where the crystals of this stratum are."""
    return directory / FOLDER / f"{name}.extxyz.gz"


def stored_bytes(directory: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    """The bytes that the index counts; LibraryError when they are not those that were written."""
    path = data_file(directory, name)
    try:
        with open(path, "rb") as stream:
            data = stream.read(int(entry["bytes"]))
    except OSError as error:
        raise LibraryError(f"{path} cannot be read: {error.strerror}; restore it from a copy") from None
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise LibraryError(f"{path} is damaged (its bytes have another hash); restore it from a copy")
    return data


def stored(directory: Path, name: str, entry: Mapping[str, Any]) -> Dataset:
    """The crystals as they were added, with the energies that their methods gave."""
    data = stored_bytes(directory, name, entry)
    try:
        return parse(gzip.decompress(data).decode())
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:  # right bytes, written by a later version
        raise LibraryError(f"{data_file(directory, name)} cannot be understood ({error}); update the package") from None


def append(directory: Path, name: str, entry: Mapping[str, Any] | None, new: Dataset) -> dict[str, Any]:
    """Put these crystals behind those that are there, and return the entry of the index that counts them."""
    before = stored_bytes(directory, name, entry) if entry is not None else b""
    member = gzip.compress(render(new).encode(), mtime=0)
    path = data_file(directory, name)
    path.parent.mkdir(exist_ok=True)
    with open(path, "r+b" if path.exists() else "xb") as stream:
        stream.truncate(len(before))
        stream.seek(len(before))
        stream.write(member)
        stream.flush()
        os.fsync(stream.fileno())
    for folder in (path.parent, directory):
        _sync(folder)
    return {
        "bytes": len(before) + len(member),
        "sha256": hashlib.sha256(before + member).hexdigest(),
        "crystals": (int(entry["crystals"]) if entry is not None else 0) + len(new),
    }


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
