"""The library that a command adds to: the one that is there, or a new one of the recipe that was asked for."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from potentials.commands.command import Misused, Unusable, finite

if TYPE_CHECKING:
    from potentials.library import Library
    from potentials.recipe import Recipe

USUAL = "default"


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The arguments of a library that is made now."""
    text = (
        "of a library that is made now: default; quick (pairs and triples are not refined: seconds, not minutes); "
        "fine (more radial functions); embedded (networks on an embedded-atom potential: metals); "
        "vp2017 (symmetry functions, two hidden layers)"
    )
    parser.add_argument("--recipe", metavar="NAME", default=None, help=text)
    parser.add_argument("--cutoff", metavar="R", type=finite, default=None, help="in place of the recipe's own, Å")


def add_pretrained(parser: argparse.ArgumentParser) -> None:
    """The argument that names what a library that is made now is drawn to."""
    text = "draw a new library to the networks of this one, which learned the same elements from many cheap labels; it is copied"
    parser.add_argument("--pretrained", metavar="LIB", type=Path, default=None, help=text)


def recipe_of(chosen: argparse.Namespace) -> Recipe:
    """That of LIB, or the one that it would be made by."""
    from potentials.library import Library

    if _is_new(chosen.library):
        return _wanted(chosen)[0]
    library = Library.open(chosen.library)
    return library.recipe if library.strata() or not _names_recipe(chosen) else _wanted(chosen)[0]


def open_or_make(chosen: argparse.Namespace) -> Library:
    """LIB, which is made when there is nothing of that name; Unusable where it has strata of another recipe than asked for."""
    from potentials.library import Library, LibraryThereError

    recipe, pretrained = _wanted(chosen)
    if _is_new(chosen.library):
        with suppress(LibraryThereError):  # another process has been faster
            return Library.create(chosen.library, recipe, pretrained)
    library = Library.open_to_change(chosen.library)
    if _names_recipe(chosen) and library.recipe != recipe and not library.strata() and library.pretrained is None:
        library.begin_with(recipe)  # it has only data so far, which any recipe can be trained on
    elif _names_recipe(chosen) and library.recipe != recipe:
        raise Unusable(
            f"{chosen.library} was made with another recipe ({library.recipe}); leave out --recipe and --cutoff, or make "
            "another library"
        )
    if pretrained is not None:
        library.draw_to(pretrained)
    return library


def _names_recipe(chosen: argparse.Namespace) -> bool:
    return chosen.recipe is not None or chosen.cutoff is not None


def _wanted(chosen: argparse.Namespace) -> tuple[Recipe, Library | None]:
    """What a library that is made now is made by, and what it is drawn to; the recipe of the latter where none is named."""
    from potentials.library import Library

    if getattr(chosen, "pretrained", None) is None:
        return _recipe(chosen), None
    pretrained = Library.open(chosen.pretrained)
    return _recipe(chosen) if _names_recipe(chosen) else pretrained.recipe, pretrained


def _is_new(path: Path) -> bool:
    from potentials.storage.index import NAME as INDEX
    from potentials.storage.shipped import place

    path = place(path)
    if not path.is_dir():
        return not path.exists()
    # another process may be at making it: what it begins with are a lock and a file that is not whole yet
    return all(f.name.lstrip(".").startswith("library.") and f.name != INDEX for f in path.iterdir())


def _recipe(chosen: argparse.Namespace) -> Recipe:
    from potentials.network import Shape
    from potentials.recipe import RECIPES

    name = chosen.recipe or USUAL
    if name not in RECIPES:
        raise Misused(f"--recipe must be one of {', '.join(RECIPES)}, got {name}")
    recipe = RECIPES[name]
    if chosen.cutoff is None:
        return recipe
    if chosen.cutoff <= 0:
        raise Misused(f"--cutoff must be positive, got {chosen.cutoff}")
    if not isinstance(recipe.shape, Shape):
        raise Misused(f"the recipe {name} has a cut-off of its own, {recipe.shape.cutoff} Å; leave out --cutoff")
    return replace(recipe, shape=replace(recipe.shape, cutoff=chosen.cutoff))
