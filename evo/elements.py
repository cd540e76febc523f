"""Elements: radii, volumes and electronegativities, the defaults with which any system works at once.

Volumes are first guesses: within about a quarter of the truth for metals, alloys, oxides, halides and
nitrides alike, which is all that a random crystal needs before it is relaxed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from ase.data import chemical_symbols, covalent_radii, reference_states

# Å³ per atom where ASE's table gives no lattice, or one of molecules: solids at room temperature, and for the
# non-metals what the atom takes in its compounds (MgO, TiO2, GaN, NaCl, ZnS ...)
MEASURED_VOLUMES = {
    "H": 4.0, "He": 16.0, "B": 7.3, "C": 6.5, "N": 10.5, "O": 11.0, "F": 12.5, "P": 18.0, "S": 19.5,
    "Cl": 25.0, "Mn": 12.2, "Ga": 19.6, "As": 21.5, "Se": 24.0, "Br": 30.0, "In": 26.1, "Sn": 27.0, "Sb": 30.2,
    "Te": 33.0, "I": 40.0, "Pm": 33.6, "Sm": 33.2, "Hg": 23.4, "Bi": 35.4, "Po": 37.6, "Ra": 68.0, "Pa": 25.0,
    "U": 20.7, "Np": 19.2, "Pu": 20.0, "Am": 29.3, "Cm": 30.0,
}  # fmt: skip

# Pauling electronegativities, as in the CRC Handbook; elements left out count as 1.5
ELECTRONEGATIVITIES = {
    "H": 2.20, "Li": 0.98, "Be": 1.57, "B": 2.04, "C": 2.55, "N": 3.04, "O": 3.44, "F": 3.98, "Na": 0.93,
    "Mg": 1.31, "Al": 1.61, "Si": 1.90, "P": 2.19, "S": 2.58, "Cl": 3.16, "K": 0.82, "Ca": 1.00, "Sc": 1.36,
    "Ti": 1.54, "V": 1.63, "Cr": 1.66, "Mn": 1.55, "Fe": 1.83, "Co": 1.88, "Ni": 1.91, "Cu": 1.90, "Zn": 1.65,
    "Ga": 1.81, "Ge": 2.01, "As": 2.18, "Se": 2.55, "Br": 2.96, "Rb": 0.82, "Sr": 0.95, "Y": 1.22, "Zr": 1.33,
    "Nb": 1.6, "Mo": 2.16, "Tc": 1.9, "Ru": 2.2, "Rh": 2.28, "Pd": 2.20, "Ag": 1.93, "Cd": 1.69, "In": 1.78,
    "Sn": 1.96, "Sb": 2.05, "Te": 2.1, "I": 2.66, "Cs": 0.79, "Ba": 0.89, "La": 1.10, "Ce": 1.12, "Pr": 1.13,
    "Nd": 1.14, "Sm": 1.17, "Gd": 1.20, "Dy": 1.22, "Ho": 1.23, "Er": 1.24, "Tm": 1.25, "Yb": 1.1, "Lu": 1.27,
    "Hf": 1.3, "Ta": 1.5, "W": 2.36, "Re": 1.9, "Os": 2.2, "Ir": 2.20, "Pt": 2.28, "Au": 2.54, "Hg": 2.00,
    "Tl": 1.62, "Pb": 2.33, "Bi": 2.02, "Po": 2.0, "At": 2.2, "Fr": 0.7, "Ra": 0.9, "Ac": 1.1, "Th": 1.3,
    "Pa": 1.5, "U": 1.38, "Np": 1.36, "Pu": 1.28,
}  # fmt: skip

IONIC_ONSET = 1.0  # difference of electronegativity from which a cation shrinks
IONIC_SLOPE = 0.55  # fraction of its volume that a cation loses per unit of difference beyond the onset
SMALLEST_CATION = 0.35  # of the volume of its element: about that of Mg, Ca, Ba in their oxides


@cache
def covalent_radius(z: int) -> float:
    """Covalent radius in Å (Cordero 2008, doi:10.1039/b801115j; the table of ASE)."""
    return float(covalent_radii[z])


@cache
def electronegativity(z: int) -> float:
    """Pauling electronegativity; 1.5, that of a metal, where none is known."""
    return ELECTRONEGATIVITIES.get(chemical_symbols[z], 1.5)


@cache
def atomic_volume(z: int) -> float:
    """Å³ per atom of the element as a solid, or, for a non-metal, as a part of compounds."""
    symbol = chemical_symbols[z]
    if symbol in MEASURED_VOLUMES:
        return MEASURED_VOLUMES[symbol]
    state: dict[str, Any] = dict(reference_states[z] or {})
    a = state.get("a", 0.0)
    match state.get("symmetry"):
        case "fcc":
            return float(a**3 / 4)
        case "bcc":
            return float(a**3 / 2)
        case "hcp":
            return float(a**3 * state["c/a"] * math.sqrt(3) / 4)
        case "diamond":
            return float(a**3 / 8)
    return 5.5 * covalent_radius(z) ** 3  # the median of this ratio over the metals


def contraction(cation: int, anion: int) -> float:
    """Fraction of its volume that this cation keeps when enough of this anion surrounds it."""
    difference = electronegativity(anion) - electronegativity(cation)
    return min(1.0, max(SMALLEST_CATION, 1.0 - IONIC_SLOPE * (difference - IONIC_ONSET)))


def compound_volume(counts: Mapping[int, int], volumes: Mapping[int, float]) -> float:
    """Volume in Å³ of these atoms together: Zen's law, with cations that shrink beside anions.

    `volumes` in Å³ per atom. A cation shrinks fully from one anion for every two cations on (Li2O), and in
    proportion below (Ti6O), so that metals with a little oxygen stay metals.
    """
    total = 0.0
    for z, n in counts.items():
        kept = 1.0
        for other, n_other in counts.items():
            share = min(1.0, 2.0 * n_other / n)
            kept = min(kept, 1.0 - share * (1.0 - contraction(z, other)))
        total += n * volumes[z] * kept
    return total
