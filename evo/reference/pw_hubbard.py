"""Hubbard U in the words of pw.x, which has changed them with version 7.1, and the orbitals that it was really put on.

Both ways with atomic projectors, for which the stress is there. Cococcioni and de Gironcoli 2005, doi:10.1103/PhysRevB.71.035105.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ase.data import atomic_numbers

LETTERS = "spdf"
CARD_SINCE = (7, 1)
# noble gases: the shell that is filled next has the number of the period
CLOSED = (2, 10, 18, 36, 54, 86, 118)


class Species(Protocol):
    """What is asked of a species of pw.x."""

    @property
    def label(self) -> str: ...

    @property
    def symbol(self) -> str: ...


@dataclass(frozen=True)
class Hubbard:
    """U of some elements, each on one orbital."""

    energies: Mapping[str, tuple[str, float]]  # orbital (s, p, d, f) and eV, by symbol
    version: tuple[int, ...]

    def lines(self, kinds: Sequence[Species]) -> tuple[dict[str, Any], list[str]]:
        """What it adds to the namelist SYSTEM, and a card. Species that differ in their moment have the same U."""
        chosen = [(n, s, *self.energies[s.symbol]) for n, s in enumerate(kinds, 1) if s.symbol in self.energies]
        if not chosen:
            return {}, []
        if self.version >= CARD_SINCE:
            return {}, ["HUBBARD (atomic)"] + [f"U {s.label}-{shell(s.symbol, o)} {u!r}" for _, s, o, u in chosen]
        system: dict[str, Any] = {"lda_plus_u": True, "U_projection_type": "atomic"}
        return system | {f"Hubbard_U({n})": u for n, _, _, u in chosen}, []

    def misplaced(self, output: str) -> str:
        """What is wrong where versions before 7.1, which choose the orbital by themselves, chose another; empty: nothing."""
        for label, number in re.findall(r"^\s+([A-Z][a-z]?)\d*\s+([0-3])\s+-?\d+\.\d{4}\s+-?\d+\.\d{4}", output, re.M):
            asked = self.energies.get(label)
            if asked is not None and LETTERS[int(number)] != asked[0]:
                return f"pw.x puts U of {label} on {LETTERS[int(number)]}, not on {asked[0]}"
        return ""


def shell(symbol: str, orbital: str) -> str:
    """The valence shell of this element with this orbital, such as 3d."""
    period = 1 + sum(atomic_numbers[symbol] > n for n in CLOSED)
    return f"{period - max(0, LETTERS.index(orbital) - 1)}{orbital}"


def version_numbers(text: str) -> tuple[int, ...]:
    """(6, 7) of "v.6.7MaX"."""
    return tuple(int(n) for n in re.findall(r"\d+", text)[:2])
