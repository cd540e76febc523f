"""Whole campaigns, small ones: what each setting promises."""

import csv
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from ase.units import GPa

from evo.candidate import atoms_from_json
from evo.prepare import given_labels
from evo.report.answers import answers
from evo.settings import load
from evo.symmetry import space_group
from potentials.labelled.reading import read_labels
from potentials.library import Library
from potentials.stratum import Stratum
from tests.faults.campaigns import ASKED, BY_EMT, RELAXED, SMALL, evo, run, stored, told, write
from tests.labelled import train

TWO = """
[search]
chunks = 2
chunk_size = 6
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished campaign with its library."""
    directory = write(tmp_path_factory.mktemp("trained"), SMALL, chunks=3)
    run(directory)
    return directory


def test_what_a_finished_campaign_leaves(trained):
    out = trained / "out"
    assert {s.name for s in Library.open(out / "library").strata()} == {"Cu", "Pd", "CuPd"}
    resolved = json.loads((out / "resolved.json").read_text())
    assert resolved["settings"]["campaign"]["seed"] == 3
    assert resolved["software"]["numpy"]
    rows = json.loads(evo("results", trained, "--json").stdout)
    assert len(list((out / "hull").glob("*.cif"))) == len(rows)
    assert all(r["energy_reference"] is not None for r in rows if r["status"] == "stable")
    status = json.loads(evo("status", trained, "--json").stdout)
    assert status["stage"] == "done"
    assert status["bootstrap_calls"] <= 60
    assert status["reference_calls"] - status["bootstrap_calls"] <= 30


def test_what_lies_near_the_hull_is_listed_and_exported(tmp_path):
    trained = write(tmp_path / "c", SMALL, chunks=9)
    run(trained)
    hull = json.loads(evo("results", trained, "--json").stdout)
    near = json.loads(evo("results", trained, "--within", "150", "--json").stdout)
    by_id = {r["id"]: r for r in near}
    on_hull = {r["id"] for r in hull if (r["above_hull_reference"] or 0.0) <= 0.15}
    assert on_hull < set(by_id)
    asked = [r for r in near if r["energy_reference"] is not None]
    heights = [r["above_hull_network" if r["energy_reference"] is None else "above_hull_reference"] for r in near]
    assert None not in heights
    assert min(heights) >= -1e-9 and 0.02 < max(heights) <= 0.15
    assert {"stable", "metastable"} <= {r["status"] for r in asked}
    assert {r["status"] for r in near if r["energy_reference"] is None} == {"unconfirmed"}
    for row in hull:  # the same line in both
        assert by_id.get(row["id"], row) == row
    pure = {r["formula"]: r for r in near if r["status"] == "stable" and r["formula"] in ("Cu", "Pd")}
    assert [r["formation_reference"] for r in pure.values()] == pytest.approx([0.0, 0.0], abs=1e-12)
    for row in (r for r in asked if r["formula"] == "CuPd"):
        mean = (pure["Cu"]["energy_reference"] + pure["Pd"]["energy_reference"]) / 2
        assert row["formation_reference"] == pytest.approx(row["energy_reference"] - mean, abs=1e-9)
    lowest = {r["formula"]: r["energy_reference"] for r in near if r["status"] == "stable"}
    for row in asked:  # by what it decays to it is above the hull
        parts = row["decomposition"]
        assert bool(parts) == (row["status"] == "metastable" and row["above_hull_reference"] > 0)
        if parts:
            mixture = sum(part * lowest[formula] for formula, part in parts.items())
            assert sum(parts.values()) == pytest.approx(1.0)
            assert row["energy_reference"] - mixture == pytest.approx(row["above_hull_reference"], abs=1e-9)
    lines = list(csv.DictReader(evo("results", trained, "--within", "150", "--csv").stdout.splitlines()))
    assert [line["id"] for line in lines] == [r["id"] for r in near]
    energies = [float(text) if (text := line["energy_network"]) else None for line in lines]
    assert energies == [r["energy_network"] for r in near]
    assert evo("export", trained, "--within", "150", "-o", tmp_path / "near.extxyz").returncode == 0
    written = read(tmp_path / "near.extxyz", ":")
    assert [a.info["id"] for a in written] == [r["id"] for r in near]
    for atoms, row in zip(written, near, strict=True):
        assert space_group(atoms) == row["space_group_number"]
    for wrong in ("-1", "201", "nan", "near"):
        assert "from 0 to 200" in evo("results", trained, "--within", wrong).stderr


