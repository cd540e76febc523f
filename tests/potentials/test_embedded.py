"""Embedded-atom potentials of few parameters: derivatives, what they learn, what they say where nothing was learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from potentials import embedded
from potentials.embedded.residuals import Residuals
from potentials.embedded.state import Layout
from potentials.jointly import plan_jointly, plan_together
from potentials.kernels.embedded import DEGREES, N_DENSITY, OF_ELEMENT, knots, scale
from potentials.library import Library, LibraryError
from potentials.network import StratumParameters
from potentials.recipe import RECIPES
from potentials.stratum import Stratum
from potentials.structures import Floats, Prediction, Structures
from potentials.tables import baseline
from potentials.train import finish, finish_all, fit_member, plan
from tests.crystals import AG, CU, PD
from tests.labelled import dataset, labelled

USUAL = RECIPES["embedded"]
# so few crystals would have networks say next to nothing
RECIPE = replace(USUAL, members=2, hidden=3, fitting=replace(USUAL.fitting, few=0))
SOME = dataset((CU,), 12, 1).followed_by(dataset((PD,), 12, 2)).followed_by(dataset((CU, PD), 24, 3))
PAIR = Stratum((CU, PD))
STRATA = PAIR.subsets()


def fitted(*arguments: Any, **options: Any) -> dict[Stratum, Floats]:
    return embedded.fitted(*arguments, **options).strata


def bare(found: dict[Stratum, Floats]) -> list[StratumParameters]:
    return [StratumParameters(s, {}, {}, {}, embedded=own) for s, own in found.items()]


def said(found: dict[Stratum, Floats], structures: Structures) -> Prediction:
    """By these parameters alone."""
    stratum = Stratum.of(z for s in found for z in s.numbers)
    return baseline(structures, RECIPE, stratum, bare(found))


def errors(found: dict[Stratum, Floats], crystals: list[Atoms]) -> Floats:
    """meV/atom against EMT."""
    truth = labelled(crystals, [""] * len(crystals))
    energies = said(found, truth.structures).energies
    return np.asarray(1e3 * (energies - truth.labels.energies) / truth.structures.sizes)


@pytest.fixture(scope="module")
def known() -> dict[Stratum, Floats]:
    """Fitted to crystals of the elements, and of one to one alone."""
    counts = [len(set(SOME.structures.atoms(c).numbers.tolist())) for c in range(len(SOME))]
    ratio = [np.mean(SOME.structures.atoms(c).numbers == CU) for c in range(len(SOME))]
    kept = [c for c, (n, x) in enumerate(zip(counts, ratio, strict=True)) if n == 1 or x == 0.5]
    assert any(counts[c] == 2 for c in kept)
    return fitted(RECIPE, SOME.select(kept), STRATA, (), {})


@pytest.mark.parametrize(("given", "degree"), [(False, 3), (True, 3), (False, 4)])
def test_derivatives_by_the_parameters_are_those_of_the_residuals(given: bool, degree: int) -> None:
    layout, rng = Layout((CU, PD), 6.0, degree), np.random.default_rng(4)
    frozen = {STRATA[0]: rng.normal(scale=0.1, size=19)} if given else {}
    problem = Residuals(SOME.select(range(20, 30)), layout, frozen, {}, high=0.4)
    p = problem.start({})
    p += rng.normal(scale=0.1, size=layout.size)
    rows, residuals = problem.rows(p)
    assert rows.shape[1] == (31 if given else 50)
    assert problem.costs(p)[0] == pytest.approx(residuals @ residuals)
    matrix, gradient = problem.normal(p)
    assert np.allclose(matrix, rows.T @ rows) and np.allclose(gradient, rows.T @ residuals)
    for column, k in enumerate(problem.free):
        step = np.zeros(len(p))
        step[k] = 3e-4  # residuals of 1e3 are rounded, which shorter steps would show
        numeric = (problem.rows(p + step)[1] - problem.rows(p - step)[1]) / 6e-4
        limit = 1e-4 * np.abs(rows[:, column]).max() + 1e-9
        assert np.allclose(rows[:, column], numeric, rtol=1e-4, atol=limit), k


def test_the_fit_and_the_kernels_have_the_same_formulas(known: dict[Stratum, Floats]) -> None:
    """Residuals are zero where the labels are what the kernels say."""
    close = baseline(SOME.structures, RECIPE, PAIR).energies  # by the repulsion, which the fit takes off beforehand
    own = SOME.select(np.flatnonzero(close == 0.0))
    assert len(own) > 20
    kernels = said(known, own.structures)
    labels = replace(own.labels, energies=kernels.energies, forces=kernels.forces, stresses=kernels.stresses)
    problem = Residuals(replace(own, labels=labels), Layout((CU, PD), 6.0, RECIPE.degree), {}, {}, high=0.4)
    assert problem.costs(problem.start(known))[0] < 1e-12


def test_fourth_powers_have_no_waves_at_the_knots() -> None:
    """The third derivative of a bond's energy jumps at the knots of cubes; networks of long waves could not mend that."""
    own, h = np.random.default_rng(2).normal(scale=0.3, size=OF_ELEMENT), 2e-4
    own[N_DENSITY + 4] = 5.0
    ends, _ = knots(CU, CU, RECIPE.shape.cutoff)
    knot = ends[4] * scale(CU, CU)
    dimers = [Atoms("Cu2", positions=[[0, 0, 0], [0, 0, knot + k * h]]) for k in range(-3, 4)]
    jumps = {}
    for degree in DEGREES:
        recipe = replace(RECIPE, degree=degree, repulsion=False)
        energies = baseline(Structures.from_ase(dimers), recipe, STRATA[0], bare({STRATA[0]: own})).energies
        below, above = np.diff(energies[:4], 3)[0] / h**3, np.diff(energies[3:], 3)[0] / h**3
        jumps[degree] = abs(above - below)
    expected = 6 * own[N_DENSITY + 4] / scale(CU, CU) ** 3
    assert jumps[3] == pytest.approx(expected, rel=0.05) and jumps[4] < 0.05 * expected


