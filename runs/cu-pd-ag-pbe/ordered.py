"""D0_23 of Cu-Ag and Pd-Ag: formation energies by the networks beside DFT of the same crystals.

    python runs/cu-pd-ag-pbe/ordered.py write [LIB]     # ordered.extxyz: as this library relaxes them
    make pbe-labels                                     # minutes of DFT each
    python runs/cu-pd-ag-pbe/ordered.py [LIB]           # both formation energies, meV/atom

The crystals stay those of the library that was there first: near a minimum energies do not change to first order. The elements
are at their lowest by each side; DFT's are those of assessment/answers.jsonl.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols
from ase.io import read, write

from potentials.assess.prototypes import crystals
from potentials.library import Library
from potentials.potential import Potential
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Structures
from potentials.symmetry import keeping_symmetry

HERE = Path(__file__).resolve().parent
SYSTEMS = ("CuAg", "PdAg")
FILE, LABELS = HERE / "ordered.extxyz", HERE / "ordered-labels.extxyz.xz"
VOLUMES = {29: 12.1, 46: 15.4, 47: 17.8}  # Å³ per atom, to begin with


def relaxed(potential: Potential, atoms: Atoms) -> tuple[Atoms, float]:
    """The crystal at its minimum with the symmetry that it has, and eV per atom there."""
    keep = keeping_symmetry(potential.evaluate, atoms)
    found = relax(keep, Structures.from_ase([atoms]), fmax=1e-3, smax=1e-5)
    return found.structures.atoms(0), float(found.prediction.energies[0]) / len(atoms)


def made(library: Library) -> list[Atoms]:
    """D0_23 of both compositions of each system."""
    result = []
    for name in SYSTEMS:
        potential = library.assemble(Stratum.parse(name))
        for crystal in crystals(Stratum.parse(name)):
            if crystal.prototype.name == "D0_23":
                volume = float(np.mean([VOLUMES[z] for z in crystal.elements]))
                atoms, _ = relaxed(potential, crystal.build(volume))
                atoms.info = {"family": f"ordered {crystal.name}", "kind": "ordered"}
                result.append(atoms)
    return result


def elements_by_dft() -> dict[int, float]:
    """eV per atom at the lowest that was worked out, by atomic number."""
    lowest: dict[int, float] = {}
    for text in (HERE / "assessment" / "answers.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(text) if text.strip() else {}
        if (symbol := record.get("formula")) in chemical_symbols:
            number = chemical_symbols.index(symbol)
            lowest[number] = min(lowest.get(number, np.inf), float(record["energy"]))
    return lowest


def formations(library: Library) -> list[tuple[str, float, float, float]]:
    """Of every crystal that DFT has seen: name, formation energy by the networks and by DFT, meV/atom, DFT's largest force."""
    dft = elements_by_dft()
    own = {
        z: relaxed(library.assemble(Stratum((z,))), bulk(chemical_symbols[z], "fcc", a=(4 * v) ** (1 / 3)))[1]
        for z, v in VOLUMES.items()
    }
    rows = []
    for atoms in read(LABELS, ":"):
        potential = library.assemble(Stratum.of(atoms.numbers.tolist()))
        sides = (
            (float(potential.evaluate(Structures.from_ase([atoms])).energies[0]), own),
            (atoms.get_potential_energy(), dft),
        )
        network, reference = (
            1e3 * (e / len(atoms) - np.mean([of[z] for z in atoms.numbers.tolist()])) for e, of in sides
        )
        name = atoms.info["family"].removeprefix("ordered ")
        rows.append((name, float(network), float(reference), float(np.abs(atoms.get_forces()).max())))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["write", "compare"], default="compare")
    parser.add_argument("library", nargs="?", type=Path, metavar="LIB", default=Path("cu-pd-ag-pbe"))
    asked = parser.parse_args()
    library = Library.open(asked.library)
    if asked.what == "write":
        write(FILE, made(library), format="extxyz")
    else:
        for name, network, dft, force in formations(library):
            print(f"{name:12} {network:7.1f} {dft:7.1f}   {force:.3f} eV/Å")


if __name__ == "__main__":
    main()
