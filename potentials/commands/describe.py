"""potentials describe LIB"""

from __future__ import annotations

import argparse

from potentials.commands.command import Commands, add_command


def register(commands: Commands) -> None:
    add_command(commands, "describe", run, "List the strata of a library with their errors and costs.")


def run(chosen: argparse.Namespace) -> None:
    from potentials.library import Library

    library = Library.open(chosen.library)
    shape, recipe = library.recipe.shape, library.recipe
    print(f"{library.path}  {library.version()}")
    print(
        f"cut-off {shape.cutoff} Å, n {shape.n_max}, l {shape.l_max}, pair {shape.n_pair}, "
        f"hidden {recipe.hidden}, members {recipe.members}"
    )
    print(f"{'stratum':<10}{'version':>8}{'own':>7}{'total':>7}{'data':>6}", end="")
    print(f"{'meV/atom':>10}{'held out':>10}{'meV/Å':>8}{'held out':>10}{'CPU s':>8}")
    for row in library.describe():
        print(f"{row.stratum:<10}{row.version:>8}{row.n_parameters:>7}{row.n_total:>7}{row.n_data:>6}", end="")
        for key, width in (("energy_train", 10), ("energy_held_out", 10), ("force_train", 8), ("force_held_out", 10)):
            value = row.errors.get(key)
            print(f"{'-' if value is None else format(1e3 * value, '.1f'):>{width}}", end="")
        print(f"{row.seconds:>8.1f}")
