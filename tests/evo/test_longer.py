"""Campaigns that go on after their end with more chunks: what they begin like, know, count and leave."""

import json
import shutil
import sqlite3

import pytest

from evo.candidate import atoms_from_json
from tests.faults.campaigns import SMALL, evo, run, start, stored, told, without_seconds, write


def test_a_longer_campaign_leaves_no_phases_of_the_shorter_one(tmp_path):
    directory = write(tmp_path / "c", SMALL, chunks=1)
    run(directory)
    (directory / "out" / "hull" / "hull-Cu-old.cif").write_text("# Cu, stable\n")
    write(directory, SMALL, chunks=4)
    rows = run(directory)
    names = {f"hull-{r['formula']}-{r['id']}.cif" for r in rows}
    assert {f.name for f in (directory / "out" / "hull").iterdir()} == names
    write(directory, SMALL, chunks=1)  # and a shorter one is the truth again, everywhere
    run(directory)
    assert json.loads(evo("status", directory, "--json").stdout)["done"] == 1
    shown = {f"hull-{r['formula']}-{r['id']}.cif" for r in json.loads(evo("results", directory, "--json").stdout)}
    assert {f.name for f in (directory / "out" / "hull").iterdir()} == shown


def test_a_longer_campaign_begins_like_the_shorter_one(tmp_path):
    """With networks that are retrained, and with answers under way when the shorter one ends."""
    text = SMALL.replace("max_calls = 30", "max_calls = 40")
    ended, begun = write(tmp_path / "ended", text, chunks=4), write(tmp_path / "begun", text, chunks=4)
    run(ended)
    before = without_seconds(stored(ended, ""))
    assert evo("run", begun, "--walltime", "00:00:00").returncode == 75
    with sqlite3.connect(begun / "out" / "campaign.sqlite") as database:  # from its first result on it has begun
        database.execute("ATTACH ? AS ended", (str(ended / "out" / "campaign.sqlite"),))
        database.execute("INSERT INTO results SELECT * FROM ended.results WHERE key = 'bootstrap/0'")
    for directory in (ended, begun):
        write(directory, text, chunks=7)
        run(directory)
    one, other = (without_seconds(stored(d, "")) for d in (ended, begun))
    assert any(key.startswith("train/1/") for key in other)
    assert not any(key.startswith(("end4/", "ended/")) for key in other)
    searched = {key: value for key, value in before.items() if not key.startswith("end4/")}
    assert searched and {key: other[key] for key in searched} == searched
    assert {key: one[key] for key in before} == before
    # two more chunks are bred before the end, and know nothing of it
    assert all(one[f"relax/{k}"] == other[f"relax/{k}"] for k in range(4 + 2))


@pytest.fixture(scope="module")
def prolonged(tmp_path_factory):
    """A campaign that ended after four chunks and then after seven, and a copy of what it was at the first end."""
    place = tmp_path_factory.mktemp("prolonged")
    first = write(place / "first", SMALL.replace("max_calls = 30", "max_calls = 40"), chunks=4)
    run(first)
    shutil.copytree(first, place / "longer")
    longer = write(place / "longer", SMALL.replace("max_calls = 30", "max_calls = 40"), chunks=8)
    run(longer)
    return first, longer


def test_a_longer_campaign_knows_what_was_told_at_the_end_of_the_shorter_one(prolonged):
    """It counts, nothing is asked twice, and no phase is stable that it refutes."""
    _, longer = prolonged
    calls = told(longer)
    assert {key.partition("/")[0] for key in calls} >= {"end4", "end8", "reference"}
    everything = [label for path in calls.values() for label in path]
    status = json.loads(evo("status", longer, "--json").stdout)
    assert status["reference_calls"] - status["bootstrap_calls"] == len(everything) <= 40
    crystals = [json.dumps(label["crystal"]) for label in everything]
    assert len(set(crystals)) == len(crystals)
    names = [key.partition("reference/")[2] for key in calls if "reference/c" in key]
    assert len(set(names)) == len(names)
    stable = [r for r in json.loads(evo("results", longer, "--json").stdout) if r["status"] == "stable"]
    for label in everything:
        numbers = label["crystal"]["numbers"]
        for row in stable:
            same = sorted(atoms_from_json(row["crystal"]).symbols.formula.reduce()[0].count().items())
            if same == sorted(atoms_from_json(label["crystal"]).symbols.formula.reduce()[0].count().items()):
                assert row["energy_reference"] <= label["energy"] / len(numbers) + 1e-9


def test_a_longer_campaign_is_resumed_to_the_same_results(prolonged, tmp_path):
    """Cut at any place, run again, and on two ranks."""
    first, longer = prolonged
    expected = without_seconds(stored(longer, ""))
    run(longer)
    assert without_seconds(stored(longer, "")) == expected
    cut = shutil.copytree(first, tmp_path / "cut")
    shutil.copy(longer / "campaign.toml", cut)
    for seconds in (0, 1, 2, 4):
        assert evo("run", cut, "--quiet", "--walltime", f"00:0{seconds}").returncode in (0, 75)
    ranks = start(2, "run", cut, "--quiet")
    _, said = ranks.communicate(timeout=240)
    assert ranks.returncode == 0, said
    assert without_seconds(stored(cut, "")) == expected


@pytest.mark.nightly  # two campaigns more
def test_a_longer_campaign_is_the_same_after_its_chunks_were_fewer_for_a_while(prolonged, tmp_path):
    _, longer = prolonged
    expected = without_seconds(stored(longer, ""))
    cut = shutil.copytree(longer, tmp_path / "cut")
    text = (longer / "campaign.toml").read_text()
    (cut / "campaign.toml").write_text(text.replace("chunks = 8", "chunks = 6"))
    run(cut)
    (cut / "campaign.toml").write_text(text)
    rows = run(cut)
    again = without_seconds(stored(cut, ""))
    assert {key: again[key] for key in expected} == expected
    assert not any(key.startswith("ended/6") for key in again)
    assert rows == json.loads(evo("results", longer, "--json").stdout)


@pytest.mark.nightly  # two campaigns more, for chunks that went down and up again
def test_what_other_ends_were_told_is_known_at_the_end(tmp_path):
    """Where a search was cut, ended early and then went on, it is no part of the search, which had been further."""
    text = SMALL.replace("max_calls = 30", "max_calls = 40")
    directory = write(tmp_path / "c", text, chunks=8)
    whole = write(tmp_path / "whole", text, chunks=8)
    run(whole)
    shutil.copytree(whole / "out", directory / "out")
    with sqlite3.connect(directory / "out" / "campaign.sqlite") as database:  # as if it had been cut at its end
        database.execute("DELETE FROM results WHERE key LIKE 'end8/%'")
    write(directory, text, chunks=4)
    run(directory)
    write(directory, text, chunks=8)
    run(directory)
    found = stored(directory, "")
    assert found["end4/began"]["first"] is False and "ended/4" not in found
    at_first = [key for key in told(directory) if key.startswith("end4/")]
    assert at_first and sorted(found["end8/began"]["others"]) == sorted(at_first)
    status = json.loads(evo("status", directory, "--json").stdout)
    assert status["reference_calls"] - status["bootstrap_calls"] == sum(map(len, told(directory).values()))
    names = [
        key.partition("reference/")[2] for key in told(directory) if key.startswith("end") and "reference/c" in key
    ]
    assert len(set(names)) == len(names)
