"""Blocks: the features of a centre cut by the set of elements that meet in a feature. One layout for every descriptor.

A descriptor has `n_pair` sums over the neighbours of one element and `n_products` over pairs of neighbours. Blocks of a
centre X: {X}: sums of X, products XX; {X,Y}: sums of Y, products XY, products YY; {X,Y,Z}: products YZ. A block is
exactly zero when one of its elements is absent; strata beyond three elements own nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from potentials.stratum import Stratum


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
class Sizes:
    """Features of one neighbour element, and of one pair of them."""

    n_pair: int
    n_products: int

    def n_features(self, n_species: int) -> int:
        """Features of a centre in a library of this many elements."""
        return n_species * self.n_pair + n_species * (n_species + 1) // 2 * self.n_products

    def block_size(self, order: int) -> int:
        """Features of one block whose stratum has this many elements."""
        sizes = {1: self.n_pair + self.n_products, 2: self.n_pair + 2 * self.n_products, 3: self.n_products}
        return sizes.get(order, 0)

    def blocks(self, centre: int, species: tuple[int, ...]) -> list[Block]:
        """The blocks of a centre of atomic number `centre`, in canonical order: by size, then atomic numbers.

        `species` are the ascending atomic numbers of the library.
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

    def places(self, centre: int, species: tuple[int, ...]) -> list[int]:
        """Where the features of a centre are found in the list that suits any centre, in the order of `blocks`.

        That list holds the sums of every element, then the products of every pair of elements y <= z, y slowest.
        """
        n, x = len(species), species.index(centre)

        def of_sums(y: int) -> list[int]:
            return list(range(y * self.n_pair, (y + 1) * self.n_pair))

        def of_products(y: int, z: int) -> list[int]:
            low, high = min(y, z), max(y, z)
            pair = low * n - low * (low - 1) // 2 + high - low
            start = n * self.n_pair + pair * self.n_products
            return list(range(start, start + self.n_products))

        found = []
        for block in self.blocks(centre, species):
            match [species.index(z) for z in block.stratum.numbers if z != centre]:
                case []:
                    found += of_sums(x) + of_products(x, x)
                case [y]:
                    found += of_sums(y) + of_products(x, y) + of_products(y, y)
                case [y, z]:
                    found += of_products(y, z)
        return found
