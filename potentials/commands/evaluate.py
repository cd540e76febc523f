"""potentials evaluate LIB FILE -o OUT.extxyz"""

from __future__ import annotations

import argparse

from potentials.commands.command import Commands, add_command
from potentials.commands.crystals import add_files, load, write_predictions


def register(commands: Commands) -> None:
    add_files(add_command(commands, "evaluate", run, "Energies, forces and stresses of the crystals of a file."))


def run(chosen: argparse.Namespace) -> None:
    potential, structures = load(chosen)
    prediction = potential.evaluate(structures, n_threads=chosen.threads)
    write_predictions(chosen.output, structures, prediction, potential, [])
