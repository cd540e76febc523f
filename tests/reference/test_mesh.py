"""One spacing for crystals of any symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from evo.reference.job import JobOptions
from evo.reference.job_cell import reduced
from evo.reference.mesh import FINER, FINEST, Mesh, mesh
from evo.symmetry import laue_rotations


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
    assert len(laue_rotations(atoms, 1e-5)) == order


def test_spacing_of_a_crystal_without_symmetry_is_the_one_given():
    atoms = without_symmetry()
    lengths = np.linalg.norm(np.linalg.inv(np.asarray(atoms.cell)), axis=0)
    for spacing in (0.08, 0.05, 0.03):
        found = mesh(atoms, spacing, simple=True)
        assert not found.centred
        assert (lengths / found.size <= spacing * (1 + 1e-5)).all()
        assert (lengths / (np.array(found.size) - 1 + 1e-9) > spacing).all()


def test_a_body_centred_mesh_has_as_many_points_and_a_longer_superlattice():
    atoms = without_symmetry(3.0)
    simple, centred = mesh(atoms, 0.02, simple=True), mesh(atoms, 0.02)
    assert centred.centred
    assert len(centred.points()) == pytest.approx(len(simple.points()), rel=0.2)
    assert shortest(atoms, centred) > 1.05 * shortest(atoms, simple)


def shortest(atoms: Atoms, points) -> float:
    """Å, the shortest vector of the lattice at which the points cannot tell a wave from a constant."""
    found = []
    reach = range(-2 * max(points.size), 2 * max(points.size) + 1)
    near = [r for r in np.stack(np.meshgrid(*3 * [reach], indexing="ij"), -1).reshape(-1, 3) if r.any()]
    near.sort(key=lambda r: np.linalg.norm(r @ np.asarray(atoms.cell)))
    for vector in near:
        if abs(np.exp(2j * np.pi * points.points() @ vector).mean()) > 0.999:
            found.append(np.linalg.norm(vector @ np.asarray(atoms.cell)))
            break
    return float(found[0])


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(4, 3, 3), (5, 5, 2), (1, 2, 4)])
def test_points_are_different_and_come_in_pairs(size, centred, shifted):
    found = Mesh(size, centred, shifted)
    points = np.rint(found.points() * 2 * np.array(size)).astype(int) % (2 * np.array(size))
    opposite = -points % (2 * np.array(size))
    assert len(np.unique(points, axis=0)) == len(points) == np.prod(size) * (1 + centred)
    assert {tuple(p) for p in points} == {tuple(p) for p in opposite}
    halved, weights = found.halved()
    assert weights.sum() == len(points)
    assert len(halved) <= len(points) // 2 + 4
    assert np.abs(found.points()).max() <= 0.5
    assert bool((np.abs(found.points()) < 1e-12).all(axis=1).any()) is not shifted


def test_the_plain_mesh_is_that_of_monkhorst_and_pack():
    from ase.dft.kpoints import monkhorst_pack

    for size in ((3, 5, 1), (3, 3, 3)):
        ours, theirs = Mesh(size, False).points(), monkhorst_pack(size)
        assert {tuple(np.round(k, 9) + 0.0) for k in ours} == {tuple(np.round(k, 9) + 0.0) for k in theirs}


def test_a_crystal_with_symmetry_gets_a_finer_mesh():
    assert mesh(bulk("Cu", a=3.64), 0.04) == Mesh((21, 21, 21), False)  # 0.04 * (2 / 48)**(1 / 6) = 0.0236
    assert mesh(bulk("Cu", a=3.64), 0.01) == mesh(bulk("Cu", a=3.64), 0.01, simple=True)
    assert mesh(bulk("Cu", a=3.64), 0.03).size == (24, 24, 24)  # FINEST
    assert FINEST < 0.03


def kept(size, atoms) -> int:
    """How many operations carry the points of a mesh onto points of it, by trying."""
    points = {tuple(k) for k in np.rint(Mesh(size, False).points() * np.array(size)).astype(int) % np.array(size)}
    count = 0
    for rotation in laue_rotations(atoms, 1e-5):
        moved = np.array(sorted(points)) / np.array(size) @ np.linalg.inv(rotation)
        whole = moved * np.array(size)
        count += bool(np.abs(whole - np.rint(whole)).max() < 1e-9)
    return count


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("In", "bct", a=3.25, c=4.95),
        Atoms("Cu", cell=[[2.0, 1.1, 0], [-2.0, 1.1, 0], [0, 0, 3.4]], pbc=True),
        Atoms(
            "CuPd",
            scaled_positions=[[0, 0, 0], [0.5] * 3],
            cell=[[2.5, 1.5, 0], [2.5, -1.5, 0], [1.0, 0, 4.1]],
            pbc=True,
        ),
    ],
)
def test_a_mesh_has_the_symmetry_of_the_crystal(atoms):
    """The axes of the reduced cell of a centred lattice are of different lengths, and symmetry mixes them."""
    cell = reduced(atoms)
    order = len(laue_rotations(cell, 1e-5))
    assert order > 2
    for spacing in (0.06, 0.05, 0.04, 0.03):
        found = mesh(cell, spacing)
        assert kept(found.size, cell) == order
        lengths = np.linalg.norm(np.linalg.inv(np.asarray(cell.cell)), axis=0)
        assert (lengths / found.size <= spacing * (2 / order) ** FINER * (1 + 1e-5)).all()


def test_axes_that_are_not_periodic_have_one_point():
    slab = bulk("Cu").repeat((1, 1, 3))
    slab.pbc = (True, True, False)
    assert mesh(slab, 0.05).size[2] == 1
    assert not mesh(slab, 0.05).centred


def test_equal_crystals_have_equal_meshes():
    """Digits that a file does not keep must not add a point."""
    atoms = bulk("Cu", a=2.0)
    nearly = atoms.copy()
    nearly.set_cell(np.asarray(atoms.cell) * (1 - 1e-9), scale_atoms=True)
    length = np.linalg.norm(np.linalg.inv(np.asarray(atoms.cell)), axis=0)[0]
    spacing = length / 12 * 24**FINER  # a whole number of points
    assert mesh(atoms, spacing) == mesh(nearly, spacing) == Mesh((12, 12, 12), False)


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


def test_deformations_may_have_the_mesh_of_the_crystal_that_they_come_from():
    """Whatever cell each of them would be reduced to, and however many points it would have had."""
    skew = np.array([[1, 0, 0], [1, 1, 0], [0, -2, 1]])
    start = bulk("Cu")
    start.set_cell(skew @ start.cell[:])
    options = JobOptions(kspacing=0.031)
    own, kept = set(), set()
    for size in np.linspace(-0.04, 0.04, 9):
        strain = np.eye(3) + size * np.array([[1, 0.3, 0], [0.3, -1, 0], [0, 0, 1]])
        atoms = start.copy()
        atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
        crystal = reduced(atoms, start)
        assert abs(crystal.cell.volume / atoms.cell.volume - 1) < 1e-12
        back = np.linalg.solve(strain.T, crystal.cell[:].T).T
        np.testing.assert_allclose(back, reduced(start).cell[:], atol=1e-12)
        own.add(options.mesh(reduced(atoms), None).size)
        kept.add(options.mesh(crystal, start).size)
    assert len(own) > 1 and kept == {options.mesh(reduced(start), None).size}
