"""Descriptors: how the features of a centre are counted, ordered and cut into blocks by the elements that meet in them.

Each is a record with `cutoff` (Å), `n_features`, `block_size`, `blocks`, `smoothness`, and `unlike`: how often the products
of two unlike elements count in the sum over all neighbours, elements not told apart.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from potentials.features.blocks import Block
from potentials.features.density import Shape
from potentials.features.symmetry_functions import SymmetryFunctions

__all__ = ["Block", "Descriptor", "Shape", "SymmetryFunctions", "from_json", "to_json"]

Descriptor = Shape | SymmetryFunctions


def to_json(descriptor: Descriptor) -> dict[str, Any]:
    """A JSON value. The density has no `kind`, as in the first libraries, whose hashes count."""
    if isinstance(descriptor, Shape):
        return asdict(descriptor)
    return {
        "kind": "symmetry_functions",
        "cutoff": descriptor.cutoff,
        "radial": [list(g) for g in descriptor.radial],
        "angular": [list(g) for g in descriptor.angular],
    }


def from_json(data: dict[str, Any]) -> Descriptor:
    """ValueError, TypeError or KeyError when this is no descriptor."""
    rest = {k: v for k, v in data.items() if k != "kind"}
    kinds: dict[str, Any] = {"density": Shape, "symmetry_functions": SymmetryFunctions}
    descriptor: Descriptor = kinds[data.get("kind", "density")](**rest)
    return descriptor
