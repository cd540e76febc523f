"""The store: durable, one writer, every result exact."""

import os
import signal
import subprocess
import sys

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


def test_missing_store_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="evo run"):
        Store(tmp_path / "out" / "c.sqlite", writer=False)
