"""Moduli of fcc Cu, Pd, Ag and of B2 CuPd, networks beside DFT by the densest mesh, from stresses of the same strained crystals.

    python runs/cu-pd-ag-pbe/moduli.py                # which: moduli.extxyz; make pbe-labels labels them (an hour)
    python runs/cu-pd-ag-pbe/moduli.py LIB            # C11, C12, C44 by both

Nothing is learned from them (taken.py). A strain of STRAIN along one axis, both ways, gives C11 and C12, one shear C44: the
opposite one has the opposite stress. Meshes leave 0.07 GPa in a stress (docs/cu-pd-ag-pbe.md), so a strain twice as large halves
what they do to moduli.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write

from potentials.dataset import read_dataset
from potentials.library import Library
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.units import GPA_PER_EV_PER_A3

HERE = Path(__file__).resolve().parent
STRAIN = 0.02
LATTICES = {"CuPd": 3.0196, "Ag": 4.149, "Cu": 3.644, "Pd": 3.947}  # Å, at the minima


def parent(name: str) -> Atoms:
    """B2, or fcc."""
    a = LATTICES[name]
    return bulk(name, "cesiumchloride", a=a) if name == "CuPd" else bulk(name, "fcc", a=a)


def strained() -> list[Atoms]:
    """Three of each: along the axis, against it, sheared."""
    made = []
    for name in LATTICES:
        for how in ("stretched", "pressed", "sheared"):
            deformation = np.eye(3)
            if how == "sheared":
                deformation[1, 2] = deformation[2, 1] = STRAIN / 2
            else:
                deformation[0, 0] += STRAIN if how == "stretched" else -STRAIN
            atoms = parent(name)
            atoms.set_cell(atoms.cell[:] @ deformation, scale_atoms=True)
            atoms.info = {"family": f"{name} {how}", "kind": "moduli"}
            made.append(atoms)
    return made


def moduli(stresses: dict[str, Floats]) -> tuple[float, float, float]:
    """C11, C12, C44 in GPa of the stresses (3, 3) in eV/Å³ of the three."""
    between = (stresses["stretched"] - stresses["pressed"]) / (2 * STRAIN)
    c11, c12 = between[0, 0], (between[1, 1] + between[2, 2]) / 2
    c44 = stresses["sheared"][1, 2] / STRAIN
    return GPA_PER_EV_PER_A3 * c11, GPA_PER_EV_PER_A3 * c12, GPA_PER_EV_PER_A3 * c44


def compared(library: Library) -> list[tuple[str, list[tuple[float, float, float]], float]]:
    """Of every lattice that DFT has seen: name, moduli by the networks and by DFT, CPU s."""
    data, rows = read_dataset(HERE / "moduli-labels.extxyz.xz"), []
    for name in LATTICES:
        mine = [c for c, family in enumerate(data.families) if family.split()[0] == name]
        if len(mine) < 3:
            continue
        some = data.select(mine)
        ways = [family.split()[1] for family in some.families]
        said = library.assemble(Stratum.parse(name)).evaluate(some.structures)
        both = [moduli(dict(zip(ways, s, strict=True))) for s in (said.stresses, some.labels.stresses)]
        rows.append((name, both, float(some.seconds.sum())))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?")
    asked = parser.parse_args()
    if asked.library is None:
        write(HERE / "moduli.extxyz", strained(), format="extxyz")
        return
    print("GPa     C11: networks, DFT   C12            C44            CPU s")
    for name, both, seconds in compared(Library.open(asked.library)):
        text = "  ".join(f"{a:6.1f} {b:6.1f}" for a, b in zip(*both, strict=True))
        print(f"{name:<8}{text}  {seconds:8.0f}")


if __name__ == "__main__":
    main()
