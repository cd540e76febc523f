"""The kernels: compiled and torch agree; a result is the crystal's own, to the last bit; absurd input gives NaN."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from potentials import kernels
from potentials.features.symmetry_functions import VP2017
from potentials.kernels import compiled
from potentials.kernels.embedded import N_DENSITY, N_PAIR, EmbeddedAtoms
from potentials.network import Shape, SymmetryFunctions, fold
from potentials.stratum import Stratum
from potentials.structures import Structures
from tests.crystals import AG, AU, CU, PD, crystal, library, mixed, stratum_parameters

needs_compiled = pytest.mark.skipif("compiled" not in kernels.available(), reason="the compiled kernel is not built")
SPECIES = (CU, PD, AG)
DEFAULT = Shape(6.0, n_max=5, l_max=4, n_pair=8)
SMALL = Shape(5.0, n_max=3, l_max=3, n_pair=5)
# every angular order; every number of radial functions, those without code of their own among them; odd n_pair
SHAPES = [
    DEFAULT,
    SMALL,
    *(Shape(4.8, n, l, p) for n, l, p in ((1, 4, 8), (2, 1, 1), (4, 3, 4), (6, 5, 7), (7, 2, 3), (8, 5, 16))),
]
# a radial function with a centre, every power of the cosine, exponents out of order
FEW = SymmetryFunctions(
    5.0,
    ((0.5, 1.5), (0.05, 0.0)),
    ((0.3, 1, 1), (0.01, 2, -1), (0.3, 4, -1), (0.02, 8, 1), (0.01, 16, 1), (0.1, 64, 1), (0.1, 32, -1)),
)
EVERY = [*SHAPES, VP2017, FEW]
FIELDS = ("energies", "forces", "stresses", "member_energies", "atomic_energies")


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def same_bits(found, expected):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field), err_msg=field)


@needs_compiled
@pytest.mark.parametrize("shape", EVERY, ids=str)
@pytest.mark.parametrize(
    ("members", "hidden", "second", "own"), [(1, 16, 0, 0), (3, 5, 0, 0), (2, 7, 3, 0), (3, 5, 0, 3)]
)
def test_predictions_agree(shape, members, hidden, second, own):
    structures = Structures.from_ase(mixed(np.random.default_rng(3)))
    model = library(SPECIES, shape, members, hidden, second=second, own=own, core_energy=30.0 if second else 0.0)
    found, expected = (kernels.evaluate(structures, model, kernel=k) for k in ("compiled", "torch"))
    for field in FIELDS:
        close(getattr(found, field), getattr(expected, field))


@needs_compiled
@pytest.mark.parametrize("shape", EVERY, ids=str)
def test_features_and_jacobians_agree(shape):
    crystals = [a for a in mixed(np.random.default_rng(4)) if len(a) <= 6]
    structures = Structures.from_ase(crystals)
    found, expected = (kernels.jacobians(structures, shape, SPECIES, kernel=k) for k in ("compiled", "torch"))
    plain = kernels.features(structures, shape, SPECIES, kernel="compiled")
    for atoms, ours, theirs, features in zip(crystals, found, expected, plain, strict=True):
        assert ours[1].shape == (len(atoms), shape.n_features(3), 3 * len(atoms) + 9)
        close(ours[0], theirs[0])
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-10, atol=1e-10 * max(1.0, np.abs(theirs[1]).max()))
        close(features, theirs[0])


@needs_compiled
@pytest.mark.parametrize(("shape", "second", "own"), [(DEFAULT, 0, 0), (FEW, 4, 0), (DEFAULT, 0, 3)], ids=str)
def test_a_result_is_the_crystals_own(shape, second, own):
    """Alone, shuffled, in batches of 7 and 64, with any number of threads: equal bits."""
    rng = np.random.default_rng(5)
    structures = Structures.from_ase([a for _ in range(5) for a in mixed(rng)][:64])
    model = library(SPECIES, shape, members=3, second=second, own=own)
    whole = kernels.evaluate(structures, model, kernel="compiled")
    for n_threads in (2, 3):
        same_bits(kernels.evaluate(structures, model, n_threads, kernel="compiled"), whole)
    shuffled = rng.permutation(64)
    for groups in (np.split(np.arange(64), 64), np.split(np.arange(64), range(7, 64, 7)), [shuffled]):
        for group in groups:
            part = kernels.evaluate(structures.select(group), model, kernel="compiled")
            atoms = np.concatenate([np.arange(structures.offsets[c], structures.offsets[c + 1]) for c in group])
            for field in ("energies", "stresses", "member_energies"):
                np.testing.assert_array_equal(getattr(part, field), getattr(whole, field)[group], err_msg=field)
            for field in ("forces", "atomic_energies"):
                np.testing.assert_array_equal(getattr(part, field), getattr(whole, field)[atoms], err_msg=field)


@pytest.mark.parametrize("kernel", kernels.available())
def test_the_stress_of_a_layer_is_the_slope_of_its_energy(kernel):
    """Along its plane; a cluster, and a layer in a cell without volume, have none."""
    rng = np.random.default_rng(9)
    model = library((CU, PD), SMALL)
    layer = Atoms(
        "Cu2Pd2", positions=rng.uniform(0, 3.5, size=(4, 3)) * [1, 1, 2], cell=[4.0, 4.2, 12.0], pbc=[1, 1, 0]
    )
    flat, cluster = layer.copy(), layer.copy()
    flat.cell[2], cluster.pbc = 0.0, False
    found = kernels.evaluate(Structures.from_ase([layer, flat, cluster]), model, kernel=kernel)
    assert not found.stresses[1:].any()
    for i, j in ((0, 0), (1, 1), (0, 1)):
        energies = []
        for size in (1e-5, -1e-5):
            strained, strain = layer.copy(), np.eye(3)
            strain[i, j] += size / 2
            strain[j, i] += size / 2
            strained.set_cell(layer.cell @ strain, scale_atoms=True)
            energies.append(kernels.evaluate(Structures.from_ase([strained]), model, kernel=kernel).energies[0])
        slope = (energies[0] - energies[1]) / 2e-5 / layer.cell.volume
        np.testing.assert_allclose(found.stresses[0, i, j], slope, atol=1e-6)


@needs_compiled
@pytest.mark.parametrize("shape", [SMALL, FEW], ids=str)
def test_tables_are_the_crystals_own(shape):
    structures = Structures.from_ase([a for a in mixed(np.random.default_rng(6)) if len(a) <= 6])
    whole = kernels.jacobians(structures, shape, SPECIES, kernel="compiled")
    threaded = kernels.jacobians(structures, shape, SPECIES, n_threads=2, kernel="compiled")
    for c in range(len(structures)):
        (alone,) = kernels.jacobians(structures.select([c]), shape, SPECIES, kernel="compiled")
        for k in (0, 1):
            np.testing.assert_array_equal(alone[k], whole[c][k])
            np.testing.assert_array_equal(threaded[c][k], whole[c][k])


@needs_compiled
@pytest.mark.parametrize("shape", [DEFAULT, SMALL, Shape(5.0, 2, 5, 3), FEW], ids=str)
@pytest.mark.parametrize("own", [(CU,), (PD,), (AU,), (CU, PD), (PD, AG), (CU, AU), (CU, PD, AG), (PD, AG, AU)])
def test_a_crystal_has_the_same_bits_in_every_library(own, shape):
    """Unary in binary, binary in ternary, ternary in quaternary."""
    structures = Structures.from_ase(mixed(np.random.default_rng(7), own))
    expected = kernels.evaluate(structures, library(own, shape), kernel="compiled")
    for larger in [(CU, PD, AG, AU), *(s for s in ((CU, PD), (CU, PD, AG), (PD, AG, AU)) if set(own) < set(s))]:
        same_bits(kernels.evaluate(structures, library(larger, shape), kernel="compiled"), expected)


@pytest.mark.parametrize("kernel", kernels.available())
def test_blocks_of_absent_elements_are_exactly_zero(kernel):
    structures = Structures.from_ase(mixed(np.random.default_rng(8), (CU, AG))[:8])
    tables = kernels.jacobians(structures.select([0, 1, 2]), SMALL, SPECIES, kernel=kernel)
    tables += [(f, f) for f in kernels.features(structures, SMALL, SPECIES, kernel=kernel)]
    numbers = [structures.atoms(c).numbers for c in [0, 1, 2, *range(len(structures))]]
    for own, (features, slopes) in zip(numbers, tables, strict=True):
        for i, centre in enumerate(own.tolist()):
            for block in SMALL.blocks(centre, SPECIES):
                absent = not set(block.stratum.numbers) <= set(own.tolist())
                assert absent != bool(features[i, block.start : block.stop].any())
                assert not absent or not slopes[i, block.start : block.stop].any()


@needs_compiled
@pytest.mark.parametrize("own", [(CU,), (PD, AG), (CU, PD, AG)])
def test_two_layers_have_the_same_bits_in_every_library(own):
    structures = Structures.from_ase(mixed(np.random.default_rng(7), own))
    small, large = (library(s, VP2017, hidden=10, second=10) for s in (own, (CU, PD, AG, AU)))
    expected = kernels.evaluate(structures, small, kernel="compiled")
    same_bits(kernels.evaluate(structures, large, kernel="compiled"), expected)


@needs_compiled
@pytest.mark.parametrize("own", [(CU,), (PD, AG), (CU, PD, AG)])
def test_widened_strata_have_the_same_bits_in_every_library(own):
    """Units that a pair or triple adds say exactly nothing where one of its elements is absent."""
    structures = Structures.from_ase(mixed(np.random.default_rng(7), own))
    small, large = (library(s, SMALL, own=3) for s in (own, (CU, PD, AG, AU)))
    expected = kernels.evaluate(structures, small, kernel="compiled")
    same_bits(kernels.evaluate(structures, large, kernel="compiled"), expected)
    if len(own) == 1:
        same_bits(kernels.evaluate(structures, library(own, SMALL), kernel="compiled"), expected)


@needs_compiled
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("members", "hidden"), [(1, 16), (3, 5)])
def test_predictions_of_refined_strata_agree(shape, members, hidden):
    """In crystals that see all elements, and in thin ones that see some of them in part."""
    rng = np.random.default_rng(3)
    crystals = [*mixed(rng), *(crystal(rng, n, SPECIES, scale=s) for n in (3, 4, 6) for s in (1.6, 1.8, 2.0, 2.2))]
    structures, model = Structures.from_ase(crystals), library(SPECIES, shape, members, hidden, refined=True)
    found, expected = (kernels.evaluate(structures, model, kernel=k) for k in ("compiled", "torch"))
    for field in FIELDS:
        close(getattr(found, field), getattr(expected, field))
    last = members - 1
    np.testing.assert_allclose(
        kernels.evaluate(structures, model.member(last)).energies, expected.member_energies[:, last], rtol=1e-10
    )


@needs_compiled
@pytest.mark.parametrize("own", [(CU,), (PD, AG), (CU, PD, AG)])
def test_refined_strata_have_the_same_bits_in_every_library(own):
    """The networks of a set speak for its own crystals alone; an element is as it was before."""
    rng = np.random.default_rng(7)
    structures = Structures.from_ase([*mixed(rng, own), *(crystal(rng, 4, own, scale=s) for s in (1.7, 2.0))])
    small, large = (library(s, SMALL, refined=True) for s in (own, (CU, PD, AG, AU)))
    expected = kernels.evaluate(structures, small, kernel="compiled")
    same_bits(kernels.evaluate(structures, large, kernel="compiled"), expected)
    if len(own) == 1:
        same_bits(kernels.evaluate(structures, library(own, SMALL), kernel="compiled"), expected)


@needs_compiled
@pytest.mark.parametrize(("shape", "degree"), [(DEFAULT, 4), (SMALL, 3), (SMALL, 4), (FEW, 3)], ids=str)
def test_predictions_on_embedded_atoms_agree(shape, degree):
    """The potential under the networks, where every element of it has parameters of its own and in thin crystals."""
    rng = np.random.default_rng(3)
    crystals = [*mixed(rng), *(crystal(rng, n, SPECIES, scale=s) for n in (3, 4, 6) for s in (1.6, 2.0))]
    structures, model = Structures.from_ase(crystals), library(SPECIES, shape, 3, 5, embedded=degree)
    found, expected = (kernels.evaluate(structures, model, kernel=k) for k in ("compiled", "torch"))
    bare = kernels.evaluate(structures, library(SPECIES, shape, 3, 5), kernel="compiled")
    assert (np.abs(found.energies - bare.energies) > 1e-3).all()
    for field in FIELDS:
        close(getattr(found, field), getattr(expected, field))


@needs_compiled
@pytest.mark.parametrize("own", [(CU,), (PD, AG), (CU, PD, AG)])
def test_embedded_atoms_have_the_same_bits_in_every_library(own):
    structures = Structures.from_ase(mixed(np.random.default_rng(7), own))
    small, large = (library(s, SMALL, embedded=4) for s in (own, (CU, PD, AG, AU)))
    expected = kernels.evaluate(structures, small, kernel="compiled")
    same_bits(kernels.evaluate(structures, large, kernel="compiled"), expected)
    for group in (np.arange(8), np.random.default_rng(8).permutation(len(structures))):
        part = kernels.evaluate(structures.select(group), large, n_threads=2, kernel="compiled")
        np.testing.assert_array_equal(part.member_energies, expected.member_energies[group])
        np.testing.assert_array_equal(part.stresses, expected.stresses[group])


def test_a_pair_without_a_stratum_has_the_mean_of_its_elements():
    elements = {Stratum((z,)): stratum_parameters(Stratum((z,)), SMALL, 1, 3, embedded=True) for z in (PD, AG)}
    known = {s: p.embedded for s, p in elements.items()}
    bonds = {s.numbers[0]: own[N_DENSITY : N_DENSITY + N_PAIR] for s, own in known.items()}
    mean = np.append((bonds[PD] + bonds[AG]) / 2, [0.0, 0.0])
    absent, there = (EmbeddedAtoms.of((PD, AG), 5.0, k, 4) for k in (known, {**known, Stratum((PD, AG)): mean}))
    for name in ("pairs", "densities", "pair_knots", "density_knots"):
        np.testing.assert_allclose(getattr(absent, name), getattr(there, name), rtol=1e-14)
        assert getattr(absent, name).max() > 0
    parameters = [elements[Stratum((PD,))], replace(elements[Stratum((AG,))], embedded=None)]
    with pytest.raises(ValueError, match="no embedded-atom parameters for Ag"):
        fold(SMALL, (PD, AG), parameters, False)
    with pytest.raises(ValueError, match=r"`embedded` of Pd must have shape \(19,\)"):
        fold(SMALL, (PD,), [replace(parameters[0], embedded=mean)], False)


@needs_compiled
def test_wider_and_narrower_strata_go_together():
    """A triple that adds five units does not change the bits of a pair that adds two."""
    structures = Structures.from_ase(mixed(np.random.default_rng(7), (CU, PD)))
    strata = {
        s: stratum_parameters(s, SMALL, 3, 5, own=0 if s.order == 1 else 2 if s.order == 2 else 5)
        for s in Stratum((CU, PD, AG)).subsets()
    }
    pair = fold(SMALL, (CU, PD), [p for s, p in strata.items() if AG not in s.numbers], True)
    expected = kernels.evaluate(structures, pair, kernel="compiled")
    same_bits(
        kernels.evaluate(structures, fold(SMALL, (CU, PD, AG), list(strata.values()), True), kernel="compiled"),
        expected,
    )
    one = fold(SMALL, (CU, PD, AG), list(strata.values()), True).member(1)
    np.testing.assert_allclose(kernels.evaluate(structures, one).energies, expected.member_energies[:, 1], rtol=1e-12)


@pytest.mark.parametrize("kernel", kernels.available())
def test_hard_cores(kernel):
    """MAISE's setting UREP: cores of 0.895 Å (Cu) and 1.030 Å (Ag), each pair counted from both ends."""
    structures = Structures.from_ase([Atoms("CuAg", [[0, 0, 0], [0, 0, r]]) for r in (0.8, 1.7, 2.0)])
    with_it, without = (
        kernels.evaluate(structures, library((CU, AG), FEW, core_energy=u), kernel=kernel).energies
        for u in (100.0, 0.0)
    )
    r = np.array([0.8, 1.7])
    expected = 200 * 0.5 * (1 + np.cos(np.pi * r / 1.925)) * 1.925 / r
    np.testing.assert_allclose((with_it - without)[:2], expected, rtol=1e-9)
    assert with_it[2] == without[2]
    with pytest.raises(ValueError, match="must be 0 for Pt: hard cores are known of Li"):
        library((CU, 78), FEW, core_energy=100.0)


