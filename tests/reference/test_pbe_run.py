"""What lies in runs/cu-pd-ag-pbe: crystals worth a calculation, in an order worth stopping anywhere, labelled by one method."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write

from evo.cell import shortest_ratio
from evo.reference import EngineAbsent, open_reference
from evo.reference.collect import key
from evo.settings import load, load_reference
from potentials.dataset import read_dataset
from potentials.labelled.archives import unpacked
from potentials.library import Library
from potentials.stratum import Stratum

RUN = Path(__file__).parents[2] / "runs" / "cu-pd-ag-pbe"


@pytest.fixture(scope="module")
def structures():
    return read(RUN / "structures.extxyz", ":")


def test_no_two_are_equal_and_none_is_absurd(structures):
    assert len({key(a) for a in structures}) == len(structures) >= 300
    assert min(shortest_ratio(a) for a in structures) >= 0.74
    assert max(len(a) for a in structures) <= 4
    assert all(a.info["family"] and a.info["kind"] for a in structures)


def test_every_prefix_has_all_strata_in_their_proportions(structures):
    names = [Stratum.of(a.numbers.tolist()).name for a in structures]
    names = names[:300]  # the rounds that follow have other proportions
    whole = Counter(names)
    assert set(whole) == {"Cu", "Pd", "Ag", "CuPd", "CuAg", "PdAg", "CuPdAg"}
    for n in (50, 100, 200):
        part = Counter(names[:n])
        for name, count in whole.items():
            assert part[name] == pytest.approx(count * n / len(names), abs=6)


def test_labels_are_of_these_structures_and_of_one_method(structures):
    labels = RUN / "labels.extxyz.xz"
    if not labels.exists():
        pytest.skip("no labels yet: make pbe-labels")
    asked = {key(a) for a in structures}
    with unpacked(labels) as plain:
        found = read(plain, ":")
    assert {key(a) for a in found} <= asked
    # ASE takes a key of digits alone for a number
    assert all(a.info["key"] == key(a) for a in found if isinstance(a.info["key"], str))
    dataset = read_dataset(labels)
    assert len(set(dataset.methods)) == 1
    assert (dataset.seconds > 0).all()
    assert np.abs(dataset.labels.forces).max() < 60


def test_the_committee_chooses_what_follows(structures, tmp_path):
    copy = tmp_path / "structures.extxyz"
    copy.write_bytes((RUN / "structures.extxyz").read_bytes())
    command = [sys.executable, str(RUN / "choose.py"), "cu-pd-ag-pbe", "--number", "25", "--structures", str(copy)]
    turn = max(a.info.get("round", 0) for a in structures) + 1
    done = subprocess.run([*command, "--round", str(turn)], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    both = read(copy, ":")
    new = both[len(structures) :]
    assert [key(a) for a in both[: len(structures)]] == [key(a) for a in structures]
    assert len({key(a) for a in both}) == len(both) and all(a.info["round"] == turn for a in new)
    assert Counter(len(set(a.numbers.tolist())) for a in new) == {1: 9, 2: 12, 3: 6}
    assert min(shortest_ratio(a) for a in new) >= 0.74 and max(len(a) for a in new) <= 4
    again = subprocess.run([*command, "--round", str(turn)], capture_output=True, text=True, timeout=250)
    assert again.returncode == 1 and f"--round {turn + 1}" in again.stderr


@pytest.mark.parametrize(
    ("words", "name"),
    [([], "curve"), (["--folds", "1"], "folds"), (["--folds", "1", "--recipe", "embedded", "--refit", "2"], "folds")],
)
def test_errors_against_labels_and_over_folds(words, name, tmp_path):
    labels, output = tmp_path / "labels.extxyz", tmp_path / "out.json"
    write(labels, read(RUN / "labels.extxyz.xz", ":70"))
    command = [sys.executable, str(RUN / "curve.py"), *words, "--labels", str(labels), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert found["labels"] == 70 and found["pretrained"] is False
    at_most = found["folds"]["0.6"] if name == "folds" else found[name]["70"]
    orders = [at_most[order] for order in ("1", "2", "3") if order in at_most]
    assert 0 < sum(found["crystals"] for found in orders) < 20 and all(found["energy"] > 0 for found in orders)
    assert f"{at_most['1']['energy']:.1f}" in done.stdout


def test_gold_is_learned_from_40_crystals_and_judged_by_20_others(structures, tmp_path):
    command = [sys.executable, str(RUN / "gold.py"), "structures", "--structures", str(tmp_path / "gold.extxyz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    made, kept = read(tmp_path / "gold.extxyz", ":"), read(RUN / "gold.extxyz", ":")
    assert [a.numbers.tolist() for a in made] == [a.numbers.tolist() for a in kept]
    assert all(np.allclose(a.positions, b.positions, atol=1e-5) for a, b in zip(made, kept, strict=True))
    learn, judge = ([a for a in kept if a.info["part"] == part] for part in ("learn", "judge"))
    assert (len(learn), len(judge)) == (40, 20)
    assert not {a.info["family"] for a in learn} & {a.info["family"] for a in judge}
    assert all(a.info["family"].startswith("judge") for a in judge)
    counts = Counter(Stratum.of(a.numbers.tolist()).name for a in learn)
    assert counts == {"Au": 10, "CuAu": 10, "PdAu": 10, "AgAu": 10}
    assert {len(set(a.numbers.tolist())) for a in judge} == {2}
    assert not {key(a) for a in kept} & {key(a) for a in structures}


def test_the_table_of_an_assessment_marks_what_misses_its_goal(tmp_path):
    def assess(*options: str) -> None:
        common = ["--against", "ase.calculators.emt:EMT", "--system", "Cu", "--no-figures", *options]
        done = subprocess.run(
            [sys.executable, "-m", "potentials", "assess", "cu-pd-ag-pbe", *common], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    assess("--properties", "lattice,vacancy", "-o", str(tmp_path / "ours" / "phases"))
    command = [sys.executable, str(RUN / "assessment.py"), "--assessment", str(tmp_path / "ours")]
    done = subprocess.run(command, capture_output=True, text=True)
    line = next(x for x in done.stdout.splitlines() if x.startswith("| Cu fcc | a0"))
    cells = [x.strip() for x in line.strip("|").split("|")]
    assert float(cells[2]) == pytest.approx(3.59, abs=0.01) and cells[4].endswith(
        "*"
    )  # EMT's is 1.4 % smaller than that of PBE
    assert "hcp - fcc" in done.stdout and "Within the goals: a0 0 of 1" in done.stdout
    done = subprocess.run([*command[:-1], str(tmp_path / "nothing")], capture_output=True, text=True)
    assert done.returncode == 1 and "make pbe-assess" in done.stderr


def test_the_library_that_ships_is_of_these_labels_and_settings():
    shipped = Library.open("cu-pd-ag-pbe")
    assert (shipped.path / "reference.toml").read_bytes() == (RUN / "reference.toml").read_bytes()
    program = runpy.run_path(str(RUN / "taken.py"))
    learned, _ = program["taken"]()
    known = program["joined"](program["COARSE"])
    # labels by the denser mesh take the place of others as they come
    assert set(shipped.data().hashes()) <= {*learned.hashes(), *known.hashes()}
    assert set(learned.methods) == set(shipped.data().methods) == set(known.methods)
    assert len({key(a) for a in learned.structures.to_ase()}) == len(learned)


def test_vacancies_are_those_of_dft(structures):
    method = Library.open("cu-pd-ag-pbe").data().methods[0]
    known = read(RUN / "vacancies.extxyz", ":")
    assert {"Cu", "Pd", "Ag"} == {a.info["element"] for a in known} and {a.info["method"] for a in known} == {method}
    done = subprocess.run(
        [sys.executable, str(RUN / "vacancies.py"), "--elements", *(a.info["element"] for a in known)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        networks, dft = (float(word) for word in re.findall(r"\d\.\d+", line))
        assert abs(networks - dft) < 0.1, line


def test_long_period_phases_form_as_dft_says(structures):
    """D0_23 of Cu-Ag and Pd-Ag at one geometry; the goal is 5 meV/atom."""
    command = [sys.executable, str(RUN / "ordered.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["AgCu3", "Ag3Cu", "AgPd3", "Ag3Pd"]
    for line in lines:
        networks, dft = (float(word) for word in line.split()[2:4])
        assert abs(networks - dft) < 5.0, line


def test_labels_are_brought_to_other_pulay_constants(tmp_path):
    try:
        open_reference(load_reference(RUN / "reference.toml"))
    except EngineAbsent as error:
        pytest.skip(f"GPAW is not installed: {error}")
    labels, settings = tmp_path / "labels.extxyz", tmp_path / "reference.toml"
    before = read(RUN / "labels.extxyz.xz", ":6")
    write(labels, before)
    settings.write_text((RUN / "reference.toml").read_text().replace("Cu = 0.57", "Cu = 0.60"))
    command = [sys.executable, str(RUN / "pulay.py"), str(labels), "--settings", str(settings), "--were"]
    done = subprocess.run([*command, "Cu=0.55", "Pd=0.25", "Ag=0.264"], capture_output=True, text=True)
    assert done.returncode != 0 and "labels of" in done.stderr  # of another method than that
    done = subprocess.run([*command, "Cu=0.57", "Pd=0.25", "Ag=0.264"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = read(labels, ":")
    assert {a.info["method"] for a in after} == {open_reference(load_reference(settings)).method}
    for a, b in zip(before, after, strict=True):
        assert a.get_potential_energy() == b.get_potential_energy() and a.info["family"] == b.info["family"]
        apart = (a.get_stress(voigt=False) - b.get_stress(voigt=False)) * a.cell.volume
        np.testing.assert_allclose(apart, 0.03 * a.symbols.count("Cu") * np.eye(3), atol=1e-6)


def test_settings_are_those_of_an_engine():
    section = load_reference(RUN / "reference.toml")
    assert section.engine == "gpaw"
    assert set(section.options["pulay"]) == {"Cu", "Pd", "Ag"}
    gold = load_reference(RUN / "reference-gold.toml")  # which differs in nothing else
    constants = {**section.options["pulay"], "Au": gold.options["pulay"]["Au"]}
    assert gold.options == {**section.options, "pulay": constants}
    for campaign in ("cu-pd-hull-dft", "cu-ag-hull-dft"):  # they go on learning on the library's own data
        asked = load(RUN.parent / campaign / "campaign.toml").reference
        assert (asked.engine, asked.options) == (section.engine, section.options)
        assert asked.max_calls - asked.final_calls <= 60 and asked.final_calls <= 40


def test_moduli_are_those_of_dft():
    """Of the elements and of B2 CuPd, from the same strained crystals; the goal is a tenth."""
    command = [sys.executable, str(RUN / "moduli.py"), "cu-pd-ag-pbe"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {line[0] for line in lines} == {"CuPd", "Ag", "Cu", "Pd"}
    for name, *words in lines:
        values = [float(word) for word in words[:6]]
        for networks, dft in zip(values[::2], values[1::2], strict=True):
            assert networks == pytest.approx(dft, rel=0.1), name


def test_the_library_that_ships_reaches_its_goals():
    """All but what docs/cu-pd-ag-pbe.md says that it misses; figures beside DFT that is on file."""
    done = subprocess.run([sys.executable, str(RUN / "goals.py")], capture_output=True, text=True, timeout=250)
    *lines, told = done.stdout.splitlines()
    assert len(lines) >= 70, done.stderr
    missed = {line[:28].strip() for line in lines if line.endswith("MISSED")}
    assert missed <= {"Pd held out"}
    assert f"{len(lines) - len(missed)} of {len(lines)} goals are met" in told
    assert done.returncode == bool(missed)
