"""Engines that hang, one after the other: each ends with its time, and nothing is left of any."""

from __future__ import annotations

import os
import sys

import pytest

from evo.reference.runner import run
from tests.reference.programs import below


@pytest.mark.skipif(sys.platform != "linux", reason="process groups are tested on Linux")
def test_twenty_hung_programs(tmp_path):
    before = set(below(os.getpid()))
    for _ in range(20):
        assert run(["sleep", "1000"], tmp_path, seconds=0.3).time_over
    assert set(below(os.getpid())) <= before
