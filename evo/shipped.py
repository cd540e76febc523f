"""Libraries that come with the package, and the reference that each was made by."""

from __future__ import annotations

import tomllib
from typing import Any

from ase.data import atomic_numbers

from evo.learn import strata_to_train
from potentials.library import Library
from potentials.storage import shipped


def library_for(elements: list[str]) -> tuple[str, dict[str, Any]]:
    """The name of the library that has every stratum of these elements, and `reference.options`; an empty name: none has."""
    wanted = strata_to_train(tuple(sorted(atomic_numbers[symbol] for symbol in elements)))
    for name in shipped.names():
        there = Library.open(shipped.SHELF / name).strata()
        if all(s in there for s in wanted):
            settings = tomllib.loads((shipped.SHELF / name / "reference.toml").read_text(encoding="utf-8"))
            return name, settings["reference"]["options"]
    return "", {}
