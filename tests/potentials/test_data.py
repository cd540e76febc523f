"""A library's labelled crystals: exact, each once, on one scale, safe against kills and against each other."""

import gzip
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from potentials.dataset import Dataset, write_dataset
from potentials.labelled.duplicates import first_in_each_place, first_of_each
from potentials.labelled.files import parse, render
from potentials.labelled.identity import write_identities
from potentials.labelled.reading import read_labels
from potentials.library import Library, LibraryError, LibraryLockedError
from potentials.storage import lock
from potentials.storage.methods import MixedMethodsError
from potentials.stratum import Stratum
from tests.crystals import AG, CU, PD, crystal
from tests.labelled import SMALL, dataset, labelled, train
from tests.potentials.test_reading import OUTPUTS, steps
from tests.potentials.vasp_files import ionic_steps, outcar, vasprun


@pytest.fixture
def library(tmp_path):
    return Library.create(tmp_path / "lib", SMALL)


def given(tmp_path, data: Dataset, name="data.xyz"):
    write_dataset(tmp_path / name, data)
    return read_labels(tmp_path / name)


def written(tmp_path, name, text, method=""):
    (tmp_path / name).write_text(text)
    return read_labels(tmp_path / name, method)


def same_bits(one: Dataset, two: Dataset) -> bool:
    def arrays(d):
        s = d.structures
        known = (s.numbers, s.positions, s.cells, s.periodic, s.offsets)
        return [
            a.tobytes() for a in (*known, d.labels.energies, d.labels.forces, d.labels.stresses, d.weights, d.seconds)
        ]

    names = ("families", "methods", "sources", "provenance")
    return arrays(one) == arrays(two) and all(getattr(one, n) == getattr(two, n) for n in names)


def test_text_and_back_keeps_every_bit():
    rng = np.random.default_rng(3)
    crystals = [
        crystal(rng, 3),
        crystal(rng, 1, periodic=(False, False, False)),
        crystal(rng, 4, periodic=(True, True, False)),
    ]
    data = Dataset.of(
        crystals,
        energies=rng.normal(size=3),
        forces=[rng.normal(size=(len(a), 3)) for a in crystals],
        stresses=rng.normal(size=(3, 3, 3)),
        method='by "me"',
        families=["a b", 'say "x"\\n', "001"],
        seconds=rng.uniform(size=3),
    )
    data = replace(
        data, provenance=('{"mesh": [9, 9, 5], "engine": "gpaw"}', "", "by hand"), sources=("a:1", "", "b:7")
    )
    data.labels.stresses[1] = np.nan
    data.labels.energies[0] = 1e-300
    assert same_bits(parse(render(data)), data)


def test_crystals_come_back_by_stratum_and_from_ase(library, tmp_path):
    data = dataset((CU,), 6, 3).merge(dataset((CU, PD), 5, 3))
    added = library.add_data([given(tmp_path, data)])
    assert added.crystals == {"Cu": 6, "CuPd": 5} and added.duplicates == 0
    back = Library.open(library.path)
    for name in ("Cu", "CuPd"):
        stratum = Stratum.parse(name)
        found, own = back.data(stratum), data.of_stratum(stratum)
        assert found.hashes() == own.hashes() and found.families == own.families
        np.testing.assert_array_equal(found.seconds, own.seconds)
        images = read(library.path / "data" / f"{name}.extxyz.gz", index=":")
        assert [a.get_potential_energy() for a in images] == own.labels.energies.tolist()
        np.testing.assert_allclose(images[0].get_stress(voigt=False), own.labels.stresses[0], atol=1e-15)
    assert not len(back.data(Stratum.parse("Pd"))) and len(back.data()) == 11
    assert same_bits(library.copy(tmp_path / "copy").data(), back.data())


def test_provenance_is_kept(library, tmp_path):
    data = dataset((CU, PD), 2, 3)
    given_ = ('{"engine": "gpaw", "mesh": [9, 9, 5]}', "by hand")
    library.add_data([given(tmp_path, replace(data, provenance=given_))])
    assert Library.open(library.path).data().provenance == given_


