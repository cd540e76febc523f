"""Labelled crystals for the benchmarks: strained and rattled prototypes, random cells, steps of relaxations, by UNEP-v1.

    python benchmarks/unep_data.py Cu CuPd CuPdAg --train 1500 --test 500 --largest 8 -o DIRECTORY

writes DIRECTORY/CuPd.train.extxyz and DIRECTORY/CuPd.test.extxyz. The labels come from the published potential UNEP-v1
(Song et al., Nature Communications 15, 10208 (2024)) by way of calorine; --potential names its file. The same seed gives the
same crystals. A relaxation is on one side whole. Formation energies reach `CEILING` above the lowest of the set.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from numpy.random import Generator

from potentials.calculator import from_calculator
from potentials.dataset import Dataset, read_dataset, write_dataset
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Floats, Prediction, Structures

POTENTIAL = Path(__file__).resolve().parents[2] / "shared" / "unep" / "UNEP-v1.txt"
METHOD = "unep:v1"
CEILING = 1.0  # eV/atom of the formation energy above the lowest of the set
LARGEST_ORDERED = 4  # atoms
LARGEST_FORCE = 15.0  # eV/Å
CLOSEST = 0.80  # of the nearest distance in fcc, of random cells before relaxation
SHARES = {"prototype": 0.35, "random": 0.25, "relaxation": 0.40}
# with low ordered crystals, of which prototypes are few: a third of them is not strained, a quarter not rattled
ORDERED = {"prototype": 0.32, "random": 0.22, "relaxation": 0.36, "ordered": 0.10}
STEPS_KEPT = 5  # of one relaxation
# fcc lattice constants of UNEP-v1, Å: sizes of the atoms
LATTICE = {
    "Cu": 3.626,
    "Pd": 3.940,
    "Ag": 4.146,
    "Au": 4.158,
    "Al": 4.043,
    "Ni": 3.508,
    "Pt": 3.97,
    "Mg": 4.52,
    "Ti": 4.11,
}


class Unep(Calculator):
    """UNEP-v1 as an ASE calculator. One of calorine's for each number of atoms: they read the file when that changes."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, potential: Path = POTENTIAL) -> None:
        super().__init__()
        self._potential = potential
        self._by_size: dict[int, Calculator] = {}

    def calculate(self, atoms: Atoms, properties: object = None, system_changes: object = None) -> None:
        from calorine.calculators import CPUNEP

        if len(atoms) not in self._by_size:
            self._by_size[len(atoms)] = CPUNEP(str(self._potential))
        own = self._by_size[len(atoms)]
        own.calculate(atoms, self.implemented_properties, all_changes)
        self.atoms, self.results = atoms.copy(), dict(own.results)


class Elements:
    """Energies of the elements as fcc, eV per atom: what energies of compounds are counted from."""

    def __init__(self, stratum: Stratum, calc: Calculator) -> None:
        crystals = [bulk(s, "fcc", a=LATTICE[s]) for s in stratum.symbols]
        energies = from_calculator(calc)(Structures.from_ase(crystals)).energies
        self.by_number = dict(zip(stratum.numbers, energies.tolist(), strict=True))

    def mean_of(self, atoms: Atoms) -> float:
        """eV per atom of the elements in these proportions."""
        return float(np.mean([self.by_number[z] for z in atoms.numbers.tolist()]))


def formation_energies(data: Dataset, calc: Calculator) -> Floats:
    """(n,) eV/atom, from the elements as fcc."""
    elements = Elements(Stratum.of(data.structures.numbers.tolist()), calc)
    mixed = [elements.mean_of(atoms) for atoms in data.structures.to_ase()]
    return np.asarray(data.labels.energies / data.structures.sizes - mixed)


