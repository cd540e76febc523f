"""Relaxation: minima are found, every crystal ends with an outcome, and no crystal feels its batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from potentials import kernels
from potentials.calculator import from_calculator
from potentials.library import Library
from potentials.network import Shape
from potentials.relax import Evaluate, relax
from potentials.stratum import Stratum
from potentials.structures import Floats, Prediction, Structures
from potentials.units import EV_PER_A3_PER_GPA
from tests.crystals import AG, CU, PD, crystal, library


def evaluator(make: Callable[[], Calculator], *, stress: bool = True) -> Evaluate:
    def evaluate(structures: Structures) -> Prediction:
        energies, forces, stresses = [], [], []
        for atoms in structures.to_ase():
            atoms.calc = make()
            energies.append(atoms.get_potential_energy())
            forces.append(atoms.get_forces())
            stresses.append(atoms.get_stress(voigt=False) if stress else np.zeros((3, 3)))
        e = np.array(energies)
        return Prediction(e, np.concatenate(forces), np.array(stresses), e[:, None], np.zeros(len(structures.numbers)))

    return evaluate


EMT_ = evaluator(EMT)


def springs(structures: Structures) -> Prediction:
    """Every atom on a spring to its place in a cell of 12 Å³ per atom; cheap, smooth, not translation invariant."""
    n = len(structures)
    forces = -3.0 * (structures.positions - np.round(structures.positions))
    owner = np.repeat(np.arange(n), structures.sizes)
    energies = np.bincount(owner, 1.5 * ((structures.positions - np.round(structures.positions)) ** 2).sum(1), n)
    return Prediction(energies, forces, np.zeros((n, 3, 3)), energies[:, None], np.zeros(len(structures.numbers)))


def random_cells(n: int, sizes: tuple[int, int], seed: int = 0) -> list[Atoms]:
    """Rattled, strained fcc supercells of mixed elements, of random sizes."""
    rng, cells = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = bulk("Ag", "fcc", 3.9) * (1, 1, int(rng.integers(sizes[0], sizes[1] + 1)))
        atoms.numbers = rng.choice([29, 46, 47], size=len(atoms))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.06, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.15, (len(atoms), 3))
        cells.append(atoms)
    return cells


def bits(structures: Structures) -> list[bytes]:
    return [a.positions.tobytes() + a.cell.array.tobytes() for a in structures.to_ase()]


def test_copper_relaxes_to_its_lattice_constant() -> None:
    cell = bulk("Cu", "fcc", 3.9)
    cell.set_cell(cell.cell.array @ np.array([[1.05, 0.02, 0], [0, 0.97, 0.03], [0, 0, 1]]), scale_atoms=True)
    result = relax(EMT_, Structures.from_ase([cell]), smax=1e-5)
    assert result.outcomes == ["converged"]
    assert result.structures.volumes[0] == pytest.approx(3.59**3 / 4, abs=0.05)
    assert np.abs(result.prediction.stresses).max() < 1e-5


def test_prediction_is_that_of_the_final_geometry() -> None:
    result = relax(EMT_, Structures.from_ase(random_cells(3, (2, 4))), max_calls=4)
    again = EMT_(result.structures)
    np.testing.assert_allclose(result.prediction.energies, again.energies, atol=1e-12)
    np.testing.assert_allclose(result.prediction.forces, again.forces, atol=1e-12)
    np.testing.assert_allclose(result.prediction.stresses, again.stresses, atol=1e-12)


def test_same_bits_alone_shuffled_and_in_any_batch() -> None:
    crystals = random_cells(64, (1, 3)) + random_cells(2, (9, 9))
    n = len(crystals)

    def run(order: list[int]) -> dict[int, bytes]:
        result = relax(EMT_, Structures.from_ase([crystals[i] for i in order]), max_calls=9)
        energies = [e.tobytes() for e in result.prediction.energies]
        return {
            i: b + e + o.encode()
            for i, b, e, o in zip(order, bits(result.structures), energies, result.outcomes, strict=True)
        }

    whole = run(list(range(n)))
    shuffled = run(np.random.default_rng(1).permutation(n).tolist())
    sevens: dict[int, bytes] = {}
    for start in range(0, n, 7):
        sevens |= run(list(range(start, min(start + 7, n))))
    assert whole == shuffled == sevens
    for i in (0, 5, 33, n - 1):
        assert run([i])[i] == whole[i]


@pytest.mark.skipif("compiled" not in kernels.available(), reason="the compiled kernel is not built")
def test_same_bits_with_a_network() -> None:
    model = library((CU, PD, AG), Shape(4.5, 3, 2, 5))
    rng = np.random.default_rng(3)
    crystals = [crystal(rng, n) for n in (1, 2, 3, 4, 6, 8, 9, 12) * 4]

    def run(some: list[Atoms]) -> list[bytes]:
        result = relax(lambda s: kernels.evaluate(s, model), Structures.from_ase(some), max_calls=25)
        return [b + e.tobytes() for b, e in zip(bits(result.structures), result.prediction.energies, strict=True)]

    whole = run(crystals)
    assert run(crystals[::-1])[::-1] == whole
    assert [run([a])[0] for a in crystals] == whole


def test_pressure_shrinks_the_crystal_to_that_stress() -> None:
    pressure = 20 * EV_PER_A3_PER_GPA
    result = relax(EMT_, Structures.from_ase([bulk("Pd", "fcc", 4.0)]), pressure=pressure, smax=1e-5)
    assert result.outcomes == ["converged"]
    np.testing.assert_allclose(result.prediction.stresses[0], -pressure * np.eye(3), atol=1e-5)
    with pytest.raises(ValueError, match="`pressure` needs crystals periodic along three axes"):
        relax(EMT_, Structures.from_ase([molecule("O2")]), pressure=pressure)


def test_fixed_cell_moves_atoms_alone() -> None:
    cells = Structures.from_ase(random_cells(2, (3, 3)))
    result = relax(EMT_, cells, fixed_cell=True)
    assert result.outcomes == ["converged"] * 2
    assert result.structures.cells.tobytes() == cells.cells.tobytes()
    assert np.linalg.norm(result.prediction.forces, axis=1).max() < 0.01


def test_layer_strains_in_its_plane_and_cluster_not_at_all() -> None:
    lj = evaluator(lambda: LennardJones(sigma=2.3, epsilon=0.3, rc=7.0, smooth=True))
    layer = fcc111("Cu", (1, 1, 2), a=3.8, vacuum=8.0, periodic=False)
    layer.pbc = [True, True, False]
    result = relax(lj, Structures.from_ase([layer]), smax=1e-4)
    assert result.outcomes == ["converged"]
    assert result.structures.cells[0, 2].tobytes() == layer.cell.array[2].tobytes()
    assert abs(result.structures.cells[0, 0, 0] - layer.cell[0, 0]) > 0.01
    cluster = Atoms("Cu4", positions=[[0, 0, 0], [2.4, 0, 0], [0, 2.5, 0], [0.3, 0.2, 2.6]])
    result = relax(
        evaluator(lambda: LennardJones(sigma=2.3, epsilon=0.3, rc=9.0), stress=False), Structures.from_ase([cluster])
    )
    assert result.outcomes == ["converged"] and not result.structures.cells.any()
    apart = result.structures.atoms(0).get_all_distances()[np.triu_indices(4, 1)]
    np.testing.assert_allclose(apart, apart.mean(), atol=0.05)  # a tetrahedron


@pytest.mark.parametrize("periodic", [(True, True, False), (True, False, False)])
def test_a_layer_or_wire_without_other_vectors_is_strained_too(periodic: tuple[bool, bool, bool]) -> None:
    model = Library.open(Path("cu-pd-ag-pbe")).assemble(Stratum.parse("Cu"))
    atoms = fcc111("Cu", (1, 1, 4), a=3.75, vacuum=6.0)
    if not periodic[1]:
        atoms = Atoms("Cu4", positions=[[0, 0, 0], [2.6, 0, 0], [1.3, 2.2, 0], [3.9, 2.2, 0]], cell=[5.2, 9, 9])
    atoms.pbc = periodic
    flat = atoms.copy()
    flat.cell[~flat.pbc] = 0.0
    wide, thin = (relax(model.evaluate, Structures.from_ase([a]), max_calls=60) for a in (atoms, flat))
    assert np.abs(thin.structures.cells[0][~flat.pbc]).max() == 0.0
    assert np.abs(wide.structures.cells[0][flat.pbc] - atoms.cell[:][flat.pbc]).max() > 0.01
    assert thin.structures.cells[0][flat.pbc] == pytest.approx(wide.structures.cells[0][flat.pbc], abs=1e-2)


def test_vacuum_beside_a_layer_does_not_end_its_relaxation() -> None:
    model = Library.open(Path("cu-pd-ag-pbe")).assemble(Stratum.parse("Cu"))
    layers = [fcc111("Cu", (1, 1, 1), a=3.5, vacuum=v) for v in (5.0, 50.0)]
    found = relax(model.evaluate, Structures.from_ase(layers))
    assert found.outcomes == ["converged"] * 2
    lengths = np.linalg.norm(found.structures.cells[:, 0], axis=1)
    assert lengths[1] == pytest.approx(lengths[0], abs=0.005) and abs(lengths[0] - 3.5 / np.sqrt(2)) > 0.02


def test_a_molecule_in_a_periodic_box_is_no_explosion() -> None:
    model = Library.open(Path("cu-pd-ag-pbe")).assemble(Stratum.parse("Cu"))
    pair = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.0]], cell=[20.0] * 3, pbc=True)
    assert relax(model.evaluate, Structures.from_ase([pair])).outcomes != ["exploded"]


def test_not_finite_ends_in_that_step_and_spares_the_others() -> None:
    crystals = random_cells(3, (2, 2))
    good = relax(EMT_, Structures.from_ase(crystals))
    seen = 0

    def breaks(structures: Structures) -> Prediction:
        nonlocal seen
        seen += 1
        prediction = EMT_(structures)
        if seen == 3:
            prediction.forces[structures.offsets[1], 0] = np.nan
        return prediction

    result = relax(breaks, Structures.from_ase(crystals))
    assert result.outcomes == ["converged", "not finite", "converged"]
    assert result.calls[1] == 3
    assert bits(result.structures)[0] == bits(good.structures)[0]
    assert bits(result.structures)[2] == bits(good.structures)[2]


def force_field(sign: float) -> Evaluate:
    """A potential whose energy grows (sign 1) or falls (-1) with the volume alone."""

    def evaluate(structures: Structures) -> Prediction:
        energies = sign * structures.volumes
        stresses = np.broadcast_to(sign * np.eye(3), (len(structures), 3, 3)).copy()
        n_atoms = len(structures.numbers)
        return Prediction(energies, np.zeros((n_atoms, 3)), stresses, energies[:, None], np.zeros(n_atoms))

    return evaluate


def test_runaways_end_with_their_reason() -> None:
    cells = Structures.from_ase(random_cells(2, (2, 2)))
    assert relax(force_field(-1.0), cells).outcomes == ["exploded"] * 2
    assert relax(force_field(1.0), cells).outcomes == ["collapsed"] * 2
    overlap = bulk("Cu", cubic=True)
    overlap.positions[1] = overlap.positions[0] + [0.0, 0.3, 0.9]
    assert relax(EMT_, Structures.from_ase([overlap])).outcomes == ["collapsed"]
    flat = Atoms("Cu", cell=[0.9, 4, 4], pbc=True)  # an atom on its own image
    assert relax(force_field(0.0), Structures.from_ase([flat])).outcomes == ["collapsed"]


def test_absurd_crystals_end_at_once_and_spare_the_others() -> None:
    crystals = random_cells(5, (2, 2))
    good = relax(EMT_, Structures.from_ase([crystals[0], crystals[4]]))
    crystals[1].cell[2] = crystals[1].cell[0] + crystals[1].cell[1]  # flat
    crystals[2].set_cell(np.zeros((3, 3)))
    crystals[3].positions[0, 0] = np.nan
    result = relax(from_calculator(EMT()), Structures.from_ase(crystals))
    assert result.outcomes == ["converged", "collapsed", "collapsed", "not finite", "converged"]
    assert result.calls[1:4].tolist() == [1, 1, 1]
    assert [bits(result.structures)[c] for c in (0, 4)] == bits(good.structures)


def test_a_needle_of_constant_volume_is_an_explosion() -> None:
    def stretches(structures: Structures) -> Prediction:
        lengths, n_atoms = np.linalg.norm(structures.cells, axis=2), len(structures.numbers)
        push = 40.0 * np.array([0.5, 0.5, -1.0])
        energies = np.log(lengths) @ push
        stresses = np.eye(3) * (push / structures.volumes[:, None])[:, None, :]
        return Prediction(energies, np.zeros((n_atoms, 3)), stresses, energies[:, None], np.zeros(n_atoms))

    result = relax(stretches, Structures.from_ase([bulk("Cu", cubic=True)]))
    assert result.outcomes == ["exploded"]
    assert result.structures.volumes[0] == pytest.approx(3.61**3, rel=0.01)


def test_a_start_far_from_its_volume_is_no_runaway() -> None:
    """Two thirds of the lattice constant, or nearly twice: less, and more, than a factor of four in the volume."""
    potential = Library.open("cu-pd-ag-pbe").assemble(Stratum((29,)))
    starts = Structures.from_ase([bulk("Cu", a=a) for a in (2.2, 3.6, 6.5)])
    found = relax(potential.evaluate, starts)
    assert found.outcomes == ["converged"] * 3
    np.testing.assert_allclose(found.prediction.energies, found.prediction.energies[1], atol=1e-3)


def test_a_vector_along_an_axis_that_is_not_periodic_may_be_anything() -> None:
    layer = Atoms("Cu", cell=[[2.5, 0, 0], [0, 2.5, 0], [1, 0, 0]], pbc=(True, True, False))
    cluster = Atoms("Cu2", [[0, 0, 0], [2.4, 0, 0]], cell=[[10, 0, 0], [20, 0, 0], [0, 0, 0]])
    potential = Library.open("cu-pd-ag-pbe").assemble(Stratum((29,)))
    found = relax(potential.evaluate, Structures.from_ase([layer, cluster]))
    assert found.outcomes == ["converged"] * 2
    np.testing.assert_array_equal(found.structures.cells[1], cluster.cell[:])
    assert abs(found.structures.cells[0, 0, 0] - 2.5) > 0.01


def test_step_limit_keeps_the_best_geometry() -> None:
    cells = Structures.from_ase(random_cells(4, (3, 3)))
    first = EMT_(cells).energies
    result = relax(EMT_, cells, max_calls=5)
    assert set(result.outcomes) == {"step limit"} and result.calls.tolist() == [5] * 4
    assert (result.prediction.energies < first).all()


def test_every_evaluation_is_seen() -> None:
    cells = Structures.from_ase(random_cells(5, (1, 3)))
    seen = np.zeros(5, np.int64)

    def on_call(index: np.ndarray, structures: Structures, prediction: Prediction) -> None:
        assert len(index) == len(structures) == len(prediction.energies)
        assert [structures.atoms(k).get_chemical_formula() for k in range(len(index))] == [
            cells.atoms(c).get_chemical_formula() for c in index
        ]
        seen[index] += 1

    result = relax(EMT_, cells, on_call=on_call)
    assert seen.tolist() == result.calls.tolist()


def jumpy(size: float) -> Evaluate:
    """EMT whose energies are off by up to `size` eV/atom, otherwise at every geometry; forces and stresses are not."""

    def evaluate(structures: Structures) -> Prediction:
        said = EMT_(structures)
        off = [np.modf(1e5 * np.abs(structures.cells[c]).sum())[0] - 0.5 for c in range(len(structures))]
        return replace(said, energies=said.energies + 2 * size * np.array(off) * structures.sizes)

    return evaluate


def test_jumps_of_the_energy_do_not_hold_up_a_relaxation() -> None:
    """As plane waves make them. The minimum is that of forces and stresses, which end it."""
    starts = Structures.from_ase([bulk("Cu", "hcp", a=2.5 + 0.02 * n, c=4.0) for n in range(8)])
    truth = relax(EMT_, starts, fmax=1e-3, smax=1e-4, max_calls=60)
    found = relax(jumpy(3e-4), starts, fmax=1e-3, smax=1e-4, max_calls=60, noise=1e-3)
    assert found.outcomes == truth.outcomes == ["converged"] * 8
    np.testing.assert_allclose(found.structures.cells, truth.structures.cells, atol=2e-3)
    assert found.calls.sum() < 1.5 * truth.calls.sum()
    held_up = relax(jumpy(3e-4), starts, fmax=1e-3, smax=1e-4, max_calls=60)
    assert "step limit" in held_up.outcomes


def test_smooth_energies_end_in_the_same_minima_with_noise() -> None:
    starts = Structures.from_ase([crystal(np.random.default_rng(seed), 4) for seed in range(8)])
    plain, doubting = (relax(EMT_, starts, fmax=1e-3, smax=1e-4, noise=noise) for noise in (0.0, 1e-3))
    assert plain.outcomes == doubting.outcomes
    lower = (doubting.prediction.energies - plain.prediction.energies) / starts.sizes
    assert np.median(np.abs(lower)) < 1e-5


def test_nothing_to_relax() -> None:
    result = relax(EMT_, Structures.from_ase([]))
    assert len(result.structures) == 0 and result.outcomes == [] and result.calls.shape == (0,)


@pytest.mark.parametrize("values", [{"fmax": 0.0}, {"smax": -1.0}, {"max_calls": 0}])
def test_limits_must_be_positive(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        relax(EMT_, Structures.from_ase(random_cells(1, (1, 1))), **values)  # type: ignore[arg-type]


def test_noise_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="`noise` must not be negative, got -1"):
        relax(EMT_, Structures.from_ase(random_cells(1, (1, 1))), noise=-1.0)


def test_own_work_per_step_is_small() -> None:
    """60 µs per crystal and step were asked for; the bound leaves room for a loaded machine."""
    rng, places = np.random.default_rng(0), np.array(list(product((0.0, 3.0), repeat=3)))
    positions = [places + rng.uniform(-0.4, 0.4, (8, 3)) for _ in range(32)]
    cells = Structures.from_ase([Atoms("Cu8", positions=p, cell=[6.0] * 3, pbc=True) for p in positions])
    spent = 0.0

    def timed(structures: Structures) -> Prediction:
        nonlocal spent
        start = time.perf_counter()
        prediction = springs(structures)
        spent += time.perf_counter() - start
        return prediction

    start = time.perf_counter()
    result = relax(timed, cells, fmax=1e-9, max_calls=25)
    own: Floats = np.array((time.perf_counter() - start - spent) / result.calls.sum())
    assert own < 300e-6, f"{own * 1e6:.0f} µs per crystal and step"