def test_a_campaign_refines_where_it_is_told_to(tmp_path):
    """The networks are tasks like others: run again, the campaign finds them done."""
    text = SMALL.replace("[network]\n", "[network]\nrefined = true\n").replace("max_calls = 60", "max_calls = 150")
    directory = write(tmp_path / "c", text, chunks=3)
    run(directory)
    library = Library.open(directory / "out" / "library")
    pair = library.stratum(Stratum.parse("CuPd"))
    assert pair.parameters.refined and pair.metadata["refined"]["n_data"] > pair.metadata["n_data"]
    assert all(name.startswith("train/") for name in stored(directory, "train/"))
    assert any("/CuPd/refined/" in name for name in stored(directory, "train/"))
    version = library.version()
    run(directory)
    assert Library.open(directory / "out" / "library").version() == version


def test_no_phase_is_stable_that_a_label_refutes(tmp_path):
    """Crystals of the bootstrap take part in the search: a small one finds less than they have told already."""
    directory = write(tmp_path / "c", SMALL, chunks=1)
    rows = run(directory)
    made = tmp_path / "labels.extxyz"
    assert evo("export", directory, "-o", made, "--labels").returncode == 0
    lowest: dict[str, float] = {}
    for atoms in read(made, ":"):
        name = atoms.symbols.formula.reduce()[0].format("metal")
        lowest[name] = min(lowest.get(name, 9.9), atoms.get_potential_energy() / len(atoms))
    stable = [r for r in rows if r["status"] == "stable"]
    assert {"Cu", "Pd"} <= {r["formula"] for r in stable}
    for row in stable:
        assert row["energy_reference"] <= lowest[row["formula"]] + 1e-9
    near = json.loads(evo("results", directory, "--within", "200", "--json").stdout)
    ours = [r for r in near if r["operator"] == "labelled"]
    assert ours
    for row in ours:  # shown as it was labelled, not as the symmetric crystal near it
        assert row["energy_reference"] == pytest.approx(by_emt(row["crystal"]), abs=1e-9)


def test_status_does_not_go_back_when_a_finished_campaign_runs_again(trained, tmp_path):
    """What is replayed was there already; one that is cut in it leaves the state as it was."""
    shutil.copytree(trained, tmp_path / "c")
    before = evo("status", tmp_path / "c", "--json").stdout
    done = evo("run", tmp_path / "c", "--quiet", "--walltime", "00:00")
    assert done.returncode in (0, 75)
    assert evo("status", tmp_path / "c", "--json").stdout == before
    near = evo("results", trained, "--within", "200").stdout
    assert len(near.splitlines()) > 6 and evo("results", tmp_path / "c", "--within", "200").stdout == near


def test_what_is_not_relaxed_to_the_end_is_said(tmp_path):
    strict = SMALL.replace("final_steps = 2", "final_steps = 0") + "\n[relax]\nfmax = 0.001\nsmax_GPa = 0.001\n"
    directory = write(tmp_path / "c", strict, chunks=1)
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "stable, but not relaxed by the reference to the end: " in done.stderr


def test_every_result_carries_its_method(trained):
    for candidates in stored(trained, "relax/").values():
        for c in candidates:
            for method, _, _ in c["energies"]:
                assert method.startswith("nn:")


