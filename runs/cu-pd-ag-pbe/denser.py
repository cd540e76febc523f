"""Crystals of little symmetry whose labels by 0.04 1/Å may be wrong by some meV/atom: silver.extxyz, palladium.extxyz.

    python runs/cu-pd-ag-pbe/denser.py silver               # which have silver; make pbe-labels labels them
    python runs/cu-pd-ag-pbe/denser.py silver --meshes      # what labels by 0.04 1/Å have beside those by 0.026
    python runs/cu-pd-ag-pbe/denser.py palladium [--meshes] # the same of palladium itself, without compounds

Where a crystal is nearly symmetric, a mesh for one without symmetry has few distinct k-points (docs/cu-pd-ag-pbe.md). Taken are
those at most HIGHEST above the elements, of labels.extxyz.xz and searched.extxyz: the element itself first, whose errors are the
largest, then held-out crystals, then the lowest. Silver's have no symmetry, palladium's at most a twofold axis or a mirror.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.io import write
from curve import heights

from evo.reference.mesh import SYMPREC
from evo.symmetry import laue_rotations
from potentials.dataset import Dataset, first_in_each_place, read_dataset
from potentials.structures import Floats

HERE = Path(__file__).resolve().parent
SILVER, PALLADIUM = 47, 46
HIGHEST = 0.4  # eV/atom
OPERATIONS = {"silver": 2, "palladium": 4}  # of a crystal with its inversion, at most


def labelled() -> Dataset:
    """All that was labelled by 0.04 1/Å, but for round 8."""
    return read_dataset(HERE / "labels.extxyz.xz").merge(read_dataset(HERE / "searched.extxyz"))


def chosen(data: Dataset, name: str) -> list[int]:
    """In the order in which they are worth a calculation."""
    high, palladium = heights(data), name == "palladium"
    found = [
        c
        for c, stratum in enumerate(data.strata())
        if (stratum.numbers == (PALLADIUM,) if palladium else SILVER in stratum.numbers)
        and high[c] <= HIGHEST
        and len(laue_rotations(data.structures.atoms(c), SYMPREC)) <= OPERATIONS[name]
    ]
    held_out, strata = data.is_held_out(), data.strata()
    return sorted(found, key=lambda c: (strata[c].order > 1, not held_out[c], high[c]))


def compare(data: Dataset, high: Floats, name: str) -> None:
    """Print labels by the coarser mesh less those by the denser one, as far as there are both."""
    dense = read_dataset(HERE / f"{name}-labels.extxyz.xz")
    first = first_in_each_place(data.followed_by(dense))[len(data) :]
    print(f"{'':28}eV/atom  meV/atom  meV/Å")
    missed = []
    for n, c in enumerate(first):
        new, old = dense.select([n]).labels, data.select([c]).labels
        missed.append(1e3 * float(old.energies[0] - new.energies[0]) / len(data.structures.atoms(c)))
        force = 1e3 * np.sqrt(np.mean((old.forces - new.forces) ** 2))
        print(f"{dense.families[n]:28}{high[c]:7.2f}{missed[-1]:10.1f}{force:7.1f}")
    pure = np.array([s.order == 1 for s in dense.strata()])
    for what, mine in ((name, pure), ("compounds", ~pure)):
        if mine.any():
            found = np.array(missed)[mine]
            text = f"RMS {np.sqrt(np.mean(found**2)):.1f}, mean {found.mean():.1f} meV/atom"
            print(f"{len(found)} crystals of {what}: {text}; {dense.seconds[mine].sum():.0f} CPU s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(OPERATIONS))
    parser.add_argument("--meshes", action="store_true")
    asked = parser.parse_args()
    data, name = labelled(), asked.name
    if asked.meshes:
        compare(data, heights(data), name)
        return
    places, crystals = chosen(data, name), []
    for c in places:
        atoms = data.structures.atoms(c)
        atoms.info = {"family": data.families[c], "kind": name}
        crystals.append(atoms)
    write(HERE / f"{name}.extxyz", crystals, format="extxyz")
    print(f"{len(crystals)} crystals, {data.is_held_out()[places].sum()} of them held out")


if __name__ == "__main__":
    main()
