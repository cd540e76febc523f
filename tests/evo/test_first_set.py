"""evo bootstrap: a diverse set of labels, the same one whatever interrupts it, with how each crystal was made."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read

from evo import first_set
from evo.__main__ import main
from evo.bootstrap import KINDS, SHARES, plan, run_task
from evo.bootstrap.crystals import cluster, decorated, slab
from evo.bootstrap.diverse import far_apart, vectors
from evo.candidate import Failure
from evo.cell import Space
from evo.reference import PROGRAMS, open_reference
from evo.reference.cost import PER_POINT, predicted_seconds
from evo.settings import ReferenceSection
from potentials.dataset import read_dataset
from potentials.stratum import Stratum

CU, PD = 29, 46
PAIR = Space((CU, PD), (1, 8))


def made(path, *more):
    return main(["bootstrap", "Cu-Pd", "-o", str(path), "--calls", "60", *more])


def test_labels_are_those_of_the_reference_and_tell_how_they_came_about(tmp_path, capsys):
    out = tmp_path / "first.extxyz"
    assert made(out) == 0
    assert capsys.readouterr().out.strip() == str(out)
    crystals = read(out, ":")
    assert 45 < len(crystals) <= 60
    assert {Stratum.of(a.numbers.tolist()).name for a in crystals} == {"Cu", "Pd", "CuPd"}
    kinds = Counter(a.info["kind"].split(" relaxed")[0] for a in crystals)
    assert {"lattice", "near lattice", "vacancies", "random"} <= set(kinds)
    assert any("GPa, step" in a.info["kind"] for a in crystals)
    for atoms in crystals[::7]:
        check = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True, calculator=EMT())
        assert atoms.get_potential_energy() == pytest.approx(check.get_potential_energy(), abs=1e-6)
        assert atoms.get_forces() == pytest.approx(check.get_forces(), abs=1e-5)
    data = read_dataset(out)
    assert len(set(data.methods)) == 1
    assert 2 <= len(set(data.families) - {""}) < len(data) / 3


def test_it_is_the_bootstrap_of_the_campaigns(tmp_path):
    out = tmp_path / "first.extxyz"
    assert made(out, "--seed", "4") == 0
    reference = open_reference(ReferenceSection())
    expected = [x for t in plan((CU, PD), 60, 4, PAIR) for x in run_task(t, reference).labelled]
    found = read_dataset(out)
    assert found.labels.energies == pytest.approx([x.label.energy for x in expected], abs=1e-7)


def test_a_stopped_set_comes_out_as_if_nothing_had_happened(tmp_path):
    whole, cut = tmp_path / "whole.extxyz", tmp_path / "cut.extxyz"
    assert made(whole) == 0

    class Cut(Exception):
        pass

    class Counting:
        """EMT that is taken away after some calls."""

        def __init__(self, most):
            self.reference, self.left, self.calls = open_reference(ReferenceSection()), most, 0
            self.method, self.engine = self.reference.method, self.reference.engine
            self.identity = self.reference.identity

        def require(self, numbers):
            self.reference.require(numbers)

        def evaluate(self, atoms):
            if self.left == self.calls:
                raise Cut
            self.calls += 1
            return self.reference.evaluate(atoms)

    with pytest.raises(Cut):
        first_set.make(PAIR, 60, 0, cut, Counting(23), lambda _: None)
    again = Counting(60)
    assert first_set.make(PAIR, 60, 0, cut, again, lambda _: None)
    assert again.calls == 60 - 23
    one, other = read_dataset(whole), read_dataset(cut)
    assert (one.labels.energies == other.labels.energies).all()
    assert one.families == other.families


def test_another_reference_than_that_of_the_file_is_refused(tmp_path, capsys):
    out = tmp_path / "first.extxyz"
    assert made(out) == 0
    (tmp_path / "other.py").write_text("from ase.calculators.emt import EMT as Other\n")
    (tmp_path / "r.toml").write_text('[reference]\nengine = "ase"\ncalculator = "other:Other"\n')
    assert made(out, "--reference", str(tmp_path / "r.toml")) == 65
    assert "two methods" in capsys.readouterr().err


def test_labels_that_are_there_already_stay_there(tmp_path):
    """Somebody has paid for them."""
    out = tmp_path / "first.extxyz"
    assert main(["bootstrap", "Cu", "-o", str(out), "--calls", "12", "--seed", "1"]) == 0
    before = {atoms.info["key"] for atoms in read(out, ":")}
    (tmp_path / "first.journal").unlink()
    assert main(["bootstrap", "Pd", "-o", str(out), "--calls", "12", "--seed", "2"]) == 0
    after = read(out, ":")
    assert before < {atoms.info["key"] for atoms in after}
    assert set(after[0].symbols) == {"Pd"}  # those that were asked for stand first


def test_every_program_has_a_cost():
    assert set(PROGRAMS) <= set(PER_POINT)
    vasp = ReferenceSection(engine="vasp", options={"kspacing": 0.04})
    assert predicted_seconds(vasp, bulk("Cu")) > 3.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Cu-Xx", "-o", "a.extxyz"], "not an element"),
        (["Cu", "-o", "a.xyz"], "OUT must end in"),
        (["Cu", "-o", "a.extxyz", "--calls", "0"], "--calls must be positive"),
        (["Cu-Pd", "-o", "a.extxyz", "--hours", "nan"], "--hours must be positive and finite"),
        (["Cu", "-o", "a.extxyz", "--hours", "1e-7"], "do not pay for one call"),
        (["Cu", "-o", "a.extxyz", "--reference", "none"], "labels nothing"),
        (["Cu", "-o", "a.extxyz", "--reference", "siesta"], "emt"),
        (["Si", "-o", "a.extxyz"], "EMT cannot do Si"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["bootstrap", *arguments]) in (64, 65)
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_hours_are_turned_into_calls():
    few = first_set.calls_within(1.0, ReferenceSection(atom_seconds=36.0), PAIR, 0)
    assert 100 / 8 < few < 100
    assert first_set.calls_within(2.0, ReferenceSection(atom_seconds=36.0), PAIR, 0) == pytest.approx(2 * few, abs=1)


def test_cost_follows_atoms_and_points():
    emt = ReferenceSection(atom_seconds=0.5)
    gpaw = ReferenceSection(engine="gpaw", options={"kspacing": 0.06})
    small, large = bulk("Cu"), bulk("Cu").repeat(2)
    large.rattle(0.1, rng=np.random.default_rng(0))
    assert predicted_seconds(emt, large) == 8 * predicted_seconds(emt, small) == 4.0
    assert predicted_seconds(gpaw, large) > 5 * predicted_seconds(gpaw, small)
    coarse = ReferenceSection(engine="gpaw", options={"kspacing": 0.12})
    assert predicted_seconds(coarse, large) < predicted_seconds(gpaw, large)


def test_predicted_hours_are_those_that_the_pbe_labels_took():
    folder = Path(__file__).parents[2] / "runs" / "cu-pd-ag-pbe"
    settings = ReferenceSection(**tomllib.loads((folder / "reference.toml").read_text())["reference"])
    labelled = read(folder / "labels.extxyz.xz", "::4")
    predicted = sum(predicted_seconds(settings, atoms) for atoms in labelled)
    assert predicted == pytest.approx(sum(atoms.info["seconds"] for atoms in labelled), rel=0.3)


@pytest.mark.parametrize("make", [cluster, slab])
@pytest.mark.parametrize("elements", [(CU,), (CU, PD), (12, 8), (CU, PD, 47)])
def test_surfaces_and_clusters_have_room(make, elements):
    space = Space(elements, (len(elements), 8))
    for seed in range(8):
        atoms = make(np.random.default_rng(seed), space)
        assert set(atoms.numbers) == set(elements)
        assert len(atoms) <= 8
        assert atoms.pbc.all()
        assert atoms.cell.volume > 1.02 * space.volume(atoms.numbers)


def test_what_is_chosen_covers_more_than_what_is_drawn():
    rng, stratum = np.random.default_rng(0), Stratum((CU, PD))
    pool = [decorated(rng, Space((CU, PD), (2, 8))) for _ in range(60)]
    chosen = far_apart(pool, 12, stratum)
    assert len(set(chosen)) == 12
    table = vectors(pool, stratum)

    def worst(rows):
        return max(min(((x - table[r]) ** 2).sum() for r in rows) for x in table)

    assert worst(chosen) < min(worst(rng.permutation(60)[:12]) for _ in range(10))


def test_what_is_taken_already_is_not_chosen_again():
    rng, stratum = np.random.default_rng(1), Stratum((CU,))
    pool = [decorated(rng, Space((CU,), (1, 4))) for _ in range(6)]
    assert 0 not in far_apart(pool, 3, stratum, taken=[pool[0]])


def test_kinds_keep_their_shares_and_crystals_without_features_go():
    rng, stratum = np.random.default_rng(2), Stratum((CU,))
    pool = [decorated(rng, Space((CU,), (1, 6))) for _ in range(20)]
    pool[3] = Atoms("Cu2", positions=np.zeros((2, 3)), cell=np.eye(3) * 4, pbc=True)
    chosen = far_apart(pool, 8, stratum, kinds=["a"] * 15 + ["b"] * 5)
    assert sum(i >= 15 for i in chosen) == 2
    assert 3 not in chosen


def test_every_share_has_a_kind():
    assert all(len(s) == len(KINDS) and sum(s) == pytest.approx(1.0) for s in SHARES.values())


def test_a_reference_that_always_fails_ends_the_command(tmp_path):
    from evo.reference.collect import EngineBroken

    class Broken:
        method, engine = "ref:broken", "none of ours"

        def require(self, numbers):
            pass

        def evaluate(self, atoms):
            return Failure("crashed", "as asked")

    with pytest.raises(EngineBroken):
        first_set.make(PAIR, 60, 0, tmp_path / "a.extxyz", Broken(), lambda _: None)