def test_the_same_data_make_the_same_bytes(tmp_path):
    reading = given(tmp_path, dataset((CU, PD), 5, 3))
    files = []
    for name in ("one", "two"):
        library = Library.create(tmp_path / name, SMALL)
        library.add_data([reading])
        files.append([(library.path / f).read_bytes() for f in ("library.json", "data/CuPd.extxyz.gz")])
    assert files[0] == files[1]


def test_what_is_there_is_not_added_twice(library, tmp_path):
    data = dataset((CU, PD), 8, 3)
    first = given(tmp_path, data.select(range(5)), "a.xyz")
    library.add_data([first, first])
    before = (library.path / "data" / "CuPd.extxyz.gz").read_bytes()
    assert len(library.data()) == 5
    again = library.add_data([first])
    assert again.crystals == {} and again.duplicates == 5
    assert (library.path / "data" / "CuPd.extxyz.gz").read_bytes() == before
    more = library.add_data([given(tmp_path, data, "b.xyz")])
    assert more.crystals == {"CuPd": 3} and more.duplicates == 5
    assert (library.path / "data" / "CuPd.extxyz.gz").read_bytes().startswith(before)
    assert library.data().hashes() == data.hashes()


def test_copies_with_their_atoms_in_another_order_are_copies(library, tmp_path):
    data = dataset((CU, PD), 12, 3)
    crystals = [atoms[np.argsort(-atoms.numbers, kind="stable")] for atoms in data.structures.to_ase()]
    again = labelled(crystals, data.families)
    library.add_data([given(tmp_path, data, "a.xyz")])
    assert library.add_data([given(tmp_path, again, "b.xyz")]).duplicates == 12


def test_a_run_that_was_continued_is_one_family(library, tmp_path):
    """It begins where the other ended, and the energy there differs by what the SCF leaves."""
    for k in range(6):
        run = steps(4, seed=k)
        on = [replace(step, energy=step.energy + 1e-5) for step in run[2:]]
        library.add_data([written(tmp_path, f"{k}-OUTCAR", outcar(run[:3]))])
        library.add_data([written(tmp_path, f"{k}-on-OUTCAR", outcar(on))])
    data = library.data()
    assert len(data) == 6 * 5, "the step that both have is no duplicate: its labels differ"
    assert len(set(data.families)) == 6


def test_crystals_in_one_place_are_found_whatever_their_labels():
    data = dataset((CU, PD), 30, 4)
    moved = data.select(range(30))
    rng = np.random.default_rng(5)
    for c in range(30):
        atoms = slice(moved.structures.offsets[c], moved.structures.offsets[c + 1])
        steps_ = rng.integers(-2, 3, size=(atoms.stop - atoms.start, 3))
        moved.structures.positions[atoms] += steps_ @ moved.structures.cells[c]
    moved.structures.positions[:] = moved.structures.positions.round(6)
    moved.labels.energies[:] += 1.0
    assert first_in_each_place(data.followed_by(moved)) == [*range(30), *range(30)]
    for c in range(30):  # in another order, as a program sorts them, and shifted all together
        atoms = slice(moved.structures.offsets[c], moved.structures.offsets[c + 1])
        order = atoms.start + rng.permutation(atoms.stop - atoms.start)
        moved.structures.positions[atoms] = moved.structures.positions[order] + rng.normal(size=3)
        moved.structures.numbers[atoms] = moved.structures.numbers[order]
    assert first_in_each_place(data.followed_by(moved)) == [*range(30), *range(30)]
    moves = rng.choice([-1e-3, 1e-3], size=len(moved.structures.positions))
    moved.structures.positions[:, 0] += moves
    apart = first_in_each_place(data.followed_by(moved))[30:]
    alike = [len(set(part)) == 1 for part in np.split(moves, moved.structures.offsets[1:-1])]
    assert apart == [c if together else 30 + c for c, together in enumerate(alike)] and not all(alike)


