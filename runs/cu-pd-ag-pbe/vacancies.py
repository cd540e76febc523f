"""Vacancies in 31 atoms of Cu, Pd, Ag: the networks beside DFT at the networks' geometry.

    python runs/cu-pd-ag-pbe/vacancies.py [LIB] [--elements Cu Pd Ag]    # a quarter to three quarters of an hour of DFT each

E(31) - 31/32 E(32), the 31 relaxed by the library at its own lattice constant, the first time; another library is judged by
the crystals that DFT has seen, as they are. The 32 are worked out as a cube of four with the same k-points, which is the same
crystal: what the mesh has wrong cancels. What DFT said is in vacancies.extxyz.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from evo.candidate import Failure
from evo.reference import open_reference
from evo.reference.gpaw import Gpaw, open_gpaw
from evo.reference.mesh import mesh
from evo.settings import load_reference
from potentials.library import Library
from potentials.potential import Potential
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Structures
from potentials.symmetry import keeping_symmetry

HERE = Path(__file__).resolve().parent
ANSWERS = HERE / "vacancies.extxyz"
LATTICES = {"Cu": 3.64, "Pd": 3.95, "Ag": 4.15}  # Å, to begin with
SPACINGS = np.geomspace(0.1, 0.005, 600)  # 1/Å
CUBES = 2  # along an edge of the vacancy's cell


def crystals(symbol: str, potential: Potential) -> tuple[Atoms, Atoms]:
    """A cube of four atoms, and the relaxed cell with the vacancy."""
    start = Structures.from_ase([bulk(symbol, "fcc", a=LATTICES[symbol])])
    whole = relax(potential.evaluate, start, smax=1e-6).structures
    cube = bulk(symbol, "fcc", a=float((4 * whole.volumes[0]) ** (1 / 3)), cubic=True)
    begun = cube.repeat(CUBES)[1:]
    keep = keeping_symmetry(potential.evaluate, begun)
    return cube, relax(keep, Structures.from_ase([begun]), fmax=1e-3, fixed_cell=True).structures.atoms(0)


def by_networks(potential: Potential, symbol: str, vacancy: Atoms) -> float:
    """eV, of a crystal as DFT has seen it."""
    cube = bulk(symbol, "fcc", a=float(vacancy.cell.lengths()[0]) / CUBES, cubic=True)
    whole, found = (float(potential.evaluate(Structures.from_ase([a])).energies[0]) for a in (cube, vacancy))
    return found - len(vacancy) / len(cube) * whole


def by_dft(engine: Gpaw, cube: Atoms, vacancy: Atoms) -> float | Failure:
    """eV; the crystals have the same k-points."""
    size = engine.options.mesh(engine.options.job_cell(vacancy), None).size
    same = tuple(CUBES * n for n in size)
    spacing = next(s for s in SPACINGS if mesh(cube, float(s)).size == same)
    dense = open_gpaw({**engine.options.model_dump(mode="json", exclude_unset=True), "kspacing": float(spacing)})
    whole = dense.evaluate(cube)
    if isinstance(whole, Failure):
        return whole
    found = engine.evaluate(vacancy)
    if isinstance(found, Failure):
        return found
    force = float(np.linalg.norm(found.forces, axis=1).max())
    print(f"  mesh {size}, largest force {force:.3f} eV/Å, {whole.seconds + found.seconds:.0f} CPU s", flush=True)
    return float(found.energy - len(vacancy) / len(cube) * whole.energy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "library", metavar="LIB", type=Path, nargs="?", default=HERE.parents[1] / "potentials/shipped/cu-pd-ag-pbe"
    )
    parser.add_argument("--elements", nargs="+", choices=tuple(LATTICES), default=tuple(LATTICES))
    asked = parser.parse_args()
    library = Library.open(asked.library)
    section = load_reference(HERE / "reference.toml")
    known: list[Atoms] = list(read(ANSWERS, ":")) if ANSWERS.exists() else []
    for symbol in asked.elements:
        potential = library.assemble(Stratum.parse(symbol))
        vacancy = next((a for a in known if a.info["element"] == symbol), None)
        if vacancy is None:
            cube, vacancy = crystals(symbol, potential)
            said = by_dft(open_gpaw(section.options), cube, vacancy)
            if isinstance(said, Failure):
                print(f"{symbol}: {said}")
                continue
            vacancy.info = {"element": symbol, "formation": said, "method": open_reference(section).method}
            known.append(vacancy)
            write(ANSWERS, known, format="extxyz")
        network = by_networks(potential, symbol, vacancy)
        print(f"{symbol}: networks {network:.3f}, DFT {vacancy.info['formation']:.3f} eV", flush=True)


if __name__ == "__main__":
    main()
