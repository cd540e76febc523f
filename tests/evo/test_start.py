"""What a process of a campaign loads: a machine starts many at once, and each has its own copy in memory."""

import subprocess
import sys

import pytest

from potentials import kernels
from tests.faults.campaigns import SMALL, write

PROGRAM = """
import sys
from evo.__main__ import main
code = main(["run", sys.argv[1], "--quiet"])
print(code, sorted({"torch", "matplotlib", "phonopy", "triton"} & set(sys.modules)))
"""


@pytest.mark.skipif(kernels.missing() is not None, reason="the compiled kernel cannot run, so torch takes its place")
def test_a_campaign_on_the_compiled_kernel_loads_neither_torch_nor_matplotlib(tmp_path):
    directory = write(tmp_path / "c", SMALL, chunks=1)
    done = subprocess.run([sys.executable, "-c", PROGRAM, directory], capture_output=True, text=True, timeout=240)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
