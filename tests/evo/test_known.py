"""Known: which held-out crystals judge a library."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo import gate
from evo.bootstrap import crystals
from evo.bootstrap.distort import scaled
from evo.candidate import atoms_to_json
from evo.cell import Space
from evo.create.prototype import prototypes
from evo.known import Known
from evo.mixtures import EndMembers
from potentials.units import EV_PER_A3_PER_GPA


def said(atoms, per_atom, family):
    return {
        "crystal": atoms_to_json(atoms),
        "energy": per_atom * len(atoms),
        "energy_zero": float("nan"),
        "forces": np.zeros((len(atoms), 3)).tolist(),
        "stress": np.zeros((3, 3)).tolist(),
        "seconds": 0.0,
        "family": family,
        "failure": None,
        "details": {},
    }


def judging(known):
    """eV/atom of the crystals that judge, and of all that are held out."""
    low, all_held_out = known.low_lying(), known.dataset().held_out()
    return [sorted((d.labels.energies / d.structures.sizes).round(6)) for d in (low, all_held_out)]


@pytest.mark.parametrize("pressure", [0.0, 10.0, 50.0, -5.0])
def test_low_lying_is_by_enthalpy(pressure):
    known = Known("m", Space((29,), (1, 8)), pressure * EV_PER_A3_PER_GPA)
    energies = np.linspace(0.0, 3.0, 121)
    known.add([said(bulk("Cu", a=3.6), float(e), f"family {n}") for n, e in enumerate(energies)])
    low, held_out = judging(known)
    assert low == [e for e in held_out if e <= 0.15]
    assert 0 < len(low) < len(held_out)


def test_a_large_crystal_is_not_low_under_pressure():
    known = Known("m", Space((29,), (1, 8)), 50.0 * EV_PER_A3_PER_GPA)
    known.add([said(bulk("Cu", a=3.6), 0.0, "lowest")])
    known.add([said(bulk("Cu", a=3.8), 0.0, f"family {n}") for n in range(40)])  # pV is 0.64 eV more
    low, held_out = judging(known)
    assert len(held_out) > 1
    assert len(low) <= 1


def test_what_is_no_mixture_of_the_end_members_does_not_judge():
    space = Space((29, 46), (1, 8), end_members=EndMembers.of([{29: 3, 46: 1}, {29: 1, 46: 3}]))
    known = Known("m", space, 0.0)
    rng = np.random.default_rng(0)
    for n in range(60):
        for symbols, energy in (("Cu3Pd", 0.0), ("CuPd3", 0.0), ("Cu", 7.0), ("Pd", 9.0)):
            atoms = Atoms(symbols, cell=[4] * 3, pbc=True)
            atoms.positions = rng.random((len(atoms), 3)) * 4
            known.add([said(atoms, energy, f"{symbols} {n}")])
    low, held_out = judging(known)
    assert {0.0, 7.0, 9.0} == set(held_out)
    assert set(low) == {0.0}


def test_at_a_pressure_clusters_are_no_hull():
    """They have no volume, so no pV: nothing would be low beside them."""
    known = Known("m", Space((29,), (1, 8)), 50.0 * EV_PER_A3_PER_GPA)
    known.add([said(bulk("Cu", a=3.6), 0.1 * n / 40, f"family {n}") for n in range(40)])
    before, energies = known.hull().energies([{29: 1}]).tolist(), judging(known)[0]
    known.add([said(Atoms("Cu2", positions=[[0, 0, 0], [2.2, 0, 0]]), 1.0, f"cluster {n}") for n in range(20)])
    assert known.hull().energies([{29: 1}]).tolist() == before
    assert judging(known)[0] == energies


@pytest.mark.parametrize("make", [crystals.slab, crystals.cluster])
def test_under_a_pull_what_holds_vacuum_is_training_data_only(make):
    """With pV of the empty space it would lie below every crystal."""
    space = Space((29, 46), (1, 8))
    known = Known("m", space, -3.0 * EV_PER_A3_PER_GPA)
    dense = bulk("Cu", "fcc", a=3.7, cubic=True)
    dense.numbers[:2] = 46
    known.add([said(dense, 0.1 * n / 40, f"family {n}") for n in range(40)])
    before, lowest, low = known.hull().energies([{29: 1, 46: 1}]).tolist(), known.lowest(), judging(known)[0]
    rng = np.random.default_rng(0)
    known.add([said(make(rng, space), 0.1, f"open {n}") for n in range(40)])
    assert known.hull().energies([{29: 1, 46: 1}]).tolist() == before
    assert known.lowest() == lowest and judging(known)[0] == low
    assert len(known.dataset()) == 80


@pytest.mark.parametrize("make", [crystals.decorated, crystals.squeezed, crystals.near_lattice])
def test_under_a_pull_dense_crystals_count(make):
    """At their own volume and far beyond it, whatever the lattice."""
    space, rng = Space((29, 46), (1, 8)), np.random.default_rng(0)
    assert not any(gate.hollow(make(rng, space), space) for _ in range(40))
    known = Known("m", space, -3.0 * EV_PER_A3_PER_GPA)
    known.add([said(make(rng, space), -9.0, "low")])
    assert len(known.lowest()) == 1


@pytest.mark.parametrize("elements", [(29,), (29, 46), (14,), (11, 17), (8, 22), (6,)])
def test_no_prototype_has_room_for_another_atom(elements):
    space = Space(elements, (1, 12))
    for name, atoms in prototypes(elements):
        assert not gate.hollow(scaled(atoms, space.volume(atoms.numbers) / atoms.cell.volume), space), name


def test_room_for_an_atom_is_found_in_any_cell():
    space = Space((29,), (1, 64))
    full = bulk("Cu", "fcc", a=3.6).repeat(3)
    assert not gate.hollow(full, space)
    skewed = full.copy()
    skewed.set_cell(np.array([[1, 2, 0], [0, 1, -3], [0, 0, 1]]) @ full.cell)
    for atoms in (full, skewed):
        del atoms[13]
        atoms.positions += 1.234
        assert gate.hollow(atoms, space)


def test_a_slab_is_no_phase():
    """It may be the only crystal of its composition that has a label."""
    known = Known("ref:1", Space((29, 46), (1, 8)), 0.0)
    slab = Atoms("Cu2Pd", [[0, 0, 5], [1.3, 1.3, 6.8], [0, 0, 8.6]], cell=[2.6, 2.6, 20], pbc=(True, True, False))
    ends = [bulk("Cu"), bulk("Pd")]
    known.add([said(ends[0], -3.5, "a"), said(ends[1], -3.7, "b"), said(slab, -3.9, "c")])
    assert [n for n, _ in known.lowest()] == [0, 1]
    assert len(known.dataset()) == 3
