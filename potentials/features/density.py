"""The density descriptor: how the features of a centre are counted, ordered and cut into blocks.

Centre of element X, neighbours of element Y at distance r inside the cut-off Rc; cosine cut-off
fc(r) = (1 + cos(pi r/Rc))/2, radial functions g_k(r) = sqrt(2/Rc) sin(k pi r/Rc)/r fc(r):

- two-body T_Yk = sum_j g_k(r_ij), k = 1..n_pair;
- moments A^Y_nlm = sum_j g_n(r_ij) Y_lm(r_ij/|r_ij|), n = 1..n_max, l = 1..l_max, real harmonics;
- products P^YZ_nn'l = 4 pi/(2l+1) sum_m A^Y_nlm A^Z_n'lm, n <= n', the mean over n <-> n' when Y is not Z.

Blocks: {X}: T_X, P^XX; {X,Y}: T_Y, P^XY, P^YY; {X,Y,Z}: P^YZ. A block is exactly zero when one of its
elements is absent. The numbers themselves are computed in `potentials.kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from potentials.stratum import Stratum
from potentials.structures import Floats


@dataclass(frozen=True, slots=True)
class Block:
    """The features start:stop of a centre, which belong to one stratum."""

    stratum: Stratum
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Shape:
    """The resolution of the descriptor; with a list of elements it fixes every feature."""

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
    def n_products(self) -> int:
        """Products of one pair of neighbour elements."""
        return self.n_max * (self.n_max + 1) // 2 * self.l_max

    def n_features(self, n_species: int) -> int:
        """Features of a centre in a library of this many elements."""
        return n_species * self.n_pair + n_species * (n_species + 1) // 2 * self.n_products

    def block_size(self, order: int) -> int:
        """Features of one block whose stratum has this many elements."""
        sizes = {1: self.n_pair + self.n_products, 2: self.n_pair + 2 * self.n_products, 3: self.n_products}
        return sizes.get(order, 0)

    def blocks(self, centre: int, species: tuple[int, ...]) -> list[Block]:
        """The blocks of a centre of atomic number `centre`, in canonical order: by size, then atomic numbers.

        `species` are the ascending atomic numbers of the library. Strata beyond three elements own nothing.
        """
        if list(species) != sorted(set(species)) or centre not in species:
            raise ValueError(f"`species` must be ascending, distinct and contain {centre}, got {species}")
        others = [z for z in species if z != centre]
        strata = [Stratum.of((centre, *more)) for k in range(3) for more in combinations(others, k)]
        blocks, start = [], 0
        for stratum in sorted(strata, key=Stratum.sort_key):
            stop = start + self.block_size(stratum.order)
            blocks.append(Block(stratum, start, stop))
            start = stop
        return blocks

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
