"""EndMembers: compositions, such as NiO and MgO, of which all crystals of a search are mixtures.

Where elements are nothing to compare with (those of an oxide with a Hubbard U would need another Hamiltonian), the hull spans
these instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import gcd

import numpy as np
from scipy.optimize import nnls

SAME = 1e-9  # formula units; smaller differences are rounding


@dataclass(frozen=True)
class EndMembers:
    """Reduced compositions, none a mixture of the others. Build it with `EndMembers.of`."""

    members: tuple[tuple[tuple[int, int], ...], ...]  # atomic number and atoms, of each end member

    @classmethod
    def of(cls, compositions: Sequence[Mapping[int, int]]) -> EndMembers:
        """ValueError when there are fewer than two, or one of them can be made of the others."""
        reduced = []
        for counts in compositions:
            divisor = gcd(*counts.values())
            reduced.append(tuple(sorted((int(z), int(n) // divisor) for z, n in counts.items() if n)))
        found = cls(tuple(reduced))
        if len(reduced) < 2 or np.linalg.matrix_rank(found._matrix(found.elements)) < len(reduced):
            raise ValueError("end members must be two or more compositions, none a mixture of the others")
        return found

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return tuple(sorted({z for member in self.members for z, _ in member}))

    def parts(self, counts: Mapping[int, float]) -> list[float] | None:
        """How many formula units of each end member these atoms are; None when they are no mixture of them."""
        there = {z for z, n in counts.items() if n}
        if not there or not there <= set(self.elements):
            return None
        wanted = np.array([counts.get(z, 0) for z in self.elements], dtype=float)
        found, rest = nnls(self._matrix(self.elements), wanted)
        return None if rest > SAME * wanted.sum() else [float(x) for x in found]

    def within(self, fewest: int, most: int) -> tuple[dict[int, int], ...]:
        """Every mixture of whole formula units with so many atoms, in the order of their numbers of units."""
        return _within(self, fewest, most)

    def nearest(self, counts: Mapping[int, float], fewest: int, most: int) -> dict[int, int]:
        """Of these mixtures the one that differs by the fewest atoms, the first of equals."""

        def difference(mixture: dict[int, int]) -> float:
            return sum(abs(mixture.get(z, 0) - counts.get(z, 0)) for z in {*mixture, *counts})

        closest = min(self.within(fewest, most), key=difference)
        return dict(closest)

    def order(self, counts: Mapping[int, float]) -> int:
        """How many of the end members are part of this mixture."""
        return sum(part > SAME for part in self.parts(counts) or ())

    def _matrix(self, elements: tuple[int, ...]) -> np.ndarray:
        """(n_elements, n_members) atoms of each element in a formula unit."""
        return np.array([[dict(member).get(z, 0) for member in self.members] for z in elements], dtype=float)


@lru_cache(maxsize=16)
def _within(ends: EndMembers, fewest: int, most: int) -> tuple[dict[int, int], ...]:
    sizes = [sum(n for _, n in member) for member in ends.members]
    found = []
    for units in product(*(range(most // size + 1) for size in sizes)):
        if fewest <= sum(u * s for u, s in zip(units, sizes, strict=True)) <= most and any(units):
            counts = {
                z: sum(u * dict(m).get(z, 0) for u, m in zip(units, ends.members, strict=True)) for z in ends.elements
            }
            found.append({z: n for z, n in counts.items() if n})
    return tuple(found)
