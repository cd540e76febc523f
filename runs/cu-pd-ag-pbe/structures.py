"""The first structures of the Cu-Pd-Ag library: structures.extxyz, the same ones every time.

    python runs/cu-pd-ag-pbe/structures.py [-o structures.extxyz]

Seven strata, more for the binaries. Each stratum has a quota of every kind (QUOTAS): anchors that everything else is measured
from (equations of state, prototypes, slabs), and crystals chosen from a pool six times as large so that their features lie
far apart. EMT with the lattice constants of PBE stands in for what is not known yet: it relaxes random crystals, whose
steps are taken as snapshots, and it keeps out what lies too high to matter.
The order is such that every prefix has all strata and kinds in their proportions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100, fcc111
from ase.calculators.emt import EMT
from ase.io import write

from evo.bootstrap import crystals
from evo.bootstrap.distort import scaled, shaken
from evo.cell import Space, reduce_cell, shortest_ratio
from evo.create.prototype import PROTOTYPES, crystal
from potentials import kernels
from potentials.calculator import from_calculator
from potentials.environments import deviations
from potentials.network import Shape
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Floats, Prediction, Structures
from potentials.units import EV_PER_A3_PER_GPA

SEED = 20
ELEMENTS = (29, 46, 47)
LATTICE = {29: 3.641, 46: 3.946, 47: 4.145, 79: 4.17}  # Å, fcc, PBE (GPAW; gold guessed from two volumes)
LATTICE_EMT = {29: 3.59, 46: 3.88, 47: 4.06, 79: 4.06}  # Å, fcc, EMT
VOLUMES = {z: a**3 / 4 for z, a in LATTICE.items()}
CLOSEST = 0.75  # of the sum of covalent radii
ROOMIEST = 3.0  # of the volume of the elements: vacuum is dear in plane waves
HIGHEST = 1.5  # eV/atom above the elements in EMT; squeezed ones may lie higher
STRONGEST = 12.0  # eV/Å in EMT
LARGEST = 4  # atoms
POOL = 6  # crystals to choose from for each that is wanted
PRESSURES = (0.0, 0.0, 25.0, 50.0)  # GPa, of the relaxations that snapshots are taken from
STEPS = (2, 6, 40)  # calls after which a snapshot is taken
QUOTAS: dict[int, dict[str, int]] = {
    1: {"eos": 13, "prototype": 4, "slab": 2, "near": 6, "snapshot": 7, "porous": 3, "random": 1},
    2: {"prototype": 10, "squeezed": 4, "near": 12, "snapshot": 13, "porous": 4, "random": 3},
    3: {"prototype": 6, "squeezed": 4, "near": 18, "snapshot": 18, "porous": 4, "random": 4},
}
EOS = {"fcc": (0.78, 0.88, 0.95, 1.0, 1.06, 1.2), "bcc": (0.85, 0.95, 1.0, 1.1), "hcp": (0.9, 1.0, 1.1)}  # V/V0
CLOSE_PACKED = {
    1: ("sc", "omega", "dhcp", "beta-Sn"),
    2: ("B2", "L1_0", "L1_1", "L1_2", "C11_b", "D0_22", "D0_3"),
    3: ("L2_1", "L1_0-ABC2"),
}
Maker = Callable[[np.random.Generator, Space], Atoms]
MAKERS: dict[str, Maker] = {
    "near": crystals.near_lattice,
    "squeezed": crystals.squeezed,
    "porous": crystals.porous,
    "random": crystals.unrelaxed,
}


def main(out: Path) -> None:
    made = [(place, atoms) for stratum in Stratum.of(ELEMENTS).subsets() for place, atoms in first_set(stratum)]
    made.sort(key=lambda pair: pair[0])
    write(out, [atoms for _, atoms in made], format="extxyz")
    sys.stdout.write(f"{len(made)} structures in {out}\n")


def first_set(stratum: Stratum) -> Iterator[tuple[tuple[float, int], Atoms]]:
    """The structures of one stratum, each with its place: a part of the way through, then the seven strata in turn."""
    rng = np.random.default_rng([SEED, *stratum.numbers])
    space = Space(stratum.numbers, (stratum.order, LARGEST), volumes={z: VOLUMES[z] for z in stratum.numbers})
    taken: list[Atoms] = []
    turn = sum(2 ** ELEMENTS.index(z) for z in stratum.numbers)
    for kind, quota in QUOTAS[stratum.order].items():
        for n, atoms in enumerate(_of_kind(kind, quota, rng, stratum, space, taken)):
            taken.append(atoms)
            atoms.info["kind"] = kind
            yield ((n + 0.5) / quota, turn), atoms


def _of_kind(
    kind: str, quota: int, rng: np.random.Generator, stratum: Stratum, space: Space, taken: list[Atoms]
) -> list[Atoms]:
    if kind == "eos":
        return equations_of_state(stratum)
    if kind == "slab":
        return slabs(stratum)
    if kind == "prototype":
        pool = [a for a in prototypes(stratum) if sound(a, HIGHEST)]
    elif kind == "snapshot":
        pool = [s for n in range(quota * POOL // 3) for s in snapshots(rng, space, f"relaxation {stratum.name} {n}")]
    else:
        highest = 2 * HIGHEST if kind == "squeezed" else HIGHEST
        pool = [a for a in (fitting(MAKERS[kind], rng, space) for _ in range(quota * POOL)) if sound(a, highest)]
        for n, atoms in enumerate(pool):
            atoms.info["family"] = f"{kind} {stratum.name} {n}"
    return diverse(pool, quota, stratum, taken)


def fitting(make: Maker, rng: np.random.Generator, space: Space) -> Atoms:
    """A crystal of this kind that is small enough."""
    while True:
        atoms = make(rng, space)
        if len(atoms) <= LARGEST:
            return reduce_cell(atoms)


def equations_of_state(stratum: Stratum) -> list[Atoms]:
    """The element in its simple lattices, from far too small to far too large; one family each."""
    z = stratum.numbers[0]
    made = []
    for lattice, factors in EOS.items():
        cell = bulk("Cu", lattice, a=1.0, **({"c": (8 / 3) ** 0.5} if lattice == "hcp" else {}))
        cell.numbers[:] = z
        for factor in factors:
            atoms = scaled(cell, factor * VOLUMES[z] * len(cell) / cell.cell.volume)
            atoms.info = {"family": f"eos {stratum.name} {lattice}"}
            made.append(atoms)
    # from the middle outwards, so that an early stop leaves the most important
    return sorted(made, key=lambda a: abs(np.log(a.cell.volume / len(a) / VOLUMES[z])))


def prototypes(stratum: Stratum) -> list[Atoms]:
    """Known structure types with metallic coordination, at the volume of the elements; open ones at a sensible bond."""
    made = []
    for kind in PROTOTYPES:
        if kind.name not in CLOSE_PACKED[stratum.order]:
            continue
        for order in kind.orders or _orders(stratum.numbers):
            chosen = tuple(stratum.numbers[i] for i in order)
            atoms = crystal(kind, chosen)
            volume = sum(VOLUMES[z] for z in atoms.numbers.tolist())
            atoms = scaled(atoms, volume / atoms.cell.volume)
            if kind.name in ("sc", "beta-Sn"):
                atoms = scaled(atoms, 1.15)
            atoms.info["family"] = f"prototype {kind.name} {''.join(str(z) for z in chosen)}"
            made.append(atoms)
    return made


def _orders(numbers: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(0,)] if len(numbers) == 1 else [(0, 1), (1, 0)]


def slabs(stratum: Stratum) -> list[Atoms]:
    """Three layers of (111) and of (100), 8 Å of vacuum between them."""
    symbol = Atoms(numbers=stratum.numbers[:1]).get_chemical_symbols()[0]
    made = []
    for name, build in (("111", fcc111), ("100", fcc100)):
        atoms = build(symbol, (1, 1, 3), a=LATTICE[stratum.numbers[0]], vacuum=4.0)
        atoms = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
        atoms.info["family"] = f"slab {stratum.name} {name}"
        made.append(atoms)
    return made


def snapshots(rng: np.random.Generator, space: Space, family: str) -> list[Atoms]:
    """A random crystal on its way downhill in EMT, under a random pressure: early, later, and at the end a little shaken."""
    start = scaled(fitting(crystals.searched, rng, space), float(np.exp(rng.normal(0.0, 0.1))))
    factor = stretch(start)
    pressure = float(rng.choice(PRESSURES)) * EV_PER_A3_PER_GPA
    seen: list[Atoms] = []

    def keep(_: object, structures: Structures, prediction: Prediction) -> None:
        seen.append(structures.atoms(0))

    relax(
        from_calculator(EMT()), Structures.from_ase([scaled(start, factor**-3)]), pressure=pressure, fmax=0.05, smax=0.005,
        max_calls=STEPS[-1] + 1, on_call=keep,
    )  # fmt: skip
    found = [seen[min(n, len(seen) - 1)] for n in STEPS[: len(seen)]]
    made = []
    for n, atoms in enumerate(found):
        atoms = scaled(atoms, factor**3)
        if n == len(found) - 1:
            atoms = shaken(rng, atoms, 0.01, 0.05)
        atoms = reduce_cell(atoms)
        if sound(atoms, HIGHEST):
            atoms.info["family"] = family
            made.append(atoms)
    return made


def sound(atoms: Atoms, highest: float) -> bool:
    """Whether no atoms are too close, and EMT finds it neither too high nor its forces too strong."""
    if not shortest_ratio(atoms) >= CLOSEST or atoms.cell.volume > ROOMIEST * sum(
        VOLUMES[z] for z in atoms.numbers.tolist()
    ):
        return False
    test = scaled(atoms, stretch(atoms) ** -3)
    test.calc = EMT()
    return bool(
        test.get_potential_energy() / len(test) - _elements(test) < highest
        and np.abs(test.get_forces()).max() < STRONGEST
    )


def diverse(pool: list[Atoms], quota: int, stratum: Stratum, taken: list[Atoms]) -> list[Atoms]:
    """The `quota` crystals of the pool that lie farthest from each other and from those already taken."""
    if len(pool) <= quota:
        return pool
    vectors = _vectors([*taken, *pool], stratum)
    mine, others = vectors[len(taken) :], vectors[: len(taken)]
    chosen: list[int] = [] if len(others) else [int(np.argmin(((mine - mine.mean(axis=0)) ** 2).sum(axis=1)))]
    apart = np.full(len(mine), np.inf)
    for vector in [*others, *(mine[i] for i in chosen)]:
        apart = np.minimum(apart, ((mine - vector) ** 2).sum(axis=1))
    while len(chosen) < quota:
        chosen.append(int(np.argmax(apart)))
        apart = np.minimum(apart, ((mine - mine[chosen[-1]]) ** 2).sum(axis=1))
    return [pool[i] for i in chosen]


def _vectors(atoms: list[Atoms], stratum: Stratum) -> Floats:
    """(n, D) mean and spread over the atoms of their features, in units of their deviation; capped against outliers."""
    tables = kernels.features(Structures.from_ase(atoms), Shape(6.0, 4, 3, 8), stratum.numbers)
    width = max(t.shape[1] for t in tables)
    rows = [np.concatenate([_wide(t.mean(axis=0), width), _wide(t.std(axis=0), width)]) for t in tables]
    table = np.array(rows)
    return np.asarray(np.tanh((table - np.median(table, axis=0)) / deviations(table) / 2))


def _wide(row: Floats, width: int) -> Floats:
    return np.pad(row, (0, width - len(row)))


def stretch(atoms: Atoms) -> float:
    """PBE lattice constants over those of EMT, mean over the atoms."""
    return float(np.mean([LATTICE[z] / LATTICE_EMT[z] for z in atoms.numbers.tolist()]))


_ENERGIES: dict[int, float] = {}


def _elements(atoms: Atoms) -> float:
    """eV/atom of the elements in EMT, in the proportions of the crystal."""
    for z in set(atoms.numbers.tolist()) - set(_ENERGIES):
        cell = bulk("Cu", a=LATTICE_EMT[z])
        cell.numbers[:] = z
        cell.calc = EMT()
        _ENERGIES[z] = cell.get_potential_energy()
    return float(np.mean([_ENERGIES[z] for z in atoms.numbers.tolist()]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("structures.extxyz"))
    main(parser.parse_args().output)