def generate(
    stratum: Stratum,
    number: int,
    largest: int,
    seed: Sequence[int],
    calc: Calculator,
    shares: Mapping[str, float] = SHARES,
) -> Dataset:
    """This many labelled crystals of exactly these elements, at most `largest` atoms each."""
    rng = np.random.default_rng([*seed, *stratum.numbers])
    sources = {
        "prototype": _prototypes(stratum, largest, rng),
        "random": _random_cells(stratum, largest, rng),
        "relaxation": _relaxations(stratum, largest, rng, calc),
        "ordered": _ordered(stratum, min(largest, LARGEST_ORDERED), rng),
    }
    evaluate = from_calculator(calc)
    elements = Elements(stratum, calc)
    taken: list[Dataset] = []
    lowest = np.inf
    # the relaxations first: they find the lowest energies, from which the ceiling is counted
    for kind in ("relaxation", "prototype", "random", "ordered"):
        wanted, mine = round(shares.get(kind, 0.0) * number), 0
        while mine < wanted:
            batch = [next(sources[kind]) for _ in range(min(200, wanted - mine + 5))]
            crystals = [c for c, _ in batch]
            started = time.process_time()
            predicted = evaluate(Structures.from_ase(crystals))
            seconds = (time.process_time() - started) / len(crystals)
            formation = [e / len(c) - elements.mean_of(c) for c, e in zip(crystals, predicted.energies, strict=True)]
            per_atom = np.array(formation)
            lowest = min(lowest, float(per_atom.min()))
            ends = np.cumsum([len(c) for c in crystals])
            force = np.array([np.abs(f).max() for f in np.split(predicted.forces, ends[:-1])])
            good = np.flatnonzero((per_atom < lowest + CEILING) & (force < LARGEST_FORCE))[: wanted - mine]
            forces = np.split(predicted.forces, ends[:-1])
            taken.append(
                Dataset.of(
                    [crystals[c] for c in good],
                    energies=[float(predicted.energies[c]) for c in good],
                    forces=[forces[c] for c in good],
                    stresses=[predicted.stresses[c] for c in good],
                    method=METHOD,
                    families=[batch[c][1] for c in good],
                    seconds=[seconds] * len(good),
                )
            )
            mine += len(good)
    merged = taken[0]
    for more in taken[1:]:
        merged = merged.merge(more)
    return merged


def _size(symbols: Sequence[str]) -> float:
    """Å³ per atom of a mixture."""
    return float(np.mean([LATTICE[s] ** 3 / 4 for s in symbols]))


def _elements(stratum: Stratum, n: int, rng: Generator) -> list[str]:
    """Each element at least once."""
    drawn = [*stratum.symbols, *rng.choice(stratum.symbols, size=n - stratum.order)]
    return [str(s) for s in rng.permutation(drawn)]


