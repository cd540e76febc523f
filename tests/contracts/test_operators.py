"""Every operator on every crystal: a child that keeps every promise, or None; parents never change."""

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from evo.cell import Space, counts_of, reduce_cell, shortest_ratio, well_shaped
from evo.create import random, symmetric
from evo.operators.add_remove import add_remove
from evo.operators.heredity import heredity
from evo.operators.permutation import permutation
from evo.operators.rattle import rattle
from evo.operators.strain import strain
from evo.operators.superstructure import superstructure
from evo.operators.transmute import transmute

Operator = Callable[[np.random.Generator, list[Atoms], Space], Atoms | None]

OPERATORS: list[Operator] = [heredity, strain, rattle, permutation, transmute, add_remove, superstructure]
ELEMENTS = (22, 29, 46, 50)
SPACE = Space(ELEMENTS, (1, 8))


def layered() -> Atoms:
    """Eight close-packed layers of two elements."""
    atoms = bulk("Cu", "hcp", a=2.6, c=4.25).repeat((1, 1, 4))
    atoms.numbers[::2] = 46
    return atoms


def skewed() -> Atoms:
    """B2 in a cell that nobody would choose."""
    atoms = bulk("CuPd", "cesiumchloride", a=3.0)
    atoms.set_cell(np.array([[1, 0, 0], [4, 1, 0], [-3, 5, 1]]) @ np.asarray(atoms.cell))
    return atoms


def slab() -> Atoms:
    return fcc111("Cu", (1, 1, 4), vacuum=6.0, periodic=False)


def made(seed: int, n_elements: int, n_atoms: int) -> Atoms:
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(ELEMENTS[:n_elements], 1)
    counts[ELEMENTS[0]] += n_atoms - n_elements
    atoms = (symmetric if seed % 2 else random).create(rng, counts, SPACE)
    assert atoms is not None
    return atoms


CRYSTALS = {
    "fcc": bulk("Cu"),
    "hcp": bulk("Ti"),
    "B2": bulk("CuPd", "cesiumchloride", a=3.0),
    "B1": bulk("CuSn", "rocksalt", a=5.4),
    "layered": layered(),
    "skewed": skewed(),
    "slab": slab(),
    **{f"{k} elements, {n} atoms": made(n + k, k, n) for k, n in [(1, 5), (2, 3), (2, 8), (3, 4), (3, 7), (4, 4), (4, 8)]},
}  # fmt: skip
PARENTS = list(CRYSTALS.values())


def check(child: Atoms | None, space: Space) -> bool:
    """True for a sound child, False for none."""
    if child is None:
        return False
    assert space.allows(counts_of(child.numbers))
    assert np.isfinite(child.positions).all() and np.isfinite(np.asarray(child.cell)).all()
    assert shortest_ratio(child) >= space.min_distance
    if child.pbc.all():
        assert well_shaped(child)
        assert 0.6 < child.get_volume() / space.volume(child.numbers) < 2.2
        np.testing.assert_allclose(reduce_cell(child).cell, child.cell, atol=1e-6)
    return True


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", CRYSTALS)
def test_variable_composition(operator: Operator, name: str) -> None:
    first = CRYSTALS[name]
    before = [parent.copy() for parent in PARENTS]
    children = 0
    for trial in range(12):
        rng = np.random.default_rng([trial, 7])
        second = PARENTS[trial % len(PARENTS)]
        children += check(operator(rng, [first, second], SPACE), SPACE)
    assert before == PARENTS
    if name in IMPOSSIBLE.get(operator.__name__, ()):
        assert children == 0
    else:
        assert children >= 4, f"{operator.__name__} made {children} children of 12 tries"


IMPOSSIBLE = {
    "heredity": ("slab",),
    "strain": ("slab",),
    "permutation": ("fcc", "hcp", "B2", "B1", "skewed", "slab", "1 elements, 5 atoms"),
    "superstructure": (
        "layered", "slab", "1 elements, 5 atoms", "2 elements, 8 atoms", "3 elements, 7 atoms", "4 elements, 8 atoms"
    ),
}  # fmt: skip


FIXED = Space((29, 46), (1, 99), {29: 4, 46: 4})


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda f: f.__name__)
def test_fixed_formula(operator: Operator) -> None:
    rng = np.random.default_rng(1)
    parents = [symmetric.create(rng, {29: 4, 46: 4}, FIXED) for _ in range(6)]
    parents += [bulk("CuPd", "cesiumchloride", a=3.0)]
    children = 0
    for trial in range(30):
        first, second = (parents[i] for i in rng.choice(7, 2))
        assert first is not None and second is not None
        if operator in (strain, rattle, permutation, transmute) and len(first) < 8:
            first = parents[0]
            assert first is not None
        children += check(operator(np.random.default_rng(trial), [first, second], FIXED), FIXED)
    if operator is add_remove:
        assert children == 0
    elif operator is superstructure:
        assert children >= 1
    else:
        assert children >= 15


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda f: f.__name__)
def test_the_same_stream_gives_the_same_child(operator: Operator) -> None:
    parents = [CRYSTALS["3 elements, 4 atoms"], CRYSTALS["2 elements, 3 atoms"]]
    for seed in range(5):
        first, second = (operator(np.random.default_rng(seed), parents, SPACE) for _ in range(2))
        assert first == second


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda f: f.__name__)
def test_one_element(operator: Operator) -> None:
    space = Space((29,), (1, 6))
    rng = np.random.default_rng(0)
    parents = [bulk("Cu"), random.create(rng, {29: 5}, space)]
    for trial in range(20):
        chosen = [parents[i] for i in rng.permutation(2)]
        assert all(p is not None for p in chosen)
        child = operator(np.random.default_rng(trial), [p for p in chosen if p is not None], space)
        assert not check(child, space) or operator not in (permutation, transmute, superstructure)


def test_superstructures_reach_the_orderings_of_fcc() -> None:
    # L1_0, L1_1 and L1_2 are what Cu-Au, Cu-Pt and Cu3Au are; all of them are superstructures of one atom
    from evo.symmetry import space_group

    space = Space((29, 79), (1, 4))
    rng = np.random.default_rng(0)
    copper = bulk("Cu")
    children = [superstructure(rng, [copper], space) for _ in range(400)]
    found = {(space_group(c), tuple(sorted(counts_of(c.numbers).values()))) for c in children if c is not None}
    assert {(123, (1, 1)), (166, (1, 1)), (221, (1, 3)), (139, (1, 3)), (139, (1, 2))} <= found


def collapsed() -> Atoms:
    return Atoms("Cu2Pd2", positions=np.full((4, 3), 0.3), cell=3.8 * np.eye(3), pbc=True)


def flattened() -> Atoms:
    return Atoms("CuPd", positions=[[0, 0, 0], [1, 1, 0.01]], cell=np.diag([9.0, 9.0, 0.05]), pbc=True)


def blown_up() -> Atoms:
    return Atoms("CuPd", positions=[[0, 0, 0], [30, 30, 30]], cell=60 * np.eye(3), pbc=True)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("parent", [collapsed(), flattened(), blown_up()], ids=["collapsed", "flattened", "blown up"])
def test_parents_that_no_relaxation_should_have_left(operator: Operator, parent: Atoms) -> None:
    for seed in range(10):
        check(operator(np.random.default_rng(seed), [parent, PARENTS[seed]], SPACE), SPACE)
        check(operator(np.random.default_rng(seed), [PARENTS[seed], parent], SPACE), SPACE)
