"""What is looked for, the standard cell, and the shortest distance, beside slow and certain ways to find them."""

import math
import tracemalloc

import numpy as np
import pytest
import spglib  # for its Niggli cell alone
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.cell import Space, counts_of, reduce_cell, shortest_ratio, well_shaped
from evo.niggli import niggli

spglib.error.OLD_ERROR_HANDLING = False  # its warning would be an error here

LATTICES = {
    "cubic": np.eye(3),
    "fcc": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]]),
    "bcc": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1.0]]),
    "hexagonal": np.array([[1, 0, 0], [-0.5, math.sqrt(0.75), 0], [0, 0, 1.633]]),
    "tetragonal": np.diag([1, 1, 1.4]),
    "rhombohedral": np.array([[1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1]]),
    "monoclinic": np.array([[1, 0, 0], [0, 1.3, 0], [-0.6, 0, 1.7]]),
    "triclinic": np.array([[1, 0.1, 0.2], [0.3, 1.2, 0.1], [-0.2, 0.4, 0.9]]),
}


def scrambled(cell: np.ndarray, seed: int, most: int = 2) -> np.ndarray:
    """Another basis of the same lattice."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(3, dtype=int)
    for _ in range(6):
        i, j = rng.choice(3, 2, replace=False)
        matrix[i] += rng.integers(-most, most + 1) * matrix[j]
    return matrix @ cell


@pytest.mark.parametrize("name", LATTICES)
def test_niggli_agrees_with_spglib(name: str) -> None:
    for seed in range(20):
        cell = scrambled(3.7 * LATTICES[name], seed)
        basis = niggli(cell)
        assert basis is not None
        assert abs(round(np.linalg.det(basis))) == 1
        ours, theirs = basis @ cell, spglib.niggli_reduce(cell)
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-3)


def test_no_niggli_cell_without_volume() -> None:
    assert niggli(np.ones((3, 3))) is None
    assert niggli(np.full((3, 3), np.nan)) is None


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_reduced_cell_holds_the_same_crystal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = scrambled(4.0 * LATTICES["triclinic"], seed)
    atoms = Atoms("CuPdAg", scaled_positions=rng.random((3, 3)), cell=cell, pbc=True)
    reduced = reduce_cell(atoms)
    assert math.isclose(reduced.get_volume(), atoms.get_volume(), rel_tol=1e-9)
    assert np.linalg.det(reduced.cell) > 0
    before, after = (np.sort(neighbor_list("d", a, 5.0)) for a in (atoms, reduced))
    np.testing.assert_allclose(before, after, atol=1e-8)
    # some crystals have none: what is left then is rounding
    np.testing.assert_allclose(chirality(atoms), chirality(reduced), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(reduce_cell(reduced).cell, reduced.cell, atol=1e-8)


def chirality(atoms: Atoms) -> float:
    """A sum over triples of bonds that changes sign in a mirror."""
    centre, other, vectors = neighbor_list("ijD", atoms, 3.6)
    kinds = atoms.numbers[other] + 0.3 * atoms.numbers[centre]
    total = 0.0
    for c in range(len(atoms)):
        v, z = vectors[centre == c], kinds[centre == c]
        lengths = np.linalg.norm(v, axis=1)
        w = [(v * (z * lengths**p)[:, None]).sum(axis=0) for p in (0, 1, 2)]
        total += float(np.dot(w[0], np.cross(w[1], w[2])))
    return total


def test_two_periodic_axes_are_reduced_in_their_plane() -> None:
    slab = Atoms("Cu2", positions=[[0, 0, 5], [1, 1, 7]], cell=[[3, 0, 0], [8.9, 3, 0], [0, 0, 20]], pbc=[1, 1, 0])
    reduced = reduce_cell(slab)
    np.testing.assert_allclose(sorted(reduced.cell.lengths()), [3.0, math.hypot(0.1, 3), 20.0])
    np.testing.assert_allclose(reduced.positions[:, 2], [5, 7])


@pytest.mark.parametrize("seed", range(40))
def test_shortest_ratio_agrees_with_a_neighbour_list(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pbc = np.array([True, True, True]) if seed % 3 else rng.random(3) < 0.5
    n = int(rng.integers(1, 9))
    cell = scrambled(rng.uniform(2, 5) * LATTICES[list(LATTICES)[seed % 8]], seed, most=1)
    atoms = Atoms(rng.choice([3, 8, 29, 55], n), scaled_positions=rng.random((n, 3)) * 3 - 1, cell=cell, pbc=pbc)
    first, second, distances = neighbor_list("ijd", atoms, 15.0)
    if len(distances) == 0:
        assert shortest_ratio(atoms) > 2
        return
    ratios = distances / (covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]])
    assert math.isclose(shortest_ratio(atoms), ratios.min(), rel_tol=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_trees_find_the_same_ratio(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng([seed, 1])
    n = int(rng.integers(2, 15))
    cell = scrambled(rng.uniform(2, 8) * LATTICES[list(LATTICES)[seed % 8]], seed, most=1)
    pbc = np.array([True, True, True]) if seed % 3 else rng.random(3) < 0.5
    atoms = Atoms(rng.choice([1, 8, 29, 55], n), scaled_positions=rng.random((n, 3)) * 3 - 1, cell=cell, pbc=pbc)
    by_pairs = shortest_ratio(atoms)
    monkeypatch.setattr("evo.cell.MANY", 1)
    assert math.isclose(shortest_ratio(atoms), by_pairs, rel_tol=1e-9)


def test_shortest_ratio_of_many_atoms_in_little_memory() -> None:
    oxide = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    tracemalloc.start()
    try:
        assert math.isclose(shortest_ratio(oxide.repeat((6, 6, 7))), shortest_ratio(oxide), rel_tol=1e-9)
        assert tracemalloc.get_traced_memory()[1] < 50e6  # bytes; all pairs with their images would take 700e6
    finally:
        tracemalloc.stop()
    assert shortest_ratio(Atoms("Cu600", positions=np.zeros((600, 3)), cell=5 * np.eye(3), pbc=True)) == 0.0


def test_shortest_ratio_of_what_is_no_crystal() -> None:
    assert math.isinf(shortest_ratio(Atoms("Cu")))
    assert shortest_ratio(Atoms("Cu", cell=np.zeros((3, 3)), pbc=False)) == math.inf
    assert shortest_ratio(Atoms("Cu", cell=np.ones((3, 3)), pbc=True)) == 0.0
    assert math.isnan(shortest_ratio(Atoms("Cu", positions=[[np.nan, 0, 0]], cell=np.eye(3), pbc=True)))
    water = molecule("H2O")
    assert 0.8 < shortest_ratio(water) < 1.2


def test_needles_and_plates_are_badly_shaped() -> None:
    copper = bulk("Cu")
    assert well_shaped(copper)
    assert well_shaped(copper.repeat((1, 1, 8)))  # a stack of eight layers
    assert not well_shaped(Atoms("Cu", cell=[1.5, 2, 4 * 2.8], pbc=True))
    skewed = Atoms("Cu", cell=scrambled(np.asarray(copper.cell), 3), pbc=True)
    assert well_shaped(skewed)


def test_space_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="at least one atomic number"):
        Space((), (1, 4))
    with pytest.raises(ValueError, match="1 <= fewest <= most"):
        Space((29,), (4, 1))
    with pytest.raises(ValueError, match="outside `elements`"):
        Space((29,), (1, 4), formula={46: 1})


def test_every_composition_is_drawn_and_none_is_rare() -> None:
    space = Space((29, 46, 47), (1, 5))
    rng = np.random.default_rng(0)
    drawn = [space.sample_counts(rng) for _ in range(4000)]
    assert all(space.allows(counts) for counts in drawn)
    orders = np.bincount([len(counts) for counts in drawn], minlength=4)[1:] / len(drawn)
    assert (orders > [0.2, 0.3, 0.2]).all()
    every = {(a, b, c) for a in range(6) for b in range(6) for c in range(6) if 1 <= a + b + c <= 5}
    assert {tuple(counts.get(z, 0) for z in space.elements) for counts in drawn} == every


def test_fixed_formula_is_all_that_is_allowed() -> None:
    space = Space((29, 46), (1, 8), formula={29: 4, 46: 4})
    assert space.sizes == (8, 8)
    assert space.sample_counts(np.random.default_rng(0)) == {29: 4, 46: 4}
    assert space.allows({29: 4, 46: 4}) and not space.allows({29: 2, 46: 2})
    assert not Space((29, 46), (2, 8)).allows({29: 1})
    assert not Space((29, 46), (2, 8)).allows({29: 1, 47: 1})


def test_volume_takes_counts_or_numbers() -> None:
    space = Space((29, 46), (1, 8), volumes={29: 12.0, 46: 15.0})
    assert space.volume({29: 1, 46: 3}) == space.volume([29, 46, 46, 46]) == 57.0
    assert counts_of(np.array([46, 29, 46])) == {29: 1, 46: 2}
    assert math.isclose(space.distance_limit(29, 46), 0.65 * (1.32 + 1.39))
