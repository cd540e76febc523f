"""The bootstrap: within its calls, the same on any rank, and covering what a potential has to know."""

import json
import pickle

import numpy as np
import pytest
from ase.data import covalent_radii

from evo import answers, labels
from evo.bootstrap import SHARES, crystals, fewest, plan, run_task, shares
from evo.bootstrap.distort import log_uniform, scaled, shaken
from evo.bootstrap.ledger import HIGHEST, STRONGEST, Labelled, Ledger, distinct
from evo.candidate import Failure
from evo.cell import Space, shortest_ratio
from evo.reference import Label, open_reference
from evo.settings import ReferenceSection
from potentials.dataset import is_held_out
from potentials.stratum import Stratum
from tests.faults.campaigns import without_seconds

CU, PD, AG, PT = 29, 46, 47, 78
TERNARY = Space(elements=(CU, PD, AG), n_atoms=(1, 8))


def emt():
    return open_reference(ReferenceSection(engine="emt"))


class Counting:
    """EMT that counts, and fails every so often in the way asked for."""

    def __init__(self, fail_every=0, stress=True):
        self.emt = emt()
        self.calls = 0
        self.fail_every = fail_every
        self.stress = stress

    def evaluate(self, atoms):
        self.calls += 1
        if self.fail_every and self.calls % self.fail_every == 0:
            return Failure("unconverged", "as asked")
        label = self.emt.evaluate(atoms)
        if self.stress or isinstance(label, Failure):
            return label
        return Label(label.energy, label.forces, np.full((3, 3), np.nan), label.seconds)


def equal(one, other):
    return len(one.labelled) == len(other.labelled) and all(
        a.label.energy == b.label.energy and (a.atoms.positions == b.atoms.positions).all()
        for a, b in zip(one.labelled, other.labelled, strict=True)
    )


@pytest.mark.parametrize("elements", [(CU,), (CU, PD), (CU, PD, AG), (CU, PD, AG, PT)])
@pytest.mark.parametrize("budget", [1, 10, 150, 700])
def test_plan_spends_the_budget_and_no_more(elements, budget):
    tasks = plan(elements, budget, 0, Space(elements=elements, n_atoms=(1, 8)))
    assert sum(t.calls for t in tasks) == budget
    assert all(t.calls > 0 for t in tasks)
    assert [t.index for t in tasks] == list(range(len(tasks)))
    strata = [t.stratum.sort_key() for t in tasks]
    assert strata == sorted(strata)
    assert max(t.stratum.order for t in tasks) <= 3
    if budget == 700:
        assert len({t.stratum for t in tasks}) == sum(1 for s in tasks[-1].stratum.subsets()) or len(elements) == 4


def test_plan_gives_something_to_every_stratum():
    calls = {}
    for t in plan((CU, PD, AG), 700, 0, TERNARY):
        calls[t.stratum.name] = calls.get(t.stratum.name, 0) + t.calls
    assert min(calls.values()) > 80
    assert max(calls.values()) == calls["CuPdAg"]
    assert list(calls) == ["Cu", "Pd", "Ag", "CuPd", "CuAg", "PdAg", "CuPdAg"]


def test_fixed_composition_still_learns_its_elements():
    space = Space(elements=(CU, PD), n_atoms=(8, 8), formula={CU: 4, PD: 4})
    tasks = plan((CU, PD), 120, 0, space)
    assert {t.stratum.name for t in tasks} == {"Cu", "Pd", "CuPd"}
    assert all(run_task(t, emt()).labelled for t in tasks[:2])


@pytest.mark.parametrize("stratum", ["Cu", "CuPd", "CuPdAg"])
def test_tasks_keep_to_their_calls_and_repeat(stratum):
    tasks = [t for t in plan((CU, PD, AG), 700, 5, TERNARY) if t.stratum.name == stratum]
    for task in (tasks[0], tasks[-1]):
        reference = Counting()
        made = run_task(task, reference)
        assert made.calls == reference.calls == task.calls
        assert len(made.labelled) > 0.7 * made.calls
        assert all(set(x.atoms.numbers) == set(task.stratum.numbers) for x in made.labelled)
        assert all(np.isfinite(x.label.energy) and np.abs(x.label.forces).max() <= STRONGEST for x in made.labelled)
        assert equal(made, run_task(pickle.loads(pickle.dumps(task)), emt()))


