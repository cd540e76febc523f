"""potentials train LIB STRATUM"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from potentials.commands.command import Commands, Misused, add_command

if TYPE_CHECKING:
    from potentials.library import Library
    from potentials.stratum import Stratum


def register(commands: Commands) -> None:
    parser = add_command(commands, "train", run, "Train a stratum, and first what is missing below it.")
    parser.add_argument("stratum", metavar="STRATUM", help="elements, for instance CuPd")
    parser.add_argument("--data", metavar="FILE", type=Path, required=True, help="extxyz with energies and forces")
    parser.add_argument("--cutoff", metavar="R", type=float, default=5.0, help="of a library that is made now, Å")
    parser.add_argument("--iterations", metavar="N", type=int, default=None, help="instead of the usual number")


def run(chosen: argparse.Namespace) -> None:
    from potentials.dataset import read_dataset
    from potentials.train import finish, fit_member, plan

    dataset, wanted = read_dataset(chosen.data), _stratum(chosen.stratum)
    library = _library(chosen)
    for stratum in wanted.subsets():
        if stratum.order > 3 or (stratum != wanted and stratum.name in library.versions()):
            continue
        tasks = plan(library, library.versions(), dataset, stratum, iterations=chosen.iterations)
        trained = finish(tasks, [fit_member(task) for task in tasks])
        number = library.add(trained)
        errors = trained.metadata["errors"]
        text = ", ".join(f"{k.replace('_', ' ')} {1e3 * v:.1f}" for k, v in errors.items())
        print(f"{stratum.name} version {number}: {text} (meV/atom, meV/Å)")


def _library(chosen: argparse.Namespace) -> Library:
    from potentials.library import Library, Recipe
    from potentials.network import Shape

    if (chosen.library / "library.json").exists():
        return Library.open(chosen.library)
    return Library.create(chosen.library, Recipe(Shape(chosen.cutoff, n_max=4, l_max=3, n_pair=8)))


def _stratum(name: str) -> Stratum:
    from potentials.stratum import Stratum

    try:
        return Stratum.parse(name)
    except ValueError as error:
        raise Misused(str(error)) from None
