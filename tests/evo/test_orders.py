"""A task as a record does what the task itself would do, to the last bit, wherever the directory is seen from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from evo import bootstrap, first_set, labels, orders
from evo.candidate import atoms_to_json
from evo.cell import Space
from evo.reference import Label
from evo.report.check import check
from evo.settings import ReferenceSection, SettingsError
from evo.worker import adapted
from potentials.calculator import from_calculator
from potentials.curvature import inverse_hessian
from potentials.structures import Structures
from tests.faults.campaigns import BY_EMT, write
from tests.mpi.test_same_bits import without_seconds

CRYSTAL = bulk("Cu", a=3.8)
BLIND = """
from ase.calculators.emt import EMT
class Blind(EMT):
    implemented_properties = ["energy", "free_energy", "forces"]
    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results.pop("stress", None)
"""
TOLD = labels.labelled(atoms_to_json(CRYSTAL), Label(-0.1, np.zeros((1, 3)), 0.02 * np.eye(3), 1.0), "")


def spec(directory, engine="emt", **options):
    return labels.spec_of(ReferenceSection(engine=engine, options=options), str(directory))


@pytest.fixture(scope="module")
def tasks():
    task = bootstrap.plan((29, 46), 12, 1, Space((29, 46), (1, 3)))[0]
    return [
        (labels.about, [29, 46]),
        (labels.single_point, atoms_to_json(CRYSTAL), "family"),
        (labels.relaxed, atoms_to_json(CRYSTAL), "", 0.01, 0.05, 0.01, 4),
        (labels.run_bootstrap, task),
        (labels.relaxed, atoms_to_json(CRYSTAL), "", 0.01, 0.05, 0.01, 4, TOLD, (np.eye(9) / 20).tolist()),
    ]


def test_by_record_and_directly(tmp_path, tasks):
    place = tmp_path / "c" / "out" / "queue"
    for function, *arguments in tasks:
        directly = function(spec(tmp_path / "c"), *arguments)
        record = json.loads(json.dumps(orders.describe(place, function, spec(tmp_path / "c"), *arguments)))
        seen = []

        def note(given, seen=seen):
            seen.append(given.directory)
            return given

        # the same directory under another name
        by_record = orders.perform(record, tmp_path / "elsewhere" / "out" / "queue", note)
        assert without_seconds(json.loads(json.dumps(by_record))) == without_seconds(json.loads(json.dumps(directly)))
        assert seen == [str(tmp_path / "elsewhere")]
    assert orders.describe(place, print, 1) is None


def test_every_step_of_a_relaxation_is_booked(tmp_path):
    path = labels.relaxed(spec(tmp_path), atoms_to_json(CRYSTAL), "", 0.0, 0.01, 1e-4, 5)
    assert 2 <= len(path) <= 5
    assert all(x["seconds"] > 0 and x["failure"] is None for x in path)
    assert path[-1]["energy"] < path[0]["energy"]


def test_what_is_known_of_a_relaxation_is_not_asked_again(tmp_path):
    crystal = atoms_to_json(bulk("Cu", a=3.62))
    given = spec(tmp_path), crystal, "", 0.0, 0.01, 1e-4, 5
    plain = labels.relaxed(*given)
    told = labels.single_point(*given[:3])
    assert told["energy"] == plain[0]["energy"]
    shorter = labels.relaxed(*given, told)
    assert [x["energy"] for x in shorter] == [x["energy"] for x in plain[1:]]
    emt = from_calculator(EMT())
    inverse = inverse_hessian(emt, Structures.from_ase([bulk("Cu", a=3.62)])).tolist()
    best = labels.relaxed(*given, told, inverse)
    assert 1 <= len(best) < len(shorter)
    assert best[-1]["energy"] == pytest.approx(plain[-1]["energy"], abs=1e-4)
    # the step limit is of calls
    assert len(labels.relaxed(*given[:-1], 1, told)) == 1
    at_rest = labels.labelled(crystal, Label(0.0, np.zeros((1, 3)), np.zeros((3, 3)), 1.0), "")
    assert labels.relaxed(*given, at_rest) == []


def test_without_a_stress_the_cell_stays(tmp_path):
    """Forces would strain it through the networks' curvature, and nobody would say when it was enough."""
    (tmp_path / "blind.py").write_text(BLIND)
    atoms = bulk("Cu", "hcp", 2.6, 4.3)
    atoms.positions[1, 2] += 0.1
    reference = labels.spec_of(ReferenceSection(engine="ase", calculator="blind:Blind"), str(tmp_path))
    told = labels.single_point(reference, atoms_to_json(atoms), "")
    assert told["failure"] is None and not np.isfinite(np.array(told["stress"], dtype=float)).any()
    one = Structures.from_ase([atoms])
    inverse = inverse_hessian(from_calculator(EMT()), one, fixed_cell=True).tolist()
    path = labels.relaxed(reference, atoms_to_json(atoms), "", 0.0, 0.01, 1e-4, 6, told, inverse)
    assert path
    for step in path:
        np.testing.assert_allclose(step["crystal"]["cell"], atoms.cell.array, atol=1e-12)


