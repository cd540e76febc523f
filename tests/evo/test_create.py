"""Crystals from nothing: every promise kept, impossible compositions known before they are tried, hostile files refused."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo.cell import Space, counts_of, shortest_ratio, well_shaped
from evo.create import prototype, random, symmetric
from evo.create.seed_file import read_seeds
from evo.occupation import choose
from evo.symmetry import group, space_group
from evo.wyckoff import Position

Create = Callable[[np.random.Generator, dict[int, int], Space], Atoms | None]

ALLOY = Space((29, 46, 47), (1, 8))
OXIDE = Space((8, 22), (1, 8))


@pytest.mark.parametrize("make", [symmetric.create, random.create], ids=["symmetric", "random"])
@pytest.mark.parametrize(
    "space", [ALLOY, OXIDE, Space((11, 17), (8, 8), {11: 4, 17: 4})], ids=["alloy", "oxide", "NaCl"]
)
def test_created_crystals_keep_their_promises(make: Create, space: Space) -> None:
    rng = np.random.default_rng(3)
    made = 0
    for _ in range(60):
        counts = space.sample_counts(rng)
        atoms = make(rng, counts, space)
        if atoms is None:
            continue
        made += 1
        assert counts_of(atoms.numbers) == counts
        assert shortest_ratio(atoms) >= space.min_distance
        assert well_shaped(atoms)
        assert 0.6 < atoms.get_volume() / space.volume(counts) < 2.2
        if make is symmetric.create:
            assert space_group(atoms, 1e-3) > 1
    assert made >= 58


def test_symmetric_crystals_come_in_many_groups() -> None:
    rng = np.random.default_rng(0)
    crystals = [symmetric.create(rng, {29: 2, 46: 2}, ALLOY) for _ in range(150)]
    assert len({space_group(a, 1e-3) for a in crystals if a is not None}) >= 30


def test_the_same_stream_gives_the_same_crystal() -> None:
    for make in (symmetric.create, random.create):
        first, second = (make(np.random.default_rng(5), {29: 3, 46: 2}, ALLOY) for _ in range(2))
        assert first == second


def test_the_last_resort_never_fails() -> None:
    rng = np.random.default_rng(0)
    for scale in (0.65, 1.45):
        space = Space((8, 55), (1, 20), min_distance=scale)
        for n in range(1, 12):
            atoms = random.sparse(rng, {8: n, 55: n // 2 + 1}, space)
            assert shortest_ratio(atoms) >= scale
            assert counts_of(atoms.numbers) == {8: n, 55: n // 2 + 1}


@pytest.mark.parametrize("number", [2, 12, 47, 62, 139, 166, 191, 194, 221, 225, 226, 227])
@pytest.mark.parametrize("counts", [{1: 1}, {1: 2}, {1: 3, 2: 1}, {1: 4, 2: 4}, {1: 2, 2: 2, 3: 3}, {1: 7}])
def test_possible_is_what_enumeration_finds(number: int, counts: dict[int, int]) -> None:
    positions = group(number).positions
    possible = choose(np.random.default_rng(0), positions, counts) is not None
    assert possible == by_brute_force(positions, list(counts.values()))


def by_brute_force(positions: Sequence[Position], counts: list[int]) -> bool:
    """Try every multiset of positions for each element in turn."""

    def place(element: int, used: frozenset[int]) -> bool:
        if element == len(counts):
            return True
        small = [i for i, p in enumerate(positions) if p.multiplicity <= counts[element]]
        for n in range(1, counts[element] + 1):
            for chosen in itertools.combinations_with_replacement(small, n):
                fixed = [i for i in chosen if positions[i].n_free == 0]
                if sum(positions[i].multiplicity for i in chosen) != counts[element]:
                    continue
                if len(set(fixed)) == len(fixed) and not used & set(fixed) and place(element + 1, used | set(fixed)):
                    return True
        return False

    return place(0, frozenset())


def test_impossible_composition_is_refused_at_once() -> None:
    # one atom of each of three elements: Fm-3m has two positions for a single atom
    assert choose(np.random.default_rng(0), group(225).positions, {1: 1, 2: 1, 3: 1}) is None
    # PyXtal's issue 6: 32 atoms of one element in the primitive cell of group 226
    chosen = choose(np.random.default_rng(0), group(226).positions, {14: 32})
    assert chosen is None or sum(p.multiplicity for _, p in chosen) == 32


@pytest.mark.parametrize("kind", prototype.PROTOTYPES, ids=lambda kind: kind.name)
def test_prototypes_have_their_space_group(kind: prototype.Prototype) -> None:
    atoms = prototype.crystal(kind, (22, 28, 50, 12)[: kind.n_elements])
    assert space_group(atoms, 1e-4) == kind.group
    assert shortest_ratio(atoms) > 0.65


def test_prototypes_of_exactly_these_elements() -> None:
    names = [name for name, atoms in prototype.prototypes((46, 29))]
    assert {"B2 Cu Pd", "L1_2 Cu Pd", "L1_2 Pd Cu"} <= set(names)
    assert "B2 Pd Cu" not in names and "fcc Cu" not in names
    assert all(set(atoms.numbers) == {22, 28, 50} for _, atoms in prototype.prototypes((22, 28, 50)))
    assert prototype.prototypes((1, 2, 3, 4, 5)) == []


def test_seeds_come_back_as_they_are(tmp_path: Path) -> None:
    crystals = [bulk("Cu"), bulk("CuPd", "cesiumchloride", a=3.0)]
    ase.io.write(tmp_path / "two.xyz", crystals, format="extxyz")
    read = read_seeds(tmp_path / "two.xyz", ALLOY)
    assert [counts_of(a.numbers) for a in read] == [{29: 1}, {29: 1, 46: 1}]
    np.testing.assert_allclose(read[1].cell, crystals[1].cell)
    assert read[0].calc is None and read[0].info == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing.cif", None, "expected a file, found none"),
        ("empty.xyz", "", "expected"),
        ("noise.cif", "\x00\xff not a crystal \n" * 50, "expected a format that ASE reads, got"),
        ("POSCAR", "one\ntwo\nthree\n", "expected a format that ASE reads, got"),
        ("none.xyz", '0\nLattice="3 0 0 0 3 0 0 0 3" pbc="T T T"\n', "expected"),
        ("nan.xyz", '1\nLattice="3 0 0 0 3 0 0 0 3" pbc="T T T"\nCu nan 0 0\n', "expected finite positions, got nan"),
        ("inf.xyz", '1\nLattice="inf 0 0 0 3 0 0 0 3" pbc="T T T"\nCu 0 0 0\n', "expected finite cell, got inf"),
        ("flat.xyz", '1\nLattice="3 0 0 3 0 0 0 0 3" pbc="T T T"\nCu 0 0 0\n', "expected a cell with a volume"),
        ("gold.xyz", '1\nLattice="3 0 0 0 3 0 0 0 3" pbc="T T T"\nAu 0 0 0\n', "only the elements Cu, Pd, Ag, got Au"),
        ("data.json", '{"a": 1}', "expected"),
    ],
)
def test_hostile_seed_files_get_one_clear_line(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match="seed file") as caught:
        read_seeds(path, ALLOY)
    assert message in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_seed_that_is_no_crystal_is_refused(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "cluster.xyz", Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.3]]))
    with pytest.raises(ValueError, match="expected a crystal, periodic in three directions"):
        read_seeds(tmp_path / "cluster.xyz", ALLOY)


def test_seeds_of_another_composition_than_the_formula_are_refused(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.xyz", [bulk("Cu")], format="extxyz")
    with pytest.raises(ValueError, match="expected the composition Cu4Pd4, got Cu"):
        read_seeds(tmp_path / "a.xyz", Space((29, 46), (1, 8), {29: 4, 46: 4}))
    ase.io.write(tmp_path / "b.xyz", [Atoms("CuPd", cell=[3, 3, 3], positions=[[0] * 3, [1.5] * 3], pbc=True)])
    assert len(read_seeds(tmp_path / "b.xyz", Space((29, 46), (1, 8), {29: 4, 46: 4}))) == 1
