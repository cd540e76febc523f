"""A new user: `evo init` of elements that a library of the package knows, and a campaign from it."""

import json
import tomllib

from evo.settings import load, parse, template
from potentials.library import Library
from tests.faults.campaigns import evo

NAME = "cu-pd-ag-pbe"


def test_init_takes_the_library_where_it_knows_all_elements(tmp_path):
    for system in ("Ag-Cu-Pd", "Pd4Cu4"):
        assert evo("init", system, tmp_path / system).returncode == 0
        settings = load(tmp_path / system / "campaign.toml")
        assert settings.network.library == NAME and settings.reference.engine == "none"
        checked = evo("check", tmp_path / system)
        assert checked.returncode == 0, checked.stderr
        assert "CuPdAg" in checked.stdout
    text = (tmp_path / "Ag-Cu-Pd" / "campaign.toml").read_text()
    switched = parse(tomllib.loads(text.replace('engine = "none"', 'engine = "gpaw"')))
    assert switched.reference.options["pulay"] == {"Cu": 0.57, "Pd": 0.25, "Ag": 0.264}
    assert evo("init", "Cu-Pt", tmp_path / "other").returncode == 0
    assert (tmp_path / "other" / "campaign.toml").read_text() == template(["Cu", "Pt"])


def test_a_campaign_from_the_library(tmp_path):
    assert evo("init", "Cu-Pd", tmp_path).returncode == 0
    settings = tmp_path / "campaign.toml"
    few = {"chunks = 80": "chunks = 2", "chunk_size = 32": "chunk_size = 6"}
    text = settings.read_text()
    for usual, less in few.items():
        assert text.count(usual) == 1
        text = text.replace(usual, less)
    settings.write_text(text)
    done = evo("run", tmp_path, "--quiet")
    assert done.returncode == 0, done.stderr
    rows = json.loads(evo("results", tmp_path, "--json").stdout)
    assert rows and all(r["energy_reference"] is None for r in rows)
    assert Library.open(tmp_path / "out" / "library").version() == Library.open(NAME).version()
