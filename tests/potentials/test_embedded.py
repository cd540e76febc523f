"""Embedded-atom potentials of few parameters: derivatives, what they learn, what they say where nothing was learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from potentials.embedded import Embedded
from potentials.embedded.residuals import Residuals
from potentials.embedded.state import Layout
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures
from tests.crystals import CU, PD, crystal
from tests.labelled import dataset, labelled

SOME = dataset((CU,), 12, 1).followed_by(dataset((PD,), 12, 2)).followed_by(dataset((CU, PD), 24, 3))


def errors(potential: Embedded, crystals: list[Atoms]) -> Floats:
    """meV/atom against EMT."""
    truth = labelled(crystals, [""] * len(crystals))
    found = potential.evaluate(truth.structures)
    return np.asarray(1e3 * (found.energies - truth.labels.energies) / truth.structures.sizes)


@pytest.fixture(scope="module")
def fitted() -> Embedded:
    """To crystals of the elements, and of one to one alone."""
    counts = [len(set(SOME.structures.atoms(c).numbers.tolist())) for c in range(len(SOME))]
    ratio = [np.mean(SOME.structures.atoms(c).numbers == CU) for c in range(len(SOME))]
    kept = [c for c, (n, x) in enumerate(zip(counts, ratio, strict=True)) if n == 1 or x == 0.5]
    assert any(counts[c] == 2 for c in kept)
    return Embedded.fitted(SOME.select(kept))


def test_derivatives_by_the_parameters_are_those_of_the_residuals() -> None:
    problem = Residuals(SOME.select(range(20, 30)), Layout((CU, PD)), high=0.4)
    rng = np.random.default_rng(4)
    p = problem.start() + rng.normal(scale=0.1, size=problem.layout.size)
    rows, residuals = problem.rows(p)
    assert problem.costs(p)[0] == pytest.approx(residuals @ residuals)
    matrix, gradient = problem.normal(p)
    assert np.allclose(matrix, rows.T @ rows) and np.allclose(gradient, rows.T @ residuals)
    for k in range(problem.layout.size):
        step = np.zeros(len(p))
        step[k] = 1e-5
        numeric = (problem.rows(p + step)[1] - problem.rows(p - step)[1]) / 2e-5
        assert np.allclose(rows[:, k], numeric, rtol=1e-4, atol=1e-4 * np.abs(rows[:, k]).max() + 1e-9), k


def test_forces_and_stresses_are_derivatives_of_the_energy(fitted: Embedded) -> None:
    one = Structures.from_ase([crystal(np.random.default_rng(7), 3, (CU, PD))])
    found, h = fitted.evaluate(one), 1e-5

    def energy(strain: Floats, moved: Floats) -> float:
        to = np.eye(3) + strain
        return float(
            fitted.evaluate(replace(one, positions=(one.positions + moved) @ to, cells=one.cells @ to)).energies[0]
        )

    still, unstrained = np.zeros((3, 3)), np.zeros((3, 3))
    for place in np.ndindex(3, 3):
        moved, strain = still.copy(), unstrained.copy()
        moved[place] = h
        strain[place] += h / 2
        strain[place[::-1]] += h / 2
        force = -(energy(unstrained, moved) - energy(unstrained, -moved)) / (2 * h)
        stress = (energy(strain, still) - energy(-strain, still)) / (2 * h) / one.volumes[0]
        assert found.forces[place] == pytest.approx(force, abs=1e-6)
        assert found.stresses[0][place] == pytest.approx(stress, abs=1e-7)


def test_what_one_to_one_and_the_elements_teach_holds_for_other_compositions(fitted: Embedded) -> None:
    others = []
    for ordered in ((CU, PD, PD, PD), (CU, CU, CU, PD)):
        for factor in (0.9, 1.0, 1.1, 1.3):
            atoms = bulk("Cu", a=3.75, cubic=True)
            atoms.numbers = ordered
            atoms.set_cell(atoms.cell[:] * factor ** (1 / 3), scale_atoms=True)
            others.append(atoms)
    assert np.sqrt(np.mean(errors(fitted, others) ** 2)) < 25


def test_new_crystals_are_met_as_well_as_known_ones() -> None:
    potential = Embedded.fitted(SOME)
    fresh = dataset((CU, PD), 20, 9).structures.to_ase()
    known = SOME.of_stratum(Stratum((CU, PD))).structures.to_ase()
    for crystals in (known, fresh):  # medians: a crystal 2 eV/atom above the others counts for little in the fit
        assert np.median(np.abs(errors(potential, crystals))) < 12


def test_a_crystal_is_the_same_in_any_company(fitted: Embedded) -> None:
    together = fitted.evaluate(SOME.structures)
    for c in (0, 17, 40):
        alone = fitted.evaluate(SOME.structures.select([c]))
        assert alone.energies[0] == pytest.approx(together.energies[c], abs=1e-12)


def test_an_atom_by_itself_has_no_forces_and_a_collapsed_crystal_no_energy(fitted: Embedded) -> None:
    lonely = Atoms("Cu", positions=[[0.0, 0.0, 0.0]])
    collapsed = bulk("Cu") * (1, 1, 2)
    collapsed.positions[1] = collapsed.positions[0]
    found = fitted.evaluate(Structures.from_ase([lonely, collapsed, bulk("Pd")]))
    assert np.isfinite(found.energies[[0, 2]]).all() and np.isnan(found.energies[1])
    assert (found.forces[0] == 0).all() and np.isnan(found.forces[1:3]).all() and np.isfinite(found.forces[3]).all()
    assert (found.stresses[0] == 0).all()


def test_what_cannot_be_is_refused(fitted: Embedded) -> None:
    with pytest.raises(ValueError, match="elements"):
        fitted.evaluate(Structures.from_ase([bulk("Ag")]))
    with pytest.raises(ValueError, match="got 0 crystals"):
        Embedded.fitted(SOME.select([]))
