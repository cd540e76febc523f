"""Screened nuclear repulsion, the baseline under every network.

V(r) = s(u) Zi Zj e²/(4 pi eps0 r) sum_k c_k exp(-d_k r/a), a = 0.46850 Å/(Zi^0.23 + Zj^0.23)
(Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids, 1985), switched off by
s(u) = 1 - 10u³ + 15u⁴ - 6u⁵, u = (r - r1)/(r2 - r1), where r1 and r2 are fractions of the sum of the covalent
radii. Both kernels take their constants from here.
"""

from ase.data import covalent_radii

from potentials.structures import Floats
from potentials.units import COULOMB

INNER, OUTER = 0.50, 0.80  # r1 and r2 over the sum of the covalent radii
AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)  # c_k
RATES = (3.19980, 0.94229, 0.40290, 0.20162)  # d_k
LENGTH, POWER = 0.46850, 0.23  # Å, of the screening length a

__all__ = ["AMPLITUDES", "COULOMB", "INNER", "LENGTH", "OUTER", "POWER", "RATES", "radii", "reach"]


def radii(species: tuple[int, ...]) -> Floats:
    """(n_species,) covalent radii in Å (Cordero 2008, as in ASE)."""
    chosen: Floats = covalent_radii[list(species)].astype(float)
    return chosen


def reach(species: tuple[int, ...]) -> float:
    """Distance in Å beyond which no pair of these elements repels."""
    return float(2 * OUTER * radii(species).max())