def test_the_reference_is_asked_about_exact_crystals(tmp_path):
    """What a relaxation leaves a thousandth off, or in a supercell, DFT would pay for with every k-point; energies still fit."""
    # elements in supercells
    directory = write(tmp_path / "c", SMALL.replace("atoms = [1, 3]", "atoms = [2, 4]"), chunks=3)
    run(directory)
    found = stored(directory, "")
    made = [chunk for k, chunk in found.items() if re.search("(relax|again)/", k)]
    candidates = {c["id"]: c for chunk in made for c in chunk}
    asked = {k.rpartition("/")[2]: r for k, r in found.items() if ASKED.search(k)}
    exact = smaller = 0
    for name, label in asked.items():
        crystal = atoms_from_json(label["crystal"])
        exact += space_group(crystal, 1e-5) == space_group(crystal, 0.01)
        smaller += len(crystal) < len(candidates[name]["atoms"]["numbers"])
    assert exact >= 0.8 * len(asked) > 0
    assert smaller
    moved = {k.rpartition("/")[2] for k in stored(directory, "") if "final/" in k}
    rows = [r for r in json.loads(evo("results", directory, "--json").stdout) if r["id"] in set(asked) - moved]
    assert rows
    for row in rows:
        label = asked[row["id"]]
        assert row["energy_reference"] == pytest.approx(label["energy"] / len(label["crystal"]["numbers"]), abs=1e-9)


def test_what_the_reference_relaxed_is_shown_as_it_is(tmp_path):
    """Not as the symmetric crystal near it, of which nobody has worked out the energy."""
    directory = write(tmp_path / "c", SMALL + "\n[relax]\nfmax = 0.001\nsmax_GPa = 0.005\n", chunks=2)
    rows = run(directory)
    paths = {k.rpartition("/")[2]: path for k, path in stored(directory, "").items() if RELAXED.fullmatch(k)}
    crystals = [label["crystal"] for path in paths.values() for label in path]
    relaxed = [r for r in rows if r["crystal"] in crystals]
    assert relaxed
    for row in [r for r in rows if r["id"] in paths]:
        assert row["energy_reference"] == pytest.approx(by_emt(row["crystal"]), abs=1e-9)


def by_emt(crystal):
    """eV/atom."""
    atoms = atoms_from_json(crystal)
    atoms.calc = EMT()
    return atoms.get_potential_energy() / len(atoms)


def test_where_nothing_is_stable_the_lowest_compound_is_checked(tmp_path):
    text = SMALL.replace('["Cu", "Pd"]', '["Cu", "Ag"]').replace("[reference]", "[reference]\nwindow = 0.001")
    directory = write(tmp_path / "c", text, chunks=8)
    assert {r["formula"] for r in run(directory) if r["status"] == "stable"} == {"Cu", "Ag"}
    near = json.loads(evo("results", directory, "--within", "200", "--json").stdout)
    compounds = [r for r in near if r["formula"] not in ("Cu", "Ag") and r["above_hull_network"] is not None]
    assert min(compounds, key=lambda r: r["above_hull_network"])["energy_reference"] is not None


def test_final_relaxations_begin_where_single_points_were(trained):
    """With the label that is there and the curvature of the networks they need few steps, and none of them twice."""
    found = stored(trained, "")
    asked = {k.rpartition("/")[2]: r for k, r in found.items() if ASKED.search(k)}
    paths = {k.rpartition("/")[2]: r for k, r in found.items() if RELAXED.fullmatch(k)}
    before = [label["crystal"] for k, made in found.items() if k.startswith("bootstrap/") for label in made["labels"]]
    before += [label["crystal"] for label in asked.values()]
    assert paths  # phases that were labelled before the search among them, as the machine's bits have it
    for name, path in paths.items():
        assert len(path) <= 2
        assert not any(step["crystal"] in before for step in path)
        if name in asked:
            assert min(step["energy"] for step in [asked[name], *path]) <= asked[name]["energy"]


def test_a_campaign_whose_calculator_is_the_reference(tmp_path):
    """Everything that is kept is confirmed; what the gate keeps out is not, and the hull is that of today."""
    text = (
        BY_EMT.replace('engine = "none"', 'engine = "ase"\ncalculator = "ase.calculators.emt:EMT"')
        + "[gate]\nvolume_scale = [0.9, 1.3]\n"
    )
    directory = write(tmp_path / "c", text, chunks=6)
    rows = run(directory)
    status = json.loads(evo("status", directory, "--json").stdout)
    assert status["relaxed"] > status["distinct"]
    assert {r["status"] for r in rows} == {"stable"}
    assert all(r["above_hull_reference"] == r["above_hull_network"] == 0.0 for r in rows)
    near = json.loads(evo("results", directory, "--within", "200", "--json").stdout)
    assert len(near) > len(rows) and min(r["above_hull_reference"] for r in near) == 0.0
    assert len(near) <= status["distinct"]


