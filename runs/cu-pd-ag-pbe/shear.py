"""What the mesh of k-points does to an fcc element: its free energy, and C44 from the stress under a shear of 0.01.

    python runs/cu-pd-ag-pbe/shear.py Ag 4.149 18 21 34     # lattice constant in Å; points along each axis of the mesh

The settings are those of reference.toml but for the mesh. Both crystals have the same one; minutes for each number.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.build import bulk

from evo.candidate import Failure
from evo.reference.gpaw import open_gpaw
from evo.reference.mesh import mesh
from evo.settings import load_reference
from potentials.units import GPA_PER_EV_PER_A3

SHEAR = 0.01  # of the engineer: twice the component of the strain
SPACINGS = np.geomspace(0.1, 0.005, 600)  # 1/Å


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("element")
    parser.add_argument("a", type=float, help="lattice constant, Å")
    parser.add_argument("points", type=int, nargs="+")
    asked = parser.parse_args()
    options = load_reference(Path(__file__).resolve().parent / "reference.toml").options
    crystal = bulk(asked.element, "fcc", a=asked.a)
    strain = np.eye(3)
    strain[1, 2] = strain[2, 1] = SHEAR / 2
    sheared = crystal.copy()
    sheared.set_cell(crystal.cell[:] @ strain, scale_atoms=True)
    print("points  free energy, eV/atom  C44, GPa")
    for n in asked.points:
        spacing = next((s for s in SPACINGS if mesh(crystal, s).size == (n, n, n)), None)
        if spacing is None:
            raise SystemExit(f"no spacing gives this crystal a mesh of {n} points along each axis")
        engine = open_gpaw({**options, "kspacing": float(spacing)}).with_mesh_of(crystal)
        whole, found = engine.evaluate(crystal), engine.evaluate(sheared)
        if isinstance(whole, Failure) or isinstance(found, Failure):
            raise SystemExit(f"{n} points: {whole if isinstance(whole, Failure) else found}")
        print(f"{n:6}  {whole.energy:20.5f}  {found.stress[1, 2] / SHEAR * GPA_PER_EV_PER_A3:8.1f}", flush=True)


if __name__ == "__main__":
    main()
