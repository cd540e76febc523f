"""potentials evaluate LIB FILE -o OUT.extxyz"""

from __future__ import annotations

import argparse
import sys

from potentials.commands.command import Commands, add_command
from potentials.commands.crystals import add_files, by_stratum, predicted, read_crystals, warn, write


def register(commands: Commands) -> None:
    add_files(add_command(commands, "evaluate", run, "Energies, forces and stresses of the crystals of a file."))


def run(chosen: argparse.Namespace) -> None:
    import numpy as np

    from potentials.library import Library
    from potentials.structures import Structures

    library, crystals = Library.open(chosen.library), read_crystals(chosen)
    lines, grades, failed = [""] * len(crystals), np.zeros(len(crystals)), []
    for potential, indices in by_stratum(library, chosen.file, crystals):
        structures = Structures.from_ase([crystals[n] for n in indices])
        prediction = potential.evaluate(structures, n_threads=chosen.threads)
        texts, worst = predicted(structures, prediction, potential, [crystals[n] for n in indices], chosen.threads)
        for n, text, grade in zip(indices, texts, worst.tolist(), strict=True):
            lines[n], grades[n] = text, grade
        failed += [indices[c] + 1 for c in np.flatnonzero(~np.isfinite(prediction.energies))]
    write(chosen.output, lines)
    warn(library, crystals, grades)
    if failed:
        which = ", ".join(map(str, sorted(failed)[:10]))
        print(f"{len(failed)} crystals have no finite energy, atoms may lie on each other: {which}", file=sys.stderr)
