"""The journal: cut or altered anywhere, what is read was written; nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from evo.reference.journal import Journal, Locked, read

RECORDS = [{"key": f"k{n}", "energy": -3.5 - n / 7, "forces": [[0.1, -0.2, 1e-17 * n]]} for n in range(3)]


@pytest.fixture
def content(tmp_path):
    journal = Journal(tmp_path / "full.journal")
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return (tmp_path / "full.journal").read_bytes()


def test_round_trip_to_the_bit(content):
    assert read(content) == RECORDS


def test_cut_at_every_byte(content):
    for n in range(len(content)):
        found = read(content[:n])
        assert found == RECORDS[: len(found)]
        assert len(found) >= content[:n].count(b"\n")


def test_any_byte_altered(content):
    rng = np.random.default_rng(1)
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= int(rng.integers(1, 256))
        found = read(bytes(altered))
        assert all(record in RECORDS for record in found)
        assert len(found) >= len(RECORDS) - 2  # a line feed that was altered joins two lines


def test_appending_after_a_cut(content, tmp_path):
    file = tmp_path / "cut.journal"
    file.write_bytes(content[:-20])
    journal = Journal(file)
    assert journal.records == RECORDS[:2]
    journal.append({"key": "new"})
    journal.close()
    assert read(file.read_bytes()) == [*RECORDS[:2], {"key": "new"}]


def test_one_writer_at_a_time_and_no_stale_lock(tmp_path):
    file = tmp_path / "one.journal"
    code = "import sys, time; from pathlib import Path; from evo.reference.journal import Journal\n"
    code += f"journal = Journal(Path({str(file)!r})); print('open', flush=True); time.sleep(100)"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    with other.stdout:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(Locked, match=r"one.journal is being written by another process"):
            Journal(file)
        other.kill()
        other.wait()
    Journal(file).close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_an_error():
    from pathlib import Path

    journal = Journal.__new__(Journal)
    journal._file, journal.records = os.open(Path("/dev/full"), os.O_WRONLY), []
    with pytest.raises(OSError, match="No space left"):
        journal.append({"key": "k"})
    assert journal.records == []
    journal.close()
