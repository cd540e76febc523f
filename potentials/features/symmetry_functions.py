"""Symmetry functions of Behler (J. Chem. Phys. 134, 074106 (2011), doi:10.1063/1.3553717): G2 and G4.

Neighbours j, k of a centre i inside the cut-off Rc; fc(r) = (1 + cos(pi r/Rc))/2:

- G2 of an element Y = sum over j of Y of exp(-eta (r_ij - Rs)²) fc(r_ij);
- G4 of elements Y, Z = sum over unordered pairs j of Y, k of Z, closer to each other than Rc, of
  2^(2 - zeta) (1 + lambda cos theta_jik)^zeta exp(-eta (r_ij² + r_ik² + r_jk²)) fc(r_ij) fc(r_ik) fc(r_jk).

Blocks: {X}: G2(X), G4(XX); {X,Y}: G2(Y), G4(XY), G4(YY); {X,Y,Z}: G4(YZ), see `potentials.features.blocks`. The numbers
themselves are computed in `potentials.kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from potentials.features.blocks import Block, Sizes
from potentials.structures import Floats

ZETAS = tuple(2**k for k in range(7))


class G2(NamedTuple):
    """A radial function."""

    eta: float  # 1/Å²
    centre: float  # Å, Rs


class G4(NamedTuple):
    """An angular function."""

    eta: float  # 1/Å²
    zeta: int  # one of ZETAS
    sign: int  # lambda, +1 or -1


@dataclass(frozen=True, slots=True)
class SymmetryFunctions:
    """A set of symmetry functions; with a list of elements it fixes every feature."""

    cutoff: float  # Å
    radial: tuple[G2, ...]
    angular: tuple[G4, ...]

    # an unordered pair of unlike neighbours is one pair among all
    unlike: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.cutoff < float("inf"):
            raise ValueError(f"`cutoff` must be a positive length in Å, got {self.cutoff}")
        object.__setattr__(self, "radial", tuple(G2(float(e), float(c)) for e, c in self.radial))
        object.__setattr__(self, "angular", tuple(G4(float(e), int(z), int(s)) for e, z, s in self.angular))
        if not self.radial or not self.angular:
            raise ValueError("`radial` and `angular` must each hold a function at least")
        for eta in [g.eta for g in self.radial] + [g.eta for g in self.angular]:
            if not 0.0 <= eta < float("inf"):
                raise ValueError(f"`eta` must be zero or positive and finite, in 1/Å², got {eta}")
        for g in self.angular:
            if g.zeta not in ZETAS or g.sign not in (-1, 1):
                raise ValueError(f"`zeta` must be one of {ZETAS} and `sign` +1 or -1, got {g.zeta} and {g.sign}")

    @property
    def n_pair(self) -> int:
        """Sums over the neighbours of one element."""
        return len(self.radial)

    @property
    def n_products(self) -> int:
        """Sums over pairs of neighbours of two elements."""
        return len(self.angular)

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

    def smoothness(self, block: Block) -> Floats:
        """(block.size,) ones: these functions are all smooth."""
        return np.ones(block.size)

    def __str__(self) -> str:
        return f"symmetry functions, cut-off {self.cutoff:g} Å, G2 {self.n_pair}, G4 {self.n_products}"


# What MAISE's models of 2017 take (Hajinazar, Shao, Kolmogorov, doi:10.1103/PhysRevB.95.014114), in its units.
_ANGSTROM = 0.529177249  # of a Bohr, as MAISE has it
_ETA2 = (0.001, 0.01, 0.02, 0.035, 0.06, 0.1, 0.2, 0.4)  # Bohr^-2
_ETA4 = (1e-4, 0.003, 0.008, 0.015, 0.025, 0.045)
_ANGLES = (
    *2 * (((1, -1), (1, 1), (2, -1), (2, 1)),),
    ((1, 1), (2, 1)),
    *3 * (((1, 1), (2, 1), (4, 1), (16, 1)),),
)
VP2017 = SymmetryFunctions(
    cutoff=11.338 * _ANGSTROM,
    radial=tuple(G2(eta / _ANGSTROM**2, 0.0) for eta in _ETA2),
    angular=tuple(
        G4(eta / _ANGSTROM**2, zeta, sign) for eta, angles in zip(_ETA4, _ANGLES, strict=True) for zeta, sign in angles
    ),
)
