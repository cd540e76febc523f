"""The cell in which a program works least; labels are those of the crystal that was given."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from evo.candidate import Failure
from evo.reference import EngineAbsent, Label
from evo.reference.gpaw import GpawOptions, _symmetry, open_gpaw
from evo.reference.job import JobOptions, climb
from evo.reference.job_cell import least_work, reduced, repeated, work
from evo.reference.label import label
from evo.reference.mesh import SYMPREC, mesh
from evo.symmetry import conventional_axes, exact, is_exact, laue_rotations, space_group


def elongated(formula: str = "Cu3PdCu", height: float = 18.5) -> Atoms:
    """Layers of a square lattice, body-centred."""
    places = [[z, z, 0] for z in np.linspace(0, 1, len(Atoms(formula)), endpoint=False)]
    half = height / 2
    return Atoms(
        formula, scaled_positions=places, cell=[[-1.4, 1.4, half], [1.4, -1.4, half], [1.4, 1.4, -half]], pbc=True
    )


CENTRED = {
    "I": elongated(),
    "F": bulk("Cu", a=3.6),
    "C": Atoms("CuPd", positions=[[0, 0.8, 0], [0, -0.8, 0]], cell=[[1.3, 4.1, 0], [-1.3, 4.1, 0], [0, 0, 3]], pbc=True),
    "R": Atoms("Cu", cell=[[0.75 * 3**0.5, 0.75, 8], [-0.75 * 3**0.5, 0.75, 8], [0, -1.5, 8]], pbc=True),
}  # fmt: skip


@pytest.mark.parametrize("name", CENTRED)
def test_a_repeated_cell_holds_the_same_crystal(name):
    atoms = reduced(CENTRED[name])
    axes = conventional_axes(atoms, SYMPREC)
    assert axes is not None
    larger = repeated(atoms, axes)
    copies = len(larger) // len(atoms)
    assert copies == round(np.linalg.det(axes)) == {"I": 2, "F": 4, "C": 2, "R": 3}[name]
    assert space_group(larger, SYMPREC) == space_group(atoms, SYMPREC)
    once, often = label(EMT(), atoms), label(EMT(), larger)
    np.testing.assert_allclose(often.of_first(len(atoms)).forces, once.forces, atol=1e-10)
    assert often.of_first(len(atoms)).energy == pytest.approx(once.energy, abs=1e-10)
    np.testing.assert_allclose(often.stress, once.stress, atol=1e-12)


def test_an_elongated_centred_cell_is_worked_out_in_its_conventional_cell():
    atoms = reduced(elongated())
    axes = least_work(atoms, 0.04)
    assert axes is not None
    larger = repeated(atoms, axes)
    assert work(larger, 0.04, grids=True) < 0.6 * work(atoms, 0.04, grids=True)
    assert len(mesh(larger, 0.04).points()) < 0.2 * len(mesh(atoms, 0.04).points())
    assert GpawOptions(kspacing=0.04).job_cell(elongated()) == larger
    assert len(JobOptions(kspacing=0.04).job_cell(elongated())) == 5  # pw.x and VASP keep their grids


@pytest.mark.parametrize(
    "atoms",
    [CENTRED["F"], bulk("Cu", "bcc", a=2.9), bulk("Cu", "hcp", a=2.5, c=4.1), bulk("CuPd", "cesiumchloride", a=3.0)],
)
def test_other_crystals_keep_their_niggli_cell(atoms):
    assert least_work(reduced(atoms), 0.04) is None


@pytest.mark.parametrize("name", ["I", "C", "hcp", "zincblende"])
def test_symmetry_is_exact_and_about_the_origin(name):
    """So that a program finds it whatever its tolerance."""
    others = {"hcp": bulk("Cu", "hcp", a=2.5, c=4.1), "zincblende": bulk("ZnS", "zincblende", a=5.4)}
    rng = np.random.default_rng(5)
    true = (CENTRED | others)[name]
    atoms = true.copy()
    atoms.set_cell(atoms.cell[:] * (1 + 1e-7 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(size=3) + 1e-6 * rng.normal(size=atoms.positions.shape)
    found = reduced(atoms)
    np.testing.assert_allclose(found.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=2e-5)
    whole = np.asarray(found.cell) @ np.linalg.inv(atoms.cell)
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-5)  # not turned
    assert space_group(found, 1e-11) == space_group(true, 1e-4)
    told = spglib.get_symmetry_dataset(
        (np.asarray(found.cell), found.get_scaled_positions(), found.numbers), symprec=1e-11
    )
    steps = told.translations * 24
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    symmorphic = (np.abs(told.translations - np.rint(told.translations)) < 1e-6).all(axis=1).sum()
    assert symmorphic == {"hcp": 12}.get(name, len(told.rotations))


def test_a_crystal_without_symmetry_stays_where_it_was():
    atoms = Atoms(
        "CuPd", positions=[[0, 0, 0], [1.1, 1.3, 1.7]], cell=[[2.9, 0, 0], [0.4, 3.3, 0], [0.3, -0.5, 4.1]], pbc=True
    )
    found = exact(atoms, SYMPREC)
    np.testing.assert_allclose(found.cell[:], atoms.cell[:], atol=1e-12)
    np.testing.assert_allclose(found.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-12)


@pytest.mark.parametrize("atoms", [*CENTRED.values(), bulk("Cu", "hcp", a=2.5, c=4.1)])
def test_points_left_are_counted_as_spglib_counts_them(atoms):
    cell = reduced(atoms)
    found = mesh(cell, 0.06)
    crystal = (np.asarray(cell.cell), cell.get_scaled_positions(), cell.numbers)
    points, _ = spglib.get_ir_reciprocal_mesh(found.size, crystal, is_shift=[0, 0, 0], symprec=SYMPREC)
    assert found.left(laue_rotations(cell, SYMPREC)) == len(np.unique(points))


def test_moments_in_turn_are_those_of_the_crystal_not_of_its_copies():
    """Five atoms, up and down in turn: in a cell of ten the sixth would be down, another crystal."""
    options = GpawOptions(kspacing=0.04, moments={"Cu": [2.0, -2.0, 1.0, 0.5]})
    job = options.job_cell(elongated())
    assert len(job) == 10
    assert options.first_moments(job) == 2 * options.first_moments(elongated()) == 2 * [2.0, -2.0, 1.0, 0.0, 0.5]
    found = climb(elongated(), [1], lambda atoms, *_: (told(atoms, options), 1.0), options)
    assert isinstance(found, Label)
    assert found.details == {"copies": 2, "moments": [2.0, -2.0, 1.0, 0.0, 0.5]}
    assert found.forces.shape == (5, 3)


def test_copies_that_differ_are_no_label():
    """GPAW may end in another magnetic state in the larger cell."""
    forces = np.zeros((4, 3))
    moments = [2.0, 1.0, 2.0, 1.0]
    assert isinstance(Label(2.0, forces, np.zeros((3, 3)), 1.0, 0.0, {"moments": moments}).of_first(2), Label)
    for wrong in ([2.0, 1.0, -2.0, 1.0], [2.0, 1.0, 2.0, 1.3]):
        failure = Label(2.0, forces, np.zeros((3, 3)), 1.0, 0.0, {"moments": wrong}).of_first(2)
        assert isinstance(failure, Failure)
        assert failure.reason == "unconverged"
    forces[0, 0], forces[2, 0] = 0.1, -0.1
    assert isinstance(Label(2.0, forces, np.zeros((3, 3)), 1.0).of_first(2), Failure)


def told(atoms: Atoms, options: JobOptions) -> Label:
    zero = np.zeros((len(atoms), 3))
    return Label(0.0, zero, zero[:3], 1.0, 0.0, {"moments": options.first_moments(atoms)})


def test_a_deformation_has_the_cell_and_the_mesh_of_the_crystal_it_comes_from():
    options = GpawOptions(kspacing=0.04)
    start, bent = elongated(), elongated()
    bent.set_cell(
        bent.cell[:] @ (np.eye(3) + 0.01 * np.array([[0, 1, 0.4], [1, 0, 0.7], [0.4, 0.7, 0.3]])), scale_atoms=True
    )
    assert len(options.job_cell(bent)) == 5  # of lower symmetry, so nothing is mixed
    job = options.job_cell(bent, start)
    assert len(job) == 10
    assert options.mesh(job, start) == options.mesh(options.job_cell(start), None)


def noisy(atoms: Atoms, size: float) -> Atoms:
    result = atoms.copy()
    result.positions += size * np.random.default_rng(1).normal(size=result.positions.shape)
    return result


@pytest.mark.parametrize("noise", [1e-7, 3e-6, 1e-5, 3e-5, 1e-4])
def test_symmetry_is_all_there_or_is_not_claimed(noise):
    """Whatever a program finds within the tolerance that it is told must be a group, with translations that grids can have."""
    atoms = bulk("Mg", "hcp", a=3.2, c=5.2)
    for n in range(20):
        found = reduced(noisy(atoms, noise * (1 + n / 20)))
        if is_exact(found, SYMPREC):
            assert space_group(found, 1e-9) == space_group(found, SYMPREC)
    assert is_exact(reduced(noisy(atoms, 1e-7)), SYMPREC)
    assert not is_exact(noisy(atoms, 3e-6), SYMPREC)


OFTEN = {
    "1.5e-5 Å from hexagonal": noisy(bulk("Mg", "hcp", a=3.2, c=5.2), 1.5e-5),
    "3e-6 Å from hexagonal": noisy(bulk("Mg", "hcp", a=3.2, c=5.2), 3e-6),
    "slab": Atoms(
        "Al2",
        positions=[[0, 0, 3.00000001], [1.43189122, 0.82670278, 5.33826859]],
        cell=[[2.86378246, 0, 0], [1.43189123, 2.48010837, 0], [0, 0, 9]],
        pbc=[True, True, False],
    ),
    "molecule": Atoms("H2", positions=[[1.1, 2.0, 2.2], [1.84, 2.0, 2.2]], cell=[5, 5.1, 4.7], pbc=False),
    "magnetic, seven layers": Atoms(
        "Fe7",
        scaled_positions=[[0, 0, z / 7] for z in range(7)],
        cell=[2.3, 2.4, 15.4],
        pbc=True,
        magmoms=[2.0, 1, 1.5, -1, -1, 1.5, 1],
    ),
}


@pytest.mark.parametrize("name", OFTEN)
def test_gpaw_labels_what_is_nearly_or_partly_symmetric(name):
    """Its own search for symmetry ended in an error or never where translations were not exact, or along open axes."""
    try:
        engine = open_gpaw({"kspacing": 0.3, "cutoff": 250.0, "seconds": 240.0})
    except EngineAbsent as error:
        pytest.skip(f"GPAW is not installed: {error}")
    atoms = OFTEN[name]
    if "magnetic" in name:  # its electrons take minutes; what is told to GPAW is enough
        assert _symmetry(engine.options.job_cell(atoms)) == {"tolerance": SYMPREC}
        return
    found = engine.evaluate(atoms)
    assert isinstance(found, Label), found
    assert np.abs(found.forces).max() < 5


@pytest.mark.parametrize("name", [pytest.param("elongated", marks=pytest.mark.nightly), "hcp"])
def test_gpaw_says_the_same_of_a_crystal_with_and_without_its_symmetry(name):
    """In another cell, with rotations that need translations; without symmetry on the same k-points all of it is worked out."""
    try:
        engine = open_gpaw({"kspacing": 0.12, "cutoff": 300.0})
    except EngineAbsent as error:
        pytest.skip(f"GPAW is not installed: {error}")
    atoms = elongated("CuAlAl", 11.5) if name == "elongated" else bulk("Cu", "hcp", a=2.5, c=4.2)
    atoms.translate([0.3, 0.2, 0.1])
    found = engine.evaluate(atoms)
    assert isinstance(found, Label)
    assert found.details.get("copies") == (2 if name == "elongated" else None)
    job = engine.options.job_cell(atoms)
    assert found.details["k_points"] == engine.options.mesh(job, None).left(laue_rotations(job, SYMPREC))
    nudged = atoms.copy()
    nudged.positions[0] += [1e-4, 2e-4, 3e-4]
    plain = engine.with_mesh_of(atoms).evaluate(nudged)
    assert isinstance(plain, Label)
    assert plain.details["k_points"] > 1.8 * found.details["k_points"]
    # GPAW stops at changes of 1e-4 eV per valence electron, and has sixty here
    assert plain.energy == pytest.approx(found.energy, abs=2e-3)
    np.testing.assert_allclose(plain.forces, found.forces, atol=0.015)
    np.testing.assert_allclose(plain.stress, found.stress, atol=4e-4)
