"""Which candidates go to the reference: by what they promise, what they cost, and before anyone believes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo import choice
from evo.archive import Archive
from evo.candidate import Candidate, Energy, Failure, Origin
from evo.hull import Hull
from evo.likeness import fingerprint
from evo.settings import GateSection
from potentials.calibration import Calibration
from potentials.dataset import Dataset

NN, REF = "nn", "ref"


def crystal(symbols: str, a: float = 3.8) -> Atoms:
    """These atoms in a row of fcc cells."""
    atoms = bulk("Cu", a=a).repeat((len(Atoms(symbols)), 1, 1))
    atoms.symbols = Atoms(symbols).symbols
    return atoms


def candidate(name, symbols, per_atom, sigma=0.003, reference=None, grade=0.5, failure=None, a=3.8):
    atoms = crystal(symbols, a)
    n = len(atoms)
    energies = {NN: Energy(NN, per_atom * n, sigma * n)}
    if reference is not None:
        energies[REF] = Energy(REF, reference * n)
    return Candidate(name, atoms, Origin("test"), energies, failure=failure, grade=grade)


def archive(*candidates):
    made = Archive(NN, REF, GateSection(), 4, 0.01)
    for c in candidates:
        (made.members if c.failure is None else made.failed)[c.id] = c
    return made


def confirmed(made):
    told = [c for c in made.members.values() if REF in c.energies]
    return Hull.of([(c.reduced_counts, c.per_atom(REF), REF, c.id) for c in told])


def same_cost(candidates):
    return np.ones(len(candidates))


def chosen(made, n, judge=None, window=0.03):
    judge = judge or choice.Judge(None, same_cost)
    return [c.id for c in choice.choose(made, REF, (), n, window, confirmed(made), judge)]


ENDS = (candidate("cu", "Cu", 0.0, reference=0.0), candidate("pd", "Pd", 0.0, reference=0.0))


def test_the_lowest_comes_first_and_what_is_far_above_never():
    made = archive(
        *ENDS,
        candidate("low", "CuPd", -0.10),
        candidate("high", "Cu2Pd", 0.2),
        candidate("near", "CuPd2", -0.02),
    )
    assert chosen(made, 5) == ["low", "near"]


def test_another_composition_before_the_second_of_one():
    made = archive(
        *ENDS,
        candidate("a", "CuPd", -0.100),
        candidate("b", "CuPd", -0.099, a=4.1),
        candidate("c", "Cu3Pd", -0.055),
    )
    assert chosen(made, 2) == ["a", "c"]


def test_a_cheap_call_before_a_dear_one():
    made = archive(*ENDS, candidate("large", "Cu3Pd3", -0.05), candidate("small", "CuPd2", -0.05))
    by_atoms = choice.Judge(None, lambda cs: np.array([float(c.n_atoms**3) for c in cs]))
    assert chosen(made, 1, by_atoms) == ["small"]


def test_what_is_refuted_taken_or_known_is_not_asked_again():
    made = archive(*ENDS, candidate("a", "CuPd", -0.1), candidate("b", "CuPd2", -0.1))
    made.refuted.add("a")
    assert chosen(made, 5) == ["b"]
    judge = choice.Judge(None, same_cost)
    assert choice.choose(made, REF, {"b"}, 5, 0.03, confirmed(made), judge) == []


def test_deviations_are_those_of_the_calibrated_band():
    found = [candidate("a", "Cu", 0.0, sigma=0.01, grade=0.0), candidate("b", "Cu", 0.0, sigma=1.0)]
    calibration = Calibration(factor=3.29, per_grade=0.0, number=20)
    judge = choice.Judge(calibration, same_cost)
    assert judge.deviations(found, NN) == pytest.approx([0.02, choice.MOST_DOUBT])
    assert choice.Judge(None, same_cost).deviations(found, NN)[0] == pytest.approx(0.02)


def test_extrapolating_candidates_on_the_hull_are_probed_once():
    gated = candidate("gated", "CuPd", -0.3, grade=3.0, failure=Failure("extrapolation"))
    beyond = candidate("beyond", "Cu2Pd", -0.1, grade=1.5)
    known = candidate("known", "CuPd2", -0.1, grade=0.5)
    harmless = candidate("harmless", "Cu3Pd", 0.5, grade=1.9)
    made = archive(*ENDS, gated, beyond, known, harmless)
    assert [c.id for c in choice.probes(made, REF, ())] == ["gated", "beyond"]
    assert [c.id for c in choice.probes(made, REF, {"gated"})] == ["beyond"]
    made.refuted.add("beyond")
    assert [c.id for c in choice.probes(made, REF, {"gated"})] == []


def test_what_was_not_learned_is_low_beyond_the_edge_unlike_each_other_and_asked_once():
    far = Failure("extrapolation", "grade 3.00, 2.00 allowed")
    made = archive(
        *ENDS,
        candidate("inside", "CuPd", -0.02),
        candidate("edge", "CuPd", 0.05, grade=1.2, a=3.9),
        candidate("kept out", "CuPd3", 0.04, grade=3.0, failure=far),
        candidate("high", "CuPd", 0.4, grade=3.0, failure=far),
        candidate("wide", "CuPd", 0.10, grade=3.0, failure=far, a=4.4),
        candidate("checked", "Cu3Pd", 0.0, reference=0.0, grade=1.5),
        candidate("collapsed", "Cu3Pd", 0.0, grade=1.5, failure=Failure("collapsed")),
    )
    assert {c.id for c in choice.unlearned(made, REF, (), 9)} == {"edge", "kept out", "wide"}
    assert {c.id for c in choice.unlearned(made, REF, {"edge"}, 9)} == {"kept out", "wide"}
    assert [c.id for c in choice.unlearned(made, REF, {"edge", "wide"}, 1)] == ["kept out"]
    assert choice.unlearned(made, REF, (), 0) == [] and choice.unlearned(made, REF, (), -3) == []


def test_the_lowest_compound_of_each_set_of_elements_is_doubted():
    """That nothing is stable is believed of Cu-Pd and Cu-Ag once their best compounds have been checked."""
    compounds = [
        candidate("high", "CuPd", 0.03),
        candidate("low", "CuPd3", 0.02),
        candidate("told", "CuAg", 0.06, reference=0.05),
        candidate("lower", "CuAg3", 0.04),
        candidate("far", "PdAg", 0.2),
        candidate("three", "CuPdAg", 0.1),
    ]
    ends = [candidate(x, x, 0.0, reference=0.0) for x in ("Cu", "Pd", "Ag")]
    made = archive(*ends, *compounds)
    corners = {"Cu", "Pd", "Ag"}
    assert [c.id for c in choice.lowest_compounds(made, REF, (), corners)] == ["low", "lower", "three"]
    assert [c.id for c in choice.lowest_compounds(made, REF, {"low", "lower"}, corners)] == ["three"]
    made.add_energy("three", Energy(REF, 3 * 0.11))
    assert [c.id for c in choice.lowest_compounds(made, REF, (), corners)] == ["low", "lower"]
    made.add_energy("low", Energy(REF, 4 * 0.05))  # refuted: then the next one is in doubt
    assert [c.id for c in choice.lowest_compounds(made, REF, (), corners)] == ["high", "lower"]


def test_a_crystal_that_was_kept_out_twice_is_learned_once():
    far = Failure("extrapolation", "grade 3.00, 2.00 allowed")
    twice = [candidate(name, "CuPd", 0.02, grade=3.0, failure=far) for name in ("one", "two")]
    twice = [replace(c, fingerprint=fingerprint(c.atoms)) for c in twice]
    assert [c.id for c in choice.unlearned(archive(*ENDS, *twice), REF, (), 5)] == ["one"]


def test_where_the_reference_could_say_nothing_the_next_one_is_asked():
    ends = [candidate(x, x, 0.0, reference=0.0) for x in ("Cu", "Ag")]
    made = archive(*ends, candidate("best", "CuAg", 0.02), candidate("next", "CuAg3", 0.03))
    taken = {"best", "Cu"}
    silent = choice.failed(made, REF, taken)
    assert silent == {"best"}
    assert [c.id for c in choice.lowest_compounds(made, REF, taken, {"Cu", "Ag"}, silent)] == ["next"]
    made = archive(*ends, candidate("best", "CuAg", -0.05), candidate("next", "CuAg3", -0.01))
    assert choice.on_network_hull(made, REF, taken, 5) == []
    assert [c.id for c in choice.on_network_hull(made, REF, taken, 5, {"best"})] == ["next"]


def test_a_calibration_needs_held_out_crystals():
    empty = Dataset.of([], energies=[], forces=[], stresses=[], method=REF)
    assert choice.calibrated(None, empty) is None
    assert np.isfinite(choice.Judge(None, same_cost).deviations([candidate("a", "Cu", 0.0)], NN)).all()
