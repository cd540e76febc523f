"""potentials assess: tables, record and figures; a second run asks nothing; errors are one line and a code."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from potentials.__main__ import main
from potentials.assess import PROPERTIES, foreign, held_out
from potentials.commands.assess import NAMES
from potentials.dataset import read_dataset, write_dataset
from potentials.library import Library
from potentials.recipe import RECIPES
from tests.crystals import AG, CU, PD
from tests.labelled import dataset, trained

EMT = "ase.calculators.emt:EMT"
QUICK = ["--set", "slab=8", "--set", "supercell=7", "--set", "mesh=4"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assess")
    trained(folder / "lib", ["Cu", "Pd", "CuPd"])
    write_dataset(folder / "new.xyz", dataset((CU,), 30, 5).merge(dataset((CU, PD), 30, 5)))
    write_dataset(folder / "silver.xyz", dataset((CU, AG), 6, 5))
    return folder


def assess(files, *options: str) -> int:
    return main(["assess", str(files / "lib"), "-o", str(files / "out"), *options])


def test_everything_and_again(files, capsys):
    both = ["--against", str(files / "new.xyz"), "--whole-file", "--against", EMT, "--system", "Cu", *QUICK]
    assert assess(files, *both) == 0
    text = capsys.readouterr()
    for title in ("Errors on held-out crystals", "Equations of state", "Elastic constants", "Surface energies"):
        assert title in text.out
    assert "eos: nn:" in text.err and f"eos: {EMT}" in text.err
    record = json.loads((files / "out" / "assessment.json").read_text(encoding="utf-8"))
    expected = set(PROPERTIES) - {"errors", "formation"}  # of one element there are no phases
    expected -= set() if find_spec("phonopy") else {"phonons"}
    assert {row["topic"] for row in record["compared"]} == expected
    assert record["cost"]["reference_calls"] > 50
    assert {e["stratum"] for e in record["errors"]} == {"Cu"}
    if find_spec("matplotlib"):
        for name in ("parity.png", "eos.png"):
            assert (files / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert assess(files, *both, "--no-figures") == 0
    again = json.loads((files / "out" / "assessment.json").read_text(encoding="utf-8"))
    assert again["cost"]["reference_calls"] == 0
    assert again["compared"] == record["compared"]


def test_libraries_that_share_the_answers_of_one_reference(files, capsys):
    shared = ["--answers", str(files / "answers.jsonl"), "--against", EMT, "--system", "Cu", "--properties", "lattice"]
    calls = []
    for out in ("one", "other"):
        assert main(["assess", str(files / "lib"), "-o", str(files / out), "--no-figures", *shared]) == 0
        assert not (files / out / "answers.jsonl").exists()
        calls.append(json.loads((files / out / "assessment.json").read_text())["cost"]["reference_calls"])
    assert calls[0] > 0 and calls[1] == 0


def test_labels_alone(files, capsys):
    assert assess(files, "--against", str(files / "new.xyz"), "--whole-file", "--no-figures") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:5]] == [["Cu", "energy"], ["Cu", "force"], ["Cu", "stress"]]
    assert "Equations of state" not in "\n".join(lines)


def test_the_librarys_own_held_out_crystals(files, capsys):
    data = dataset((CU,), 40, 0)  # what the stratum Cu was trained on
    write_dataset(files / "trained.xyz", data)
    trained(files / "own", ["Cu"])
    assert main(["data", "add", str(files / "own"), str(files / "trained.xyz")]) == 0
    capsys.readouterr()
    assert main(["assess", str(files / "own"), "-o", str(files / "o"), "--no-figures"]) == 0
    row = capsys.readouterr().out.splitlines()[2].split()
    assert row[:4] == ["Cu", "energy", "meV/atom", str(len(data.held_out()))]


def test_the_file_that_was_trained_on_is_split_as_the_library_is(files, capsys):
    """Its crystals name no family and no method, which `data add --method` gave them; energies of a method with a shift too."""
    data = dataset((CU,), 40, 0)
    images = data.structures.to_ase()
    for atoms, energy, part in zip(
        images, data.labels.energies, np.split(data.labels.forces, data.structures.offsets[1:-1]), strict=True
    ):
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=part)
    write(files / "bare.xyz", images, format="extxyz")
    library = Library.create(files / "bare", RECIPES["quick"])
    assert main(["data", "add", str(files / "bare"), str(files / "bare.xyz"), "--method", "dft"]) == 0
    for atoms in images:
        atoms.calc = SinglePointCalculator(
            atoms, energy=atoms.get_potential_energy() - 0.3 * len(atoms), forces=atoms.get_forces()
        )
        atoms.info["method"] = "other"
        atoms.positions += 0.01
    write(files / "other.xyz", images, format="extxyz")
    given = read_dataset(files / "other.xyz")
    library = Library.open(files / "bare")
    assert foreign(library, given) == ["other"]
    assert main(["data", "add", str(files / "bare"), str(files / "other.xyz"), "--shift", "Cu=0.3"]) == 0
    assert main(["train", str(files / "bare"), "Cu", "--iterations", "2"]) == 0
    library = Library.open(files / "bare")
    own, found = library.data(), held_out(library, read_dataset(files / "bare.xyz"))
    wanted = {e for e, out in zip(own.labels.energies[:40], own.is_held_out()[:40], strict=True) if out}
    assert wanted and set(found.labels.energies) == wanted
    assert foreign(library, given) == []
    moved = held_out(library, given, whole=True)
    assert moved.labels.energies == pytest.approx(given.labels.energies + 0.3 * given.structures.sizes)


@pytest.mark.skipif(not find_spec("matplotlib"), reason="needs matplotlib")
def test_figures_of_phases(files):
    options = ["--against", EMT, "--properties", "formation", "-o", str(files / "phases")]
    assert assess(files, *options) == 0
    assert (files / "phases" / "formation.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_one_line_and_a_code(files, capsys):
    new, silver = str(files / "new.xyz"), str(files / "silver.xyz")
    (files / "bad.xyz").write_text("nonsense\n")
    wrong = [
        (65, [], "nothing to compare with"),
        (65, ["--properties", "errors"], "no held-out crystals"),
        (65, ["--against", str(files / "missing.xyz")], "missing.xyz"),
        (65, ["--against", str(files / "bad.xyz")], "bad.xyz"),
        (65, ["--against", silver, "--whole-file"], "crystals of Ag, of which"),
        (65, ["--against", new, "--system", "Pd"], "new.xyz: no held-out crystals among 0 labelled ones of Pd"),
        (65, ["--against", EMT, "--system", "CuAu"], "has no stratum Au"),
        (64, ["--against", "no_such_package:EMT"], "cannot be imported"),
        (64, ["--against", "ase.calculators.emt:ETM"], "cannot be imported"),
        (64, ["--against", EMT, "--against", "json:loads"], "one file and one calculator"),
        (64, ["--against", EMT, "--arguments", "{"], "is not JSON"),
        (64, ["--against", EMT, "--arguments", "3"], "must be a JSON object"),
        (64, ["--against", EMT, "--properties", "elastics"], "no property is called elastics"),
        (64, ["--against", EMT, "--prototypes", "B2,L12"], "no prototype is called L12; there are B2, B32"),
        (64, ["--against", EMT, "--system", "Quux"], "is not"),
        (64, ["--against", EMT, "--set", "strains=1"], "--set knows no `strains`"),
        (64, ["--against", EMT, "--set", "strain=much"], "must be a number"),
        (64, ["--against", EMT, "--set", "strain=-1"], "`strain` must be positive"),
        (64, ["--against", EMT, "--set", "strain=3e-5"], "`strain` must be at least 0.0001"),
        (64, ["--against", EMT, "--set", "seed=-1"], "`seed` must not be negative"),
        (64, ["--against", EMT, "--set", "volume_range=1.5"], "`volume_range` must be at most 0.5"),
        (64, ["--against", EMT, "--set", "strain=inf"], "`strain` must be finite"),
        (64, ["--against", EMT, "--set", "slab=inf"], "`slab` must be finite"),
        (64, ["--against", EMT, "--set", "repeat=1"], "`repeat` must be 0 or at least 2"),
        (64, ["--against", EMT, "--set", "mesh=5"], "`mesh` must be even"),
    ]
    for code, options, text in wrong:
        assert assess(files, *options) == code, options
        error = capsys.readouterr().err
        assert text in error and error.count("\n") == 1, (options, error)
    with pytest.raises(SystemExit) as exit_:
        main(["assess", str(files / "lib")])
    assert exit_.value.code == 64 and capsys.readouterr().err.count("\n") == 1


def test_an_element_that_the_reference_lacks(files, capsys):
    trained(files / "silver", ["Ag"])
    code = main(
        ["assess", str(files / "silver"), "-o", str(files / "o"), "--against", "tests.assess.test_reference:Moody"]
    )
    assert code == 65
    assert "I do not like silver" in capsys.readouterr().err.splitlines()[-1]


def test_help_names_every_property():
    assert NAMES.split(", ") == list(PROPERTIES)
