"""Strained fcc silver by the densest mesh, whose moduli the labels by 0.04 1/Å have wrong: strained.extxyz.

    python runs/cu-pd-ag-pbe/strained.py    # then make pbe-labels

C44 of silver is 46 GPa by a mesh of 0.04 1/Å, 32 by 0.025 and 38 by 0.0125 (shear.py), so that what is learned from the first
cannot be right. Taken are the lattice itself and strains that each speak of one modulus, at the volume of DFT's minimum: shears
in one plane and along a body diagonal (C44), a stretch along one axis (C11 - C12). One atom each; minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import write

HERE = Path(__file__).resolve().parent
SILVER = 4.149  # lattice constant by DFT, Å
WEIGHT = 10.0  # in fits, each as so many others: their labels are right, those of many crystals near them are not
SHEARS = (0.03, 0.06)  # of the engineer, in one plane
ALONG = (-0.03, 0.03)  # of the engineer, in all three planes; stretches of one axis


def strains() -> list[tuple[str, np.ndarray]]:
    """Names and 3 x 3 deformations."""
    eye, planes = np.eye(3), np.ones((3, 3)) - np.eye(3)
    found = [("unstrained", eye)]
    for shear in SHEARS:
        found.append((f"plane {shear}", eye + shear / 2 * np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]])))
    for shear in ALONG:
        found.append((f"diagonal {shear}", eye + shear / 2 * planes))
    for stretch in ALONG:
        axis = np.array([-0.5, -0.5, 1.0]) * stretch
        found.append((f"axis {stretch}", eye + np.diag(axis)))
    return found


def main() -> None:
    crystals = []
    for name, deformation in strains():
        atoms = bulk("Ag", "fcc", a=SILVER)
        atoms.set_cell(atoms.cell[:] @ deformation, scale_atoms=True)
        atoms.info = {"family": f"strained fcc Ag {name}", "kind": "strained", "weight": WEIGHT}
        crystals.append(atoms)
    write(HERE / "strained.extxyz", crystals, format="extxyz")
    print(f"{len(crystals)} crystals")


if __name__ == "__main__":
    main()