def _ideal(largest: int, rng: Generator) -> Atoms:
    """A primitive cell of one of the common packings, of volume 1 per atom, all H."""
    kind = rng.choice(
        ["fcc", "bcc", "hcp", "dhcp", "sc", "a15", "omega", "diamond"], p=[0.3, 0.2, 0.15, 0.1, 0.07, 0.06, 0.06, 0.06]
    )
    if kind == "dhcp":
        scaled = [(0, 0, 0), (1 / 3, 2 / 3, 0.25), (0, 0, 0.5), (2 / 3, 1 / 3, 0.75)]
        atoms = Atoms("H4", scaled_positions=scaled, cell=[[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [0, 0, 3.266]], pbc=True)
    elif kind == "omega":
        scaled = [(0, 0, 0), (1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0.5)]
        atoms = Atoms("H3", scaled_positions=scaled, cell=[[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [0, 0, 0.61]], pbc=True)
    elif kind == "a15":
        q = 0.25
        scaled = [
            (0, 0, 0),
            (0.5, 0.5, 0.5),
            (q, 0, 0.5),
            (1 - q, 0, 0.5),
            (0.5, q, 0),
            (0.5, 1 - q, 0),
            (0, 0.5, q),
            (0, 0.5, 1 - q),
        ]
        atoms = Atoms("H8", scaled_positions=scaled, cell=np.eye(3), pbc=True)
    else:
        atoms = bulk("H", str(kind), a=1.0, **({"c": 1.633} if kind == "hcp" else {}))
    if len(atoms) > largest:
        return _ideal(largest, rng)
    atoms.set_cell(atoms.cell * (len(atoms) / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return atoms


def _prototypes(stratum: Stratum, largest: int, rng: Generator) -> Iterator[tuple[Atoms, str]]:
    """Random small supercells of the packings, random occupation, strain, volume and rattle."""
    while True:
        atoms = _occupied(stratum, _ideal(largest, rng), largest, rng)
        if atoms is None:
            continue
        symbols = atoms.get_chemical_symbols()
        strain = rng.normal(scale=rng.choice([0.0, 0.02, 0.05]), size=(3, 3))
        volume = _size(symbols) * rng.uniform(0.82, 1.3)
        cell = (volume ** (1 / 3)) * atoms.cell @ (np.eye(3) + (strain + strain.T) / 2)
        atoms.set_cell(cell, scale_atoms=True)
        atoms.positions += rng.normal(scale=rng.choice([0.0, 0.05, 0.12, 0.25]), size=atoms.positions.shape)
        yield atoms, ""


def _ordered(stratum: Stratum, largest: int, rng: Generator) -> Iterator[tuple[Atoms, str]]:
    """Random occupations of small supercells of fcc, bcc and hcp about their volume; nothing is strained or moved."""
    while True:
        kind = str(rng.choice(["fcc", "bcc", "hcp"], p=[0.4, 0.4, 0.2]))
        packing = bulk("H", kind, a=1.0, **({"c": 1.633} if kind == "hcp" else {}))
        atoms = _occupied(stratum, packing, largest, rng)
        if atoms is not None:
            volume = _size(atoms.get_chemical_symbols()) * rng.uniform(0.9, 1.08) * len(atoms)
            atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
            yield atoms, ""


def _occupied(stratum: Stratum, packing: Atoms, largest: int, rng: Generator) -> Atoms | None:
    """A random supercell of the packing with a random occupation; None where none of at most `largest` atoms has room."""
    from ase.build import make_supercell

    most = largest // len(packing)
    least = -(-stratum.order // len(packing))
    if least > most:
        return None
    multiple = int(rng.integers(least, most + 1))
    a, b, c = _factors(multiple, rng)
    matrix = np.array([[a, 0, 0], [rng.integers(a), b, 0], [rng.integers(a), rng.integers(b), c]]).T
    atoms = make_supercell(packing, matrix)
    atoms.set_chemical_symbols(_elements(stratum, len(atoms), rng))
    return atoms


def _factors(n: int, rng: Generator) -> tuple[int, int, int]:
    triples = [
        (a, b, n // a // b) for a in range(1, n + 1) if n % a == 0 for b in range(1, n // a + 1) if n // a % b == 0
    ]
    a, b, c = triples[int(rng.integers(len(triples)))]
    return a, b, c


def random_cell(stratum: Stratum, largest: int, rng: Generator, least: int = 1) -> Atoms:
    """A random lattice with atoms pushed apart."""
    while True:
        symbols = _elements(stratum, int(rng.integers(max(stratum.order, least), largest + 1)), rng)
        cell = rng.normal(size=(3, 3))
        cell *= (rng.uniform(0.6, 1.6, size=3) / np.linalg.norm(cell, axis=1))[:, None]
        space = abs(np.linalg.det(cell))
        if space < 0.35 * np.prod(np.linalg.norm(cell, axis=1)):
            continue
        volume = _size(symbols) * len(symbols) * rng.uniform(0.95, 1.5)
        atoms = Atoms(
            symbols, scaled_positions=rng.random((len(symbols), 3)), cell=cell * (volume / space) ** (1 / 3), pbc=True
        )
        if _pushed_apart(atoms):
            return atoms


def _pushed_apart(atoms: Atoms) -> bool:
    """Whether soft spheres could be separated in some steps."""
    radius = np.array([LATTICE[s] / 8**0.5 for s in atoms.get_chemical_symbols()])
    shifts = (
        np.array([(i, j, k) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2) for k in (-2, -1, 0, 1, 2)])
        @ atoms.cell.array
    )
    least = CLOSEST * (radius[:, None] + radius[None, :])
    for _ in range(60):
        d = atoms.positions[None, :, None] + shifts - atoms.positions[:, None, None]
        r = np.linalg.norm(d, axis=-1)
        r[r < 1e-9] = np.inf
        overlap = np.maximum(least[:, :, None] * 1.02 - r, 0.0)
        if (r >= least[:, :, None]).all():
            return True
        atoms.positions -= 0.5 * (overlap[..., None] * d / r[..., None]).sum(axis=(1, 2))
    return False


def _random_cells(stratum: Stratum, largest: int, rng: Generator) -> Iterator[tuple[Atoms, str]]:
    while True:
        yield random_cell(stratum, largest, rng), ""


def _relaxations(stratum: Stratum, largest: int, rng: Generator, calc: Calculator) -> Iterator[tuple[Atoms, str]]:
    """Steps of relaxations of random cells, the last one among them."""
    evaluate = from_calculator(calc)
    count = 0
    while True:
        steps: list[Atoms] = []

        def watched(structures: Structures, *, seen: list[Atoms] = steps) -> Prediction:
            seen.extend(structures.to_ase())
            return evaluate(structures)

        start = random_cell(stratum, largest, rng)
        relax(
            watched,
            Structures.from_ase([start]),
            pressure=float(rng.choice([0.0, 0.0, 0.06, 0.2])),
            fmax=0.02,
            max_calls=80,
        )
        count += 1
        chosen = np.unique(
            np.concatenate(
                [[len(steps) - 1], rng.choice(len(steps), size=min(len(steps), STEPS_KEPT - 1), replace=False)]
            )
        )
        for k in chosen:
            yield steps[k], f"relaxation {count}"


def make(
    name: str,
    train: int,
    test: int,
    largest: int,
    seed: int,
    directory: Path,
    potential: Path = POTENTIAL,
    shares: Mapping[str, float] = SHARES,
) -> tuple[Dataset, Dataset]:
    """The training and the test set of this system, from the files of `directory` where they are there already.

    shares: of the training set; test sets have SHARES, so that errors by different ones are of the same crystals.
    """
    found = []
    for kind, number, stream, own in (("train", train, 0, shares), ("test", test, 1, SHARES)):
        ordered = ".ordered" if "ordered" in own else ""
        path = directory / f"{name}.{kind}.{number}.{largest}.{seed}{ordered}.extxyz"
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            made = generate(Stratum.parse(name), number, largest, [seed, stream, largest], Unep(potential), own)
            partial = path.with_suffix(".partial")
            write_dataset(partial, made)
            partial.rename(path)
        found.append(read_dataset(path))
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", metavar="SYSTEM")
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--largest", type=int, default=8, help="atoms per cell, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--potential", type=Path, default=POTENTIAL)
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args()
    for name in chosen.systems:
        Stratum.parse(name)
        assert all(s in LATTICE and s in atomic_numbers for s in Stratum.parse(name).symbols), name
        train, test = make(
            name, chosen.train, chosen.test, chosen.largest, chosen.seed, chosen.output, chosen.potential
        )
        for label, data in (("train", train), ("test", test)):
            height = formation_energies(data, Unep(chosen.potential))
            print(f"{name:<8}{label:<6}{len(data):>6} crystals, {height.max() - height.min():.2f} eV/atom", flush=True)


if __name__ == "__main__":
    main()
