"""potentials refit LIB [STRATUM]"""

from __future__ import annotations

import argparse

from potentials.commands.command import Commands, Unusable, add_command
from potentials.commands.committee import add_effort, effort_of
from potentials.commands.train import parse_stratum, train_jointly


def register(commands: Commands) -> None:
    text = "Train all strata at once on all data into a new version of everything, for a library that is still young."
    parser = add_command(commands, "refit", run, text)
    parser.add_argument(
        "stratum", metavar="STRATUM", nargs="?", help="only these elements (default: all of the library)"
    )
    add_effort(parser)


def run(chosen: argparse.Namespace) -> None:
    from potentials.library import Library
    from potentials.stratum import Stratum

    library = Library.open_to_change(chosen.library)
    effort = effort_of(chosen)
    if not (there := library.strata()):
        raise Unusable(f"{library.path} has no strata to refit; train them first")
    wanted = parse_stratum(chosen.stratum) if chosen.stratum else Stratum.of(z for s in there for z in s.numbers)
    if missing := [s.name for s in wanted.subsets() if s.order <= 3 and s not in there]:
        raise Unusable(
            f"{library.path} has no stratum {', '.join(missing)} to refit; train it first, or name fewer elements"
        )
    if outside := [
        s.name for s in there if set(s.numbers) & set(wanted.numbers) and not set(s.numbers) <= set(wanted.numbers)
    ]:
        raise Unusable(
            f"{', '.join(outside)} stand on strata of {wanted.name} and would need training again; refit all elements together"
        )
    train_jointly(library, wanted, effort, warm=True)
