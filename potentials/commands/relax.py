"""potentials relax LIB FILE -o OUT.extxyz"""

from __future__ import annotations

import argparse

from potentials.commands.command import Commands, Unusable, add_command
from potentials.commands.crystals import add_files, load, write_predictions


def register(commands: Commands) -> None:
    parser = add_command(commands, "relax", run, "Relax the crystals of a file, positions and cell.")
    add_files(parser)
    parser.add_argument("--pressure", metavar="GPA", type=float, default=0.0, help="external pressure in GPa")
    parser.add_argument("--fixed-cell", action="store_true", help="move atoms only")
    parser.add_argument("--fmax", metavar="F", type=float, default=0.01, help="largest force at the end, eV/Å")
    parser.add_argument("--max-calls", metavar="N", type=int, default=300, help="force calls per crystal, at most")


def run(chosen: argparse.Namespace) -> None:
    from potentials.relax import relax
    from potentials.units import EV_PER_A3_PER_GPA

    potential, structures = load(chosen)
    try:
        relaxed = relax(
            lambda s: potential.evaluate(s, n_threads=chosen.threads),
            structures,
            pressure=chosen.pressure * EV_PER_A3_PER_GPA,
            fmax=chosen.fmax,
            max_calls=chosen.max_calls,
            fixed_cell=chosen.fixed_cell,
        )
    except ValueError as error:  # a combination that cannot be, such as a pressure on a cluster
        raise Unusable(str(error)) from None
    write_predictions(chosen.output, relaxed.structures, relaxed.prediction, potential, relaxed.outcomes)
    for outcome in sorted(set(relaxed.outcomes)):
        print(f"{relaxed.outcomes.count(outcome)} {outcome}")
