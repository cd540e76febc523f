"""A library beside its goals: what must hold before it ships. Status 1 where a goal is missed.

    python runs/cu-pd-ag-pbe/goals.py [LIB]    # ten seconds; without LIB, the library that ships

Held-out crystals up to the recipe's `high_energy` above the lowest, as `potentials describe` has them, and forces of all that
are held out; against DFT, all of it on file (dft.json, and what moduli.py, ordered.py and vacancies.py compare with): lattices,
formation energies, moduli, vacancies, phonons at the zone boundary. Every line is a figure, DFT's, and how far it may be off.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.io import read
from moduli import compared
from ordered import formations
from vacancies import ANSWERS, by_networks

from potentials.assess import Compared, Settings, assess
from potentials.assess.held_out import held_out
from potentials.library import Library
from potentials.stratum import Stratum

HERE = Path(__file__).resolve().parent
DFT = json.loads((HERE / "dft.json").read_text(encoding="utf-8"))
ORDERED = ("B2", "L1_0", "L1_1", "L1_2", "D0_23")
ENERGY = {1: 3.0, 2: 5.0, 3: 5.0}  # meV/atom by how many elements
FORCE = 50.0  # meV/Å, of compounds


class Line(NamedTuple):
    """One figure, what it should be (None: zero), and how far it may be off, in the same unit."""

    what: str
    unit: str
    found: float
    wanted: float | None
    allowed: float

    @property
    def missed(self) -> float:
        """How far it is off, in what is allowed."""
        return abs(self.found - (self.wanted or 0.0)) / self.allowed

    def __str__(self) -> str:
        wanted = "" if self.wanted is None else f"{self.wanted:9.3f}"
        mark = "" if self.missed <= 1.0 else "  MISSED"
        return f"{self.what:<28}{self.found:9.3f}{wanted:>10} {self.unit:<9}{100 * self.missed:5.0f} % of what is allowed{mark}"


def errors(library: Library) -> Iterator[Line]:
    for stratum in library.strata():
        known = library.stratum(stratum).metadata["errors"]
        yield Line(f"{stratum.name} held out", "meV/atom", 1e3 * known["energy_held_out"], None, ENERGY[stratum.order])
    data = held_out(library)
    names = np.array([s.name for s in data.strata()])
    for stratum in (s for s in library.strata() if s.order > 1):
        mine = data.select(np.flatnonzero(names == stratum.name))
        missed = library.assemble(stratum).evaluate(mine.structures).forces - mine.labels.forces
        yield Line(f"{stratum.name} forces, all", "meV/Å", 1e3 * float(np.sqrt(np.mean(missed**2))), None, FORCE)


def lattices(library: Library) -> Iterator[Line]:
    for name, volume in DFT["volume"].items():
        found = {c.quantity: c for c in numbers(library, name, "lattice") if c.subject in (name, f"{name} fcc")}
        a0, wanted = ((4 * v) ** (1 / 3) for v in (found["volume"].network, volume))
        yield Line(f"{name} a0", "Å", a0, wanted, 0.003 * wanted)
        for other, height in DFT["stacking"][name].items():  # the sign must be right
            above = found[other].network
            yield Line(f"{name} {other}", "meV/atom", above, height, max(height, above - height))


def ordered(library: Library) -> Iterator[Line]:
    for system in ("CuPd", "CuAg", "PdAg"):
        for c in numbers(library, system, "formation", ORDERED):
            if c.quantity == "formation energy" and c.subject in DFT["formation"]:
                yield Line(c.subject, "meV/atom", c.network, DFT["formation"][c.subject], 5.0)
    for name, network, dft, _ in formations(library):
        yield Line(name, "meV/atom", network, dft, 5.0)


def elastic(library: Library) -> Iterator[Line]:
    for name, both, _ in compared(library):
        for which, network, dft in zip(("C11", "C12", "C44"), *both, strict=True):
            yield Line(f"{name} {which}", "GPa", network, dft, 0.1 * dft)


def vacancies(library: Library) -> Iterator[Line]:
    for atoms in read(ANSWERS, ":"):
        symbol = atoms.info["element"]
        network = by_networks(library.assemble(Stratum.parse(symbol)), symbol, atoms)
        yield Line(f"{symbol} vacancy", "eV", network, float(atoms.info["formation"]), 0.1)


def phonons(library: Library) -> Iterator[Line]:
    for subject, wanted in DFT["frequency"].items():
        system, prototype = subject.split()
        settings = (
            Settings(displacement=0.03, supercell=5.0) if prototype == "fcc" else Settings(displacement=0.03, repeat=2)
        )
        for c in numbers(library, system, "phonons", ORDERED[:1], settings):
            if c.subject == subject and c.quantity in wanted:
                yield Line(f"{subject}, {c.quantity}", "THz", c.network, wanted[c.quantity], 0.1 * wanted[c.quantity])


def numbers(
    library: Library, system: str, topic: str, prototypes: tuple[str, ...] = (), settings: Settings | None = None
) -> list[Compared]:
    """What an assessment of the library by itself says."""
    found = assess(
        library, properties=[topic], prototypes=prototypes or None, system=Stratum.parse(system), settings=settings
    )
    return [c for c in found.compared if c.topic == topic]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", metavar="LIB", type=Path, nargs="?", default=Path("cu-pd-ag-pbe"))
    library = Library.open(parser.parse_args().library)
    lines: list[Line] = []
    for topic in (errors, lattices, ordered, elastic, vacancies, phonons):
        for line in topic(library):
            print(line, flush=True)
            lines.append(line)
    missed = [line.what for line in lines if not line.missed <= 1.0]
    print(
        f"{len(lines) - len(missed)} of {len(lines)} goals are met"
        + (f"; missed: {'; '.join(missed)}" if missed else "")
    )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
