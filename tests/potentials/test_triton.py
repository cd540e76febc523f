"""The kernels for GPUs: on a GPU where there is one, else in Triton's interpreter on the processor."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from potentials import kernels
from potentials.features.symmetry_functions import VP2017
from potentials.kernels import compiled
from potentials.kernels.tape import Tape
from potentials.network import Shape
from potentials.structures import Structures
from tests.crystals import AG, CU, PD, crystal, library

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before the first import of triton
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
cuda = pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device")
SPECIES = (CU, PD, AG)
SMALL, DEEP, HIGH = Shape(3.6, n_max=2, l_max=2, n_pair=3), Shape(3.6, 2, 4, 5), Shape(3.6, 1, 5, 2)
FIELDS = ("energies", "forces", "stresses", "member_energies", "atomic_energies")


def cell(rng: np.random.Generator, repeat: tuple[int, int, int], periodic=True) -> Atoms:
    """A strained and rattled cell of fcc; compact, because the interpreter takes its time over every image."""
    atoms = bulk("Cu", a=3.9) * repeat
    atoms.numbers = rng.choice(SPECIES, size=len(atoms))
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(scale=0.05, size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.15, size=(len(atoms), 3))
    atoms.pbc = periodic
    return atoms


def few(rng: np.random.Generator) -> list[Atoms]:
    """Cells of one atom to four, a layer, a wire, a cluster inside the repulsion, an atom alone."""
    return [
        cell(rng, (1, 1, 1)),
        cell(rng, (2, 1, 1)),
        cell(rng, (2, 2, 1)),
        cell(rng, (1, 2, 1), (True, True, False)),
        cell(rng, (2, 1, 1), (False, True, False)),
        Atoms("CuAgPd", [[0, 0, 0], [0.1, 0.2, 1.3], [0, 2.1, 0.9]]),
        Atoms("Pd", [[9, 9, 9]]),
    ]


def said(structures, model, kernel):
    return kernels.evaluate(structures, model, kernel=kernel, device=DEVICE)


def expected_of(structures, model):
    return kernels.evaluate(structures, model, kernel="compiled" if compiled.missing() is None else "torch")


def same_bits(found, expected, crystals, atoms):
    for field in ("energies", "stresses", "member_energies"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field)[crystals], err_msg=field)
    for field in ("forces", "atomic_energies"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field)[atoms], err_msg=field)


@triton
@pytest.mark.parametrize("shape", [SMALL, DEEP, HIGH], ids=str)
@pytest.mark.parametrize(
    ("own", "refined", "embedded"), [(0, False, 0), (2, False, 0), (0, True, 0), (0, False, 3), (0, False, 4)]
)
def test_in_double_precision_it_is_the_processors_result(shape, own, refined, embedded):
    thin = Atoms("CuPdAgCu", [[0, 0, 0], [2.6, 0, 0], [3.2, 2.5, 0], [0, 0, 3.3]])  # sees some elements in part
    structures = Structures.from_ase([*few(np.random.default_rng(3)), thin])
    model = library(SPECIES, shape, members=3, hidden=5, own=own, refined=refined, embedded=embedded)
    found, expected = said(structures, model, "triton-double"), expected_of(structures, model)
    for field in FIELDS:
        np.testing.assert_allclose(
            getattr(found, field), getattr(expected, field), rtol=1e-10, atol=1e-10, err_msg=field
        )


@triton
@pytest.mark.parametrize("embedded", [0, 3, 4])
def test_in_single_precision(embedded):
    """Features, weights and slopes carry 6e-8; a unit sums some tens of products, a force some hundred terms.

    So errors stay below some 1e-6 of the terms that are added: those of the networks, a few eV, and of the repulsion
    inside the cluster, a hundred eV and eV/Å.
    """
    structures = Structures.from_ase(few(np.random.default_rng(3)))
    model = library(SPECIES, SMALL, members=3, embedded=embedded)
    found, expected = said(structures, model, "triton"), expected_of(structures, model)
    for field in FIELDS:
        ours, theirs = getattr(found, field), getattr(expected, field)
        np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=3e-5, err_msg=field)
        assert (ours != theirs).any()  # it is not the double one
    for c in range(len(structures)):  # sums are double: what one atom feels, the others feel the other way
        atoms = slice(structures.offsets[c], structures.offsets[c + 1])
        np.testing.assert_allclose(
            found.forces[atoms].sum(axis=0), 0.0, atol=1e-11 * (1 + np.abs(found.forces[atoms]).max())
        )


@triton
def test_a_result_is_the_crystals_own():
    structures = Structures.from_ase(few(np.random.default_rng(4)))
    model = library(SPECIES, SMALL, embedded=4)
    whole = said(structures, model, "triton")
    for group in ([2], [6, 3, 0], np.random.default_rng(5).permutation(7)):
        atoms = np.concatenate([np.arange(structures.offsets[c], structures.offsets[c + 1]) for c in group])
        same_bits(said(structures.select(group), model, "triton"), whole, group, atoms)


@triton
@pytest.mark.parametrize(
    ("own", "refined", "embedded"), [(0, False, 0), (2, False, 0), (0, True, 0), (0, False, 3), (0, False, 4)]
)
def test_a_crystal_has_the_same_bits_in_a_larger_library(own, refined, embedded):
    rng = np.random.default_rng(6)
    atoms = cell(rng, (2, 1, 1))
    atoms.numbers = [AG, CU]
    structures = Structures.from_ase([atoms, Atoms("CuAg2", 1.5 * rng.random((3, 3)) + np.diag([2, 4, 6]))])
    small, large = (
        said(structures, library(s, SMALL, own=own, refined=refined, embedded=embedded), "triton")
        for s in ((CU, AG), SPECIES)
    )
    same_bits(large, small, slice(None), slice(None))


@triton
def test_absurd_crystals_are_nan_and_harm_no_other():
    good = bulk("Cu", cubic=True)
    kinds = [good.copy() for _ in range(6)]
    kinds[0].positions[1, 2] = np.nan
    kinds[1].cell[0, 0] = np.nan
    kinds[2].set_cell(np.diag([4.0, 4.0, 1e-9]), scale_atoms=True)
    kinds[3].cell[2] = kinds[3].cell[1]
    kinds[4].cell[:] = 0.0
    kinds[5].positions[1] = kinds[5].positions[0]
    model = library((CU,), SMALL)
    alone = said(Structures.from_ase([good]), model, "triton")
    found = said(Structures.from_ase([*kinds, good]), model, "triton")
    assert np.isnan(found.energies[:6]).all() and np.isnan(found.stresses[:6]).all()
    assert np.isnan(found.forces[:24]).all() and np.isnan(found.atomic_energies[:24]).all()
    same_bits(alone, found, [6], slice(24, 28))


@triton
def test_no_crystals():
    found = said(Structures.from_ase([]), library(SPECIES, SMALL), "triton")
    assert found.energies.shape == (0,) and found.member_energies.shape == (0, 2)


@triton
def test_the_batch_is_cut_to_the_memory(monkeypatch):
    from potentials.kernels import triton_model, triton_path

    structures = Structures.from_ase([Atoms(f"Cu{n}", 2.5 * np.eye(3)[:n]) for n in (1, 2, 1)])
    model = library((CU,), SMALL)
    whole = said(structures, model, "triton")
    packed = triton_model.pack(model, DEVICE, torch.float32)
    room = 3 * packed.bytes_per_atom + 5 * packed.bytes_per_pair
    monkeypatch.setattr(triton_model.memory, "room", lambda device: room)
    assert [len(part) for part in triton_model.portions(structures, packed)] == [2, 1]
    same_bits(said(structures, model, "triton"), whole, slice(None), slice(None))

    evaluate, sizes = triton_path.evaluate, []

    def scarce(part, *more, **options):
        sizes.append(len(part))
        if len(part) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return evaluate(part, *more, **options)

    monkeypatch.setattr(triton_path, "evaluate", scarce)
    same_bits(said(structures, model, "triton"), whole, slice(None), slice(None))
    assert sizes == [3, 1, 2, 1, 1]


@triton
def test_models_without_kernels_are_refused_by_name():
    structures = Structures.from_ase([bulk("Cu")])
    for model in (library((CU,), VP2017), library((CU,), SMALL, second=3), library((CU,), SMALL, core_energy=9.0)):
        with pytest.raises(ValueError, match="needs the density and networks of one hidden layer"):
            said(structures, model, "triton")
    with pytest.raises(ValueError, match='must be "auto", "compiled" or "torch", got "triton"'):
        kernels.features(structures, SMALL, (CU,), kernel="triton")


def test_why_they_cannot_run(monkeypatch):
    structures, model = Structures.from_ase([bulk("Cu")]), library((CU,), SMALL)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    reason = "they run on a GPU" if find_spec("triton") else "not installed"
    with pytest.raises(RuntimeError, match=reason):
        kernels.evaluate(structures, model, kernel="triton", device="cpu")
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="triton is not installed"):
        kernels.evaluate(structures, model, kernel="triton", device="cuda")


@cuda
@triton
@pytest.mark.parametrize("n_crystals", [1, 7, 64, 4096])
def test_on_the_gpu_of_any_batch(n_crystals):
    """The default shape, blocks filled and not."""
    rng, model = np.random.default_rng(8), library(SPECIES, Shape(6.0, 5, 4, 8), members=4, hidden=16)
    structures = Structures.from_ase([crystal(rng, 8, SPECIES) for _ in range(min(n_crystals, 64))])
    many = structures.select(np.arange(n_crystals) % len(structures))
    found, expected = said(many, model, "auto"), expected_of(structures, model)
    np.testing.assert_allclose(found.forces, np.resize(expected.forces, found.forces.shape), rtol=1e-5, atol=1e-3)
    alone = said(structures.select([0]), model, "triton")
    same_bits(alone, found, [0], slice(0, 8))
    last = (n_crystals - 1) // len(structures) * len(structures)  # the same crystal, elsewhere in the batch
    same_bits(alone, found, [last], slice(8 * last, 8 * last + 8))


@triton
@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_they_compile_for_a_gpu_that_is_not_here(tmp_path):
    """To machine code of compute capability 9.0, no register spilled, for the default shape."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DUMP_PTXAS_LOG": "1"}
    command = [sys.executable, "-m", "tests.potentials.compile_triton"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spilled = re.findall(r"(\d+) bytes spill stores", done.stdout)
    assert len(spilled) >= 10 and set(spilled) == {"0"}, done.stdout


def test_a_tape_writes_a_formula_and_its_gradient():
    tape = Tape()
    x, y = tape.inputs(["x", "y"])
    value = (
        tape.step("sin", x * y) / (1.0 + tape.step("sqrt", x))
        + tape.step("exp", -0.5 * y) * tape.step("cos", x)
        - 0.0 * y
    )
    results = [value, *tape.gradient(value, [x, y])]
    lines = [line.replace("tl.", "np.") for line in tape.lines(results)]

    def run(x, y):
        names = {"np": np, "x": x, "y": y}
        exec("\n".join(lines), names)
        return [names[r.name] for r in results]

    at, by_x, by_y = run(0.7, 1.3)
    assert at == pytest.approx(np.sin(0.91) / (1 + np.sqrt(0.7)) + np.exp(-0.65) * np.cos(0.7), rel=1e-14)
    h = 1e-6
    assert by_x == pytest.approx((run(0.7 + h, 1.3)[0] - run(0.7 - h, 1.3)[0]) / (2 * h), rel=1e-8)
    assert by_y == pytest.approx((run(0.7, 1.3 + h)[0] - run(0.7, 1.3 - h)[0]) / (2 * h), rel=1e-8)
    assert len(tape.lines(results[1:])) < len(tape.steps)
