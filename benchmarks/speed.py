"""How fast: evaluations, relaxations, tables for training; peers in the same run; targets beside the figures.

    python benchmarks/speed.py [--quick] [--peers-python PY] [--pypolymlp-python PY] [-o FILE]
    python benchmarks/speed.py --show FILE

Figures are medians of CPU time on one core, so that other work on the machine counts little (two threads: shortest by the
clock). Potentials are trained once on labels of UNEP-v1 and kept in benchmarks/cache: the recipe of the library and that of
campaigns, single network and committee. Peers that cannot share our environment are run by another Python:

    python -m venv PEERS && PEERS/bin/pip install torch==2.13.0 && PEERS/bin/pip install mace-torch ase scipy spglib threadpoolctl
    PEERS/bin/pip install tables vesin vesin-torch && PEERS/bin/pip install --no-deps torch-sim-atomistic
    python -m venv POLY && POLY/bin/pip install pypolymlp==0.22.1 symfc ase

A peer that is not there is named as absent. GPUs: benchmarks/gpu.py.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one core

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import speed_evaluate
import speed_relax
import torch
from ase import Atoms
from ase.io import write
from optimisers import FMAX, MOST, SMAX
from speed_models import SYSTEM, TRAIN, quoted, random_cells
from speed_timing import RESULTS, Report, processor, show
from unep_data import make
from unep_library import LARGEST, TEST
from unep_library import TRAIN as LABELLED

from potentials import kernels
from potentials.stratum import Stratum

HERE = Path(__file__).resolve().parent
PEER_TIMEOUT = 1800  # s


class Peers:
    """Programs of other environments."""

    def __init__(self, report: Report, python: Path | None, option: str) -> None:
        self._report, self._python, self._option = report, python, option

    def ask(self, line: str, kind: str, crystals: list[Atoms], **job: Any) -> dict[str, Any] | None:
        """What `speed_peers.py` says of these crystals; None, with a row that says why, where it cannot."""
        if self._python is None or not self._python.exists():
            self._report.absent(line, kind, f"name a Python that has it: {self._option}")
            return None
        with tempfile.TemporaryDirectory() as directory:
            cells, file = Path(directory) / "cells.extxyz", Path(directory) / "job.json"
            write(cells, crystals)
            file.write_text(json.dumps({"cells": str(cells), **job}))
            command = [str(self._python), str(HERE / "speed_peers.py"), kind, str(file)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PEER_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._report.absent(line, kind, f"not done in {PEER_TIMEOUT} s")
                return None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            self._report.absent(line, kind, f"failed: {last[:120]}")
            return None
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer cells and repeats; within 3 minutes")
    parser.add_argument("--peers-python", type=Path, help="Python with mace-torch and torch-sim-atomistic")
    parser.add_argument("--pypolymlp-python", type=Path, help="Python with pypolymlp")
    parser.add_argument("--train", type=int, default=TRAIN, help="labelled crystals of each set")
    parser.add_argument("--show", type=Path, help="print a run that was written before")
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    if asked.show:
        show(asked.show)
        return 0
    torch.set_num_threads(1)
    potentials = quoted(asked.train)
    report = Report(asked.quick)
    print(f"{processor()}, kernels {', '.join(kernels.available())}, load {os.getloadavg()[0]:.1f}")
    speed_evaluate.batches(report, potentials)
    others = Peers(report, asked.peers_python, "--peers-python")
    polynomials = Peers(report, asked.pypolymlp_python, "--pypolymlp-python")
    static_peers(report, others, polynomials)
    speed_evaluate.two_cores(report, potentials)
    speed_evaluate.one_cell(report, potentials)
    crystals = random_cells(64 if asked.quick else 256)
    ours = speed_relax.rates(report, potentials, crystals)
    speed_relax.as_campaigns_do(report, potentials, crystals)
    speed_relax.one_after_the_other(report, potentials, crystals, ours)
    n = 4 if asked.quick else 32
    name = "campaign, committee of 4"
    job = {"library": str(HERE / "cache" / f"unep-campaign-{asked.train}"), "system": SYSTEM, "single": False}
    limits = {"fmax": FMAX, "smax": SMAX, "most": MOST}
    found = others.ask("3", "torch-sim", crystals[:n], **job, **limits)
    if found is not None:
        speed_relax.torch_sim(report, found, name, ours[name], n)
    speed_relax.published(report)
    speed_evaluate.training_tables(report)
    report.add("5", "GPU: not measured here", None, "", note="benchmarks/gpu.py")
    report.write(asked.output or RESULTS / ("quick.json" if asked.quick else "full.json"))
    print(report.summary())
    return 0


def static_peers(report: Report, others: Peers, polynomials: Peers) -> None:
    """Line 1: pypolymlp and MACE on the same cells."""
    crystals, repeats = speed_evaluate.mixed_cells(), 2 if report.quick else 5
    make("CuPdAg", LABELLED, TEST, LARGEST, 0, HERE / "cache" / "unep")
    train = HERE / "cache" / "unep" / f"CuPdAg.train.{LABELLED}.{LARGEST}.0.extxyz"
    symbols = list(Stratum.parse(SYSTEM).symbols)
    few = {"train": str(train), "n_train": 40, "elements": symbols, "cutoff": 6.0, "repeats": repeats}
    if (found := polynomials.ask("1", "pypolymlp", crystals, **few)) is not None:
        for size, cost in found["us_per_atom"].items():
            report.add("1", f"pypolymlp {found['version']}, {size}", cost, "µs/atom")
    if (found := others.ask("1", "mace", crystals, cutoff=6.0, repeats=repeats)) is not None:
        report.add("1", f"MACE {found['version']}, 32x0e, random weights", found["us_per_atom"], "µs/atom")


if __name__ == "__main__":
    sys.exit(main())
