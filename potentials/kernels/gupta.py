"""Gupta potentials: the second-moment approximation of tight binding (Cleri, Rosato, Phys. Rev. B 48, 22 (1993)).

E_i = sum_j A u(r) exp(-p (r/r0 - 1)) - sqrt(sum_j B² u(r) exp(-2 q (r/r0 - 1))), where A, p, B, q, r0, Rmin, Rmax belong to
the pair of elements, and u falls from 1 at Rmin to 0 at Rmax: (1 + cos(pi (r - Rmin)/(Rmax - Rmin)))/2.
"""

from __future__ import annotations

from dataclasses import dataclass

from potentials.structures import Floats

PARAMETERS = ("A", "p", "B", "q", "r0", "Rmin", "Rmax")  # eV, 1, eV, 1, Å, Å, Å


@dataclass(frozen=True, eq=False)
class GuptaModel:
    """The pairs of some elements, ready for evaluation."""

    species: tuple[int, ...]  # ascending atomic numbers
    pairs: Floats  # (n_species, n_species, 7) PARAMETERS, symmetric in the elements

    def __post_init__(self) -> None:
        n = len(self.species)
        if self.pairs.shape != (n, n, len(PARAMETERS)):
            raise ValueError(f"`pairs` must have shape {(n, n, len(PARAMETERS))}, got {self.pairs.shape}")

    @property
    def cutoff(self) -> float:
        """Å."""
        return float(self.pairs[:, :, -1].max())

    @property
    def members(self) -> int:
        return 1

    def member(self, m: int) -> GuptaModel:
        """The model of one committee member, of which there is one."""
        return self
