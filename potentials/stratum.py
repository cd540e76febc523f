"""Stratum: a set of elements, and what belongs to exactly that set.

A parameter belongs to the set of elements that meet in the feature it multiplies
(Hajinazar, Shao, Kolmogorov, Phys. Rev. B 95, 014114 (2017), doi:10.1103/PhysRevB.95.014114).
Strata have any number of elements; their canonical order is by size, then by atomic numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from ase.data import atomic_numbers, chemical_symbols


@dataclass(frozen=True, slots=True)
class Stratum:
    """A set of elements as ascending, distinct atomic numbers."""

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.numbers or list(self.numbers) != sorted(set(self.numbers)):
            raise ValueError(f"`numbers` must be distinct, ascending atomic numbers, got {self.numbers}")
        if self.numbers[0] < 1 or self.numbers[-1] >= len(chemical_symbols):
            raise ValueError(f"`numbers` must be those of elements, got {self.numbers}")

    @classmethod
    def of(cls, elements: Iterable[str | int]) -> Stratum:
        """The stratum of these symbols or atomic numbers, in any order, repeats allowed."""
        return cls(tuple(sorted({e if isinstance(e, int) else _number(e) for e in elements})))

    @classmethod
    def parse(cls, name: str) -> Stratum:
        """The stratum named like 'CuPd', 'Cu-Pd' or 'PdCu'."""
        symbols = re.findall(r"[A-Z][a-z]?", name)
        if "".join(symbols) != name.replace("-", ""):
            raise ValueError(f"`{name}` is not a list of element symbols; write for instance CuPd or Cu-Pd")
        return cls.of(symbols)

    @property
    def name(self) -> str:
        return "".join(self.symbols)

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(chemical_symbols[z] for z in self.numbers)

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.numbers)

    def subsets(self) -> list[Stratum]:
        """Every non-empty subset, itself included, in canonical order."""
        return [Stratum(c) for k in range(1, self.order + 1) for c in combinations(self.numbers, k)]

    def sort_key(self) -> tuple[int, tuple[int, ...]]:
        return self.order, self.numbers


def _number(symbol: str) -> int:
    if symbol not in atomic_numbers or symbol == "X":
        raise ValueError(f"`{symbol}` is not an element; write a symbol such as Cu")
    return int(atomic_numbers[symbol])
