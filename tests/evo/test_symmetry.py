"""Wyckoff positions beside the International Tables; space groups of known crystals; odd input is a value."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from evo.cell import shortest_ratio
from evo.symmetry import group, primitive, space_group, symbol

# number of positions per group, International Tables for Crystallography A
COUNTS = {
    1: 1, 2: 9, 10: 15, 47: 27, 62: 4, 123: 21, 139: 15, 166: 9, 167: 6, 186: 4, 187: 15, 191: 18, 194: 12,
    216: 9, 221: 14, 223: 12, 225: 12, 227: 9, 229: 12, 230: 8,
}  # fmt: skip
# (multiplicity per primitive cell, free parameters), most special first
POSITIONS = {
    225: [(1, 0), (1, 0), (2, 0), (6, 0), (6, 1), (8, 1), (12, 1), (12, 1), (12, 1), (24, 2), (24, 2), (48, 3)],
    194: [(2, 0)] * 4 + [(6, 0), (4, 1), (4, 1), (6, 1), (12, 1), (12, 2), (12, 2), (24, 3)],
    62: [(4, 0), (4, 0), (4, 2), (8, 3)],
    227: [(2, 0), (2, 0), (4, 0), (4, 0), (8, 1), (12, 1), (24, 1), (24, 2), (48, 3)],
    167: [(2, 0), (2, 0), (4, 1), (6, 0), (6, 1), (12, 3)],
    5: [(1, 1), (1, 1), (2, 3)],
}


def test_all_groups_have_the_1731_positions_of_the_tables() -> None:
    assert sum(len(group(number).positions) for number in range(1, 231)) == 1731


@pytest.mark.parametrize("number", COUNTS)
def test_number_of_positions(number: int) -> None:
    assert len(group(number).positions) == COUNTS[number]


@pytest.mark.parametrize("number", POSITIONS)
def test_multiplicities(number: int) -> None:
    found = [(p.multiplicity, p.n_free) for p in group(number).positions]
    assert sorted(found) == sorted(POSITIONS[number])


@pytest.mark.parametrize("number", range(1, 231))
def test_orbits_are_orbits(number: int) -> None:
    rng = np.random.default_rng(number)
    found = group(number)
    for position in found.positions:
        points = position.orbits(rng, 1)[0]
        assert points.shape == (position.multiplicity, 3)
        apart = points[:, None] - points
        apart = np.abs(apart - np.rint(apart)).max(axis=2)
        assert (apart[~np.eye(len(points), dtype=bool)] > 1e-9).all()
        # every operation of the conventional cell carries the orbit into itself
        conventional = points @ found.primitive
        for rotation, translation in zip(found.rotations, found.translations, strict=True):
            moved = (conventional @ rotation.T + translation) @ np.linalg.inv(found.primitive)
            difference = moved[:, None] - points
            difference = np.abs(difference - np.rint(difference)).max(axis=2)
            assert (difference.min(axis=1) < 1e-6).all()


def test_groups_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 230, got 231"):
        group(231)


def test_symbols() -> None:
    assert [symbol(n) for n in (1, 14, 62, 225, 227)] == ["P1", "P2_1/c", "Pnma", "Fm-3m", "Fd-3m"]


@pytest.mark.parametrize(
    ("atoms", "number"),
    [
        (bulk("Cu"), 225),
        (bulk("Fe"), 229),
        (bulk("Mg"), 194),
        (bulk("Si"), 227),
        (bulk("NaCl", "rocksalt", a=5.6), 225),
        (bulk("CsCl", "cesiumchloride", a=4.1), 221),
        (bulk("ZnS", "wurtzite", a=3.8), 186),
        (crystal("TiO", [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.96, 90, 90, 90]), 136),
    ],
)
def test_known_crystals(atoms: Atoms, number: int) -> None:
    assert space_group(atoms) == number
    rattled = atoms.copy()
    rattled.rattle(0.003, seed=1)
    assert space_group(rattled) == number
    exact = primitive(rattled.repeat((2, 1, 1)))
    assert len(exact) == len(primitive(atoms)) <= len(atoms)
    assert space_group(exact, symprec=1e-5) == number
    assert np.isclose(shortest_ratio(exact), shortest_ratio(atoms), atol=0.01)


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms(),
        Atoms("Cu"),
        Atoms("Cu", cell=np.ones((3, 3)), pbc=True),
        Atoms("Cu2", positions=np.zeros((2, 3)), cell=3 * np.eye(3), pbc=True),
        Atoms("Cu", positions=[[np.nan, 0, 0]], cell=3 * np.eye(3), pbc=True),
        Atoms("Cu", cell=3 * np.eye(3), pbc=[1, 1, 0]),
    ],
)
def test_odd_input_is_group_one(atoms: Atoms) -> None:
    assert space_group(atoms) == 1
    assert len(primitive(atoms)) == len(atoms)
