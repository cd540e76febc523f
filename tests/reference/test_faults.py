"""Every way in which an engine fails ends as a value with its reason, and with no process left."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed

from evo.candidate import Failure
from evo.reference import EngineAbsent, Label, ReferenceUnavailable, open_reference
from evo.reference.gpaw import LADDER, Gpaw, open_gpaw
from evo.reference.job import ROOM
from evo.settings import ReferenceSection, SettingsError
from tests.reference.programs import PAIR, PRETENDER, below, gone, wait_for


@pytest.fixture
def engine(tmp_path):
    """Builds the engine in front of a program in this mode."""
    program = tmp_path / "pretender.py"
    program.write_text(PRETENDER)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def build(mode: str, **options) -> Gpaw:
        command = [sys.executable, str(program), mode]
        return open_gpaw({"command": command, "scratch": str(scratch), "seconds": 60, **options})

    yield build
    assert not list(scratch.iterdir())  # every job takes its folder away


def test_a_sound_result_is_a_label(engine):
    found = engine("good", pulay={"Cu": 0.5, "Pd": 0.25}).evaluate(PAIR)
    assert isinstance(found, Label)
    assert (found.energy, found.energy_zero) == (-7.0, -6.8)
    np.testing.assert_allclose(found.stress, -0.75 / PAIR.cell.volume * np.eye(3))
    assert found.details["attempt"] == 1
    assert found.seconds > 0
    assert np.isnan(engine("no stress").evaluate(PAIR).stress).all()


@pytest.mark.parametrize(
    ("mode", "reason", "detail"),
    [
        ("nan", "not finite", "energy"),
        ("huge", "garbage", "force 900"),
        ("net force", "unconverged", "forces add up to 1 eV/Å"),
        ("wrong shape", "garbage", "forces of shape (3, 3)"),
        ("all steps", "unconverged", "60 SCF steps"),
        ("no mercy", "unconverged", f"attempt {len(LADDER)}: 60 steps"),
        ("text", "garbage", "JSONDecodeError"),
        ("empty", "garbage", "JSONDecodeError"),
        ("silent", "crashed", "status 0"),
        ("raises", "crashed", "no room for the wave functions"),
        ("killed", "crashed", "status 137"),
    ],
)
def test_what_is_no_result_is_a_failure(engine, mode, reason, detail):
    found = engine(mode).evaluate(PAIR)
    assert isinstance(found, Failure)
    assert found.reason == reason
    assert detail in found.detail


def test_the_next_rung_is_tried_and_told(engine):
    assert engine("second mixer").evaluate(PAIR).details["attempt"] == 2


def test_a_label_costs_what_all_attempts_at_it_took(engine):
    found = engine("first attempt is dear").evaluate(PAIR)
    assert found.details["attempt"] == 2 and found.seconds > 2.0


def test_a_full_disk_is_no_failure_of_the_crystal(engine):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (ROOM // 2, before[1])
    )  # no file may be larger, as on a disk with no more room
    try:
        with pytest.raises(OSError, match="File too large"):
            engine("text").evaluate(PAIR)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_hung_engine_ends_with_its_time(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    before = set(below(os.getpid()))
    found = engine("hangs", seconds=6.0).evaluate(PAIR)
    assert isinstance(found, Failure)
    assert (found.reason, found.detail) == ("timeout", "attempt 1: no result after 6 s")
    assert gone([int(p) for p in wait_for(tmp_path / "mark").split()], 1.0)
    assert set(below(os.getpid())) <= before


def test_nothing_survives_a_killed_rank(engine, tmp_path):
    program = engine("good").options.command[1]
    code = (
        "from evo.reference.gpaw import open_gpaw; from ase.build import bulk\n"
        f"open_gpaw({{'command': [{sys.executable!r}, {program!r}, 'hangs'], 'seconds': 900}}).evaluate(bulk('Cu'))"
    )
    environment = {**os.environ, "MARK": str(tmp_path / "mark"), "TMPDIR": str(tmp_path)}
    rank = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        wait_for(tmp_path / "mark")
        processes = below(rank.pid)
        assert len(processes) >= 3
    finally:
        rank.kill()
        rank.wait()
    assert gone(processes, 15.0)


def test_moments_of_the_crystal_or_of_its_elements(engine):
    magnetic = PAIR.copy()
    magnetic.set_initial_magnetic_moments([1.0, -2.0])
    assert engine("moments").evaluate(magnetic).details["moments"] == [1.0, -2.0]
    assert engine("moments", moments={"Pd": 0.5}).evaluate(PAIR).details["moments"] == [0.0, 0.5]
    assert "moments" not in engine("moments").evaluate(PAIR).details


def test_a_crystal_that_nothing_can_do_costs_no_job(engine):
    flat = Atoms("Cu2", positions=np.zeros((2, 3)), cell=np.eye(3) * 1e-3, pbc=True)
    assert engine("raises").evaluate(flat).reason == "collapsed"


def test_an_engine_that_is_not_there_is_told():
    with pytest.raises(EngineAbsent, match=r"no-such-python is not here; install GPAW .*EVO_GPAW_PYTHON"):
        open_gpaw({"command": ["no-such-python"]})
    with pytest.raises(EngineAbsent, match="has no GPAW that works"):
        open_gpaw({"command": ["false"]})
    assert EngineAbsent.exit_code == 69


def test_options_are_checked():
    with pytest.raises(SettingsError, match=r"reference.options: unknown key `kspacings`; did you mean `kspacing`"):
        open_gpaw({"kspacings": 0.1})
    with pytest.raises(SettingsError, match=r"reference.options: `width`: .*greater than 0, got -1"):
        open_gpaw({"width": -1})


def test_elements_without_paw_set_or_pulay_constant(engine):
    assert engine("good").cannot([29, 46, 47]) == {47}
    assert engine("good", pulay={"Cu": 0.5}).cannot([29, 46]) == {46}


def test_method_is_physics_not_machine(engine):
    def method(**options) -> str:
        built = engine("good")
        options = {"command": built.options.command, **options}
        reference = open_reference(ReferenceSection(engine="gpaw", options=options))
        assert reference is not None
        return reference.method

    plain = method()
    assert method(seconds=7.0, threads=2, scratch=".") == plain
    others = [
        method(cutoff=500.0),
        method(kspacing=0.03),
        method(width=0.2),
        method(pulay={"Cu": 0.5}),
        method(setups={"Pd": "10"}),
    ]
    assert len({plain, *others}) == 6


def test_as_a_reference(engine):
    options = {"command": engine("good").options.command}
    reference = open_reference(ReferenceSection(engine="gpaw", options=options))
    assert reference is not None
    crystal = bulk("Cu")
    crystal.calc = reference.calculator()
    assert crystal.get_potential_energy(force_consistent=True) == -3.5
    assert crystal.get_stress().shape == (6,)
    with pytest.raises(ReferenceUnavailable, match=r"gpaw with these reference.options cannot do Ag"):
        reference.require([29, 47])


def test_a_calculator_says_which_element_its_engine_lacks(engine):
    """Before anything is calculated."""
    calculator = engine("raises", pulay={"Cu": 0.5}).calculator()
    with pytest.raises(CalculationFailed, match="of Pd, or no constant in `pulay`"):
        calculator.calculate(PAIR)


def test_a_calculator_keeps_the_mesh_of_a_crystal_until_it_is_told_otherwise(engine):
    """Its identity, which says what its answers hang on, does not change with it."""
    program = engine("good")
    calculator, far = program.calculator(), PAIR.copy()
    far.set_cell(1.4 * PAIR.cell[:], scale_atoms=True)

    def points(like) -> int:
        calculator.keep_mesh_of(like)
        calculator.calculate(PAIR)
        return calculator._engine.evaluate(PAIR).details["mesh"]

    assert points(None) == program.evaluate(PAIR).details["mesh"] == points(PAIR)
    assert points(far) == program.evaluate(far).details["mesh"] != points(None)
    assert calculator.identity == program.identity
    options = program.options.model_dump(exclude_defaults=True)
    reference = open_reference(ReferenceSection(engine="gpaw", options=options))
    assert reference.evaluate(PAIR, like=far).details["mesh"] == points(far)
    assert reference.evaluate(PAIR).details["mesh"] == points(None)