def test_a_run_in_two_formats_is_one_run(library, tmp_path):
    run = steps(4)
    library.add_data([written(tmp_path, "vasprun.xml", vasprun(run[:3]))])
    added = library.add_data([written(tmp_path, "OUTCAR", outcar(run))])
    assert added.duplicates == 3 and sum(added.crystals.values()) == 1
    assert len(set(library.data().families)) == 1, "the step that came later is of the same relaxation"
    assert len({bool(h) for h in library.data().is_held_out()}) == 1
    assert len(library.methods) == 1


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ("nothing", True),
        ("lattice vector", True),
        ("rounding", True),
        ("position", False),
        ("energy", False),
        ("forces", False),
    ],
)
def test_equal_within_rounding(change, equal):
    data = dataset((CU, PD), 2, 4).select([0])
    other = data.select([0])
    if change == "lattice vector":
        other.structures.positions[0] += other.structures.cells[0][1]
    if change == "rounding":
        other.structures.positions[:] = other.structures.positions.round(5)
        other.labels.forces[:] = other.labels.forces.round(6)
    if change == "position":
        other.structures.positions[0, 0] += 1e-3
    if change == "energy":
        other.labels.energies[0] += 1e-4
    if change == "forces":
        other.labels.forces[0, 1] += 1e-3
    assert first_of_each(data.followed_by(other)) == ([0, 0] if equal else [0, 1])


def test_mixed_methods_need_a_shift(library, tmp_path):
    run, data = steps(), dataset((CU,), 3, 3)
    library.add_data([given(tmp_path, data)])
    other = written(tmp_path, "OUTCAR", outcar(run))
    message = r"OUTCAR has labels by vasp:\w+, the library has those by ref:emt; .*--shift Cu=\.\.\.,Pd=\.\.\."
    with pytest.raises(MixedMethodsError, match=message):
        library.add_data([other])
    with pytest.raises(MixedMethodsError, match=r"--shift Pd=\.\.\. \("):
        library.add_data([other], {"Cu": 0.25})
    assert len(Library.open(library.path).data()) == 3, "nothing of it was added"
    library.add_data([other], {"Cu": 0.25, "Pd": -1.5})
    raw, one_scale = library.data_as_labelled(), library.data()
    assert set(one_scale.methods) == {"ref:emt"} and len(set(raw.methods)) == 2
    numbers, offsets = raw.structures.numbers, raw.structures.offsets
    for c, method in enumerate(raw.methods):
        own = numbers[offsets[c] : offsets[c + 1]]
        shift = 0.0 if method == "ref:emt" else 0.25 * (own == CU).sum() - 1.5 * (own == PD).sum()
        assert one_scale.labels.energies[c] == pytest.approx(raw.labels.energies[c] + shift, abs=1e-12)
    again = library.add_data([written(tmp_path, "more", outcar(steps(seed=5)))])  # it knows the shift now
    assert sum(again.crystals.values()) == 3
    with pytest.raises(
        MixedMethodsError, match=r"shift of Pd from vasp:\w+ to ref:emt is -1\.5 eV in this library, not 2"
    ):
        library.add_data([written(tmp_path, "third", outcar(steps(seed=6)))], {"Pd": 2.0})
    with pytest.raises(
        MixedMethodsError, match="a shift belongs to labels of one other method; these are all by ref:emt"
    ):
        library.add_data([given(tmp_path, data)], {"Cu": 1.0})


def test_another_cut_off_is_another_method_and_said_so(library, tmp_path):
    library.add_data([written(tmp_path, "a", outcar(steps(), encut=400.0))])
    with pytest.raises(MixedMethodsError, match=r"cutoff_eV 300\.0 against 400\.0"):
        library.add_data([written(tmp_path, "b", outcar(steps(seed=2), encut=300.0))])


def test_one_method_for_all_strata_and_another_pseudopotential_is_another(library, tmp_path):
    copper = [crystal(np.random.default_rng(1), 2, (CU,)) for _ in range(2)]
    library.add_data([written(tmp_path, "Cu", outcar(ionic_steps(copper)))])
    library.add_data([written(tmp_path, "CuPd", outcar(steps()))])  # knows palladium's as well
    (known,) = library.methods.values()
    assert set(known["elements"]) == {"Cu", "Pd"}
    with pytest.raises(
        MixedMethodsError, match=r"Cu pseudopotential PAW_PBE Cu_pv 06Sep2000 against PAW_PBE Cu 06Sep2000"
    ):
        library.add_data([written(tmp_path, "pv", outcar(steps(seed=2), potcar="PAW_PBE {}_pv 06Sep2000"))])
    assert len(library.methods) == 1


