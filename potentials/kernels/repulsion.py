"""Repulsion of close pairs: the screened nuclear one, the baseline under every network, and MAISE's hard cores.

V(r) = s(u) Zi Zj e²/(4 pi eps0 r) sum_k c_k exp(-d_k r/a), a = 0.46850 Å/(Zi^0.23 + Zj^0.23)
(Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids, 1985), switched off by
s(u) = 1 - 10u³ + 15u⁴ - 6u⁵, u = (r - r1)/(r2 - r1), where r1 and r2 are fractions of the sum of the covalent
radii. Both kernels take their constants from here.

Hard cores, as MAISE adds them to published models (its setting UREP, an energy U of 100 eV unless it is set to 0): for every
ordered pair closer than R, the sum of its two cores, U (1 + cos(pi r/R))/2 R/r.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from potentials.kernels.formulas import smooth_step
from potentials.structures import Floats
from potentials.units import COULOMB

# r1 and r2 over the sum of the covalent radii: below the distances that occur in data. Bonds make the true repulsion softer: at
# 0.6 the CuAg dimer has 10 eV where this has 18, and a network that must undo it there is worse everywhere
INNER, OUTER = 0.30, 0.65
AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)  # c_k
RATES = (3.19980, 0.94229, 0.40290, 0.20162)  # d_k
LENGTH, POWER = 0.46850, 0.23  # Å, of the screening length a

# Å, of the elements that published models hold, as stated with MAISE's file format
CORES = {
    3: 1.040,
    11: 1.266,
    12: 1.114,
    13: 1.0,
    19: 1.610,
    20: 1.366,
    29: 0.895,
    30: 1.0,
    46: 0.979,
    47: 1.030,
    50: 1.0,
    79: 1.0,
}

__all__ = [
    "AMPLITUDES",
    "CORES",
    "COULOMB",
    "INNER",
    "LENGTH",
    "OUTER",
    "POWER",
    "RATES",
    "cores",
    "radii",
    "reach",
    "screened",
]


def screened(distance: Any, rate: Any, strength: Any, u: Any, exp: Callable[[Any], Any]) -> Any:
    """V(r), for torch tensors or symbols: rate 1/a (1/Å), strength Zi Zj e²/(4 pi eps0) (eV Å), u between 0 and 1."""
    x = distance * rate
    screening = sum(amplitude * exp(x * -decay) for amplitude, decay in zip(AMPLITUDES, RATES, strict=True))
    return strength / distance * screening * (1 - smooth_step(u))


def radii(species: tuple[int, ...]) -> Floats:
    """(n_species,) covalent radii in Å (Cordero 2008, as in ASE)."""
    chosen: Floats = covalent_radii[list(species)].astype(float)
    return chosen


def cores(species: tuple[int, ...]) -> Floats:
    """(n_species,) Å; ValueError for an element without one."""
    if unknown := [chemical_symbols[z] for z in species if z not in CORES]:
        known = ", ".join(chemical_symbols[z] for z in CORES)
        raise ValueError(f"`core_energy` must be 0 for {', '.join(unknown)}: hard cores are known of {known}")
    return np.array([CORES[z] for z in species])


def reach(species: tuple[int, ...]) -> float:
    """Distance in Å beyond which no pair of these elements repels."""
    return float(2 * OUTER * radii(species).max())
