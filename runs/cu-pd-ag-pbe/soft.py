"""The soft transverse mode of B2 CuPd at M by frozen phonons, as the mesh of k-points has it, and as a library has it.

    python runs/cu-pd-ag-pbe/soft.py 0.04 0.026 0.018     # spacings of the mesh, 1/Å; minutes for each
    python runs/cu-pd-ag-pbe/soft.py --library LIB ...    # the library as well
    python runs/cu-pd-ag-pbe/soft.py --write              # soft.extxyz, for taken.py; then make pbe-labels

In the cell of four atoms that holds M, Cu moves along x and Pd along y, neighbours against each other. Their 2 x 2 block of the
dynamical matrix has two eigenvalues, and the lower one is the difference of numbers a dozen times as large: an error of one per
cent in each is one of a tenth in the mode. The settings are those of reference.toml but for the mesh.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import write

from evo.candidate import Failure
from evo.reference.gpaw import open_gpaw
from evo.settings import load_reference
from potentials.library import Library
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures

HERE = Path(__file__).resolve().parent
A = 3.0197  # Å, DFT's minimum
LABELLED = 0.05  # Å of displacement, of what taken.py takes (the hash of their families holds both out)
MOVED = ((0, 0), (2, 1))  # an atom and the axis along which it and its image against it move: Cu x, Pd y
TO_THZ = np.sqrt(units._e / units._amu) * 1e10 / (2 * np.pi * 1e12)  # of the root of eV/Å²/amu


def crystal() -> Atoms:
    """Cu, Cu, Pd, Pd; the second of each moves against the first."""
    places = np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.5, 0.5], [1.5, 0.5, 0.5]])
    return Atoms("Cu2Pd2", positions=A * places, cell=A * np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]]), pbc=True)


def displaced(which: int, by: float) -> Atoms:
    atom, axis = MOVED[which]
    atoms = crystal()
    atoms.positions[atom, axis] += by
    atoms.positions[atom + 1, axis] -= by
    return atoms


def labelled() -> list[Atoms]:
    """Copper moved, and palladium moved."""
    made = []
    for n, (atom, _) in enumerate(MOVED):
        atoms = displaced(n, LABELLED)
        atoms.info = {"family": f"vibrating B2 CuPd at M, {atoms[atom].symbol}", "kind": "vibrating"}
        made.append(atoms)
    return made


def modes(forces: Sequence[Floats], by: float) -> Floats:
    """(2,) THz, imaginary ones negative, of the forces on the two displaced crystals."""
    block, masses = np.zeros((2, 2)), crystal().get_masses()
    for n, said in enumerate(forces):
        for m, (atom, axis) in enumerate(MOVED):
            mass = np.sqrt(masses[atom] * masses[MOVED[n][0]])
            block[m, n] = -(said[atom, axis] - said[atom + 1, axis]) / 2 / by / mass
    values = np.linalg.eigvalsh((block + block.T) / 2)
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)) * TO_THZ)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spacings", type=float, nargs="*", metavar="SPACING")
    parser.add_argument("--library", type=Path, metavar="LIB")
    parser.add_argument("--by", type=float, default=0.03, help="Å that atoms are displaced")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.write:
        write(HERE / "soft.extxyz", labelled(), format="extxyz")
        return
    crystals = [displaced(n, asked.by) for n in range(len(MOVED))]
    if asked.library:
        potential = Library.open(asked.library).assemble(Stratum.parse("CuPd"))
        found = modes([potential.evaluate(Structures.from_ase([atoms])).forces for atoms in crystals], asked.by)
        print(f"library    {found[0]:6.3f} {found[1]:6.3f} THz")
    options = load_reference(HERE / "reference.toml").options
    for spacing in asked.spacings:
        engine, forces, spent = open_gpaw({**options, "kspacing": spacing}), [], 0.0
        for atoms in crystals:
            said = engine.evaluate(atoms)
            if isinstance(said, Failure):
                raise SystemExit(f"{said}")
            forces.append(said.forces)
            spent += said.seconds
        found = modes(forces, asked.by)
        print(f"{spacing:<10} {found[0]:6.3f} {found[1]:6.3f} THz, {spent:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
