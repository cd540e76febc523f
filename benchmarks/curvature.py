"""What networks save a relaxation by something dearer: calls from the ideal crystal, from their minimum, with their curvature.

    python benchmarks/curvature.py [--cells 32] [-o FILE]

UNEP-v1 (../shared/unep, by calorine) stands for DFT, the library that comes with the package, trained on our own PBE, for the
networks: their lattice constants differ by up to a percent. Random Cu-Pd-Ag alloys of 4 to 8 atoms on fcc, rattled, relaxed to
0.01 eV/Å and 0.1 GPa by UNEP-v1: from there; from the networks' minimum; and from that with the networks' curvature
(`potentials.curvature`). Only crystals that stay near one minimum count, the others are told.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one core

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from speed_timing import RESULTS, here
from strata import save
from unep_data import Unep

from potentials.calculator import from_calculator
from potentials.curvature import inverse_hessian
from potentials.library import Library
from potentials.relax import Evaluate, Relaxed, relax
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures
from potentials.units import EV_PER_A3_PER_GPA

FMAX, SMAX, MOST = 0.01, 0.1 * EV_PER_A3_PER_GPA, 100
ALIKE = 0.001  # eV/atom: one minimum
NAMES = ("from the crystal given", "from the networks' minimum", "the same, with their curvature")


def alloy(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("Ag", "fcc", 3.95, cubic=True) * (2, 1, 1)
    del atoms[rng.permutation(8)[: rng.integers(0, 2)]]  # now and then a vacancy
    atoms.symbols = rng.choice(["Cu", "Pd", "Ag"], len(atoms))
    atoms.positions += rng.normal(0, 0.05, (len(atoms), 3))
    return atoms


def relaxed(ask: Evaluate, structures: Structures, inverse: Floats | None = None) -> Relaxed:
    inverses = None if inverse is None else [inverse]
    return relax(ask, structures, fmax=FMAX, smax=SMAX, max_calls=MOST, inverses=inverses)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "curvature.json")
    options = parser.parse_args()
    dear = from_calculator(Unep())
    potential = Library.open("cu-pd-ag-pbe").assemble(Stratum.parse("CuPdAg"))
    calls, elsewhere = [], 0
    for seed in range(options.cells):
        given = Structures.from_ase([alloy(seed)])
        minimum = relax(potential.evaluate, given, fmax=FMAX, smax=SMAX).structures
        inverse = inverse_hessian(potential.evaluate, minimum)
        ends = [relaxed(dear, given), relaxed(dear, minimum), relaxed(dear, minimum, inverse)]
        energies = [e.prediction.energies[0] / given.sizes[0] for e in ends]
        if {e.outcomes[0] for e in ends} == {"converged"} and np.ptp(energies) < ALIKE:
            calls.append([int(e.calls[0]) for e in ends])
        else:
            elsewhere += 1
    found = np.array(calls)
    print(f"{len(found)} crystals relaxed by UNEP-v1, {elsewhere} more in which the ways lead to different minima")
    for name, column in zip(NAMES, found.T, strict=True):
        print(f"{name:32s} calls: mean {column.mean():5.2f}, median {np.median(column):4.1f}, most {column.max()}")
    save(
        options.output,
        {"where": here(), "calls": dict(zip(NAMES, found.T.tolist(), strict=True)), "elsewhere": elsewhere},
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
