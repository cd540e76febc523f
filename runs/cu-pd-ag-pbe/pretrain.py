"""The networks that those of the library are drawn to: EMT's, which cost next to nothing, on crystals of the same kinds.

    python runs/cu-pd-ag-pbe/pretrain.py [--recipe quick] [-o runs/cu-pd-ag-pbe/out/pretrained]
    python runs/cu-pd-ag-pbe/pretrain.py --join Au --to runs/cu-pd-ag-pbe/out/pretrained -o runs/cu-pd-ag-pbe/out/pretrained-gold

NUMBER crystals of each stratum, of 1 to LARGEST atoms, like those of structures.py but not chosen for being far apart; half of
them come from relaxations. EMT sees them with its own lattice constants, so that its crystals are at rest where those of PBE are:
E(x) = E_EMT(x/f), where f is the mean ratio over the elements of a crystal. Then one library, bottom up (minutes); or a fourth
element and its pairs on top of a copy of one that is there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import structures
from ase import Atoms
from ase.calculators.emt import EMT
from structures import ELEMENTS, HIGHEST, MAKERS, VOLUMES, fitting, prototypes, snapshots, sound

from evo.bootstrap.distort import scaled, shaken
from evo.cell import Space
from potentials.dataset import Dataset
from potentials.library import Library
from potentials.recipe import RECIPES
from potentials.stratum import Stratum
from potentials.train import finish, fit_member, plan

OUT = Path(__file__).with_name("out")
SEED = 30
NUMBER = 600
LARGEST = 6  # atoms
SHARES = {"snapshot": 0.5, "near": 0.2, "prototype": 0.1, "squeezed": 0.1, "porous": 0.05, "random": 0.05}
STRAIN, SHAKEN = 0.03, 0.1  # of prototypes; Å


def crystals(stratum: Stratum) -> list[tuple[Atoms, str]]:
    """NUMBER crystals with the families that they belong to."""
    rng = np.random.default_rng([SEED, *stratum.numbers])
    space = Space(stratum.numbers, (stratum.order, LARGEST), volumes={z: VOLUMES[z] for z in stratum.numbers})
    made: list[tuple[Atoms, str]] = []
    for kind, share in SHARES.items():
        source = _of_kind(kind, rng, stratum, space)
        made += [next(source) for _ in range(round(share * NUMBER))]
    return made


def _of_kind(kind: str, rng: np.random.Generator, stratum: Stratum, space: Space) -> Iterator[tuple[Atoms, str]]:
    count = 0
    while True:
        name = f"{kind} {stratum.name} {count}"
        count += 1
        if kind == "snapshot":
            pool = snapshots(rng, space, name)
        elif kind == "prototype":
            pool = [shaken(rng, scaled(a, float(rng.uniform(0.8, 1.2))), STRAIN, SHAKEN) for a in prototypes(stratum)]
        else:
            pool = [fitting(MAKERS[kind], rng, space)]
        highest = 2 * HIGHEST if kind == "squeezed" else HIGHEST
        yield from ((atoms, name) for atoms in pool if sound(atoms, highest))


def labelled(found: list[tuple[Atoms, str]]) -> Dataset:
    """With energies, forces and stresses of EMT at its own lattice constants."""
    energies, forces, stresses, seconds = [], [], [], []
    for atoms, _ in found:
        started = time.process_time()
        f = structures.stretch(atoms)
        own = scaled(atoms, f**-3)
        own.calc = EMT()
        energies.append(own.get_potential_energy())
        forces.append(own.get_forces() / f)
        stresses.append(own.get_stress(voigt=False) / f**3)
        seconds.append(time.process_time() - started)
    return Dataset.of(
        [atoms for atoms, _ in found],
        energies=energies,
        forces=forces,
        stresses=stresses,
        method="emt",
        families=[family for _, family in found],
        seconds=seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    parser.add_argument("--join", metavar="ELEMENT", help="only this element and its pairs, on top of those of --to")
    parser.add_argument(
        "--to", metavar="LIB", type=Path, default=OUT / "pretrained", help="with --join; it stays as it is"
    )
    parser.add_argument("-o", "--output", type=Path, default=OUT / "pretrained")
    asked = parser.parse_args()
    structures.LARGEST = LARGEST
    if asked.join:
        library = Library.open(asked.to).copy(asked.output)
        (new,) = Stratum.parse(asked.join).numbers
        strata = [Stratum((new,)), *(Stratum.of((new, z)) for z in ELEMENTS)]
    else:
        library = Library.create(asked.output, RECIPES[asked.recipe])
        strata = Stratum.of(ELEMENTS).subsets()
    for stratum in strata:
        started = time.process_time()
        data = labelled(crystals(stratum))
        found = time.process_time() - started
        tasks = plan(library, library.versions(), data, stratum)
        made = finish(tasks, [fit_member(task) for task in tasks])
        library.add(made)
        errors = made.metadata["errors"]
        print(
            f"{stratum.name}: {len(data)} crystals, {found:.0f} CPU s; training {made.metadata['seconds_training']:.0f} CPU s; "
            f"held out {1e3 * errors['energy_held_out']:.1f} meV/atom, {1e3 * errors['force_held_out']:.0f} meV/Å",
            flush=True,
        )


if __name__ == "__main__":
    main()
