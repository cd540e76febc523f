"""potentials copy LIB DIR"""

from __future__ import annotations

import argparse
from pathlib import Path

from potentials.commands.command import Commands, add_command


def register(commands: Commands) -> None:
    text = "The same library, its data included, in another directory, for instance of one that comes with the package."
    parser = add_command(commands, "copy", run, text)
    parser.add_argument("directory", metavar="DIR", type=Path, help="must not hold a library yet")


def run(chosen: argparse.Namespace) -> None:
    from potentials.library import Library

    copied = Library.open(chosen.library).copy(chosen.directory)
    print(f"{copied.path}  {copied.version()}")
