"""The density descriptor: radial functions and angular moments of the neighbour density, contracted to invariants.

Centre of element X, neighbours of element Y at distance r inside the cut-off Rc; cosine cut-off
fc(r) = (1 + cos(pi r/Rc))/2, radial functions g_k(r) = sqrt(2/Rc) sin(k pi r/Rc)/r fc(r):

- two-body T_Yk = sum_j g_k(r_ij), k = 1..n_pair;
- moments A^Y_nlm = sum_j g_n(r_ij) Y_lm(r_ij/|r_ij|), n = 1..n_max, l = 1..l_max, real harmonics;
- products P^YZ_nn'l = 4 pi/(2l+1) sum_m A^Y_nlm A^Z_n'lm, n <= n', the mean over n <-> n' when Y is not Z.

Blocks: {X}: T_X, P^XX; {X,Y}: T_Y, P^XY, P^YY; {X,Y,Z}: P^YZ, see `potentials.features.blocks`. The numbers themselves
are computed in `potentials.kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from potentials.features.blocks import Block, Sizes
from potentials.structures import Floats


@dataclass(frozen=True, slots=True)
class Shape:
    """The resolution of the descriptor; with a list of elements it fixes every feature."""

    # P^XX + 2 P^XY + P^YY is the product of a density that does not tell X and Y apart
    unlike: ClassVar[float] = 2.0

    cutoff: float  # Å
    n_max: int  # radial functions of the moments
    l_max: int  # highest angular order, from 1
    n_pair: int  # two-body sums

    def __post_init__(self) -> None:
        if not 0.0 < self.cutoff < float("inf"):
            raise ValueError(f"`cutoff` must be a positive length in Å, got {self.cutoff}")
        for name, most in (("n_max", 8), ("l_max", 5), ("n_pair", 16)):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise ValueError(f"`{name}` must be between 1 and {most}, got {value}")

    @property
    def sight(self) -> float:
        """The first sum T_Y1 of a centre with one neighbour of element Y at 5/6 Rc: from there on it sees Y fully."""
        x = np.pi * 5 / 6
        return float(np.sqrt(2 / self.cutoff) * np.sin(x) / (self.cutoff * 5 / 6) * (1 + np.cos(x)) / 2)

    @property
    def n_products(self) -> int:
        """Products of one pair of neighbour elements."""
        return self.n_max * (self.n_max + 1) // 2 * self.l_max

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.n_pair, self.n_products)

    def n_features(self, n_species: int) -> int:
        """Features of a centre in a library of this many elements."""
        return self.sizes.n_features(n_species)

    def block_size(self, order: int) -> int:
        """Features of one block whose stratum has this many elements."""
        return self.sizes.block_size(order)

    def blocks(self, centre: int, species: tuple[int, ...]) -> list[Block]:
        """The blocks of a centre of atomic number `centre` among these ascending atomic numbers, canonical order."""
        return self.sizes.blocks(centre, species)

    def __str__(self) -> str:
        return f"density, cut-off {self.cutoff:g} Å, n {self.n_max}, l {self.l_max}, pair {self.n_pair}"

    def smoothness(self, block: Block) -> Floats:
        """(block.size,) factors which let a weight decay prefer smooth functions.

        1/(1 + k) of the two-body sums, 1/((1 + n)(1 + n')(1 + l/2)) of the products; k and n counted from 0.
        """
        pair = [1.0 / (1 + k) for k in range(self.n_pair)]
        products = [
            1.0 / ((1 + n) * (1 + m) * (1 + l / 2))
            for n in range(self.n_max)
            for m in range(n, self.n_max)
            for l in range(1, self.l_max + 1)
        ]
        factors = {1: pair + products, 2: pair + 2 * products, 3: products}
        return np.array(factors[block.stratum.order])
