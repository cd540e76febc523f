"""Training: accurate, deterministic, resumable; what lies below a stratum keeps its bits."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from potentials import kernels
from potentials.dataset import Dataset
from potentials.library import Library
from potentials.network import fold
from potentials.stratum import Stratum
from potentials.structures import Structures
from potentials.tables import heights
from potentials.train import FitResult, TrainingError, finish, fit_member, plan
from tests.crystals import CU, PD
from tests.labelled import SMALL, dataset, train, trained

needs_compiled = pytest.mark.skipif("compiled" not in kernels.available(), reason="the compiled kernel is not built")
BOTH = Stratum((CU, PD))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("train") / "lib", ["Cu", "Pd", "CuPd"])


def calm(stratum: Stratum) -> Dataset:
    """Crystals that no fit has seen, at most 0.4 eV/atom above the lowest."""
    data = dataset(stratum.numbers, 60, 9)
    return data.select(np.flatnonzero(heights(data, {CU: -0.007, PD: -0.001}) < 0.4))


def made_model(made):
    """The potential of one stratum of an element by itself."""
    return fold(SMALL.shape, made.stratum.numbers, [made.parameters], SMALL.repulsion, SMALL.core_energy)


@pytest.mark.parametrize(("name", "energy", "force"), [("Cu", 0.01, 0.1), ("Pd", 0.01, 0.1), ("CuPd", 0.02, 0.15)])
def test_unseen_crystals_are_predicted(library, name, energy, force):
    stratum = Stratum.parse(name)
    data = calm(stratum)
    predicted = library.assemble(stratum).evaluate(data.structures)
    energies = (predicted.energies - data.labels.energies) / data.structures.sizes
    assert len(data) > 20
    assert np.sqrt(np.mean(energies**2)) < energy
    assert np.sqrt(np.mean((predicted.forces - data.labels.forces) ** 2)) < force


@needs_compiled
def test_training_the_pair_keeps_every_bit_of_its_elements(tmp_path):
    library = trained(tmp_path / "lib", ["Cu", "Pd"])
    pure = dataset((CU,), 12, 9).structures
    before = library.assemble(Stratum((CU,))).evaluate(pure)
    files = {p.name: p.read_bytes() for p in library.path.glob("*.npz")}
    train(library, ["CuPd"])
    assert {name: (library.path / name).read_bytes() for name in files} == files
    after = Library.open(library.path).assemble(BOTH)
    mixed = dataset((CU, PD), 5, 9).structures
    together = Structures.from_ase([a for pair in zip(pure.to_ase(), mixed.to_ase() * 3, strict=False) for a in pair])
    alone, among = after.evaluate(pure), after.evaluate(together)
    own = np.arange(0, len(together), 2)
    rows = np.concatenate([np.arange(together.offsets[c], together.offsets[c + 1]) for c in own])
    for name in ("energies", "stresses", "member_energies"):
        assert getattr(alone, name).tobytes() == getattr(before, name).tobytes()
        assert getattr(among, name)[own].tobytes() == getattr(before, name).tobytes()
    for name in ("forces", "atomic_energies"):
        assert getattr(alone, name).tobytes() == getattr(before, name).tobytes()
        assert getattr(among, name)[rows].tobytes() == getattr(before, name).tobytes()


def test_a_fit_is_a_pure_function_and_survives_json_and_pickle(library):
    versions = {"Cu": 1, "Pd": 1}
    task = plan(library, versions, dataset((CU, PD), 40, 0), BOTH, iterations=3)[1]
    one, two = fit_member(task), fit_member(pickle.loads(pickle.dumps(task)))
    assert one.columns[BOTH][CU].tobytes() == two.columns[BOTH][CU].tobytes()
    back = FitResult.from_json(json.loads(json.dumps(one.to_json())))
    assert (
        back.columns[BOTH][PD].tobytes() == one.columns[BOTH][PD].tobytes()
        and back.columns.keys() == one.columns.keys()
    )
    unary = plan(library, {}, dataset((CU,), 40, 0), Stratum((CU,)), iterations=3)
    results = [fit_member(t) for t in unary]
    stored = [json.loads(json.dumps(r.to_json())) for r in reversed(results)]
    assert finish(unary, stored).content_hash() == finish(unary, results).content_hash()
    assert results[0].columns[Stratum((CU,))][CU].tobytes() != results[1].columns[Stratum((CU,))][CU].tobytes()


def test_more_crystals_are_learned_from_where_training_ended(library):
    data = dataset((CU, PD), 40, 0).merge(dataset((CU, PD), 30, 4))
    warm = plan(library, library.versions(), data, BOTH, iterations=4)
    assert warm[0].warm
    old = library.stratum(BOTH).parameters
    assert warm[0].scalings[BOTH].scale[CU].tobytes() == old.scale[CU].tobytes()
    result = finish(warm, [fit_member(t) for t in warm])
    cold = plan(library, {"Cu": 1, "Pd": 1}, data, BOTH, iterations=25)
    fresh = finish(cold, [fit_member(t) for t in cold])
    assert result.metadata["errors"]["energy_train"] < 1.5 * fresh.metadata["errors"]["energy_train"] + 1e-4


def test_missing_labels_are_left_out(tmp_path):
    library = Library.create(tmp_path / "lib", SMALL)
    data = dataset((CU,), 20, 0)
    labels = replace(data.labels, stresses=np.full_like(data.labels.stresses, np.nan))
    task = plan(library, {}, replace(data, labels=labels), Stratum((CU,)), iterations=5)[0]
    assert np.isfinite(fit_member(task).columns[Stratum((CU,))][CU]).all()


def test_absurd_crystals_do_not_spoil_a_fit(tmp_path):
    library = Library.create(tmp_path / "lib", SMALL)
    data = dataset((CU,), 20, 0)
    structures = replace(data.structures, cells=data.structures.cells.copy())
    structures.cells[3] = 0.0
    tasks = plan(library, {}, replace(data, structures=structures), Stratum((CU,)), iterations=5)
    made = finish(tasks, [fit_member(t) for t in tasks])
    assert np.isfinite(made.parameters.columns[CU]).all() and np.isfinite(made.environments.factors[CU]).all()


@pytest.mark.parametrize("large", [20, 16])
def test_one_large_family_leaves_no_member_without_crystals(tmp_path, large):
    """A trajectory is one family, and would validate as a whole for some members."""
    library, data = Library.create(tmp_path / "lib", replace(SMALL, members=4)), dataset((CU,), 20, 0)
    for name in ("run a", "run b", "run c", "run e"):  # of which one validates the first member, and so on
        families = (name,) * large + tuple(f"alone {n}" for n in range(20 - large))
        known = replace(data, families=families)
        if not len(known.training()):
            continue
        tasks = plan(library, {}, known, Stratum((CU,)), iterations=8)
        made = finish(tasks, [fit_member(t) for t in tasks])
        predicted = kernels.evaluate(data.structures, made_model(made))
        missed = (predicted.member_energies - data.labels.energies[:, None]) / data.structures.sizes[:, None]
        errors = np.sqrt(np.mean(missed**2, axis=0))
        assert errors.max() < 4 * np.median(errors)


def test_nothing_that_has_features_is_an_error(tmp_path):
    library, data = Library.create(tmp_path / "lib", SMALL), dataset((CU,), 6, 0)
    structures = replace(data.structures, cells=np.zeros_like(data.structures.cells))
    with pytest.raises(TrainingError, match="no crystal of Cu to train on has features"):
        tasks = plan(library, {}, replace(data, structures=structures), Stratum((CU,)), iterations=2)
        fit_member(tasks[0])


def test_what_cannot_be_planned_says_why(library):
    data = dataset((CU, PD), 40, 0)
    held_out = dataset((PD,), 40, 0).held_out()
    with pytest.raises(ValueError, match=rf"no crystals of Pd to train on: all {len(held_out)} are held out"):
        plan(library, {}, held_out, Stratum((PD,)))
    with pytest.raises(ValueError, match="no crystals of Ag to train on"):
        plan(library, {}, data, Stratum.parse("Ag"))
    with pytest.raises(ValueError, match="CuPd needs the strata Pd below it; train them first"):
        plan(library, {"Cu": 1}, data, BOTH)
    with pytest.raises(ValueError, match="`members` must be 2"):
        plan(library, library.versions(), data, BOTH, members=3)
    labels = replace(data.labels, energies=np.where(np.arange(40) == 2, np.nan, data.labels.energies))
    with pytest.raises(ValueError, match="1 crystals of CuPd have no finite energy"):
        plan(library, library.versions(), replace(data, labels=labels), BOTH)
    mixed = replace(data, methods=("a",) * 20 + ("b",) * 20)
    with pytest.raises(ValueError, match="CuPd have labels of a, b; keep those of one method"):
        plan(library, library.versions(), mixed, BOTH)
    tasks = plan(library, library.versions(), data, BOTH, iterations=1)
    with pytest.raises(ValueError, match="needs one result of each of its 2 members"):
        finish(tasks, [fit_member(tasks[0])])


def test_one_crystal_is_little_but_no_error(tmp_path):
    library = Library.create(tmp_path / "lib", SMALL)
    for name, n in (("Cu", 1), ("Pd", 1), ("CuPd", 1)):
        stratum = Stratum.parse(name)
        data = dataset(stratum.numbers, 8, 0)
        data = data.select(np.flatnonzero(~data.is_held_out())[:n])
        tasks = plan(library, library.versions(), data, stratum)
        library.add(finish(tasks, [fit_member(t) for t in tasks]))
    said = library.assemble(BOTH)
    assert np.abs(said.evaluate(data.structures).energies - data.labels.energies).max() < 0.05
    assert np.isfinite(said.evaluate(dataset((CU, PD), 8, 9).structures).forces).all()
    assert said.grades(data.structures)[0] < 0.5
