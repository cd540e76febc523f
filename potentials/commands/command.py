"""What all commands share: exit codes, the error of a file that cannot be used, the argument LIB."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

USAGE, DATA, MEMORY, IO = 64, 65, 71, 74  # exit codes, as in sysexits.h
INTERRUPTED = 130  # as shells have it

Commands = Any  # what ArgumentParser.add_subparsers returns; its type has no public name
Run = Callable[[argparse.Namespace], None]


class Unusable(ValueError):
    """A file that cannot be used; the message is the one line that the user sees."""

    exit_code = DATA


class Misused(ValueError):
    """An argument that means nothing; the message is the one line that the user sees."""

    exit_code = USAGE


def finite(text: str) -> float:
    """The type of an argument that is a number, neither infinite nor NaN."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text}")
    return value


def add_command(commands: Commands, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    """The parser of a new command on a library, which it takes as its first argument."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument(
        "library",
        metavar="LIB",
        type=Path,
        help="directory of the library, or the name of one that comes with the package",
    )
    return parser
