"""The strata of a library: one file for each version, CuPd.v0002.npz, which is written once and verified when it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potentials.storage.index import NAME as INDEX
from potentials.stratum import Stratum
from potentials.stratum_file import LibraryError, TrainedStratum, pack, unpack, write_atomically


def stratum_file(directory: Path, name: str, version: int) -> Path:
    """Where this version of a stratum is."""
    return directory / f"{name}.v{version:04d}.npz"


def load_stratum(path: Path, stratum: Stratum, entry: Mapping[str, Any], recipe: Mapping[str, Any]) -> TrainedStratum:
    """What is in the file; LibraryError when it is not what the entry of the index says, or of another recipe."""
    trained = unpack(stratum_bytes(path, entry), str(path), recipe)
    if trained.stratum != stratum or trained.content_hash() != entry["content"]:
        raise LibraryError(f"{path} is not the file that {INDEX} lists; restore both from one copy")
    return trained


def stratum_bytes(path: Path, entry: Mapping[str, Any]) -> bytes:
    """The bytes of the file; LibraryError when they are not those of the entry of the index."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LibraryError(f"{path} cannot be read: {error.strerror}; restore it from a copy") from None
    if hashlib.sha256(data).hexdigest() != entry["file"]:
        raise LibraryError(f"{path} is damaged (its bytes have another hash); restore it from a copy")
    return data


def store_stratum(directory: Path, index: dict[str, Any], trained: TrainedStratum) -> int:
    """Write a new version, enter it into the index as the current one, return its number; what is there is not made twice.

    The caller writes the index.
    """
    name, content = trained.stratum.name, trained.content_hash()
    for parent, parent_hash in trained.parents.items():
        known = index["strata"].get(parent, {"versions": {}})["versions"].values()
        if parent_hash not in {v["content"] for v in known}:
            raise LibraryError(f"{name} was trained on a {parent} that {directory} does not hold; train it again")
    entry = index["strata"].setdefault(name, {"current": 0, "versions": {}})
    same = [int(v) for v, e in entry["versions"].items() if e["content"] == content]
    number = same[0] if same else 1 + max((int(v) for v in entry["versions"]), default=0)
    if not same:
        data = pack(trained, index["recipe"])
        write_atomically(stratum_file(directory, name, number), data)
        entry["versions"][str(number)] = {
            "content": content,
            "file": hashlib.sha256(data).hexdigest(),
            "parents": dict(trained.parents),
            "n_parameters": trained.n_parameters,
            "metadata": dict(trained.metadata),
        }
    entry["current"] = number
    return number
