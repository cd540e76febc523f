"""Effective medium theory as ASE has it: the embedded stand-in for DFT, a millisecond per crystal.

Jacobsen, Stoltze, Nørskov, Surf. Sci. 366, 394 (1996), doi:10.1016/0039-6028(96)00816-3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ase.calculators.emt import EMT
from ase.data import atomic_numbers

# ASE's table also has H, C, N, O, "just for fun ... not for any serious use"
ELEMENTS = frozenset(atomic_numbers[s] for s in ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"))


def build(options: dict[str, Any]) -> EMT:
    return EMT(**options)


def cannot(numbers: Iterable[int]) -> set[int]:
    """The elements that EMT has no parameters for."""
    return {int(z) for z in numbers} - ELEMENTS
