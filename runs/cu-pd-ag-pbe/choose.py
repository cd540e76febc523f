"""More structures for the Cu-Pd-Ag library, those that its committee knows least of: appended to structures.extxyz.

    python runs/cu-pd-ag-pbe/choose.py LIB [--round 1] [--number 100]
    python runs/cu-pd-ag-pbe/choose.py LIB --round 7 --strata Pd=24 Ag=16 PdAg=28 CuAg=12 CuPdAg=20

The pool of a round is new (its number is the seed) and ten times as large as what is chosen: the kinds of structures.py, and what
the networks themselves take for minima, a little shaken. A crystal counts by the spread of the committee in eV/atom, less
the higher it lies and by the root of the CPU time that DFT is predicted to take; of the three times as many that count most,
those are taken that lie farthest apart.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write
from structures import (
    CLOSEST,
    ELEMENTS,
    HIGHEST,
    LARGEST,
    MAKERS,
    SEED,
    VOLUMES,
    diverse,
    fitting,
    snapshots,
    sound,
)

from evo.bootstrap import crystals
from evo.bootstrap.distort import shaken
from evo.cell import Space, reduce_cell, shortest_ratio
from evo.reference.cost import predicted_seconds
from evo.settings import ReferenceSection
from potentials.library import Library
from potentials.potential import Potential
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures

SHARES = {
    1: 0.12,
    2: 0.14,
    3: 0.22,
}  # of each stratum: what stands on an element cannot mend it, and its crystals are cheap
POOL = {"near": 3, "snapshot": 3, "found": 2, "porous": 1, "random": 1}  # times what is chosen
KNOWN_BY = 3  # times as many are looked at for how far apart they lie
HIGH = 0.6  # eV/atom above the elements, where a spread counts half
CALLS = 60  # of a relaxation by the networks


def chosen(library: Library, taken: list[Atoms], quotas: dict[Stratum, int], turn: int) -> list[Atoms]:
    """So many crystals of each stratum; `taken` are those that are there already."""
    potential = library.assemble(Stratum.of(ELEMENTS))
    lowest = elements(potential, taken)
    made: list[Atoms] = []
    for stratum, quota in quotas.items():
        pool = candidates(stratum, quota, turn, potential)
        scores = worth(pool, potential, lowest) / np.sqrt(seconds(pool))
        first = [pool[c] for c in np.argsort(-scores)[: KNOWN_BY * quota]]
        own = [a for a in taken if set(a.numbers.tolist()) == set(stratum.numbers)]
        made += diverse(first, quota, stratum, own)
    return made


def elements(potential: Potential, taken: list[Atoms]) -> dict[int, float]:
    """eV/atom of each at its lowest by the networks."""
    structures = Structures.from_ase(taken)
    energies = potential.evaluate(structures).energies / structures.sizes
    sets = [set(a.numbers.tolist()) for a in taken]
    return {z: min(energies[c] for c, s in enumerate(sets) if s == {z}) for z in ELEMENTS}


def worth(pool: list[Atoms], potential: Potential, lowest: dict[int, float]) -> Floats:
    """(n,) eV/atom: the spread, less for what lies high."""
    structures = Structures.from_ase(pool)
    found = potential.evaluate(structures)
    mixed = np.array([np.mean([lowest[z] for z in a.numbers.tolist()]) for a in pool])
    height = np.maximum(found.energies / structures.sizes - mixed, 0.0)
    return np.asarray(found.spreads / structures.sizes / (1 + (height / HIGH) ** 2))


def seconds(crystals: list[Atoms]) -> Floats:
    """(n,) CPU s of DFT, predicted from meshes and symmetry."""
    settings = tomllib.loads(Path(__file__).with_name("reference.toml").read_text(encoding="utf-8"))["reference"]
    section = ReferenceSection(**settings)
    return np.array([predicted_seconds(section, atoms) for atoms in crystals])


def candidates(stratum: Stratum, quota: int, turn: int, potential: Potential) -> list[Atoms]:
    """The pool of one stratum, each crystal with its kind and family."""
    rng = np.random.default_rng([SEED, turn, *stratum.numbers])
    space = Space(stratum.numbers, (stratum.order, LARGEST), volumes={z: VOLUMES[z] for z in stratum.numbers})
    pool: list[Atoms] = []
    for kind, times in POOL.items():
        name = f"{kind} {stratum.name} {turn}"
        if kind == "snapshot":
            made = [s for n in range(-(-quota * times // 3)) for s in snapshots(rng, space, f"{name}-{n}")]
        elif kind == "found":
            made = minima([fitting(crystals.searched, rng, space) for _ in range(quota * times)], potential, rng)
        else:
            made = [fitting(MAKERS[kind], rng, space) for _ in range(quota * times)]
            made = [a for a in made if sound(a, HIGHEST)]
        for n, atoms in enumerate(made):
            atoms.info = {"family": atoms.info.get("family", f"{name}-{n}"), "kind": kind}
        pool += made
    return pool


def minima(starts: list[Atoms], potential: Potential, rng: np.random.Generator) -> list[Atoms]:
    """Where the networks' relaxations end, however absurd, as long as DFT can say something of it."""
    relaxed = relax(potential.evaluate, Structures.from_ase(starts), fmax=0.05, smax=0.005, max_calls=CALLS)
    ends = [reduce_cell(shaken(rng, atoms, 0.01, 0.05)) for atoms in relaxed.structures.to_ase()]
    return [
        a
        for a in ends
        if shortest_ratio(a) > CLOSEST and a.cell.volume < 3 * sum(VOLUMES[z] for z in a.numbers.tolist())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", metavar="LIB", type=Path)
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument(
        "--strata", metavar="STRATUM=N", nargs="+", help="how many of each, in place of its share of --number"
    )
    parser.add_argument("--structures", type=Path, default=Path(__file__).with_name("structures.extxyz"))
    asked = parser.parse_args()
    taken: list[Atoms] = list(read(asked.structures, ":"))
    if any(a.info.get("round", 0) >= asked.round for a in taken):
        sys.exit(f"{asked.structures} holds round {asked.round} already; the next is --round {asked.round + 1}")
    quotas = {s: round(asked.number * SHARES[s.order]) for s in Stratum.of(ELEMENTS).subsets()}
    if asked.strata:
        quotas = {Stratum.parse(name): int(n) for name, n in (text.split("=") for text in asked.strata)}
    new = chosen(Library.open(asked.library), taken, quotas, asked.round)
    for atoms in new:
        atoms.info["round"] = int(asked.round)
    # the strata in turn, so that every prefix has them all
    order = np.random.default_rng([SEED, asked.round]).permutation(len(new))
    write(asked.structures, [*taken, *(new[n] for n in order)], format="extxyz")
    hours = seconds(new).sum() / 3600
    print(f"{len(new)} structures of round {asked.round} appended to {asked.structures}, some {hours:.1f} CPU h of DFT")


if __name__ == "__main__":
    main()
