"""How smooth the labels of the 113 VASP dimers are: the noise that no potential can predict.

    python benchmarks/vasp_noise.py

A dimer has one distance, and steps of 0.008 Å: its energy is put beside a polynomial through its nearest neighbours without it.
What is left is noise of the label (and of the neighbours', by which it is some 5 % too large). Counted are the dimers among the
lowest 90 % of energies per atom, as in `vasp_cu_ag.py`.
"""

from __future__ import annotations

import sys

import numpy as np
from vasp_cu_ag import LOW, WORST, rms
from vasp_data import DATA, load

from potentials.structures import Floats

SETTINGS = ((2, 8), (3, 12), (4, 16))  # degree, neighbours


def main() -> int:
    if not DATA.is_file():
        print(f"the data are not here: {DATA}", file=sys.stderr)
        return 74
    dataset = load(DATA)
    s, labels = dataset.structures, dataset.labels
    per_atom = labels.energies / s.sizes
    low = per_atom <= np.sort(per_atom)[int(LOW * len(dataset)) - 1]
    dimers = np.flatnonzero(~s.periodic.any(axis=1))
    first = s.offsets[dimers]
    bonds = s.positions[first + 1] - s.positions[first]
    lengths = np.linalg.norm(bonds, axis=1)
    forces = (labels.forces[first + 1] * bonds).sum(axis=1) / lengths
    for degree, neighbours in SETTINGS:
        figures = []
        for values, factor in ((per_atom[dimers], 1e3), (forces, 1e3)):
            missed = factor * np.abs(unexpected(lengths, values, degree, neighbours))[low[dimers]]
            kept = np.sort(missed)[: -max(1, round(WORST * len(missed)))]
            figures.append(
                f"median {np.median(missed):.2f}, RMS {rms(missed):.2f}, {rms(kept):.2f} without the worst 5 %"
            )
        print(
            f"{low[dimers].sum()} dimers, degree {degree}, {neighbours} neighbours: meV/atom {figures[0]}; meV/Å {figures[1]}"
        )
    return 0


def unexpected(x: Floats, y: Floats, degree: int, neighbours: int) -> Floats:
    """(n,) y less what a polynomial through the nearest others says."""
    found = np.zeros(len(x))
    for k in range(len(x)):
        others = np.argsort(np.abs(x - x[k]))[1 : neighbours + 1]
        found[k] = y[k] - np.polyfit(x[others] - x[k], y[others], degree)[-1]
    return found


if __name__ == "__main__":
    sys.exit(main())
