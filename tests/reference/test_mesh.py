"""One spacing for crystals of any symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo.reference.job import reduced
from evo.reference.mesh import FINEST, mesh
from evo.symmetry import laue_order


def without_symmetry(scale=1.0, inversion=False) -> Atoms:
    cell = scale * np.array([[2.9, 0, 0], [0.4, 3.3, 0], [0.3, -0.5, 4.1]])
    numbers = [29, 46, 47][: 2 if inversion else 3]
    places = [[0, 0, 0], [0.51, 0.47, 0.44], [0.1, 0.6, 0.7]][: len(numbers)]
    return Atoms(numbers, scaled_positions=places, cell=cell, pbc=True)


@pytest.mark.parametrize(
    ("atoms", "order"),
    [
        (bulk("Cu"), 48), (bulk("Cu", "hcp", a=2.5, c=4.1), 24), (bulk("CuPd", "cesiumchloride", a=3.0), 48),
        (bulk("ZnS", "zincblende", a=5.4), 48), (without_symmetry(), 2), (without_symmetry(inversion=True), 2),
        (Atoms("Cu", cell=[2.5, 2.5, 3.0], pbc=True), 16), (Atoms("Cu", cell=[2.5, 2.7, 3.0], pbc=True), 8),
        (Atoms("Cu", cell=np.eye(3) * 5), 2),
    ],
)  # fmt: skip
def test_order_of_the_laue_group(atoms, order):
    assert laue_order(atoms, 1e-5) == order


def test_spacing_of_a_crystal_without_symmetry_is_the_one_given():
    atoms = without_symmetry()
    lengths = np.linalg.norm(np.linalg.inv(np.asarray(atoms.cell)), axis=0)
    for spacing in (0.08, 0.05, 0.03):
        counts = np.array(mesh(atoms, spacing))
        assert (lengths / counts <= spacing * (1 + 1e-5)).all()
        assert (lengths / (counts - 1 + 1e-9) > spacing).all()


def test_as_many_different_points_in_a_crystal_with_symmetry():
    cubic = bulk("Cu", a=3.64)
    counts = mesh(cubic, 0.08)
    per_volume = np.prod(counts) / 48 * cubic.cell.volume
    assert 0.9 < per_volume / (0.08**-3 / 2) < 1.6  # points per axis are whole numbers
    assert mesh(cubic, 0.03) == (24, 24, 24)  # no finer than FINEST
    assert FINEST < 0.03


def test_axes_that_are_not_periodic_have_one_point():
    slab = bulk("Cu").repeat((1, 1, 3))
    slab.pbc = (True, True, False)
    assert mesh(slab, 0.05)[2] == 1


def test_equal_crystals_have_equal_meshes():
    """Digits that a file does not keep must not add a point."""
    atoms = bulk("Cu", a=2.0)  # reciprocal lengths are whole multiples of the spacing
    nearly = atoms.copy()
    nearly.set_cell(np.asarray(atoms.cell) * (1 - 1e-9), scale_atoms=True)
    spacing = 0.0721687836487032 * 24 ** (1 / 3)
    assert mesh(atoms, spacing) == mesh(nearly, spacing)


def test_the_cell_of_a_job_is_the_same_crystal_unturned():
    rng = np.random.default_rng(3)
    for _ in range(20):
        atoms = without_symmetry()
        skewed = atoms.copy()
        shear = np.eye(3, dtype=int)
        for _ in range(3):
            i, j = rng.permutation(3)[:2]
            shear[i] += int(rng.integers(-2, 3)) * shear[j]
        skewed.set_cell(shear @ np.asarray(atoms.cell))
        short = reduced(skewed)
        assert np.linalg.det(short.cell) > 0
        assert np.abs(short.cell.lengths()).max() <= np.abs(atoms.cell.lengths()).max() + 1e-9
        # lattice points and atoms are those given: neither turned nor in another order
        whole = np.asarray(short.cell) @ np.linalg.inv(skewed.cell)
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
        apart = (short.positions - skewed.positions) @ np.linalg.inv(skewed.cell)
        np.testing.assert_allclose(apart, np.rint(apart), atol=1e-9)
