"""The library on disk: strata are added and never changed, damage is seen, any elements are assembled from parts."""

import json
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from potentials import kernels
from potentials.dataset import write_dataset
from potentials.library import Library, LibraryError, Recipe
from potentials.network import Shape
from potentials.recipe import Fitting
from potentials.stratum import Stratum
from potentials.structures import Structures
from tests.crystals import AG, AU, CU, PD, crystal
from tests.labelled import dataset, train, trained

needs_compiled = pytest.mark.skipif("compiled" not in kernels.available(), reason="the compiled kernel is not built")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("library") / "lib", ["Cu", "Pd", "Ag", "CuPd"])


@pytest.fixture
def library(original, tmp_path):
    return original.copy(tmp_path / "copy")


def test_what_is_added_comes_back(library):
    for stratum in library.strata():
        one = library.stratum(stratum)
        two = Library.open(library.path).stratum(stratum)
        assert one.content_hash() == two.content_hash() and one.metadata == two.metadata
        assert {k: v.tobytes() for k, v in one.arrays().items()} == {k: v.tobytes() for k, v in two.arrays().items()}


def test_adding_changes_no_file_that_exists(library):
    before = {p.name: p.read_bytes() for p in library.path.glob("*.npz")}
    train(library, ["CuAg", "PdAg", "CuPdAg"], iterations=3)
    after = {p.name: p.read_bytes() for p in library.path.glob("*.npz")}
    assert {k: after[k] for k in before} == before and len(after) == len(before) + 3
    assert [s.name for s in library.strata()] == ["Cu", "Pd", "Ag", "CuPd", "CuAg", "PdAg", "CuPdAg"]


def test_the_same_stratum_is_not_added_twice(library):
    stratum = Stratum.parse("CuPd")
    before, version = sorted(p.name for p in library.path.iterdir()), library.version()
    assert library.add(library.stratum(stratum)) == 1
    assert sorted(p.name for p in library.path.iterdir()) == before and library.version() == version


def test_a_retrained_stratum_gets_the_next_version_and_the_old_one_can_be_used(library):
    version, old = library.version(), library.versions()
    train(library, ["CuPd"], iterations=2)
    assert library.versions()["CuPd"] == 2 and library.version() != version
    assert library.version(old) == version == library.assemble(Stratum.parse("CuPdAg"), versions=old).method
    library.use(old)
    assert Library.open(library.path).versions() == old


def test_a_stratum_whose_ground_moved_is_refused(library):
    train(library, ["Cu"], iterations=2)
    with pytest.raises(LibraryError, match=r"CuPd version 1 .* was trained on another version of Cu; train CuPd again"):
        library.assemble(Stratum.parse("CuPd"))
    library.assemble(Stratum.parse("CuPd"), versions={"Cu": 1, "Pd": 1, "CuPd": 1})
    train(library, ["CuPd"], iterations=2)
    library.assemble(Stratum.parse("CuPd"))


def test_a_stratum_from_elsewhere_is_refused(library, original, tmp_path):
    other = Library.create(tmp_path / "other", original.recipe)
    with pytest.raises(LibraryError, match=r"CuPd was trained on a Cu that .* does not hold"):
        other.add(original.stratum(Stratum.parse("CuPd")))
    wider = Library.create(tmp_path / "wider", Recipe(original.recipe.shape, hidden=4, members=2))
    with pytest.raises(LibraryError, match=r"`columns` of Cu .* must have shape"):
        wider.add(original.stratum(Stratum.parse("Cu")))


