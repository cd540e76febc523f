"""End members: which compositions are mixtures of them, and a search and a hull that keep to those."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk

from evo.cell import Space, counts_of
from evo.create.seed_file import SeedError, read_seeds
from evo.hull import Hull
from evo.mixtures import EndMembers
from evo.operators.heredity import heredity
from evo.prepare import space_of
from evo.settings import SettingsError, parse
from evo.tools import Parent, breed, toolbox
from tests.faults.campaigns import evo, write

O, MG, NI = 8, 12, 28
ENDS = EndMembers.of([{NI: 2, O: 2}, {MG: 1, O: 1}])


def test_parts():
    assert ENDS.members == (((O, 1), (NI, 1)), ((O, 1), (MG, 1)))
    assert ENDS.parts({NI: 1, MG: 3, O: 4}) == pytest.approx([1.0, 3.0])
    assert ENDS.parts({NI: 1, O: 1, MG: 0}) == pytest.approx([1.0, 0.0])
    for outside in ({NI: 1}, {O: 2}, {NI: 1, O: 2}, {NI: 1, MG: 1, O: 1}, {NI: 1, O: 1, 26: 1}, {}):
        assert ENDS.parts(outside) is None
    halves = EndMembers.of([{22: 2, O: 3}, {22: 1, O: 2}])
    assert halves.parts({22: 3, O: 5}) == pytest.approx([1.0, 1.0])
    assert halves.parts({22: 4, O: 7}) == pytest.approx([1.0, 2.0])
    assert halves.parts({22: 1, O: 1}) is None


def test_within():
    found = ENDS.within(2, 4)
    assert found == ({O: 1, MG: 1}, {O: 2, MG: 2}, {O: 1, NI: 1}, {O: 2, MG: 1, NI: 1}, {O: 2, NI: 2})
    assert ENDS.nearest({NI: 3, O: 1}, 2, 4) == {O: 1, NI: 1}
    assert [ENDS.order(c) for c in found] == [1, 1, 1, 2, 1]
    assert ENDS.within(1, 1) == ()


@pytest.mark.parametrize("bad", [[{NI: 1}], [{NI: 1, O: 1}, {NI: 2, O: 2}], [{NI: 1}, {O: 1}, {NI: 1, O: 1}]])
def test_what_are_no_end_members(bad):
    with pytest.raises(ValueError, match="two or more compositions, none a mixture of the others"):
        EndMembers.of(bad)


def test_the_search_keeps_to_mixtures():
    space = Space((O, MG, NI), (2, 8), end_members=ENDS)
    rng = np.random.default_rng(5)
    drawn = [space.sample_counts(rng) for _ in range(200)]
    assert all(space.allows(c) for c in drawn)
    assert {ENDS.order(c) for c in drawn} == {1, 2}
    assert not space.allows({NI: 1, O: 2}) and not space.allows({NI: 5, O: 5}) and space.spans({NI: 5, O: 5})
    box = toolbox({"symmetric": 1, "heredity": 2, "transmute": 2, "superstructure": 1, "permutation": 1}, space)
    pool = [
        Parent("a", bulk("NiO", "rocksalt", a=4.2), 0.0),
        Parent("b", bulk("MgO", "rocksalt", a=4.2), 0.0),
        Parent("c", bulk("NiO", "rocksalt", a=4.2) * (2, 1, 1), 0.0),
    ]
    operators = set()
    for n in range(25):
        atoms, operator, _ = breed(np.random.default_rng([1, n]), pool, box)
        assert space.allows(counts_of(atoms.numbers))
        operators.add(operator)
    assert {"symmetric", "heredity", "transmute"} <= operators
    first = [counts_of(breed(np.random.default_rng(n), [], box, first=True, slot=n)[0].numbers) for n in range(2)]
    assert first == [{O: 1, NI: 1}, {O: 1, MG: 1}]


def test_heredity_mends_the_composition():
    space = Space((O, MG, NI), (4, 8), end_members=ENDS)
    parents = [bulk("NiO", "rocksalt", a=4.2) * (2, 1, 1), bulk("MgO", "rocksalt", a=4.2) * (1, 2, 1)]
    children = [heredity(np.random.default_rng(n), parents, space) for n in range(20)]
    made = [c for c in children if c is not None]
    assert len(made) > 10
    assert all(space.allows(counts_of(c.numbers)) for c in made)


def test_hull_of_end_members():
    """Elements with U lie absurdly low here: they are no part of it."""
    points = [
        ({NI: 1}, -9.0, "m", "Ni"),
        ({O: 2}, -9.0, "m", "O2"),
        ({NI: 1, O: 1}, -5.0, "m", "NiO"),
        ({NI: 2, O: 2}, -4.9, "m", "NiO high"),
        ({MG: 1, O: 1}, -6.0, "m", "MgO"),
        ({MG: 1, NI: 1, O: 2}, -5.6, "m", "half"),
        ({MG: 3, NI: 1, O: 4}, -5.7, "m", "above"),
    ]
    hull = Hull.of(points, ENDS)
    assert set(hull.vertices) == {"NiO", "MgO", "half"}
    assert hull.formation({MG: 1, NI: 1, O: 2}, -5.6) == pytest.approx(-0.1)
    assert hull.formation({MG: 3, NI: 1, O: 4}, -5.7) == pytest.approx(0.05)
    assert hull.above({MG: 3, NI: 1, O: 4}, -5.7) == pytest.approx(0.1)
    assert hull.formation({NI: 1}, -9.0) is None
    assert Hull.of(points).above({NI: 1, O: 1}, -5.0) == pytest.approx(4.0)
    one_end = Hull.of(points[2:4], ENDS)
    assert one_end.formation({NI: 1, O: 1}, -4.9) == pytest.approx(0.1)
    assert one_end.formation({MG: 1, NI: 1, O: 2}, -5.6) is None
    with pytest.raises(ValueError, match="at least one phase"):
        Hull.of(points[:2], ENDS)


def test_settings():
    settings = parse({"system": {"end_members": ["NiO", "MgO"], "atoms": [2, 6]}})
    assert settings.system.elements == ["O", "Mg", "Ni"]
    space = space_of(settings)
    assert space.end_members == ENDS
    for system, said in (
        ({"end_members": ["NiO", "Qq"]}, "`Qq` is not an element"),
        ({"end_members": ["NiO", "Mg-O("]}, r"end member `Mg-O\(` cannot be read; write for instance NiO"),
        ({"end_members": ["NiO", "MgO"], "elements": ["Ni", "O"]}, "differ; leave elements out"),
        ({"end_members": ["NiO", "MgO"], "formula": "NiO"}, "a formula has no end members"),
        ({"end_members": ["NiO"]}, "two or more compositions, none a mixture of the others, got NiO"),
        ({"end_members": ["NiO", "MgO"], "atoms": [1, 1]}, r"holds no mixture of NiO, MgO; allow more atoms"),
    ):
        with pytest.raises(SettingsError, match=said):
            space_of(parse({"system": system}))


def test_seeds_are_mixtures(tmp_path):
    space = Space((O, MG, NI), (2, 8), end_members=ENDS)
    bulk("NiO", "rocksalt", a=4.2).write(tmp_path / "a.cif")
    assert len(read_seeds(tmp_path / "a.cif", space)) == 1
    bulk("Ni", a=3.5).write(tmp_path / "b.cif")
    with pytest.raises(SeedError, match=r"expected a mixture of ONi, OMg, got Ni"):
        read_seeds(tmp_path / "b.cif", space)


CAMPAIGN = """
[system]
end_members = ["CuPd", "CuAg3"]
atoms = [2, 6]
[search]
chunks = 4
chunk_size = 8
symmetric_start = 2
[relax]
engine = "ase"
calculator = "ase.calculators.emt:EMT"
max_calls = 40
[reference]
engine = "none"
"""


def test_a_campaign_between_two_compounds(tmp_path):
    directory = write(tmp_path / "c", CAMPAIGN)
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    rows = json.loads(evo("results", directory, "--json").stdout)
    ends = EndMembers.of([{29: 1, 46: 1}, {29: 1, 47: 3}])
    assert rows and all(ends.parts(counts_of(row["crystal"]["numbers"])) for row in rows)
    near = json.loads(evo("results", directory, "--within", "200", "--json").stdout)
    formation = [(row["formula"], row["formation_network"]) for row in near]
    for end in ("CuPd", "CuAg3"):
        assert min(value for name, value in formation if name == end) == pytest.approx(0.0, abs=1e-9)
    assert any(name not in ("CuPd", "CuAg3") and value is not None for name, value in formation)