@pytest.mark.parametrize("kernel", kernels.available())
def test_the_repulsion_of_a_close_pair(kernel):
    """Ziegler-Biersack-Littmark, full inside 0.3 of the sum of the radii (1.32 Å for Cu)."""
    structures = Structures.from_ase([Atoms("Cu2", [[0, 0, 0], [0, 0, r]]) for r in (0.7, 1.0, 1.4, 1.8)])
    with_it, without = (
        kernels.evaluate(structures, library((CU,), SMALL, repulsion=on), kernel=kernel).energies
        for on in (True, False)
    )
    r = np.array([0.7, 1.0, 1.4])
    x = r / (0.46850 / (2 * 29**0.23))
    phi = sum(
        c * np.exp(-d * x) for c, d in ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
    )
    u = np.maximum((r - 0.792) / (1.716 - 0.792), 0.0)
    expected = 14.399645 * 29**2 / r * phi * (1 - 10 * u**3 + 15 * u**4 - 6 * u**5)
    np.testing.assert_allclose((with_it - without)[:3], expected, rtol=1e-6)
    assert with_it[3] == without[3]


def absurd() -> list[Atoms]:
    copper = bulk("Cu", cubic=True)
    kinds = [copper.copy() for _ in range(9)]
    kinds[0].positions[1, 2] = np.nan
    kinds[1].positions[2, 0] = np.inf
    kinds[2].cell[0, 0] = np.nan
    kinds[3].set_cell(copper.cell * 0.05, scale_atoms=True)
    kinds[4].set_cell(np.diag([4.0, 4.0, 1e-9]), scale_atoms=True)
    kinds[5].cell[2] = kinds[5].cell[1]
    kinds[6].cell[:] = 0.0
    kinds[7].positions[1] = kinds[7].positions[0]
    kinds[8].set_cell([[1e-3, 0, 0], [1e3, 1e-3, 0], [0, 1e3, 1e-3]])
    return kinds


