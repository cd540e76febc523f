"""Pools of crystals to choose from: 5,000 distinct ones of three elements, relaxed and labelled by UNEP-v1.

    python benchmarks/choice_pool.py Cu-Pd-Ag [--size 5000]

What a search presents, with at most eight atoms: every prototype, decorated fcc, bcc and hcp lattices, random crystals with and
without symmetry. The same pool every time, in benchmarks/cache/choice (not in git); unep_data.py says where the labels are from.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from unep_data import LATTICE, METHOD, Unep

from evo.bootstrap import crystals
from evo.cell import Space, counts_of
from evo.create.prototype import prototypes
from evo.hull import Hull
from potentials.calculator import from_calculator
from potentials.dataset import Dataset, read_dataset, write_dataset
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures
from potentials.units import EV_PER_A3_PER_GPA

SYSTEMS = ("Cu-Pd-Ag", "Ni-Al-Cu", "Au-Cu-Pt")
SIZE, LARGEST = 5000, 8
SEED = 6
LATTICES = 0.6  # of what is not a prototype is a decorated lattice
BATCH = 100
SAME_ENERGY, SAME_VOLUME = 2e-4, 2e-3  # eV/atom and parts of the volume within which two of one composition are one
CACHE = Path(__file__).resolve().parent / "cache" / "choice"


def stratum_of(system: str) -> Stratum:
    """The elements of Cu-Pd-Ag."""
    return Stratum.parse("".join(system.split("-")))


def space_of(elements: Stratum) -> Space:
    """Crystals of up to LARGEST atoms, at the volumes of the elements in UNEP-v1."""
    volumes = {z: LATTICE[s] ** 3 / 4 for z, s in zip(elements.numbers, elements.symbols, strict=True)}
    return Space(elements.numbers, (1, LARGEST), volumes=volumes)


def pool(system: str, size: int = SIZE) -> Dataset:
    """The pool of this system, from the cache where it is there."""
    path = CACHE / f"{system}-{size}.extxyz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        write_dataset(partial, made(stratum_of(system), size))
        partial.rename(path)
    return read_dataset(path)


def made(elements: Stratum, size: int) -> Dataset:
    """Relaxed crystals, each kind once, until there are enough."""
    evaluate, space = from_calculator(Unep()), space_of(elements)
    known: dict[str, list[tuple[float, float]]] = {}
    found: list[Dataset] = []
    source = _source(elements, space)
    started = time.process_time()
    while sum(map(len, found)) < size:
        starts = [next(source) for _ in range(BATCH)]
        ends = relax(evaluate, Structures.from_ase(starts), fmax=0.02, smax=0.2 * EV_PER_A3_PER_GPA, max_calls=80)
        seconds = (time.process_time() - started) / BATCH
        started = time.process_time()
        sound = [c for c, outcome in enumerate(ends.outcomes) if outcome == "converged"]
        new = [c for c in sound if _is_new(ends.structures.atoms(c), float(ends.prediction.energies[c]), known)]
        forces = np.split(ends.prediction.forces, ends.structures.offsets[1:-1])
        found.append(
            Dataset.of(
                [ends.structures.atoms(c) for c in new],
                energies=[float(ends.prediction.energies[c]) for c in new],
                forces=[forces[c] for c in new],
                stresses=[ends.prediction.stresses[c] for c in new],
                method=METHOD,
                seconds=[seconds] * len(new),
            )
        )
    whole = found[0]
    for more in found[1:]:
        whole = whole.followed_by(more)
    return whole.select(np.arange(size))


def _source(elements: Stratum, space: Space) -> Iterator[Atoms]:
    """All prototypes, then lattices and random crystals without end."""
    rng = np.random.default_rng([SEED, *elements.numbers])
    for subset in elements.subsets():
        for _, atoms in prototypes(subset.numbers):
            yield crystals.scaled(atoms, space.volume(counts_of(atoms.numbers)) / atoms.cell.volume)
    subsets = elements.subsets()
    shares = np.array([s.order**2 for s in subsets], dtype=float)
    while True:
        subset = subsets[int(rng.choice(len(subsets), p=shares / shares.sum()))]
        own = Space(subset.numbers, (subset.order, LARGEST), volumes={z: space.volumes[z] for z in subset.numbers})
        yield (crystals.decorated if rng.uniform() < LATTICES else crystals.searched)(rng, own)


def _is_new(atoms: Atoms, energy: float, known: dict[str, list[tuple[float, float]]]) -> bool:
    alike = known.setdefault(atoms.symbols.formula.reduce()[0].format("metal"), [])
    mine = energy / len(atoms), atoms.cell.volume / len(atoms)
    if any(abs(mine[0] - e) < SAME_ENERGY and abs(mine[1] / v - 1) < SAME_VOLUME for e, v in alike):
        return False
    alike.append(mine)
    return True


def truth(data: Dataset) -> tuple[Hull, Floats]:
    """The hull of a labelled pool, ids are indices; and how far each crystal lies above it, eV/atom."""
    counts = [counts_of(a.numbers) for a in data.structures.to_ase()]
    per_atom = data.labels.energies / data.structures.sizes
    hull = Hull.of([(c, float(e), METHOD, f"{i:05d}") for i, (c, e) in enumerate(zip(counts, per_atom, strict=True))])
    return hull, hull.above_many(counts, per_atom)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=SYSTEMS)
    parser.add_argument("--size", type=int, default=SIZE)
    chosen = parser.parse_args()
    for system in chosen.systems:
        started = time.process_time()
        data = pool(system, chosen.size)
        hull, above = truth(data)
        print(f"{system}: {len(data)} crystals, {time.process_time() - started:.0f} CPU s")
        print(
            f"  hull: {len(hull.vertices)} phases;",
            *(f"{np.sum(above < m / 1e3)} within {m} meV/atom;" for m in (1, 5, 10, 30, 100)),
        )
        for v in hull.vertices:
            atoms = data.structures.atoms(int(v))
            energy = float(data.labels.energies[int(v)]) / len(atoms)
            formation = hull.formation(counts_of(atoms.numbers), energy)
            assert formation is not None
            print(f"  {atoms.get_chemical_formula('metal', empirical=True):12s} {1e3 * formation:8.1f} meV/atom")


if __name__ == "__main__":
    main()