def test_an_older_database_has_no_list_of_what_is_near(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "c")
    with sqlite3.connect(tmp_path / "c" / "out" / "campaign.sqlite") as database:
        assert database.execute("DELETE FROM meta WHERE key LIKE '%near'").rowcount == 1
    assert evo("results", tmp_path / "c").returncode == 0
    told = evo("results", tmp_path / "c", "--within", "50")
    assert told.returncode == 74 and "leave out --within" in told.stderr


def test_seed_files_enter_the_search(tmp_path):
    directory = write(tmp_path / "c", '[seeds]\nfiles = ["seed.cif"]\n' + BY_EMT, chunks=1)
    seed = bulk("Cu", "fcc", a=3.7, cubic=True)
    seed.numbers[0] = 46
    seed.write(directory / "seed.cif")
    run(directory)
    first = stored(directory, "relax/0")["relax/0"][0]
    assert first["operator"] == "seed file"
    assert sorted(first["atoms"]["numbers"]) == [29, 29, 29, 46]


def test_fixed_composition(tmp_path):
    text = BY_EMT.replace('elements = ["Cu", "Pd"]\natoms = [1, 2]', 'formula = "Cu2Pd2"')
    directory = write(tmp_path / "c", text, chunks=2)
    rows = run(directory)
    assert {r["formula"] for r in rows} == {"CuPd"}
    for candidates in stored(directory, "relax/").values():
        assert all(sorted(c["atoms"]["numbers"]) == [29, 29, 46, 46] for c in candidates)


def test_pressure_compresses(tmp_path):
    volumes = {}
    for pressure in (0.0, 50.0):
        text = BY_EMT.replace('elements = ["Cu", "Pd"]', f'elements = ["Cu"]\npressure_GPa = {pressure}')
        directory = write(tmp_path / str(pressure), text, chunks=2)
        (best,) = [r for r in run(directory) if r["above_hull_network"] == 0.0][:1]
        from evo.candidate import atoms_from_json

        atoms = atoms_from_json(best["crystal"])
        volumes[pressure] = atoms.get_volume() / len(atoms)
        if pressure:
            from ase.calculators.emt import EMT

            atoms.calc = EMT()
            stress = atoms.get_stress(voigt=False) / GPa
            assert stress.trace() / 3 == pytest.approx(-pressure, abs=0.2)
            enthalpy = (atoms.get_potential_energy() + pressure * GPa * atoms.get_volume()) / len(atoms)
            assert best["energy_network"] == pytest.approx(enthalpy, abs=1e-8)
    assert volumes[50.0] < 0.9 * volumes[0.0]


def test_a_given_library_and_no_reference(trained, tmp_path):
    """A pure network search: nothing is asked, nothing is called stable."""
    text = f'[system]\nelements = ["Cu", "Pd"]\natoms = [1, 3]\n[reference]\nengine = "none"\n{TWO}'
    directory = write(tmp_path / "c", text + f'[network]\nlibrary = "{trained / "out" / "library"}"\n')
    rows = run(directory)
    assert rows and {r["status"] for r in rows} == {"unconfirmed"}
    assert json.loads(evo("status", directory, "--json").stdout)["reference_calls"] == 0


def test_a_changed_library_is_refused_unless_told(trained, tmp_path):
    given = Library.open(trained / "out" / "library").copy(tmp_path / "library")
    text = f'[system]\nelements = ["Cu", "Pd"]\natoms = [1, 3]\n[reference]\nengine = "none"\n{TWO}'
    directory = write(tmp_path / "c", text + '[network]\nlibrary = "../library"\n')
    rows = run(directory)
    (number,) = [v for n, v in given.versions().items() if n == "CuPd"]
    pair = given.stratum(next(s for s in given.strata() if s.name == "CuPd"), number)
    given.add(
        replace(
            pair, parameters=replace(pair.parameters, columns={z: 2 * c for z, c in pair.parameters.columns.items()})
        )
    )
    refused = evo("run", directory)
    assert refused.returncode == 65
    assert "--accept-library" in refused.stderr
    assert run(directory, "--accept-library") == rows