@pytest.mark.parametrize("kernel", kernels.available())
@pytest.mark.parametrize("which", range(9))
@pytest.mark.parametrize("shape", [SMALL, FEW], ids=str)
def test_absurd_crystals_are_nan_and_harm_no_other(kernel, which, shape):
    good = bulk("Cu", cubic=True)
    model = library((CU,), shape)
    alone = kernels.evaluate(Structures.from_ase([good]), model, kernel=kernel)
    structures = Structures.from_ase([good, absurd()[which], good])
    start = time.process_time()
    found = kernels.evaluate(structures, model, kernel=kernel)
    tables = kernels.jacobians(structures, shape, (CU,), kernel=kernel)
    plain = kernels.features(structures, shape, (CU,), kernel=kernel)
    assert time.process_time() - start < 20
    for values in (found.energies[1], found.stresses[1], found.member_energies[1]):
        assert np.isnan(values).all()
    for values in (found.forces[4:8], found.atomic_energies[4:8], *tables[1], plain[1]):
        assert np.isnan(values).all()
    for c in (0, 2):
        close(found.energies[c], alone.energies[0])
        close(found.forces[4 * c : 4 * c + 4], alone.forces)
        assert np.isfinite(tables[c][1]).all() and np.isfinite(plain[c]).all()


