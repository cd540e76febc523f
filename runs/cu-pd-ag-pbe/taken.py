"""What the library learns from, of all labels that there are: out/taken.extxyz.xz.

    python runs/cu-pd-ag-pbe/taken.py [--export DIR]

All calculations of structures.py, choose.py and campaigns, and of round 8 (vibrating.py) the crystals without silver, by a mesh
of 0.04 1/Å; where a crystal has been labelled by 0.026 1/Å as well (denser.py, vibrating.py), that label in place of the other,
moving B2 of round 10 and of soft.py by 0.026 alone, and strained silver by 0.0125 (strained.py). Only the mesh is another, so
all of them count as of one method; what a label says of its mesh is kept, and a label that took the place of another has the
CPU seconds of both.
What moves about low phases and has a label by the denser mesh counts WEIGHT times, but for silver, which wants a denser one
still: forces there are small, and a fit that is content with 3 meV/Å has a soft mode wrong by a fifth.
--export: CuPdAg.train.extxyz and CuPdAg.test.extxyz in DIR, as benchmarks/pypolymlp_peer.py takes them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from potentials.dataset import Dataset, first_in_each_place, read_dataset, write_dataset
from potentials.labelled.identity import read_identities, write_identities

HERE = Path(__file__).resolve().parent
COARSE = ("labels.extxyz.xz", "searched.extxyz", "vibrating-coarse.extxyz.xz", "long-period-labels.extxyz.xz")
DENSE = tuple(f"{n}-labels.extxyz.xz" for n in ("vibrating", "soft", "silver", "palladium", "strained"))
SILVER = 47
WEIGHT = 100.0  # of crystals that move about low phases, by the denser mesh, as so many others each


def joined(names: tuple[str, ...]) -> Dataset:
    """All labels in these files, as far as they are there."""
    known = [read_dataset(HERE / name) for name in names if (HERE / name).exists()]
    whole = known[0]
    for more in known[1:]:
        whole = whole.merge(more)
    return whole


def taken() -> tuple[Dataset, int]:
    """What is learned from, the coarser mesh first, and how many labels are by the denser one."""
    coarse, dense = joined(COARSE), joined(DENSE)
    first = np.array(first_in_each_place(dense.followed_by(coarse))[len(dense) :])
    replaced = first < len(dense)
    seconds = dense.seconds.copy()
    np.add.at(seconds, first[replaced], coarse.seconds[replaced])
    moving = np.array(
        [
            f.startswith("vibrating") and SILVER not in s.numbers
            for f, s in zip(dense.families, dense.strata(), strict=True)
        ]
    )
    weights = np.where(moving, WEIGHT, dense.weights)
    dense = replace(dense, seconds=seconds, weights=weights, methods=(coarse.methods[0],) * len(dense))
    doubtful = np.array(
        [
            f.startswith("vibrating") and SILVER in s.numbers
            for f, s in zip(coarse.families, coarse.strata(), strict=True)
        ]
    )
    repeated = first != np.arange(len(dense), len(dense) + len(coarse))  # of the denser mesh, or by two campaigns
    return coarse.select(np.flatnonzero(~repeated & ~doubtful)).followed_by(dense), len(dense)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", metavar="DIR", type=Path)
    asked = parser.parse_args()
    data, dense = taken()
    path = HERE / "out" / "taken.extxyz.xz"
    path.parent.mkdir(exist_ok=True)
    write_dataset(path, data)
    write_identities(path, read_identities(HERE / "labels.extxyz.xz"))
    held_out = data.is_held_out()
    print(f"{len(data)} labels in {path}, {dense} of them by the denser mesh; {held_out.sum()} are held out")
    if asked.export:
        asked.export.mkdir(parents=True, exist_ok=True)
        for name, part in (("train", ~held_out), ("test", held_out)):
            write_dataset(asked.export / f"CuPdAg.{name}.extxyz", data.select(np.flatnonzero(part)))


if __name__ == "__main__":
    main()