def identity(cutoff=400.0, **pulay):
    """Of a program with PAW sets for more elements than anybody labels, and constants for some of them."""
    sets = {s: {"file": f"{s}-1", "valence": 11} for s in ("Cu", "Pd", "Ag", "Au")} | {"Ac": None}
    return {"engine": "gpaw", "cutoff": cutoff, "pulay": pulay, "files": {"gpaw": "26.7", "setups": sets}}


def identified(tmp_path, name, numbers, seed, method, known):
    data = dataset(numbers, 4, seed)
    write_dataset(tmp_path / f"{name}.extxyz.xz", replace(data, methods=(method,) * len(data)))
    write_identities(tmp_path / f"{name}.extxyz.xz", {method: known})
    return read_labels(tmp_path / f"{name}.extxyz.xz")


def test_an_element_that_is_added_later_makes_no_other_method(library, tmp_path):
    first = identified(tmp_path, "first", (CU, PD), 1, "ref:one", identity(Cu=0.57, Pd=0.25))
    library.add_data([first])
    with_silver = identity(Cu=0.57, Pd=0.25, Ag=0.264)
    with_silver["files"]["setups"]["Au"]["file"] = "Au-2"  # nobody has labelled gold
    added = library.add_data([identified(tmp_path, "second", (CU, AG), 2, "ref:two", with_silver)])
    assert added.crystals == {"CuAg": 4}
    assert list(library.methods) == ["ref:one"] == sorted(set(library.data_as_labelled().methods))
    known = library.methods["ref:one"]
    assert known["labelled"] == ["Ag", "Cu", "Pd"] and known["identity"]["pulay"] == {
        "Cu": 0.57,
        "Pd": 0.25,
        "Ag": 0.264,
    }
    assert set(known["identity"]["files"]["setups"]) == {"Cu", "Pd", "Ag"}

    for name, other, told in (
        ("copper", identity(Cu=0.6, Ag=0.264), r"pulay\.Cu 0\.6 against 0\.57"),
        ("silver", identity(Cu=0.57, Ag=0.3), r"pulay\.Ag 0\.3 against 0\.264"),
        ("cutoff", identity(500.0, Cu=0.57, Ag=0.264), r"cutoff 500\.0 against 400\.0"),
    ):
        with pytest.raises(MixedMethodsError, match=told):
            library.add_data([identified(tmp_path, name, (CU, AG), 3, f"ref:{name}", other)])
    assert len(library.data()) == 8 and list(library.methods) == ["ref:one"]


def test_methods_of_which_nothing_is_known_stay_apart(library, tmp_path):
    library.add_data([given(tmp_path, dataset((CU,), 3, 3))])
    other = identified(tmp_path, "other", (PD,), 1, "ref:two", identity(Pd=0.25))
    with pytest.raises(MixedMethodsError, match="has labels by ref:two, the library has those by ref:emt"):
        library.add_data([other])


def test_two_files_at_once_may_be_of_one_method_with_two_names(library, tmp_path):
    one = identified(tmp_path, "one", (CU,), 1, "ref:one", identity(Cu=0.57))
    two = identified(tmp_path, "two", (PD,), 2, "ref:two", identity(Pd=0.25))
    assert library.add_data([one, two]).crystals == {"Cu": 4, "Pd": 4}
    assert list(library.methods) == ["ref:one"]


def test_labels_must_fit_what_the_strata_were_trained_on(library, tmp_path):
    train(library, ["Cu"], n=20, iterations=2)
    with pytest.raises(MixedMethodsError, match="the library has those by ref:emt"):
        library.add_data([read_labels(OUTPUTS / "cu.pwo")])