def test_missing_strata_without_a_reference_are_named(trained, tmp_path):
    text = f'[system]\nelements = ["Cu", "Pd", "Ag"]\n[reference]\nengine = "none"\n{TWO}'
    directory = write(tmp_path / "c", text + f'[network]\nlibrary = "{trained / "out" / "library"}"\n')
    done = evo("run", directory)
    assert done.returncode == 64
    assert "CuPdAg" in done.stderr


def test_examples_are_valid():
    for settings in sorted((Path(__file__).parents[2] / "runs").glob("*/campaign.toml")):
        directory = settings.parent
        assert (directory / "README.md").exists()
        if load(settings).reference.engine == "gpaw":  # `check` would begin with a minute of DFT
            continue
        done = evo("check", directory)
        assert done.returncode == 0, done.stderr


def test_progress_is_one_live_line_on_a_terminal(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=2)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "evo", "run", str(directory)], stdout=subprocess.PIPE, stderr=theirs
    )
    table, _ = process.communicate(timeout=120)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert process.returncode == 0
    assert b"formula" in table
    assert shown.count("\r\x1b[K") >= 3  # two chunks and the end, each over the one before
    assert shown.count("\n") == 1


@pytest.fixture(scope="module")
def library_with_data(trained, tmp_path_factory):
    """The library of that campaign, and in it what the reference said."""
    place = tmp_path_factory.mktemp("library")
    done = evo("export", trained, "--labels", "-o", place / "labels.extxyz")
    assert done.returncode == 0, done.stderr
    library = Library.open(trained / "out" / "library").copy(place / "library")
    library.add_data([read_labels(place / "labels.extxyz")])
    return library


def test_what_the_reference_said_is_exported_to_the_last_bit(trained, library_with_data):
    energies = answers(trained).labels.energies.tolist()
    bootstrap = [x["energy"] for r in stored(trained, "bootstrap/").values() for x in r["labels"]]
    assert energies[: len(bootstrap)] == bootstrap
    status = json.loads(evo("status", trained, "--json").stdout)
    assert len(energies) - len(bootstrap) == status["reference_calls"] - status["bootstrap_calls"]  # no call failed
    kept = library_with_data.data_as_labelled()
    assert set(kept.labels.energies.tolist()) <= set(energies) and len(set(kept.methods)) == 1
    assert evo("export", trained, "--labels", "-o", "labels.csv").returncode == 64


def test_a_given_library_is_retrained_on_its_own_data_too(library_with_data, tmp_path):
    """With its data a campaign can retrain from the first labels on; without them three labels are too few.

    Strata of elements that the campaign does not search have no say, whatever stands on the strata that erred.
    """
    poor = Library.open(library_with_data.path).copy(tmp_path / "poor")
    for stratum in poor.strata():  # the pair is wrong by tens of meV/atom
        trained_one = poor.stratum(stratum)
        if stratum.order == 2:
            columns = {z: 1.5 * c for z, c in trained_one.parameters.columns.items()}
            poor.add(replace(trained_one, parameters=replace(trained_one.parameters, columns=columns)))
    without = Library.create(tmp_path / "without", poor.recipe)
    without.add_all([poor.stratum(s) for s in poor.strata()])
    wider = poor.copy(tmp_path / "wider")
    train(wider, ["Ag", "CuAg", "PdAg", "CuPdAg"], n=20, iterations=2)
    retrained = {}
    for name in ("poor", "wider", "without"):
        text = SMALL.replace("max_calls = 30", "max_calls = 12") + f'library = "../{name}"\n'
        directory = write(tmp_path / f"by-{name}", text, chunks=4)
        run(directory)
        status = json.loads(evo("status", directory, "--json").stdout)
        assert status["bootstrap_calls"] == 0 and status["reference_calls"] <= 12
        retrained[name] = set(stored(directory, "train/"))
        if name == "wider":
            before = stored(directory, "")
            run(directory)  # the copy has newer strata by now; the campaign begins as it began
            assert stored(directory, "") == before
    for name in ("poor", "wider"):
        assert any(key.startswith("train/1/CuPd/") for key in retrained[name])
    assert not any("Ag" in key for key in retrained["wider"])
    assert not retrained["without"]


