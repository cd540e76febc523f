"""One SQLite file with the result of every task, one writer, every acknowledged result durable. Only home of sqlite3.

The journal is TRUNCATE with full synchronisation: no result is lost to kill -9, and it also holds on network file systems,
where WAL does not (RELIABILITY of SQLite: sqlite.org/wal.html, "does not work over a network filesystem").
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
PATIENCE_S = 600.0  # with others who have the file open: someone who looks on may hold it for minutes


class StoreError(RuntimeError):
    """The store cannot be read or written; the message says why and what to do."""

    exit_code = 74


class StoreLocked(RuntimeError):
    """Another process is running this campaign."""

    exit_code = 73


class Store:
    """Results by key. A result is any JSON value; floats keep their bits (shortest round-trip text)."""

    def __init__(self, path: Path, *, writer: bool) -> None:
        self.path = path
        self._lock: int | None = None
        if writer:
            self._open_directory()
        elif not path.exists():
            raise StoreError(
                f"{path} is not there: nothing has been run yet; start with `evo run {path.parent.parent}`"
            )
        try:
            self._open_database(writer)
        except sqlite3.Error as error:
            raise self._error(error) from None

    def _open_directory(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path.parent / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(
                f"{self.path.parent} cannot be written: {error.strerror}; choose another directory"
            ) from None
        try:
            # a kernel lock: it vanishes with its owner, so kill -9 leaves no stale lock
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._lock, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(self._lock)
            self._lock = None
            raise StoreLocked(
                f"{self.path.parent} is being run by {owner}; wait for it, or end it and start again"
            ) from None
        note = f"process {os.getpid()} on {socket.gethostname()}\n".encode()
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, note, 0)
        except OSError as error:
            raise StoreError(f"{self.path.parent} cannot be written: {error.strerror}") from None

    def _open_database(self, writer: bool) -> None:
        if writer:
            # one thread at a time: the pool keeps results in its own while the first one is in a calculation
            self._db = sqlite3.connect(self.path, PATIENCE_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=TRUNCATE")
            self._db.execute("PRAGMA synchronous=FULL")
            found = self._db.execute("PRAGMA quick_check").fetchone()[0]
            if found != "ok":
                raise StoreError(f"{self.path} is damaged ({found}); put a copy back, or move it away and start again")
            self._db.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
            self._db.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
            if "digits" not in {row[1] for row in self._db.execute("PRAGMA table_info(results)")}:
                self._db.execute("ALTER TABLE results ADD COLUMN digits INTEGER")  # of stores without: NULL
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        else:
            self._db = _reader(self.path)
        row = self._db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        if row is None or int(row[0]) != SCHEMA_VERSION:
            raise StoreError(f"{self.path} has schema {row and row[0]}, this version reads {SCHEMA_VERSION}")

    def get(self, key: str) -> Any:
        """The result of this key, or None."""
        try:
            row = self._db.execute("SELECT * FROM results WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._error(error) from None
        if row is None:
            return None
        _, text, *digits = row
        if any(d is not None and d != zlib.crc32(text.encode()) for d in digits):
            raise StoreError(
                f"{self.path} is damaged: the result {key} is not what was written; put a copy back, "
                "or move it away and start again"
            )
        return json.loads(text)

    def has(self, key: str) -> bool:
        """Whether there is a result of this key."""
        try:
            row = self._db.execute("SELECT 1 FROM results WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._error(error) from None
        return row is not None

    def put(self, key: str, value: Any) -> None:
        """Durable when this returns. A key that is there stays as it was: results are idempotent."""
        try:
            text = json.dumps(value)
            self._db.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?)", (key, text, zlib.crc32(text.encode())))
        except sqlite3.Error as error:
            raise self._error(error) from None

    def remove(self, key: str) -> None:
        """As if there had never been a result of this key."""
        try:
            self._db.execute("DELETE FROM results WHERE key = ?", (key,))
        except sqlite3.Error as error:
            raise self._error(error) from None

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that start so."""
        try:
            for (key,) in self._db.execute("SELECT key FROM results ORDER BY rowid"):
                if key.startswith(prefix):
                    yield key
        except sqlite3.Error as error:
            raise self._error(error) from None

    def note(self, key: str) -> str | None:
        """A line about the campaign itself, such as its settings."""
        try:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._error(error) from None
        return None if row is None else str(row[0])

    def set_note(self, key: str, value: str) -> None:
        try:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            raise self._error(error) from None

    def forget_notes(self) -> None:
        """As if nothing had been noted yet."""
        try:
            self._db.execute("DELETE FROM meta WHERE key != 'schema'")
        except sqlite3.Error as error:
            raise self._error(error) from None

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _error(self, error: sqlite3.Error) -> StoreError:
        if "malformed" in str(error):
            return StoreError(f"{self.path} is damaged ({error}); put a copy back, or move it away and start again")
        if "no such table" in str(error):
            return StoreError(
                f"{self.path} holds nothing yet: the run has just begun, or ended at once; try again later"
            )
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            return StoreError(f"{self.path} is not a campaign database; move it away and start again")
        if "locked" in str(error):
            return StoreError(
                f"{self.path} was held by another program for {PATIENCE_S / 60:.0f} minutes; end its transaction and start again"
            )
        return StoreError(f"{self.path}: {error}; nothing acknowledged is lost, make room or rights and start again")


def _reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads.

    A process that was killed inside a commit leaves a journal, which must be rolled back first.
    """
    uri = path.absolute().as_uri()
    database = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=30)
    try:
        database.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        database.close()
        database = sqlite3.connect(f"{uri}?mode=rw", uri=True, timeout=30)
    return database
