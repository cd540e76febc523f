"""Embedded-atom potentials of few parameters, the baseline that networks may stand on.

E_i = e_s + F_s(rho_i) + 1/2 sum_j phi_st(r_ij), rho_i = sum_j m_st sum_k exp(b_tk) h_k(r_ij), with s, t the elements of i and j
(Daw, Baskes, Phys. Rev. B 29, 6443 (1984)); phi_st = sum_k a_stk g_k(r), F = -exp(A) sqrt(rho) + B rho + C rho². g_k and h_k are
the powers (x_k - x)^d below a knot x_k and zero beyond (d = 3: Ackland et al., Phil. Mag. A 56, 735 (1987)), x is r over the sum
of the covalent radii. The knots lie in equal ratios; where the networks' cut-off is shorter than the last one, all shrink alike.

The derivative of order d jumps at the knots. With cubes that leaves waves in the forces of steep bonds, shorter than any radial
function of the networks, which therefore cannot mend them; of fourth powers they mend what is left (docs/vasp-cu-ag.md).

An element owns b, a of its own bonds, A, B, C and e; a pair owns a of the bonds between its elements, and the logarithms of the
two m, which are one between equal atoms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase.data import covalent_radii

from potentials.stratum import Stratum
from potentials.structures import Floats

N_PAIR, N_DENSITY = 10, 5  # knots of phi, of rho
DEGREES = (3, 4)  # d
NEAREST = (0.71, 0.95)  # x of their first knots
FARTHEST = (2.35, 2.25)  # of their last ones
LEAST_DENSITY = 1e-4  # added to rho under the root: an atom by itself has a finite slope
OF_ELEMENT = N_DENSITY + N_PAIR + 4  # parameters: b, a, A, B, C, e
OF_PAIR = N_PAIR + 2  # a, log m_st, log m_ts


def scale(s: int, t: int) -> float:
    """Å, of x = r/scale for these atomic numbers."""
    return float(covalent_radii[s] + covalent_radii[t])


def knots(s: int, t: int, cutoff: float) -> tuple[Floats, Floats]:
    """(N_PAIR,) and (N_DENSITY,) x_k of phi and of rho, ascending, between these atomic numbers."""
    shorter = min(1.0, cutoff / (scale(s, t) * max(FARTHEST)))
    pair, density = (
        np.geomspace(first, last, n) * shorter
        for first, last, n in zip(NEAREST, FARTHEST, (N_PAIR, N_DENSITY), strict=True)
    )
    return pair, density


@dataclass(frozen=True, eq=False)
class EmbeddedAtoms:
    """The potential of some elements, ready for evaluation: phi_st = sum_k pairs (pair_knots - r)^degree, and rho likewise.

    Arrays by the centre's element, then the neighbour's.
    """

    pair_knots: Floats  # (n_species, n_species, N_PAIR) Å
    pairs: Floats  # (n_species, n_species, N_PAIR) eV/Å^degree
    density_knots: Floats  # (n_species, n_species, N_DENSITY) Å
    densities: Floats  # (n_species, n_species, N_DENSITY) 1/Å^degree
    embedding: Floats  # (n_species, 4) exp(A), B, C, e
    degree: int

    @classmethod
    def of(
        cls, species: tuple[int, ...], cutoff: float, strata: Mapping[Stratum, Floats], degree: int
    ) -> EmbeddedAtoms:
        """From the parameters of every element and of those pairs that have some.

        species: ascending atomic numbers. cutoff: Å, of the networks. A missing pair has the mean a of its elements and m of one.
        ValueError where an element is missing, a stratum has not as many parameters as it must, or `degree` is none of DEGREES.
        """
        if degree not in DEGREES:
            raise ValueError(f"`degree` must be one of {DEGREES}, got {degree}")
        n = len(species)
        for stratum, own in strata.items():
            if own.shape != (wanted := (OF_ELEMENT if stratum.order == 1 else OF_PAIR,)):
                raise ValueError(f"`embedded` of {stratum.name} must have shape {wanted}, got {own.shape}")
        if missing := [Stratum((z,)).name for z in species if Stratum((z,)) not in strata]:
            raise ValueError(f"no embedded-atom parameters for {', '.join(missing)}; train it with the same recipe")
        elements = [strata[Stratum((z,))] for z in species]
        densities = np.array([[np.exp(t[:N_DENSITY]) for t in elements] for _ in species])
        bonds = np.array([own[N_DENSITY : N_DENSITY + N_PAIR] for own in elements])
        pairs = (bonds[:, None] + bonds[None]) / 2
        for x, y in combinations(range(n), 2):
            if (mixed := strata.get(Stratum((species[x], species[y])))) is not None:
                pairs[x, y] = pairs[y, x] = mixed[:N_PAIR]
                densities[x, y] *= np.exp(mixed[N_PAIR])
                densities[y, x] *= np.exp(mixed[N_PAIR + 1])
        scales = np.array([[scale(s, t) for t in species] for s in species])[:, :, None]
        places = [[knots(s, t, cutoff) for t in species] for s in species]
        pair_knots, density_knots = (np.array([[k[which] for k in row] for row in places]) for which in (0, 1))
        embedding = np.array([own[N_DENSITY + N_PAIR :] for own in elements])
        embedding[:, 0] = np.exp(embedding[:, 0])
        return cls(
            pair_knots * scales,
            pairs / scales**degree,
            density_knots * scales,
            densities / scales**degree,
            embedding,
            degree,
        )