def test_what_a_given_library_lacks_is_made_once(trained, tmp_path):
    """Run again, the bootstrap that made it is still known, though the campaign's copy has these strata now."""
    only = Library.create(tmp_path / "only", Library.open(trained / "out" / "library").recipe)
    only.add(Library.open(trained / "out" / "library").stratum(Stratum.parse("Cu")))
    directory = write(tmp_path / "campaign", SMALL + 'library = "../only"\n', chunks=2)
    run(directory)
    status, before = evo("status", directory, "--json").stdout, stored(directory, "")
    assert json.loads(status)["bootstrap_calls"] > 0
    run(directory)
    assert stored(directory, "") == before
    assert (
        json.loads(evo("status", directory, "--json").stdout)["bootstrap_calls"]
        == json.loads(status)["bootstrap_calls"]
    )


def test_a_failed_calculation_is_no_unconfirmed_phase(trained, tmp_path):
    text = f'library = "{trained / "out" / "library"}"\n'
    text = SMALL.replace("[reference]", '[reference]\nengine = "ase"\ncalculator = "half:Half"') + text
    directory = write(tmp_path / "c", text, chunks=4)
    (directory / "half.py").write_text(
        "from ase.calculators.emt import EMT\n\n\nclass Half(EMT):\n    def calculate(self, atoms=None, *rest):\n"
        "        if len(set(atoms.numbers)) > 1:\n            raise RuntimeError('it did not converge')\n"
        "        super().calculate(atoms, *rest)\n"
    )
    rows = run(directory)
    asked = {key.rpartition("/")[2] for key, path in told(directory).items() if path[0]["failure"] is not None}
    assert asked
    failed = {r["id"] for r in rows if r["status"] == "failed"}
    assert failed and failed == asked & {r["id"] for r in rows if r["energy_reference"] is None}
    assert {r["status"] for r in rows if r["id"] not in asked} <= {"stable", "metastable", "unconfirmed"}
    assert ",failed," in evo("results", directory, "--csv").stdout


@pytest.mark.parametrize("final", [3, 0])
def test_calls_for_relaxations_at_the_end_are_kept_for_them(trained, tmp_path, final):
    """With `final_calls` neither single points nor steps take what belongs to the others; without, one budget serves both."""
    library = f'library = "{trained / "out" / "library"}"\n'
    text = SMALL.replace("max_calls = 30", f"max_calls = 60\nfinal_calls = {final}") + library
    directory = write(tmp_path / "campaign", text, chunks=4)
    run(directory)
    singles = [key for key in stored(directory, "") if "reference/c" in key]
    steps = sum(len(path) for key, path in stored(directory, "").items() if "final/" in key and "points" not in key)
    status = json.loads(evo("status", directory, "--json").stdout)
    assert status["reference_calls"] == len(singles) + steps <= 60
    stable = [p for p in json.loads(evo("results", directory, "--json").stdout) if p["status"] == "stable"]
    assert len(stable) > 1
    # two steps each: calls for one phase, or for all of them
    assert (0 < steps <= final < 2 * len(stable)) if final else (steps > 3)


def test_data_by_another_method_are_left_alone(library_with_data):
    method = library_with_data.data_as_labelled().methods[0]
    assert len(given_labels(library_with_data, method, (29, 46))) == library_with_data.n_crystals()
    assert len(given_labels(library_with_data, method, (29,))) == library_with_data.n_crystals("Cu")
    assert given_labels(library_with_data, "ref:another", (29, 46)) == []


def test_data_of_the_same_method_under_another_name_are_taken(library_with_data):
    known = library_with_data.methods[library_with_data.data_as_labelled().methods[0]]["identity"]
    assert known[0] == "emt"
    assert len(given_labels(library_with_data, "ref:another", (29, 46), known)) == library_with_data.n_crystals()
    assert given_labels(library_with_data, "ref:another", (29, 46), ["emt", {"asap_cutoff": True}, known[2]]) == []