def test_relaxations_are_held_out_whole_and_single_labels_one_by_one():
    made = run_task(plan((CU, PD), 90, 0, Space(elements=(CU, PD), n_atoms=(1, 8)))[-1], emt())
    families = [x.family for x in made.labelled]
    assert "" in families
    assert 1 <= len(set(families) - {""}) < len(families) / 2


@pytest.mark.parametrize("kind", [crystals.near_lattice, crystals.squeezed, crystals.porous, crystals.unrelaxed])
@pytest.mark.parametrize("elements", [(14,), (CU, PD), (12, 8), (CU, PD, AG)])
@pytest.mark.parametrize("largest", [3, 8])
def test_every_kind_of_crystal_has_all_elements(kind, elements, largest):
    space = Space(elements=elements, n_atoms=(len(elements), largest))
    for seed in range(8):
        atoms = kind(np.random.default_rng(seed), space)
        assert set(atoms.numbers) == set(space.elements)
        assert 1 <= len(atoms) <= crystals.LARGEST
        assert np.isfinite(atoms.positions).all()
        assert 0.3 < atoms.cell.volume / space.volume(atoms.numbers) < 15


def test_shares_are_whole():
    assert all(sum(s) == pytest.approx(1.0) for s in SHARES.values())


def test_the_volume_of_the_reference_is_found():
    """With a guess a third too small, lattices are still labelled about their volume."""
    space = Space(elements=(AG,), n_atoms=(1, 4), volumes={AG: 11.5})
    made = [x for t in plan((AG,), 60, 0, space) for x in run_task(t, emt()).labelled]
    energies = np.array([x.label.energy / len(x.atoms) for x in made])
    assert (energies < energies.min() + 0.1).sum() >= 8


def test_another_seed_makes_other_crystals():
    one, other = (plan((CU, PD, AG), 300, seed, TERNARY)[-1] for seed in (0, 1))
    assert not equal(run_task(one, emt()), run_task(other, emt()))


def test_unaries_learn_repulsion_and_the_minimum():
    made = [x for t in plan((CU,), 80, 0, Space(elements=(CU,), n_atoms=(1, 8))) for x in run_task(t, emt()).labelled]
    energies = np.array([x.label.energy / len(x.atoms) for x in made])
    volumes = np.array([x.atoms.cell.volume / len(x.atoms) for x in made])
    best = volumes[energies.argmin()]
    assert volumes.min() < 0.7 * best
    assert volumes.max() > 1.3 * best
    assert (energies < energies.min() + 0.05).sum() >= 5
    assert min(shortest_ratio(x.atoms) for x in made) * 2 * covalent_radii[CU] < 2.2
    assert energies.max() - energies.min() <= HIGHEST


@pytest.mark.parametrize("fail_every", [1, 2, 5])
def test_a_reference_that_fails_costs_calls_but_not_the_task(fail_every):
    for task in plan((CU, PD), 90, 0, Space(elements=(CU, PD), n_atoms=(1, 6))):
        reference = Counting(fail_every)
        made = run_task(task, reference)
        assert made.calls == reference.calls <= task.calls
        assert len(made.labelled) <= made.calls
        assert bool(made.labelled) or fail_every == 1 or task.calls < 3


def test_a_reference_without_stress_serves():
    task = plan((CU, PD), 90, 0, Space(elements=(CU, PD), n_atoms=(2, 6)))[-1]
    made = run_task(task, Counting(stress=False))
    assert made.labelled
    assert all(np.isnan(x.label.stress).all() for x in made.labelled)


def test_absurd_labels_are_left_out():
    from ase.build import bulk

    class Told:
        def __init__(self, energies, force):
            self.energies, self.force = list(energies), force

        def evaluate(self, atoms):
            return Label(self.energies.pop(0), np.full((1, 3), self.force), np.zeros((3, 3)), 0.0)

    def kept(energies, force):
        ledger = Ledger(Told(energies, force), len(energies))
        for _ in energies:
            ledger.point(bulk("Cu"))
        return [x.label.energy for x in ledger.kept()]

    assert kept([0.0, HIGHEST + 0.1, HIGHEST - 0.1], 0.0) == [0.0, HIGHEST - 0.1]
    assert kept([0.0], STRONGEST + 1) == []