def test_what_one_to_one_and_the_elements_teach_holds_for_other_compositions(known: dict[Stratum, Floats]) -> None:
    others = []
    for ordered in ((CU, PD, PD, PD), (CU, CU, CU, PD)):
        for factor in (0.9, 1.0, 1.1, 1.3):
            atoms = bulk("Cu", a=3.75, cubic=True)
            atoms.numbers = ordered
            atoms.set_cell(atoms.cell[:] * factor ** (1 / 3), scale_atoms=True)
            others.append(atoms)
    assert np.sqrt(np.mean(errors(known, others) ** 2)) < 25


def test_new_crystals_are_met_as_well_as_known_ones() -> None:
    found = fitted(RECIPE, SOME, STRATA, (), {})
    fresh = dataset((CU, PD), 20, 9).structures.to_ase()
    there = SOME.of_stratum(PAIR).structures.to_ase()
    for crystals in (there, fresh):  # medians: a crystal 2 eV/atom above the others counts for little in the fit
        assert np.median(np.abs(errors(found, crystals))) < 12


def test_a_pair_is_fitted_to_elements_that_stay(known: dict[Stratum, Floats]) -> None:
    elements = {s: own for s, own in fitted(RECIPE, SOME, STRATA, (), {}).items() if s.order == 1}
    lowest = {CU: -3.5, PD: -3.9}
    found = fitted(RECIPE, SOME.of_stratum(PAIR), (PAIR,), bare(elements), lowest)
    assert list(found) == [PAIR]
    crystals = SOME.of_stratum(PAIR).structures.to_ase()
    mean, mixed = (np.median(np.abs(errors(known, crystals))) for known in (elements, {**elements, **found}))
    assert mixed < 15 and mixed < mean
    assert fitted(RECIPE, SOME.of_stratum(PAIR), (Stratum((CU, PD, AG)),), bare(elements), lowest) == {}
    assert fitted(replace(RECIPE, embedded=False), SOME, STRATA, (), {}) == {}