def test_what_is_given_up(tmp_path, tasks):
    records = [orders.describe(tmp_path, f, spec(tmp_path), *a) for f, *a in tasks]
    with pytest.raises(orders.ReferenceBroken, match="3 workers were lost when they opened the reference"):
        orders.give_up(records[0])
    assert orders.give_up(records[1])["failure"] == ["crashed", "3 workers were lost with it"]
    assert [x["failure"][0] for x in orders.give_up(records[2])] == ["crashed"]
    given_up = orders.give_up(records[3])
    assert given_up["labels"] == [] and given_up["calls"] == len(given_up["failures"]) == tasks[3][1].calls
    assert {tuple(failure) for failure in given_up["failures"]} == {("crashed", "3 workers were lost with it")}


def test_a_task_of_another_version_is_refused(tmp_path, tasks):
    function, *arguments = tasks[1]
    record = orders.describe(tmp_path, function, spec(tmp_path), *arguments) | {"kind": "phonons"}
    with pytest.raises(orders.UnknownOrder, match="a task of kind 'phonons' is not known here") as caught:
        orders.perform(record, tmp_path, lambda s: s)
    assert caught.value.exit_code == 65  # so it does not count against the task


def test_options_of_a_machine_lie_on_top(tmp_path):
    asked = spec(tmp_path, "gpaw", cutoff=300.0, command=["python"])
    here = ReferenceSection(options={"command": ["/opt/python"], "threads": 4})
    assert json.loads(adapted(asked, here).section)["options"] == {
        "cutoff": 300.0, "command": ["/opt/python"], "threads": 4,
    }  # fmt: skip
    assert adapted(asked, None) == asked


@pytest.mark.parametrize("hours", [0.0, 0.0005])
def test_check_counts_the_bootstrap_of_strata_that_a_library_lacks(tmp_path, hours):
    text = '[system]\nelements = ["Cu", "Pd", "Au"]\n[network]\nlibrary = "cu-pd-ag-pbe"\n'
    text += f'[reference]\nqueue = "q"\nmax_calls = 50\n[bootstrap]\nmax_calls = 400\nmax_hours = {hours}\n'
    space = Space((29, 46, 79), (1, 8))
    calls = first_set.calls_within(hours, ReferenceSection(), space, 0) if hours else 400
    assert hours == 0 or calls < 400
    there = {"Cu", "Pd", "CuPd"}
    tasks = bootstrap.plan(space.elements, calls, 0, space)
    n = sum(task.calls for task in tasks if task.stratum.name not in there)
    assert calls / 2 < n < calls
    assert any(f"at most {50 + n} reference calls" in line for line in check(write(tmp_path / "c", text)))


def test_check_needs_no_program_here(tmp_path):
    text = BY_EMT.replace('engine = "none"', 'engine = "gpaw"\nqueue = "out/queue"\noptions = {{ {options} }}')
    directory = write(tmp_path / "c", text.format(chunks=1, options='command = ["no-such-python"]'))
    assert any(
        "gpaw through out/queue: 0 workers there, 0 tasks with them, 0 waiting" in line for line in check(directory)
    )
    write(tmp_path / "c", text.format(chunks=1, options="cutof = 1.0"))
    with pytest.raises(SettingsError, match="unknown key `cutof`; did you mean `cutoff`"):
        list(check(directory))