def test_steps_of_a_relaxation_are_thinned_but_keep_both_ends():
    from ase.build import bulk

    steps = [
        Labelled(bulk("Cu"), Label(float(np.exp(-i / 3)), np.zeros((1, 3)), np.zeros((3, 3)), 0.0), "search")
        for i in range(40)
    ]
    kept = distinct(steps)
    assert kept[0] is steps[0]
    assert kept[-1] is steps[-1]
    assert 8 < len(kept) < 30
    assert distinct([]) == []


def test_distortions():
    rng = np.random.default_rng(0)
    assert all(0.6 <= log_uniform(rng, 0.6, 1.6) <= 1.6 for _ in range(20))
    from ase.build import bulk

    assert scaled(bulk("Cu"), 1.3).cell.volume == pytest.approx(1.3 * bulk("Cu").cell.volume)
    one = shaken(rng, bulk("Cu"), 0.05, 0.1)
    assert 0.7 < one.cell.volume / bulk("Cu").cell.volume < 1.4


def test_an_element_takes_no_more_than_its_part_where_there_are_compounds():
    parts = {n: shares([s for s in Stratum.parse(n).subsets() if s.order < 4]) for n in ("Cu", "AlNi", "CuPdAg")}
    assert parts["Cu"] == {Stratum.parse("Cu"): 1.0}
    assert {s.name: round(v, 3) for s, v in parts["AlNi"].items()} == {"Al": 0.15, "Ni": 0.15, "AlNi": 0.7}
    for found in parts.values():
        assert sum(found.values()) == pytest.approx(1.0)
    assert all(v <= 0.15 for s, v in parts["CuPdAg"].items() if s.order == 1)
    assert parts["CuPdAg"][Stratum.parse("CuPdAg")] > parts["CuPdAg"][Stratum.parse("CuPd")]


class Cut(BaseException):
    """The process is killed."""


class Slow:
    """EMT that is killed after so many calls; what it has answered is on the disk by then."""

    method, engine = "ref:slow", "slow"

    def __init__(self, calls):
        self.left, self.asked, self.emt = calls, 0, emt()

    def evaluate(self, atoms):
        if self.left == 0:
            raise Cut
        self.left -= 1
        self.asked += 1
        return self.emt.evaluate(atoms)


def test_a_task_that_was_cut_asks_for_the_rest_alone(tmp_path, monkeypatch):
    (task, *_) = plan((CU, PD), 60, 0, TERNARY)
    spec = labels.ReferenceSpec("{}", str(tmp_path))
    monkeypatch.setattr(answers, "SLOW", 0.0)

    def run(reference):
        monkeypatch.setattr(labels, "opened", lambda _: reference)
        made = labels.run_bootstrap(spec, task)
        return json.dumps([without_seconds(made["labels"]), made["calls"]])  # to the last bit; NaN is NaN

    whole = Slow(-1)
    expected = run(whole)
    answers.forget(tmp_path)
    assert not (tmp_path / answers.FOLDER).exists()
    first, second = Slow(5), Slow(-1)
    with pytest.raises(Cut):
        run(first)
    assert run(second) == expected
    assert first.asked + second.asked == whole.asked
    third = Slow(0)  # and when the result did not reach the campaign, nothing is asked again
    assert run(third) == expected
    # a quick reference leaves nothing, and neither does a directory that is not ours
    answers.forget(tmp_path)
    monkeypatch.setattr(answers, "SLOW", 1e9)
    assert run(Slow(-1)) == expected and not (tmp_path / answers.FOLDER).exists()
    monkeypatch.setattr(answers, "SLOW", 0.0)
    (tmp_path / answers.FOLDER).write_text("in the way")
    assert run(Slow(-1)) == expected


def test_something_of_every_task_is_trained_on():
    """Else a stratum of one task may be held out altogether, and the calls are lost."""
    for task in plan((CU, PD, AG), 400, 0, TERNARY):
        made = run_task(task, emt())
        assert any(x.family and not is_held_out(x.family) for x in made.labelled)


def test_too_few_calls_are_refused():
    assert fewest((CU,)) == 4
    for elements in ((CU, PD), (CU, PD, AG), (CU, PD, AG, PT)):
        space = Space(elements=elements, n_atoms=(1, 8))
        calls = fewest(elements)
        tasks = plan(elements, calls, 0, space)
        assert {t.stratum for t in tasks} == {s for s in Stratum(elements).subsets() if s.order <= 3}
        assert min(t.calls for t in tasks) >= 3