def test_an_atom_by_itself_has_no_forces_and_a_collapsed_crystal_no_energy(known: dict[Stratum, Floats]) -> None:
    lonely = Atoms("Cu", positions=[[0.0, 0.0, 0.0]])
    collapsed = bulk("Cu") * (1, 1, 2)
    collapsed.positions[1] = collapsed.positions[0]
    found = said(known, Structures.from_ase([lonely, collapsed, bulk("Pd")]))
    assert np.isfinite(found.energies[[0, 2]]).all() and np.isnan(found.energies[1])
    assert (found.forces[0] == 0).all() and np.isnan(found.forces[1:3]).all() and np.isfinite(found.forces[3]).all()
    assert (found.stresses[0] == 0).all()
    at = int(np.flatnonzero(SOME.structures.sizes > 1)[0])
    positions, first = SOME.structures.positions.copy(), int(SOME.structures.offsets[at])
    positions[first + 1] = positions[first]
    with_it = replace(SOME, structures=replace(SOME.structures, positions=positions))
    again = fitted(RECIPE, with_it, STRATA, (), {}, iterations=2)
    assert all(np.isfinite(own).all() for own in again.values())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0 crystals"):
        fitted(RECIPE, SOME.select([]), STRATA, (), {})


def test_a_library_learns_what_the_potential_leaves(tmp_path: Path) -> None:
    """Stratum by stratum: every part is on disk with its stratum, and what lies below keeps its bytes and its bits."""
    library = Library.create(tmp_path / "library", RECIPE)
    copper = SOME.of_stratum(STRATA[0]).structures
    for stratum in STRATA:
        before = {s: library.content(s, 1) for s in library.versions()}
        alone = library.assemble(STRATA[0]).evaluate(copper) if before else None
        tasks = plan(library, library.versions(), SOME, stratum, iterations=8)
        assert {t.scalings[stratum].embedded is not None for t in tasks} == {True}
        library.add(finish(tasks, [fit_member(t) for t in tasks]))
        assert {s: library.content(s, 1) for s in before} == before
        if alone is not None:
            np.testing.assert_array_equal(library.assemble(STRATA[0]).evaluate(copper).energies, alone.energies)
    again = Library.open(library.path)
    assert again.recipe == RECIPE and [again.stratum(s).parameters.embedded.size for s in STRATA] == [19, 19, 12]
    known = {s: again.stratum(s).parameters.embedded for s in STRATA}
    for element in STRATA[:2]:
        own = SOME.of_stratum(element).training()
        there = again.assemble(element).evaluate(own.structures).energies, said(known, own.structures).energies
        missed = [np.median(np.abs(e - own.labels.energies) / own.structures.sizes) for e in there]
        assert missed[0] < missed[1]
    # all at once goes on from there, on the same potential
    tasks = plan_jointly(RECIPE, SOME, PAIR, iterations=2, library=again)
    for trained in finish_all(tasks, [fit_member(t) for t in tasks]):
        np.testing.assert_array_equal(trained.parameters.embedded, again.stratum(trained.stratum).parameters.embedded)


def test_a_new_element_is_fitted_with_its_pair(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "library", RECIPE)
    tasks = plan(library, {}, SOME, STRATA[0], iterations=2)
    library.add(finish(tasks, [fit_member(t) for t in tasks]))
    tasks = plan_together(library, library.versions(), SOME, STRATA[1:], iterations=2)
    for trained in finish_all(tasks, [fit_member(t) for t in tasks]):
        library.add(trained)
    assert library.stratum(PAIR).parameters.embedded.size == 12
    assert np.isfinite(library.assemble(PAIR).evaluate(SOME.structures).energies).any()


def test_a_stratum_without_the_potential_is_refused_by_a_library_that_has_one(tmp_path: Path) -> None:
    for own, other, words in ((True, False, "an embedded-atom"), (False, True, "no embedded-atom")):
        recipes = [replace(RECIPE, embedded=with_it) for with_it in (own, other)]
        library, elsewhere = (Library.create(tmp_path / f"{words}-{k}", recipe) for k, recipe in enumerate(recipes))
        tasks = plan(elsewhere, {}, SOME, STRATA[0], iterations=1)
        with pytest.raises(LibraryError, match=f"Cu must stand on {words} potential"):
            library.add(finish(tasks, [fit_member(t) for t in tasks]))