def test_any_altered_byte_is_seen(library, tmp_path):
    library.add_data([given(tmp_path, dataset((CU, PD), 5, 3))])
    path = library.path / "data" / "CuPd.extxyz.gz"
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    altered = [good[:k] for k in (0, 1, len(good) // 2, len(good) - 1)]
    for k in rng.integers(len(good), size=30).tolist():
        altered.append(good[:k] + bytes([good[k] ^ (1 << int(rng.integers(8)))]) + good[k + 1 :])
    for data in altered:
        path.write_bytes(data)
        with pytest.raises(LibraryError, match=r"CuPd\.extxyz\.gz is damaged"):
            library.data()
        with pytest.raises(LibraryError, match=r"CuPd\.extxyz\.gz is damaged"):
            library.add_data([given(tmp_path, dataset((CU, PD), 5, 4))])
    path.unlink()
    with pytest.raises(LibraryError, match=r"CuPd\.extxyz\.gz cannot be read"):
        library.data()


def test_bytes_that_nobody_counts_are_overwritten(library, tmp_path):
    """What a process leaves that is killed between the data and the index."""
    first, second = dataset((CU, PD), 5, 3), dataset((CU, PD), 5, 4)
    library.add_data([given(tmp_path, first)])
    index = (library.path / "library.json").read_bytes()
    library.add_data([given(tmp_path, second)])
    whole = (library.path / "data" / "CuPd.extxyz.gz").read_bytes()
    (library.path / "library.json").write_bytes(index)
    for end in (len(whole), len(whole) - 7):
        (library.path / "data" / "CuPd.extxyz.gz").write_bytes(whole[:end])
        assert Library.open(library.path).data().hashes() == first.hashes()
    Library.open(library.path).add_data([given(tmp_path, second)])
    assert (library.path / "data" / "CuPd.extxyz.gz").read_bytes() == whole
    assert gzip.decompress(whole).count(b"\nLattice=") == 10


def _add(path, folder, seeds, ready=None):
    library = Library.open(path)
    for seed in seeds:
        library.add_data([read_labels(Path(folder) / f"{seed}.xyz")])


@pytest.mark.parametrize("delay", [0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_kill_at_any_moment_loses_nothing_that_was_there(library, tmp_path, delay):
    for seed in range(12):
        write_dataset(tmp_path / f"{seed}.xyz", dataset((CU, PD), 4, seed))
    library.add_data([read_labels(tmp_path / "0.xyz")])
    before = library.data().hashes()
    process = multiprocessing.get_context("fork").Process(target=_add, args=(library.path, tmp_path, range(1, 12)))
    process.start()
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    after = Library.open(library.path)
    found = after.data().hashes()
    assert found[: len(before)] == before and len(found) % 4 == 0
    _add(
        library.path, tmp_path, range(1, 12)
    )  # the same once more: what is missing is added, the lock of the dead is void
    expected = {h for seed in range(12) for h in dataset((CU, PD), 4, seed).hashes()}
    found = Library.open(library.path).data().hashes()
    assert set(found) == expected and len(found) == len(expected)
    assert not (library.path / lock.NAME).exists()


def test_two_processes_lose_nothing(library, tmp_path):
    for seed in range(16):
        write_dataset(tmp_path / f"{seed}.xyz", dataset((CU, PD) if seed % 3 else (CU,), 3, seed))
    start = multiprocessing.get_context("fork").Process
    processes = [start(target=_add, args=(library.path, tmp_path, range(k, 16, 2))) for k in range(2)]
    for process in processes:
        process.start()
    train(library, ["Cu", "Pd"], n=20, iterations=2)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    opened = Library.open(library.path)
    expected = {h for seed in range(16) for h in dataset((CU, PD) if seed % 3 else (CU,), 3, seed).hashes()}
    assert set(opened.data().hashes()) == expected and len(opened.data()) == 48
    assert set(opened.versions()) == {"Cu", "Pd"}


def _hold(path, ready):
    with lock.locked(Path(path)):
        ready.set()
        time.sleep(60)


def test_a_held_lock_names_its_owner_and_ends_with_it(library, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(str(library.path), ready))
    process.start()
    assert ready.wait(20)
    reading = given(tmp_path, dataset((AG,), 2, 0))
    with pytest.raises(
        LibraryLockedError, match=rf"is being changed by process {process.pid} on \S+; wait for it"
    ) as error:
        library.add_data([reading])
    assert error.value.exit_code == 73 and not len(library.data())
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert json.loads((library.path / lock.NAME).read_text())["pid"] == process.pid, "it was left behind"
    library.add_data([reading])
    assert len(library.data()) == 2 and not (library.path / lock.NAME).exists()