@pytest.mark.parametrize("kernel", kernels.available())
def test_far_atoms_and_long_cells_are_no_reason_for_nan(kernel):
    """Unwrapped positions, a needle of a cell, a cluster with an atom that flew away."""
    needle = bulk("Cu", cubic=True)
    needle.set_cell([[2.0, 0, 0], [20.0, 3.0, 0], [13.0, 40.0, 6.0]], scale_atoms=True)
    far = bulk("Cu", cubic=True)
    near = far.copy()
    far.positions[1] += 300 * far.cell[0] - 57 * far.cell[2]
    cluster = Atoms("Cu3", [[0, 0, 0], [0, 0, 2.4], [0, 0, 1e6]])
    structures = Structures.from_ase([needle, far, near, cluster])
    found = kernels.evaluate(structures, library((CU,), SMALL), kernel=kernel)
    assert np.isfinite(found.energies).all() and np.isfinite(found.forces).all()
    close(found.energies[1], found.energies[2])


@pytest.mark.parametrize("repeats", [(1, 1, 150), (14, 14, 1), (9, 9, 9)], ids=str)
def test_large_cells_of_any_shape_are_the_small_one_many_times(repeats):
    """A needle, a plate and a block: the first two have most images of a sphere far from all atoms."""
    rng, small = np.random.default_rng(4), bulk("Cu", cubic=True)
    small.positions += rng.normal(scale=0.1, size=(4, 3))
    large, n = small.repeat(repeats), int(np.prod(repeats))
    model = library((CU,), SMALL)
    one, many = (kernels.evaluate(Structures.from_ase([a]), model) for a in (small, large))
    close(many.energies[0] / n, one.energies[0])
    close(many.forces, np.tile(one.forces, (n, 1)))
    close(many.stresses, one.stresses)


