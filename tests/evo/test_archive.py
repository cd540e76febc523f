"""The archive: duplicates, niches, gate, refutation, and a change of method."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation

from evo.archive import NOISE, REFUTED, Archive
from evo.candidate import Candidate, Energy, Failure, Origin, from_json, to_json
from evo.hull import Hull
from evo.likeness import SAME, distance, fingerprint
from evo.settings import GateSection

NN, REF = "nn:1", "ref:1"


def candidate(name, atoms, per_atom, failure=None, parents=(), method=NN):
    return Candidate(
        id=name,
        atoms=atoms,
        origin=Origin("random", parents),
        energies={method: Energy(method, per_atom * len(atoms), 0.01)},
        failure=failure,
        fingerprint=fingerprint(atoms),
    )


def alloy(a=3.7):
    """L1_0-like CuPd."""
    atoms = bulk("Cu", "fcc", a=a, cubic=True)
    atoms.numbers[:2] = 46
    return atoms


@pytest.fixture
def archive():
    made = Archive(NN, REF, GateSection(), niche_size=2, duplicate_distance=0.01)
    made.absorb(
        [candidate("cu", bulk("Cu", "fcc", a=3.6), -3.5), candidate("pd", bulk("Pd", "fcc", a=3.9), -3.7)], None
    )
    return made


def test_a_supercell_is_a_duplicate_and_another_crystal_is_not(archive):
    doubled = make_supercell(bulk("Cu", "fcc", a=3.6), 2 * np.eye(3))
    entered = archive.absorb(
        [candidate("again", doubled, -3.5), candidate("bcc", bulk("Cu", "bcc", a=2.9), -3.49)], None
    )
    assert [c.id for c in entered] == ["bcc"]
    assert archive.n_duplicates == 1


def stacked(layers):
    """Close-packed copper of these layers."""
    places = {"A": (0, 0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}
    a, n = 2.55, len(layers)
    scaled = [(*places[letter], k / n) for k, letter in enumerate(layers)]
    cell = [[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, n * a * (2 / 3) ** 0.5]]
    return Atoms(["Cu"] * n, scaled_positions=scaled, cell=cell, pbc=True)


@pytest.mark.parametrize("noise", [0.0, 5e-4])
def test_stackings_with_close_fingerprints_stay_apart(archive, noise):
    """Eight layers, P-6m2 and P-3m1: their distances differ beyond those that fingerprints hold."""
    crystals = [stacked("ABABACBC"), stacked("ABABCBAC")]
    for k, atoms in enumerate(crystals):
        atoms.rattle(noise, seed=k)
    assert NOISE < distance(*map(fingerprint, crystals)) < SAME
    entered = archive.absorb([candidate(f"s{k}", atoms, -3.49) for k, atoms in enumerate(crystals)], None)
    assert [c.id for c in entered] == ["s0", "s1"]


def test_a_crystal_relaxed_from_other_starts_is_a_duplicate(archive):
    """As a supercell, turned, and ended at other places; many of these are so far apart that space groups are asked."""
    orthorhombic = alloy()
    orthorhombic.numbers = [46, 29, 29, 29]
    close = 0
    for kind, parent in enumerate((alloy(), orthorhombic, stacked("ABAC"))):
        for start in range(8):
            turned = Rotation.random(random_state=start).as_matrix()
            atoms = parent.repeat((1 + start % 2, 1, 1))
            atoms.set_cell(atoms.cell @ turned.T, scale_atoms=True)
            atoms.rattle(0.05, seed=start)
            atoms.calc = EMT()
            BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=100)
            per_atom = atoms.get_potential_energy() / len(atoms)
            atoms.set_cell(
                (1 + 0.003 * (start % 3)) * atoms.cell, scale_atoms=True
            )  # where a pressure of 1 to 2 GPa leaves it
            atoms.rattle(0.001, seed=start)
            atoms.calc = None
            one = candidate(f"{kind}-{start}", atoms, per_atom)
            entered = archive.absorb([one], None)
            assert len(entered) == (start == 0), (kind, start)
            first = archive.members[f"{kind}-0"]
            close += start > 0 and distance(first.fingerprint, one.fingerprint) > NOISE
    assert close >= 6


def test_failures_are_kept_with_their_reason(archive):
    archive.absorb([candidate("x", alloy(), -3.6, Failure("collapsed"))], None)
    assert "x" not in archive.members
    assert archive.failed["x"].failure.reason == "collapsed"
    assert archive.reasons["collapsed"] == 1


def test_absurd_energies_stay_out_when_something_is_known(archive):
    known = Hull.of([({29: 1}, -3.5, REF, "a"), ({46: 1}, -3.7, REF, "b")])
    archive.absorb([candidate("hole", alloy(), -8.6), candidate("high", alloy(), 5.0)], known)
    assert {archive.failed[i].failure.reason for i in ("hole", "high")} == {"absurd energy"}
    archive.absorb([candidate("nan", alloy(), float("nan"))], known)
    assert archive.failed["nan"].failure.reason == "not finite"


def test_a_refuted_candidate_leaves_hull_and_parents(archive):
    archive.absorb([candidate("hole", alloy(), -4.0)], None)
    assert "hole" in archive.hull().vertices
    archive.add_energy("hole", Energy(REF, 4 * (-4.0 + 1.01 * REFUTED)))
    assert "hole" not in archive.hull().vertices
    assert "hole" not in [p.id for p in archive.parents()]


def test_where_all_are_refuted_they_are_better_parents_than_none(archive):
    for name, per_atom in (("cu", -3.5), ("pd", -3.7)):
        assert archive.parents()
        archive.add_energy(name, Energy(REF, archive.members[name].n_atoms * (per_atom + 1.0)))
    assert archive.hull() is None
    assert {p.id for p in archive.parents()} == {"cu", "pd"}


def test_niches_limit_parents_of_one_composition(archive):
    crystals = [candidate(f"n{k}", bulk("Cu", "hcp", a=2.5, c=3.9 + 0.2 * k), -3.49 + 0.01 * k) for k in range(4)]
    archive.absorb(crystals, None)
    assert [p.id for p in archive.parents() if p.id != "pd"] == ["cu", "n0"]


def test_use_makes_a_parent_less_fit(archive):
    before = {p.id: p.fitness for p in archive.parents()}
    archive.absorb([candidate("child", alloy(), -3.55, parents=("cu",))], None)
    after = {p.id: p.fitness for p in archive.parents()}
    assert after["cu"] > before["cu"]
    assert after["pd"] == before["pd"]


def retold(c, more, grade=0.5):
    """With an energy by a new library."""
    return replace(c.with_energy(Energy("nn:2", c.energies[NN].value + more * c.n_atoms, 0.01)), grade=grade)


def test_what_a_new_library_has_learned_may_enter(archive):
    far = Failure("extrapolation", "grade 3")
    crystals = {
        "learned": candidate("learned", alloy(), -3.6, far),
        "not yet": candidate("not yet", alloy(3.9), -3.5, far),
        "absurd": candidate("absurd", alloy(3.5), -3.55, far),
        "twin": candidate("twin", bulk("Cu", "fcc", a=3.6), -3.5, far),
        "asked": candidate("asked", alloy(4.0), -3.5, far),
        "told": candidate("told", alloy(4.1), -3.5, far).with_energy(Energy(REF, -14.0)),
        "broken": candidate("broken", alloy(4.2), -3.5, Failure("collapsed")),
    }
    archive.absorb(crystals.values(), None)
    archive.pin(["asked"])
    assert [c.id for c in archive.kept_out()] == ["learned", "not yet", "absurd", "twin"]
    renewed = {c.id: retold(c, 0.0) for c in archive.kept_out()}
    renewed["not yet"] = replace(renewed["not yet"], grade=2.5)
    renewed["absurd"] = retold(crystals["absurd"], -9.0)
    archive.change_method("nn:2", [retold(c, 0.0, 0.7) for c in archive.members.values()])
    known = Hull.of([({29: 1}, -3.5, REF, "a"), ({46: 1}, -3.7, REF, "b")])
    assert [c.id for c in archive.admit(renewed.values(), known)] == ["learned"]
    assert archive.members["learned"].failure is None and "learned" in [p.id for p in archive.parents()]
    assert archive.members["cu"].grade == 0.7
    assert set(archive.failed) == {"not yet", "absurd", "asked", "told", "broken"} and archive.n_duplicates == 1
    assert archive.failed["not yet"].grade == 2.5 and "nn:2" in archive.failed["absurd"].energies
    assert archive.reasons["extrapolation"] == 4


def test_change_of_method_never_mixes(archive):
    archive.change_method("nn:2", [retold(c, 0.1) for c in archive.members.values()])
    assert archive.hull().method == "nn:2"
    assert set(archive.members["cu"].energies) == {NN, "nn:2"}
    with pytest.raises(ValueError, match="never mixes"):
        Hull.of([({29: 1}, -3.5, NN, "a"), ({46: 1}, -3.7, "nn:2", "b")])


def test_a_pinned_member_keeps_its_geometry(archive):
    archive.pin(["cu"])
    better = candidate("better", bulk("Cu", "fcc", a=3.601), -3.502)
    archive.absorb([better], None)
    assert archive.members["cu"].atoms.cell.volume == pytest.approx(3.6**3 / 4)


def test_json_keeps_every_bit():
    one = candidate("c00001-02", alloy(1 / 3 + 3.4), -3.5 / 3, Failure("collapsed", "x"), ("a", "b"))
    two = from_json(to_json(one))
    assert np.array_equal(one.atoms.positions, two.atoms.positions)
    assert np.array_equal(one.fingerprint, two.fingerprint)
    assert (one.energies, one.failure, one.origin) == (two.energies, two.failure, two.origin)
