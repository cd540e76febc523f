"""Relaxation of random cells with a published network, in CPU seconds each.

    python benchmarks/relax_published.py [--cells 100] [--models ../shared/maise/models]

The network of Cu-Pd-Ag by Hajinazar, Shao, Kolmogorov, Phys. Rev. B 95, 014114 (2017), file nn_CuPdAg_d3_vp, imported; random
cells of Cu2Pd2Ag2 at 1.2 times the sum of the elements' volumes, atoms at least 1.9 Å apart; until the largest force is
0.01 eV/Å and the largest stress 0.1 GPa. MAISE itself takes 11.5 CPU seconds for each (measured on such starts).
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one core

import argparse
import platform
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from potentials import kernels
from potentials.library import Library
from potentials.maise.importing import import_files
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Prediction, Structures

MODELS = Path(__file__).resolve().parents[2] / "shared" / "maise" / "models"
NUMBERS = (29, 29, 46, 46, 47, 47)
VOLUME = 1.2 * 2 * (11.99 + 15.51 + 18.01)  # Å³; fcc of the network
CLOSEST = 1.9  # Å


def random_cell(rng: np.random.Generator) -> Atoms:
    """A cell that is not flat, with atoms that do not touch."""
    while True:
        vectors = rng.normal(size=(3, 3)) + 1.5 * np.eye(3)
        cell = Atoms(NUMBERS, cell=vectors * (VOLUME / abs(np.linalg.det(vectors))) ** (1 / 3), pbc=True)
        angles, lengths = cell.cell.angles(), cell.cell.lengths()
        if angles.min() < 50 or angles.max() > 130 or lengths.max() > 2.2 * lengths.min():
            continue
        for _ in range(200):
            cell.set_scaled_positions(rng.random((len(NUMBERS), 3)))
            apart = cell.get_all_distances(mic=True)
            if apart[~np.eye(len(NUMBERS), dtype=bool)].min() > CLOSEST:
                return cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--models", type=Path, default=MODELS)
    chosen = parser.parse_args()
    found = measure(chosen.cells, chosen.models)
    print(f"{platform.processor() or platform.machine()}, kernel {kernels.available()[0]}")
    print(
        f"{chosen.cells} cells: {found.seconds:.4f} CPU s each, {found.calls:.1f} calls, "
        f"{found.share:.0%} of the time in the network; {found.outcomes}"
    )


@dataclass(frozen=True)
class Found:
    seconds: float  # CPU, of one cell
    calls: float
    share: float  # of the time in the network
    outcomes: dict[str, int]


def measure(n_cells: int, models: Path = MODELS) -> Found:
    """The published network on so many random cells."""
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "vp"
        import_files([models / "nn_CuPdAg_d3_vp"], library)
        potential = Library.open(library).assemble(Stratum.parse("CuPdAg"))
    rng = np.random.default_rng(0)
    cells = Structures.from_ase([random_cell(rng) for _ in range(n_cells)])
    asked, spent = 0, 0.0

    def evaluate(structures: Structures) -> Prediction:
        nonlocal asked, spent
        start = time.process_time()
        prediction = potential.evaluate(structures)
        spent += time.process_time() - start
        asked += len(structures)
        return prediction

    start = time.process_time()
    relaxed = relax(evaluate, cells)
    seconds = time.process_time() - start
    return Found(seconds / n_cells, asked / n_cells, spent / seconds, dict(Counter(relaxed.outcomes)))


if __name__ == "__main__":
    main()