def test_any_altered_byte_is_seen(library):
    path = library.path / "CuPd.v0001.npz"
    good = path.read_bytes()
    rng = random.Random(0)
    altered = [good[:k] for k in (0, 1, len(good) // 2, len(good) - 1)]
    for _ in range(60):
        k, bit = rng.randrange(len(good)), 1 << rng.randrange(8)
        altered.append(good[:k] + bytes([good[k] ^ bit]) + good[k + 1 :])
    for data in altered:
        path.write_bytes(data)
        with pytest.raises(LibraryError, match=r"CuPd\.v0001\.npz is damaged"):
            library.assemble(Stratum.parse("CuPd"))
    path.unlink()
    with pytest.raises(LibraryError, match=r"CuPd\.v0001\.npz cannot be read"):
        library.assemble(Stratum.parse("CuPd"))
    assert library.assemble(Stratum.parse("CuAg")).stratum.name == "CuAg"


def test_damaged_files_are_not_copied(library, tmp_path):
    path = library.path / "CuPd.v0001.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LibraryError, match=r"CuPd\.v0001\.npz is damaged"):
        library.copy(tmp_path / "another")
    assert not (tmp_path / "another").exists()


MAKE = """
import sys
from pathlib import Path
from potentials.__main__ import main
import potentials.commands.data, potentials.library
ready, go = Path(sys.argv[1]), Path(sys.argv[2])
ready.touch()
while not go.exists(): pass
sys.exit(main(["data", "add", sys.argv[3], sys.argv[4], "--recipe", "quick"]))
"""


def test_two_processes_may_begin_a_library_at_once(tmp_path):
    for k, n in ((0, 8), (1, 9)):
        write_dataset(tmp_path / f"{k}.extxyz", dataset((CU,), n, k))
    for turn in range(4):
        go, target = tmp_path / f"go{turn}", tmp_path / f"lib{turn}"
        ready = [tmp_path / f"ready{turn}.{k}" for k in (0, 1)]
        both = [
            subprocess.Popen(
                [sys.executable, "-c", MAKE, str(ready[k]), str(go), str(target), str(tmp_path / f"{k}.extxyz")],
                stdout=subprocess.DEVNULL,
            )
            for k in (0, 1)
        ]
        end = time.monotonic() + 60
        while not all(r.exists() for r in ready) and time.monotonic() < end:
            time.sleep(0.01)
        go.touch()
        assert [process.wait(timeout=60) for process in both] == [0, 0]
        assert len(Library.open(target).data()) == 17


def test_a_file_under_another_name_is_seen(library):
    shutil.copyfile(library.path / "Cu.v0001.npz", library.path / "Pd.v0001.npz")
    with pytest.raises(LibraryError, match=r"Pd\.v0001\.npz is damaged"):
        library.assemble(Stratum.parse("Pd"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 9, "recipe": {}, "strata": {}}', "null"])
def test_a_damaged_index_is_one_clear_line(library, text):
    (library.path / "library.json").write_text(text)
    with pytest.raises(LibraryError, match=r"library\.json") as error:
        Library.open(library.path)
    assert "\n" not in str(error.value)


def test_no_library_and_one_too_many(library, tmp_path):
    with pytest.raises(LibraryError, match="holds no library"):
        Library.open(tmp_path / "nothing")
    with pytest.raises(LibraryError, match="holds a library already"):
        Library.create(library.path, library.recipe)
    with pytest.raises(LibraryError, match="has no version 7 of Cu"):
        library.assemble(Stratum.parse("Cu"), versions={"Cu": 7})
    with pytest.raises(LibraryError, match="has no stratum Au; train it first"):
        library.assemble(Stratum((CU, AU)))


def test_recipe_survives_json():
    recipe = Recipe(Shape(5.5, 4, 2, 6), hidden=7, members=3, repulsion=False, fitting=Fitting(decay=0.3, seed=4))
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    with pytest.raises(ValueError, match="`hidden` must be at least 1"):
        Recipe(recipe.shape, hidden=0)


@needs_compiled
def test_larger_sets_are_assembled_from_parts_that_keep_their_bits(library):
    train(library, ["CuAg"], iterations=2)
    three, two = library.assemble(Stratum((CU, PD, AG))), library.assemble(Stratum((CU, PD)))
    binary = dataset((CU, PD), 6, 9).structures
    assert three.evaluate(binary).energies.tobytes() == two.evaluate(binary).energies.tobytes()
    assert three.evaluate(binary).forces.tobytes() == two.evaluate(binary).forces.tobytes()
    ternary = Structures.from_ase([crystal(np.random.default_rng(1), 6, (CU, PD, AG))])
    assert np.isfinite(three.evaluate(ternary).energies).all()
    assert three.grades(ternary)[0] == np.inf


@needs_compiled
def test_a_quaternary_is_assembled_from_parts(library):
    train(library, ["Au", "CuAg", "PdAg", "CuAu", "CuPdAg"], n=10, iterations=2)
    four = Stratum((CU, PD, AG, AU))
    potential = library.assemble(four)
    for names in ("Cu", "CuPd", "CuPdAg"):
        part = Stratum.parse(names)
        crystals = dataset(part.numbers, 6, 9).structures
        smaller = library.assemble(part).evaluate(crystals)
        larger = potential.evaluate(crystals)
        assert larger.energies.tobytes() == smaller.energies.tobytes()
        assert larger.forces.tobytes() == smaller.forces.tobytes()
        assert larger.stresses.tobytes() == smaller.stresses.tobytes()
    all_four = dataset(four.numbers, 4, 9).structures
    said = potential.evaluate(all_four)
    assert np.isfinite(said.energies).all() and np.isfinite(said.forces).all()
    assert np.isinf(potential.grades(all_four)).all()  # three of its triples were never trained


def test_rows_describe_the_strata(library):
    rows = {r.stratum: r for r in library.describe()}
    size = library.recipe.shape.block_size
    assert rows["Cu"].n_parameters == 3 * size(1) + 3 + 3 + 1
    assert rows["CuPd"].n_parameters == 2 * 3 * size(2)
    assert rows["CuPd"].n_total == rows["Cu"].n_parameters + rows["Pd"].n_parameters + rows["CuPd"].n_parameters
    assert rows["CuPd"].n_data == 40 and rows["CuPd"].seconds > 0.4 and 0 < rows["CuPd"].errors["energy_train"] < 0.1
