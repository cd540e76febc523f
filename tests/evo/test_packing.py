"""Settled crystals keep every promise, whatever came in; what came in stays as it was."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo.cell import Space, shortest_ratio, well_shaped
from evo.packing import push_apart, settle
from evo.supercell import hermite_forms, random_supercell

SPACE = Space((29, 46, 47), (1, 8))


@pytest.mark.parametrize("seed", range(30))
def test_settled_or_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    cell = rng.normal(size=(3, 3)) * rng.uniform(1, 6)
    atoms = Atoms(rng.choice(SPACE.elements, n), scaled_positions=rng.random((n, 3)), cell=cell, pbc=True)
    before = atoms.copy()
    result = settle(atoms, SPACE)
    assert atoms == before
    if result is not None:
        assert shortest_ratio(result) >= SPACE.min_distance
        assert well_shaped(result)
        assert sorted(result.numbers) == sorted(atoms.numbers)
        assert 0.6 < result.get_volume() / SPACE.volume(result.numbers) < 2.2


def test_a_sound_crystal_passes_unchanged() -> None:
    copper = bulk("Cu")
    result = settle(copper, SPACE)
    assert result is not None
    assert np.isclose(result.get_volume(), copper.get_volume())


def test_what_cannot_be_a_crystal_is_refused() -> None:
    assert settle(Atoms(cell=np.eye(3), pbc=True), SPACE) is None
    assert settle(bulk("Al"), SPACE) is None
    assert settle(Atoms("Cu", positions=[[np.inf, 0, 0]], cell=np.eye(3) * 3, pbc=True), SPACE) is None
    assert settle(Atoms("Cu", cell=np.ones((3, 3)), pbc=True), SPACE) is None


def test_atoms_on_one_point_come_apart() -> None:
    atoms = Atoms("Cu4", positions=np.zeros((4, 3)), cell=np.eye(3) * 4.0, pbc=True)
    assert shortest_ratio(push_apart(atoms, 0.8)) >= 0.79


@pytest.mark.parametrize(("factor", "count"), [(1, 1), (2, 7), (3, 13), (4, 35), (6, 91), (8, 155)])
def test_number_of_sublattices(factor: int, count: int) -> None:
    # OEIS A001001
    assert len(hermite_forms(factor)) == count


@pytest.mark.parametrize("factor", [1, 2, 3, 6])
def test_a_supercell_is_the_same_crystal(factor: int) -> None:
    rng = np.random.default_rng(factor)
    copper = bulk("Cu")
    big = random_supercell(rng, copper, factor)
    assert len(big) == factor
    assert np.isclose(big.get_volume(), factor * copper.get_volume())
    assert np.isclose(shortest_ratio(big), shortest_ratio(copper))
