"""The store: durable, one writer, every result exact."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from evo.store import Store, StoreError, StoreLocked

WRITER = """
import sys
from pathlib import Path
from evo.store import Store
store = Store(Path(sys.argv[1]), writer=True)
n = 0
while True:
    key = f"k{n}"
    if store.get(key) is None:
        store.put(key, {"n": n, "x": [n / 3, n / 7]})
        print(key, flush=True)  # the acknowledgement
    n += 1
"""


def test_floats_keep_their_bits(tmp_path):
    store = Store(tmp_path / "out" / "c.sqlite", writer=True)
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, float("inf")]
    store.put("k", values)
    assert [v.hex() for v in store.get("k")] == [v.hex() for v in values]
    store.close()


def test_a_result_is_written_once(tmp_path):
    store = Store(tmp_path / "c.sqlite", writer=True)
    store.put("k", 1)
    store.put("k", 2)
    assert store.get("k") == 1
    assert list(store.keys("k")) == ["k"]
    store.close()


def test_second_writer_is_refused_and_readers_are_not(tmp_path):
    store = Store(tmp_path / "c.sqlite", writer=True)
    store.put("k", 1)
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        Store(tmp_path / "c.sqlite", writer=True)
    reader = Store(tmp_path / "c.sqlite", writer=False)
    assert reader.get("k") == 1
    reader.close()
    store.close()


def test_somebody_who_looks_on_for_long_is_waited_for(tmp_path):
    """A browser of databases, a copy: five seconds, SQLite's own patience, are not enough."""
    store = Store(tmp_path / "c.sqlite", writer=True)
    store.put("k", 1)
    held = sqlite3.connect(tmp_path / "c.sqlite", isolation_level=None, check_same_thread=False)
    held.execute("BEGIN")
    held.execute("SELECT * FROM results").fetchall()
    release = threading.Timer(6.0, held.close)
    release.start()
    store.put("l", 2)
    release.join()
    assert store.get("l") == 2
    store.close()


def test_kill_9_loses_nothing_acknowledged_and_leaves_no_lock(tmp_path):
    path = tmp_path / "c.sqlite"
    acknowledged = []
    for n_lines in (1, 5, 12, 3, 9):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        acknowledged += [process.stdout.readline().strip() for _ in range(n_lines)]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=20)
        acknowledged += [line for line in rest.splitlines() if line]
    store = Store(path, writer=True)
    for key in acknowledged:
        n = int(key[1:])
        assert store.get(key) == {"n": n, "x": [n / 3, n / 7]}
    store.close()


def test_damage_is_an_error_with_advice(tmp_path):
    (tmp_path / "c.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="move it away"):
        Store(tmp_path / "c.sqlite", writer=True)


def test_a_bit_that_flips_is_noticed(tmp_path):
    """SQLite's own check sees the structure of the file, not the values."""
    path = tmp_path / "c.sqlite"
    store = Store(path, writer=True)
    store.put("a", {"energy": 0.265})
    store.put("b", {"energy": 1.5})
    store.close()
    content = path.read_bytes()
    assert content.count(b"0.265") == 1
    path.write_bytes(content.replace(b"0.265", b"0.665"))
    for writer in (False, True):
        store = Store(path, writer=writer)
        assert store.get("b") == {"energy": 1.5}
        with pytest.raises(StoreError, match="result a is not what was written"):
            store.get("a")
        store.close()


def test_a_store_without_check_sums_goes_on(tmp_path):
    path = tmp_path / "c.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        database.execute("CREATE TABLE results (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        database.execute("INSERT INTO meta VALUES ('schema', '1')")
        database.execute("INSERT INTO results VALUES ('a', '[1]')")
    database.close()
    store = Store(path, writer=False)
    assert store.get("a") == [1]
    store.close()
    store = Store(path, writer=True)
    store.put("b", [2])
    assert (store.get("a"), store.get("b")) == ([1], [2])
    store.close()


def test_what_was_killed_inside_a_commit_can_be_read(tmp_path):
    """The journal that it leaves is rolled back by whoever looks first."""
    path = tmp_path / "c.sqlite"
    store = Store(path, writer=True)
    store.put("a", [1])
    store.close()
    program = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size=2')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "for n in range(50): db.execute('INSERT INTO results VALUES (?, ?, 0)', (f'x{n}', 'y' * 20000))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert path.with_name("c.sqlite-journal").stat().st_size > 0
    store = Store(path, writer=False)
    assert store.get("a") == [1]
    assert list(store.keys()) == ["a"]
    store.close()


def test_missing_store_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="evo run"):
        Store(tmp_path / "out" / "c.sqlite", writer=False)
