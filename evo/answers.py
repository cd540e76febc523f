"""Answers of a slow reference within a task of many calls, on the disk as they come: a task that is cut goes on where it was.

They lie under FOLDER of the campaign until its bootstrap is done. A quick reference leaves nothing there. Failures are not kept:
the next run asks again, as it does for a reference that was broken.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ase import Atoms

from evo.candidate import Failure
from evo.reference import Label, Reference
from evo.reference.collection import Collection
from evo.reference.journal import Locked
from potentials.dataset import DataError

FOLDER = Path("out") / "unfinished"
SLOW = 1.0  # s of a call from which on answers are kept


class Kept:
    """A reference that is asked about a crystal only once, also by the next process; what the bootstrap sees of a Reference."""

    def __init__(self, reference: Reference, out: Path) -> None:
        """out: named like a file of labels, which is never written; its journal is."""
        self._reference, self._out = reference, out
        self._keeps = True
        self._collection: Collection | None = None
        if out.with_name(f"{out.stem}.journal").exists():
            self._open()

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        """One single point."""
        known = None if self._collection is None else self._collection.find(atoms)
        if known is not None:
            return known
        start = time.monotonic()
        found = self._reference.evaluate(atoms)
        if isinstance(found, Label) and (self._collection is not None or time.monotonic() - start >= SLOW):
            self._keep(atoms, found)
        return found

    def _keep(self, atoms: Atoms, found: Label) -> None:
        if self._collection is None and self._keeps:
            self._open()
        if self._collection is not None:
            try:
                self._collection.add(atoms, found)
            except OSError:  # a full disk: then the task is done without
                self.close()

    def _open(self) -> None:
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._collection = Collection(self._out, self._reference)
        except (OSError, Locked, DataError):  # not ours to write, in another process's hands, or of another program
            self._keeps = False

    def close(self) -> None:
        if self._collection is not None:
            self._collection.close()
        self._collection, self._keeps = None, False


@contextmanager
def kept(reference: Reference, directory: Path, name: str) -> Iterator[Kept]:
    """The reference, for one task of the campaign in this directory."""
    asked = Kept(reference, directory / FOLDER / f"{name}.extxyz")
    try:
        yield asked
    finally:
        asked.close()


def forget(directory: Path) -> None:
    """The results of all tasks are stored."""
    shutil.rmtree(directory / FOLDER, ignore_errors=True)
