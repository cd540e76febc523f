"""Forces and stresses are the derivatives of the energy; the energy has the symmetries of nature and no steps."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell
from scipy.spatial.transform import Rotation

from potentials import kernels
from potentials.kernels.repulsion import INNER, OUTER
from potentials.network import Shape, SymmetryFunctions
from potentials.structures import Structures
from tests.crystals import AG, CU, PD, crystal, library

SPECIES = (CU, PD, AG)
SHAPE = Shape(6.0, n_max=4, l_max=4, n_pair=6)  # far beyond most of the cells below
FUNCTIONS = SymmetryFunctions(
    6.0, ((0.05, 0.0), (0.8, 2.0)), ((0.01, 1, -1), (0.01, 2, 1), (0.1, 1, 1), (0.1, 4, -1), (0.1, 16, 1))
)
MODELS = {
    "density": library(SPECIES, SHAPE),
    "widened strata": library(SPECIES, SHAPE, own=3),
    "refined strata": library(SPECIES, SHAPE, refined=True),
    "symmetry functions": library(SPECIES, FUNCTIONS, second=4),
}
FOUR = library((*SPECIES, 79), SHAPE, refined=True)
WAYS = [(name, kernel) for name in MODELS for kernel in kernels.available()]
AXES = {
    "crystal": (True, True, True),
    "layer": (True, True, False),
    "wire": (False, True, False),
    "cluster": (False,) * 3,
}
STEP = 1e-4  # Å, or strain


def evaluate(crystals, way):
    name, kernel = way
    return kernels.evaluate(Structures.from_ase(crystals), MODELS.get(name, FOUR), kernel=kernel)


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.set_cell(atoms.cell[:] @ (np.eye(3) + strain))
    moved.positions = atoms.positions @ (np.eye(3) + strain)
    return moved


def difference(way, change) -> np.ndarray:
    """Derivative of the energy by fourth-order central differences; `change(h)` gives the moved crystal."""
    minus2, minus, plus, plus2 = evaluate([change(h * STEP) for h in (-2, -1, 1, 2)], way).energies
    return (8 * (plus - minus) - (plus2 - minus2)) / (12 * STEP)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("n_atoms", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("scale", [1.0, 0.75], ids=["relaxed", "squeezed"])
def test_forces_are_minus_the_gradient(way, axes, n_atoms, scale):
    rng = np.random.default_rng(n_atoms)
    atoms = crystal(rng, n_atoms, SPECIES, AXES[axes], scale)
    forces = evaluate([atoms], way).forces
    size = 1 + np.abs(forces).max()
    for i in rng.permutation(n_atoms)[:3]:
        for axis in range(3):

            def change(h, i=i, axis=axis):
                moved = atoms.copy()
                moved.positions[i, axis] += h
                return moved

            assert abs(difference(way, change) + forces[i, axis]) < 2e-8 * size
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-11 * size * n_atoms)


@pytest.mark.parametrize("kernel", kernels.available())
@pytest.mark.parametrize("last", [47, 79])
@pytest.mark.parametrize("distance", [4.6, 5.2, 5.6, 5.9, 6.2])
def test_forces_while_an_element_comes_into_sight(kernel, last, distance):
    """An atom comes near a cluster of the others, whose refined networks pass on to those of all three, or the assembled one."""
    way = ("refined strata of four", kernel)
    positions = np.array([[0, 0, 0], [2.6, 0, 0], [1.3, 2.4, 0], [0, 0, 5.4], [distance, 0.6, 0.4], [-2.2, 1.5, 1.0]])
    atoms = Atoms([29, 46, 29, 46, last, 29 if last == 47 else 47], positions)
    forces = evaluate([atoms], way).forces
    for i in range(len(atoms)):
        for axis in range(3):

            def change(h, i=i, axis=axis):
                moved = atoms.copy()
                moved.positions[i, axis] += h
                return moved

            assert abs(difference(way, change) + forces[i, axis]) < 1e-7 * (1 + np.abs(forces).max())


@pytest.mark.parametrize("kernel", kernels.available())
def test_out_of_sight_an_element_changes_no_bit(kernel):
    pair, far = Atoms("CuPd", [[0, 0, 0], [2.6, 0, 0]]), Atoms("CuPdAg", [[0, 0, 0], [2.6, 0, 0], [9.0, 0, 0]])
    alone, beside = (evaluate([a], ("refined strata", kernel)) for a in (pair, far))
    np.testing.assert_array_equal(beside.forces[:2], alone.forces)
    np.testing.assert_array_equal(beside.atomic_energies[:2], alone.atomic_energies)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("n_atoms", [1, 2, 4, 7, 16])
@pytest.mark.parametrize("scale", [1.0, 0.75], ids=["relaxed", "squeezed"])
def test_stress_is_the_gradient_by_strain(way, n_atoms, scale):
    atoms = crystal(np.random.default_rng(n_atoms), n_atoms, SPECIES, scale=scale)
    (stress,) = evaluate([atoms], way).stresses
    np.testing.assert_array_equal(stress, stress.T)
    for a in range(3):
        for b in range(3):

            def change(h, a=a, b=b):
                strain = np.zeros((3, 3))
                strain[a, b] = h
                return strained(atoms, strain)

            slope = difference(way, change) / atoms.get_volume()
            assert abs(slope - stress[a, b]) < 1e-7 * (1 + np.abs(stress).max())


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("axes", ["layer", "wire", "cluster"])
def test_there_is_no_stress_unless_all_axes_are_periodic(way, axes):
    atoms = crystal(np.random.default_rng(1), 5, SPECIES, AXES[axes])
    assert not evaluate([atoms], way).stresses.any()


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("axes", AXES)
def test_feature_slopes_are_differences_of_features(way, axes):
    atoms = crystal(np.random.default_rng(2), 3, SPECIES, AXES[axes])
    shape, kernel = MODELS[way[0]].shape, way[1]
    ((_, slopes),) = kernels.jacobians(Structures.from_ase([atoms]), shape, SPECIES, kernel=kernel)

    def features(moves):
        moved = atoms.copy()
        moved.positions += moves[:-9].reshape(-1, 3)
        moved = strained(moved, moves[-9:].reshape(3, 3))
        return kernels.features(Structures.from_ase([moved]), shape, SPECIES, kernel=kernel)[0]

    for column in range(slopes.shape[2]):
        unit = np.eye(slopes.shape[2])[column] * STEP
        found = 8 * (features(unit) - features(-unit)) - (features(2 * unit) - features(-2 * unit))
        np.testing.assert_allclose(found / (12 * STEP), slopes[:, :, column], atol=1e-8)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("axes", AXES)
def test_rotation_and_reflection(way, axes):
    atoms = crystal(np.random.default_rng(3), 6, SPECIES, AXES[axes])
    for turn in (Rotation.random(rng=4).as_matrix(), np.diag([1.0, -1.0, 1.0])):
        turned = Atoms(atoms.numbers, atoms.positions @ turn.T, cell=atoms.cell[:] @ turn.T, pbc=atoms.pbc)
        found = evaluate([atoms, turned], way)
        np.testing.assert_allclose(found.energies[1], found.energies[0], rtol=1e-11)
        np.testing.assert_allclose(found.forces[6:], found.forces[:6] @ turn.T, atol=1e-10)
        np.testing.assert_allclose(found.stresses[1], turn @ found.stresses[0] @ turn.T, atol=1e-11)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_permutation_translation_and_wrapping(way):
    rng = np.random.default_rng(5)
    atoms = crystal(rng, 8, SPECIES)
    order = rng.permutation(8)
    other = atoms[order]
    other.positions += rng.normal(size=3) + rng.integers(-3, 4, size=(8, 3)) @ atoms.cell[:]
    found = evaluate([atoms, other], way)
    np.testing.assert_allclose(found.energies[1], found.energies[0], rtol=1e-11)
    np.testing.assert_allclose(found.forces[8:], found.forces[:8][order], atol=1e-10)
    np.testing.assert_allclose(found.stresses[1], found.stresses[0], atol=1e-11)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("n_atoms", [1, 3])
def test_a_supercell_has_the_energy_of_its_cells(way, n_atoms):
    atoms = crystal(np.random.default_rng(6), n_atoms, SPECIES)
    large = make_supercell(atoms, [[2, 1, 0], [0, 1, 1], [-1, 0, 2]])
    other_vectors = atoms.copy()
    other_vectors.set_cell(np.array([[1, 2, 0], [0, 1, 0], [-1, 3, 1]]) @ atoms.cell[:])
    found = evaluate([atoms, large, other_vectors], way)
    ratio = len(large) / n_atoms
    np.testing.assert_allclose(found.energies, found.energies[0] * np.array([1, ratio, 1]), rtol=1e-10)
    np.testing.assert_allclose(found.stresses, [found.stresses[0]] * 3, atol=1e-10)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize(
    "distance", [6.0, OUTER * 2.64, INNER * 2.64], ids=["cutoff", "end of the repulsion", "start of its fading"]
)
def test_the_energy_is_smooth(way, distance):
    """Energy and force of a pair run through the special distances without a step, also in their slopes."""
    offsets = np.array([-2e-6, -1e-6, 0.0, 1e-6, 2e-6])
    found = evaluate([Atoms("Cu2", [[0, 0, 0], [0, 0, distance + x]]) for x in offsets], way)
    pull = found.forces[1::2, 2]
    size = 1 + np.abs(pull).max()
    slopes = np.diff(pull) / 1e-6  # a kink in the force would show here
    assert np.abs(np.diff(found.energies) / 1e-6 + (pull[1:] + pull[:-1]) / 2).max() < 1e-6 * size
    assert np.ptp(slopes) < 1e-2 * (1 + np.abs(slopes).max())
    if distance == 6.0:
        apart = evaluate([Atoms("Cu2", [[0, 0, 0], [0, 0, 7.0]])], way)
        np.testing.assert_allclose(found.energies, apart.energies[0], atol=1e-12)
        # the density's cut-off leaves less of the force than the cosine alone, by which it fades linearly
        np.testing.assert_allclose(pull, 0, atol=1e-10 if "density" in way else 1e-8)
        assert pull[2] == pull[4] == 0.0
