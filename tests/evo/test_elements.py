"""Default volumes stand beside measured ones; every element has defaults."""

import math

import pytest
from ase.data import atomic_numbers

from evo.candidate import formula_counts
from evo.elements import atomic_volume, compound_volume, covalent_radius, electronegativity

# Å³ per formula unit at room temperature
MEASURED = {
    "Cu": 11.8, "Na": 37.7, "Ti": 17.6, "Si": 20.0, "MgO": 18.7, "NaCl": 44.9, "TiO2": 31.2, "Al2O3": 42.5,
    "SiO2": 37.7, "Li2O": 24.6, "CaO": 27.8, "BaTiO3": 64.3, "ZrO2": 35.0, "GaN": 22.8, "Fe2O3": 50.3, "CsCl": 70.0,
    "ZnS": 39.7, "NiO": 18.2, "Ni3Al": 45.5, "MgAl2O4": 66.0, "LiF": 16.3, "CaF2": 40.9, "AgCl": 42.6, "TiN": 19.1,
    "SiC": 20.7, "AlN": 20.9, "GaAs": 45.2, "MoS2": 53.0, "NiTi": 27.1, "MgZn2": 50.0, "CsI": 95.0, "CeO2": 39.7,
    "WC": 20.8, "Mg2Si": 64.3, "PbTe": 67.0, "SrTiO3": 59.5, "ZnO": 23.8, "InP": 50.6,
}  # fmt: skip


@pytest.mark.parametrize("formula", MEASURED)
def test_volume_near_the_measured_one(formula: str) -> None:
    counts = formula_counts(formula)
    guess = compound_volume(counts, {z: atomic_volume(z) for z in counts})
    assert 0.75 < guess / MEASURED[formula] < 1.35


def test_every_element_has_defaults() -> None:
    for z in range(1, 104):
        assert 3 < atomic_volume(z) < 130
        assert 0.2 < covalent_radius(z) < 2.7
        assert 0.7 <= electronegativity(z) <= 4.0


def test_volume_is_extensive_and_metals_add_up() -> None:
    volumes = {z: atomic_volume(z) for z in (atomic_numbers[s] for s in ("Cu", "Pd", "Ti", "O"))}
    assert math.isclose(compound_volume({22: 2, 8: 4}, volumes), 2 * compound_volume({22: 1, 8: 2}, volumes))
    assert math.isclose(compound_volume({29: 1, 46: 3}, volumes), volumes[29] + 3 * volumes[46])


def test_a_metal_with_little_oxygen_hardly_shrinks() -> None:
    volumes = {8: atomic_volume(8), 22: atomic_volume(22)}
    assert compound_volume({22: 12, 8: 1}, volumes) > 0.9 * (12 * volumes[22] + volumes[8])
