"""Crystals that move a little about low phases, and long-period relatives of L1_2: vibrating.extxyz, long-period.extxyz.

    python runs/cu-pd-ag-pbe/vibrating.py LIB --round 8 [--strata Pd=14 Ag=6 ...] [--parents B2 ...] [--times 2]
    python runs/cu-pd-ag-pbe/vibrating.py LIB --judge FILE    # what LIB says of labelled ones
    python runs/cu-pd-ag-pbe/vibrating.py --meshes    # what labels by 0.04 1/Å have beside those by 0.026

What phonons and moduli are made of is differences of a few meV between crystals that are nearly the same, which rounds by the
committee's spread do not choose. The parents are phases as the library relaxes them (PARENTS), in random supercells of at most
LARGEST atoms, strained by about one per cent, their atoms moved by 0.02 to 0.06 Å at random: no mode of a phonon that an
assessment looks at is among them but by chance. --long adds L1_2 with an antiphase boundary after every third cube, and after
one and two in turn (12 atoms, ideal sites, relaxed by the library).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write
from ase.symbols import symbols2numbers
from choose import CALLS, seconds
from structures import ELEMENTS, LARGEST, LATTICE, SEED, VOLUMES

from evo.bootstrap.distort import log_uniform, scaled, shaken
from evo.cell import reduce_cell
from evo.create.prototype import PROTOTYPES, crystal
from evo.supercell import random_supercell
from potentials.dataset import read_dataset
from potentials.library import Library
from potentials.potential import Potential
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Structures
from potentials.units import EV_PER_A3_PER_GPA

PARENTS = {1: ("fcc", "fcc", "fcc", "hcp"), 2: ("B2", "L1_2", "L1_1")}
STRATA = ("Pd=14", "Ag=6", "Cu=4", "CuPd=8", "CuAg=2", "PdAg=4")
STRAIN = 0.008  # deviation of each component
DISPLACEMENTS = (0.02, 0.06)  # Å
BOUNDARIES = ((3,), (1, 2))  # cubes of L1_2 between antiphase boundaries


def relaxed(crystals: list[Atoms], potential: Potential) -> list[Atoms]:
    """As the networks have them."""
    done = relax(potential.evaluate, Structures.from_ase(crystals), fmax=0.005, smax=0.0006, max_calls=CALLS)
    return done.structures.to_ase()


def phases(stratum: Stratum, parents: list[str] | None) -> list[tuple[str, Atoms]]:
    """The parents (of PARENTS, all or those of these names), with their names, at the volume of the elements."""
    made = []
    for name in (n for n in PARENTS[stratum.order] if parents is None or n in parents):
        (kind,) = (p for p in PROTOTYPES if p.name == name)
        for order in [(0,)] if stratum.order == 1 else kind.orders or [(0, 1), (1, 0)]:
            atoms = crystal(kind, tuple(stratum.numbers[i] for i in order))
            volume = sum(VOLUMES[z] for z in atoms.numbers.tolist())
            made.append((f"{name} {atoms.get_chemical_formula()}", scaled(atoms, volume / atoms.cell.volume)))
    return made


def vibrating(
    stratum: Stratum, quota: int, turn: int, potential: Potential, parents: list[str] | None, times: int, strain: float
) -> list[Atoms]:
    """So many crystals about the phases of a stratum, in turn; in supercells of at least so many cells."""
    rng = np.random.default_rng([SEED, turn, *stratum.numbers])
    names, starts = zip(*phases(stratum, parents), strict=True)
    ends = relaxed(list(starts), potential)
    made: list[Atoms] = []
    for n in range(quota):
        name, parent = names[n % len(ends)], ends[n % len(ends)]
        factors = [f for f in range(1, LARGEST + 1) if f >= times and 1 < f * len(parent) <= LARGEST]
        cell = random_supercell(rng, parent, int(rng.choice(factors)))
        atoms = reduce_cell(shaken(rng, cell, strain, log_uniform(rng, *DISPLACEMENTS)))
        atoms.info = {"family": f"vibrating {name} {turn}-{n}", "kind": "vibrating"}
        made.append(atoms)
    return made


def long_period(minority: int, majority: int, potential: Potential) -> list[Atoms]:
    """L1_2 with antiphase boundaries normal to c, shifted by half the diagonal of a face; the primitive cell."""
    made, names = [], []
    a = (LATTICE[minority] + 3 * LATTICE[majority]) / 4
    for cubes in BOUNDARIES:
        numbers, places, shift = [], [], 0
        for layer in range(sum(cubes)):
            if layer in np.cumsum(cubes):
                shift = 1 - shift
            sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
            places += (sites + np.array([0.5 * shift, 0.5 * shift, layer])).tolist()
            numbers += [minority, majority, majority, majority]
        turned = 0.5 * (len(cubes) % 2)  # an odd number of boundaries: the next period is shifted
        cell = a * np.array([[1, 0, 0], [0, 1, 0], [turned, turned, sum(cubes)]])
        made.append(Atoms(numbers, positions=a * np.array(places), cell=cell, pbc=True))
        names.append(f"long period {made[-1].get_chemical_formula()} {'-'.join(map(str, cubes))}")
    done = relaxed(made, potential)
    for name, atoms in zip(names, done, strict=True):
        atoms.info = {"family": name, "kind": "long period"}
    return done


def judge(potential: Potential, labels: Path) -> None:
    """Print errors on the labelled ones, by stratum: those of a library that had not seen them, if LIB is from before."""
    kinds = np.array([a.info.get("kind") for a in read(labels, ":")])
    data = read_dataset(labels).select(np.flatnonzero(kinds == "vibrating"))
    predicted, structures = potential.evaluate(data.structures), data.structures
    energies = 1e3 * (predicted.energies - data.labels.energies) / structures.sizes
    forces = 1e3 * (predicted.forces - data.labels.forces)
    names = np.array([s.name for s in data.strata()])
    owners = np.repeat(names, structures.sizes)
    print(f"{'':8}crystals  RMSE  mean  meV/atom; forces meV/Å")
    for name in [*dict.fromkeys(names.tolist()), "all"]:
        mine, atoms = (np.full(len(x), True) if name == "all" else x == name for x in (names, owners))
        rmse, force = (np.sqrt(np.mean(x**2)) for x in (energies[mine], forces[atoms]))
        print(f"{name:8}{mine.sum():8}{rmse:6.1f}{energies[mine].mean():6.1f}{force:10.0f}")


def compare_meshes() -> None:
    """Print labels by the coarser mesh less those by the denser one, as far as there are both."""
    folder = Path(__file__).parent
    dense, coarse = (read_dataset(folder / f"vibrating-{name}.extxyz.xz") for name in ("labels", "coarse"))
    places = {family: place for place, family in enumerate(coarse.families)}
    print(f"{'':24}meV/atom  meV/Å    GPa")
    for n, family in enumerate(dense.families):
        if family not in places:
            continue
        new, old = dense.select([n]).labels, coarse.select([places[family]]).labels
        energy = 1e3 * (old.energies[0] - new.energies[0]) / dense.structures.sizes[n]
        force = 1e3 * np.sqrt(np.mean((old.forces - new.forces) ** 2))
        stress = np.abs(old.stresses - new.stresses).max() / EV_PER_A3_PER_GPA
        print(f"{family:24}{energy:8.1f}{force:7.1f}{stress:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", metavar="LIB", type=Path, nargs="?")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--round", type=int)
    what.add_argument("--judge", metavar="FILE", type=Path, help="labels of what this program makes")
    what.add_argument("--meshes", action="store_true", help="labels by the coarser mesh less those by the denser one")
    parser.add_argument("--strata", metavar="STRATUM=N", nargs="+", default=STRATA, help="how many of each")
    parser.add_argument("--parents", metavar="PHASE", nargs="+", help="only about these")
    parser.add_argument("--times", metavar="N", type=int, default=1, help="supercells of at least so many cells")
    parser.add_argument("--strain", type=float, default=STRAIN, help="deviation of each of its components")
    parser.add_argument(
        "--long", metavar="COMPOUND", nargs="*", default=["Cu3Pd"], help="of three atoms of one, one of the other"
    )
    parser.add_argument("--structures", type=Path, default=Path(__file__).with_name("vibrating.extxyz"))
    asked = parser.parse_args()
    if asked.meshes:
        compare_meshes()
        return
    if asked.library is None:
        parser.error("--round and --judge need LIB")
    potential = Library.open(asked.library).assemble(Stratum.of(ELEMENTS))
    if asked.judge:
        judge(potential, asked.judge)
        return
    taken: list[Atoms] = list(read(asked.structures, ":")) if asked.structures.exists() else []
    if any(a.info.get("round", 0) >= asked.round for a in taken):
        sys.exit(f"{asked.structures} holds round {asked.round} already; the next is --round {asked.round + 1}")
    quotas = {Stratum.parse(name): int(n) for name, n in (text.split("=") for text in asked.strata)}
    new = [
        a
        for s, n in quotas.items()
        for a in vibrating(s, n, asked.round, potential, asked.parents, asked.times, asked.strain)
    ]
    new = [new[n] for n in np.random.default_rng([SEED, asked.round]).permutation(len(new))]
    long: list[Atoms] = []
    for formula in asked.long:
        majority, minority = sorted(symbols2numbers(formula), key=symbols2numbers(formula).count, reverse=True)[::3]
        long += long_period(minority, majority, potential)
    for atoms in (*new, *long):
        atoms.info["round"] = int(asked.round)
    write(asked.structures, [*taken, *new], format="extxyz")
    beside = asked.structures.with_name("long-period.extxyz")
    if long:
        write(beside, [*(read(beside, ":") if beside.exists() else []), *long], format="extxyz")
    for path, made in ((asked.structures, new), (beside, long)):
        hours = seconds(made).sum() / 3600
        print(f"{len(made)} structures of round {asked.round} in {path}, some {hours:.1f} CPU h of DFT")


if __name__ == "__main__":
    main()