@pytest.mark.parametrize("shape", [SMALL, FEW], ids=str)
def test_cubes_of_images_find_the_neighbours_that_all_images_have(shape):
    """More images than are searched for every atom, on axes that are periodic and on some that are not."""
    rng = np.random.default_rng(5)
    crystals = []
    for pbc in (True, (True, True, False), False):
        atoms = bulk("Cu", cubic=True).repeat((7, 7, 6))
        atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))
        atoms.numbers = rng.choice([CU, PD], len(atoms))
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(scale=0.1, size=(3, 3))), scale_atoms=True)
        atoms.pbc = pbc
        crystals.append(atoms)
    structures, model = Structures.from_ase(crystals), library((CU, PD), shape)
    compiled, plain = (kernels.evaluate(structures, model, kernel=k) for k in kernels.available()[:2])
    for name in ("energies", "forces", "stresses"):
        np.testing.assert_allclose(getattr(compiled, name), getattr(plain, name), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", kernels.available())
def test_no_crystals(kernel):
    empty = Structures.from_ase([])
    found = kernels.evaluate(empty, library((CU, PD), SMALL), kernel=kernel)
    assert found.energies.shape == (0,) and found.member_energies.shape == (0, 2)
    assert kernels.features(empty, SMALL, (CU,), kernel=kernel) == []
    assert kernels.jacobians(empty, SMALL, (CU,), kernel=kernel) == []


@pytest.mark.parametrize("kernel", kernels.available())
def test_an_unknown_element_is_named(kernel):
    structures = Structures.from_ase([bulk("Au"), bulk("Cu")])
    with pytest.raises(ValueError, match="hold Au, the model knows only Cu, Pd"):
        kernels.evaluate(structures, library((CU, PD), SMALL), kernel=kernel)
    with pytest.raises(ValueError, match="hold Au"):
        kernels.features(structures, SMALL, (CU, PD), kernel=kernel)


def test_the_choice_of_the_kernel(monkeypatch):
    structures, model = Structures.from_ase([crystal(np.random.default_rng(9), 3)]), library(SPECIES, SMALL)
    with pytest.raises(ValueError, match='`kernel` must be "auto"'):
        kernels.evaluate(structures, model, kernel="fortran")
    with pytest.raises(ValueError, match='runs on "cpu"'):
        kernels.evaluate(structures, model, kernel="compiled", device="cuda")
    monkeypatch.setattr(compiled, "_kernel", None)
    assert kernels.available() == ("torch",)
    with pytest.raises(RuntimeError, match="it was not built"):
        kernels.evaluate(structures, model, kernel="compiled")
    same_bits(kernels.evaluate(structures, model), kernels.evaluate(structures, model, kernel="torch"))


@needs_compiled
def test_threads_that_cannot_be_had_are_done_without():
    """A limit on processes or memory of a batch system; here one on the address space, which holds no forty stacks."""
    program = """
import resource
from ase.build import bulk
from potentials.library import Library
from potentials.stratum import Stratum
from potentials.structures import Structures
potential = Library.open("cu-pd-ag-pbe").assemble(Stratum((29,)))
structures = Structures.from_ase([bulk("Cu", cubic=True)] * 50)
expected = potential.evaluate(structures)
with open("/proc/self/status") as status:
    used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, used + 2**25))
found = potential.evaluate(structures, n_threads=40)
assert found.energies.tobytes() == expected.energies.tobytes()
assert found.forces.tobytes() == expected.forces.tobytes()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
