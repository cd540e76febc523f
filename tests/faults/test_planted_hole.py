"""A network that is wrong by -5 eV/atom somewhere never yields a phase called stable."""

import json
from dataclasses import replace

import pytest
from ase.calculators.emt import EMT

from evo.candidate import atoms_from_json
from potentials.library import Library
from potentials.stratum import Stratum
from tests.faults.campaigns import SMALL, evo, write

HOLE = '''
"""EMT, except that crystals with as much Cu as Pd lie DEPTH eV/atom too low: a hole that stands for a network's."""
from ase.calculators.emt import EMT

class Hole(EMT):
    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        numbers = self.atoms.numbers
        if (numbers == 29).sum() == (numbers == 46).sum():
            for name in ("energy", "free_energy"):
                self.results[name] -= DEPTH * len(numbers)
'''

CAMPAIGN = """
[system]
elements = ["Cu", "Pd"]
atoms = [1, 3]
[search]
chunks = 6
chunk_size = 10
symmetric_start = 3
[relax]
engine = "ase"
calculator = "hole:Hole"
[reference]
every = 2
lag = 1
per_round = 5
max_calls = 60
final_steps = 2
"""


def check(directory):
    """Every stable phase is what EMT says of it, and EMT's own ordering holds: nothing deep in the hole."""
    rows = json.loads(evo("results", directory, "--json").stdout)
    assert any(r["status"] == "stable" for r in rows)
    for row in rows:
        if row["status"] == "stable":
            atoms = atoms_from_json(row["crystal"])
            atoms.calc = EMT()
            assert row["energy_reference"] == pytest.approx(atoms.get_potential_energy() / len(atoms), abs=1e-9)
            assert row["above_hull_reference"] == 0.0
    return rows


@pytest.mark.parametrize("depth", [5.0, 0.3, 0.05])
def test_a_hole_at_one_composition(tmp_path, depth):
    """Deeper than the gate, shallower than the gate, shallower than what counts as refuted at once."""
    directory = write(tmp_path / "c", CAMPAIGN)
    (directory / "hole.py").write_text(HOLE.replace("DEPTH", str(depth)))
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    rows = check(directory)
    assert not [r for r in rows if r["formula"] == "CuPd" and r["status"] == "stable" and r["energy_reference"] < -0.2]


def test_a_network_with_a_garbled_pair(tmp_path):
    """A library whose CuPd stratum is nonsense: what it finds is refuted, flagged or gated, never stable."""
    first = write(tmp_path / "first", SMALL, chunks=1)
    assert evo("run", first, "--quiet").returncode == 0
    library = Library.open(first / "out" / "library")
    pair = library.stratum(Stratum.parse("CuPd"))
    columns = {z: c - 5.0 for z, c in pair.parameters.columns.items()}
    library.add(replace(pair, parameters=replace(pair.parameters, columns=columns)))
    text = SMALL.replace("[network]", f'[network]\nlibrary = "{first / "out" / "library"}"')
    directory = write(tmp_path / "c", text, chunks=5)
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    check(directory)
