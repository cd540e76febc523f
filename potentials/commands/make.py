"""The library that a command adds to: the one that is there, or a new one of the recipe that was asked for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from potentials.library import Library


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The arguments of a library that is made now."""
    parser.add_argument("--cutoff", metavar="R", type=float, default=5.0, help="of a library that is made now, Å")


def open_or_make(chosen: argparse.Namespace) -> Library:
    """LIB, which is made when there is nothing of that name."""
    from potentials.library import Library, Recipe
    from potentials.network import Shape

    if chosen.library.exists() and (not chosen.library.is_dir() or any(chosen.library.iterdir())):
        return Library.open(chosen.library)
    return Library.create(chosen.library, Recipe(Shape(chosen.cutoff, n_max=4, l_max=3, n_pair=8)))
