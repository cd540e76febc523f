"""The curvature that a cheap model lends to a relaxation by a dear one."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from potentials.calculator import from_calculator
from potentials.curvature import inverse_hessian
from potentials.descent import CURVATURE
from potentials.relax import Relaxed, relax
from potentials.structures import Floats, Prediction, Structures

EMT_ = from_calculator(EMT())


def stiffer(structures: Structures) -> Prediction:
    """EMT of a crystal that is 1 % too small: what networks are to DFT, roughly right."""
    wider = Structures(
        structures.numbers,
        1.01 * structures.positions,
        1.01 * structures.cells,
        structures.periodic,
        structures.offsets,
    )
    found = EMT_(wider)
    return Prediction(
        found.energies, 1.01 * found.forces, 1.01**3 * found.stresses, found.member_energies, found.atomic_energies
    )


def alloy(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", 3.75, cubic=True) * (2, 1, 1)
    atoms.symbols = rng.permutation(["Cu"] * 5 + ["Pd"] * 3)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.01, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.03, (8, 3))
    return atoms


def relaxed(atoms: Atoms, inverse: Floats | None, **options: object) -> Relaxed:
    structures = Structures.from_ase([atoms])
    return relax(EMT_, structures, inverses=None if inverse is None else [inverse], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("pressure", [0.0, 0.1])
def test_it_is_the_curvature_of_the_enthalpy(pressure: float) -> None:
    """A Newton step with it from near the minimum leaves a hundredth of the gradient."""
    tight = relaxed(alloy(1), None, pressure=pressure, fmax=1e-5, smax=1e-6).structures
    inverse = inverse_hessian(EMT_, tight, pressure=pressure)
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-12)
    values = np.linalg.eigvalsh(inverse)
    assert values.min() > 0
    assert np.isclose(values, 1 / CURVATURE).sum() >= 3  # translations
    near = tight.atoms(0)
    near.rattle(0.003, seed=2)
    near.set_cell(near.cell.array @ (np.eye(3) + 0.001), scale_atoms=True)
    first, after = (
        np.abs(relaxed(near, inverse, pressure=pressure, max_calls=n, fmax=1e-9).prediction.forces).max()
        for n in (1, 2)
    )
    assert after < 0.05 * first


def test_relaxations_from_the_minimum_of_the_cheap_model_take_half_of_the_calls() -> None:
    calls = np.zeros(2)
    for seed in range(6):
        start = relax(stiffer, Structures.from_ase([alloy(seed)]), fmax=1e-3, smax=1e-5).structures
        inverse = inverse_hessian(stiffer, start)
        with_it, without = (relaxed(start.atoms(0), i, fmax=3e-3, smax=1e-4) for i in (inverse, None))
        assert with_it.outcomes == without.outcomes == ["converged"]
        assert with_it.prediction.energies[0] == pytest.approx(without.prediction.energies[0], abs=1e-3)
        calls += [with_it.calls[0], without.calls[0]]
    assert calls[0] <= 0.6 * calls[1], calls


def test_fixed_cells_and_layers() -> None:
    slab = fcc111("Cu", (1, 1, 3), vacuum=8)
    slab.rattle(0.03, seed=1)
    slab.pbc = (True, True, False)
    for fixed in (True, False):
        inverse = inverse_hessian(stiffer, Structures.from_ase([slab]), fixed_cell=fixed)
        held = range(6) if fixed else (2, 3, 4)  # strains out of the plane change nothing
        assert inverse.diagonal()[-6:][list(held)] == pytest.approx(len(held) * [1 / CURVATURE])
        found = relaxed(slab, inverse, fixed_cell=fixed)
        assert found.outcomes == ["converged"]
        assert found.calls[0] < relaxed(slab, None, fixed_cell=fixed).calls[0]


def test_symmetry_is_kept() -> None:
    atoms = bulk("Cu", "hcp", 2.6, 4.4)
    inverse = inverse_hessian(stiffer, Structures.from_ase([atoms]))
    found = relaxed(atoms, inverse).structures.atoms(0)
    lengths = found.cell.lengths()
    assert lengths[0] == pytest.approx(lengths[1], abs=1e-6)
    np.testing.assert_allclose(found.cell.angles(), [90, 90, 120], atol=1e-4)


def test_a_model_without_numbers_is_no_help_and_no_harm() -> None:
    def broken(structures: Structures) -> Prediction:
        found = EMT_(structures)
        return Prediction(
            found.energies, np.nan * found.forces, found.stresses, found.member_energies, found.atomic_energies
        )

    atoms = alloy(0)
    inverse = inverse_hessian(broken, Structures.from_ase([atoms]))
    np.testing.assert_array_equal(inverse, np.eye(30) / CURVATURE)
    assert relaxed(atoms, inverse).calls == relaxed(atoms, None).calls


def test_others_in_the_batch_do_not_matter() -> None:
    crystals = [alloy(0), bulk("Cu", "fcc", 3.7), alloy(3)]
    inverses = [inverse_hessian(stiffer, Structures.from_ase([a])) for a in crystals]
    together = relax(EMT_, Structures.from_ase(crystals), inverses=inverses)
    alone = [relaxed(a, i) for a, i in zip(crystals, inverses, strict=True)]
    assert together.calls.tolist() == [int(r.calls[0]) for r in alone]
    assert together.prediction.energies.tolist() == [float(r.prediction.energies[0]) for r in alone]
