"""Quantum ESPRESSO: its files read with suspicion, its failures as values, and, where it is installed, a real calculation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.units import Bohr, Rydberg

from evo.candidate import Failure
from evo.reference import EngineAbsent, Label, ReferenceUnavailable, open_reference
from evo.reference.espresso import open_espresso
from evo.reference.mesh import Mesh
from evo.reference.pw_files import Found, Garbage, few, pw_input, read_output
from evo.settings import ReferenceSection, SettingsError
from tests.reference.programs import PAIR

OUTPUT = (Path(__file__).parent / "data" / "pw_CuPd.out").read_text()
# inputs of pslibrary for ld1.x, beside the project; they are not part of it
PSLIBRARY = Path(__file__).parents[3] / "shared" / "pslibrary"


def test_a_recorded_output():
    found = read_output(OUTPUT, 2, "fermi-dirac")
    assert isinstance(found, Found)
    assert found.energy == pytest.approx(-190.37395916 * Rydberg)
    assert found.energy_zero == pytest.approx((-190.37395916 + 0.00849623 / 2) * Rydberg)
    np.testing.assert_allclose(found.forces[0], np.array([0.01655841, -0.02185772, -0.03557166]) * Rydberg / Bohr)
    # compressed: 168.30 kbar, and tension is positive here
    assert np.trace(found.stress) / 3 * 1602.1766 == pytest.approx(-168.30, abs=0.02)
    assert found.stress[0, 1] == pytest.approx(0.00054477 * Rydberg / Bohr**3)
    assert (found.steps, found.k_points) == (8, 8)
    cold = read_output(OUTPUT, 2, "marzari-vanderbilt")
    assert isinstance(cold, Found)
    assert cold.energy_zero == cold.energy


def test_cut_after_every_line_it_is_no_result():
    lines = OUTPUT.splitlines(keepends=True)
    complete = next(n for n, line in enumerate(lines) if "JOB DONE" in line)
    for n in range(complete):
        with pytest.raises(Garbage):
            read_output("".join(lines[:n]), 2, "fermi-dirac")


@pytest.mark.parametrize(
    ("old", "new", "reason", "detail"),
    [
        ("convergence has been achieved in   8", "convergence NOT achieved after  60", "unconverged", "after  60"),
        ("Program PWSCF", "Maximum CPU time exceeded\nProgram PWSCF", "timeout", "max_seconds"),
        (
            "Program PWSCF",
            "%%%%%%\n Error in routine cdiaghg (159):\n no\n %%%%%%\n",
            "crashed",
            "Error in routine cdiaghg",
        ),
    ],
)
def test_failures_that_it_tells(old, new, reason, detail):
    found = read_output(OUTPUT.replace(old, new), 2, "fermi-dirac")
    assert isinstance(found, Failure)
    assert found.reason == reason
    assert detail in found.detail


@pytest.mark.parametrize(
    ("old", "new"),
    [("!    total", "     total"), ("0.01655841 ", "********** "), ("(Ry/bohr**3)", "(kbar)"), ("0.00092249", "NaN")],
)
def test_holes_are_no_result(old, new):
    with pytest.raises(Garbage):
        read_output(OUTPUT.replace(old, new), 2, "fermi-dirac")
    with pytest.raises(Garbage, match="forces of 2 atoms, not 3"):
        read_output(OUTPUT, 3, "fermi-dirac")


def written(points: Mesh, moments: tuple[float, ...] = ()) -> str:
    return pw_input(
        PAIR,
        control={"pseudo_dir": "/pseudo", "max_seconds": 95.0},
        cutoffs=(Rydberg * 35, Rydberg * 280),
        smearing=("marzari-vanderbilt", Rydberg * 0.01),
        valences={"Cu": 11.0, "Pd": 10.0},
        electrons={"mixing_mode": "plain"},
        files={"Cu": "Cu.UPF", "Pd": "Pd.UPF"},
        mesh=points,
        moments=moments,
    )


def test_input():
    text = written(Mesh((4, 3, 2), False, True))
    for line in (
        "ecutwfc = 35.0",
        "ecutrho = 280.0",
        "nbnd = 16",
        "smearing = 'mv'",
        "degauss = 0.01",
        "tstress = .true.",
    ):
        assert f"  {line}\n" in text
    assert "max_seconds = 95.0" in text
    assert "K_POINTS automatic\n4 3 2 1 1 1\n" in text
    assert "Cu 0.000000000000 0.000000000000 0.000000000000" in text
    # each spin may hold more than half of the electrons
    assert "nbnd = 22\n" in written(Mesh((4, 3, 2), False, True), (6.0, -4.0))
    # pw.x would complete a list by what the lattice has of symmetry and the crystal has not
    assert "nosym" not in text
    assert "nosym = .true." in written(Mesh((2, 2, 2), True))
    listed = written(Mesh((2, 2, 2), True)).split("K_POINTS crystal\n")[1].split()
    assert listed[0] == "12"
    assert sum(float(w) for w in listed[4::4]) == 16


FAKE = (
    '#!{python}\nimport sys, time\nif len(sys.argv) == 1: print("     Program PWSCF v.0 starts"); sys.exit(1)\n{body}\n'
)


@pytest.fixture
def fake(tmp_path):
    """An engine whose program does this."""
    (tmp_path / "Cu.UPF").write_text('<PP_HEADER z_valence="11.0"/>')
    (tmp_path / "Pd.UPF").write_text("   10.000   Z valence\n")

    def build(body: str, **options):
        program = tmp_path / "pw.x"
        program.write_text(FAKE.format(python=sys.executable, body=body))
        program.chmod(0o755)
        files = {"Cu": "Cu.UPF", "Pd": "Pd.UPF"}
        return open_espresso(
            {"command": [str(program)], "pseudo_dir": str(tmp_path), "pseudopotentials": files, **options}
        )

    return build


def printing(text: str) -> str:
    return f"sys.stdout.write({text!r})"


def test_only_a_complete_result_counts_whatever_the_exit_status(fake):
    found = fake(printing(OUTPUT) + "; sys.exit(1)").evaluate(PAIR)
    assert isinstance(found, Label)
    assert found.details["mesh"] == (5, 5, 4)
    assert found.details["centred"]
    for body, reason in (
        ("pass", "garbage"),
        (printing(OUTPUT[:1500]), "garbage"),
        ("sys.exit(2)", "crashed"),
        ("sys.stdout.buffer.write(bytes(range(256)) * 99)", "garbage"),
        (printing(OUTPUT.replace("has been achieved in   8", "NOT achieved after  60")), "unconverged"),
        ("time.sleep(100)", "timeout"),
    ):
        found = fake(body, seconds=2.0 if reason == "timeout" else 60.0).evaluate(PAIR)
        assert isinstance(found, Failure)
        assert found.reason == reason, body


def test_further_keys_and_the_use_of_cores(fake, tmp_path):
    kept = f"open({str(tmp_path / 'told')!r}, 'w').write(' '.join(sys.argv[1:]) + open('pw.in').read())"
    plain = fake("pass")
    found = fake(f"{kept}; {printing(OUTPUT)}", system={"vdw_corr": "grimme-d3"}, parallel=["-nk", "4"])
    assert isinstance(found.evaluate(PAIR), Label)
    told = (tmp_path / "told").read_text()
    assert told.startswith("-nk 4 -in pw.in")
    assert "  vdw_corr = 'grimme-d3'\n" in told.split("&ELECTRONS")[0]
    assert fake("pass", parallel=["-nk", "2"]).identity == plain.identity
    assert found.identity == plain.identity | {"system": {"vdw_corr": "grimme-d3"}}
    with pytest.raises(SettingsError, match=r"system has ecutwfc, which is reference.options.cutoff"):
        fake("pass", system={"ecutwfc": 30.0})


def test_the_ladder_changes_mixing_and_diagonalisation(fake):
    body = "given = open('pw.in').read()\nok = \"mixing_mode = 'local-TF'\" in given and \"diagonalization = 'cg'\" in given\n"
    body += f"text = {OUTPUT!r}\nsys.stdout.write(text if ok else text.replace('has been achieved', 'NOT achieved'))"
    found = fake(body).evaluate(PAIR)
    assert isinstance(found, Label)
    assert found.details["attempt"] == 3


def test_a_slab_without_periodicity_is_refused(fake):
    slab = bulk("Cu")
    slab.pbc = (True, True, False)
    found = fake("pass").evaluate(slab)
    assert isinstance(found, Failure) and found.reason == "no crystal"  # which says nothing against the program


def test_a_program_that_starts_by_its_launcher_alone_and_one_that_does_not_start(fake):
    body = "pass"
    ready = 'import os\nif "READY" not in os.environ: sys.exit("srun: no allocation")\n'
    start = FAKE.replace("import sys, time\n", "import sys, time\n" + ready)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.reference.test_espresso.FAKE", start)
        with pytest.raises(EngineAbsent, match=r"it does not call itself PWSCF: srun: no allocation"):
            fake(body)
        assert fake(body, launcher=["env", "READY=1"]).version == "v.0"


def test_many_moments_make_no_more_species_than_pw_takes():
    moments = [0.9 + 0.003 * n for n in range(12)]
    rounded = few(["Fe"] * 12, moments)
    assert len(set(rounded)) <= 10 and np.abs(np.array(rounded) - moments).max() <= 0.05
    assert few(["Fe", "O"], [2.123456, 0.0]) == [2.123456, 0.0]


def test_folders_of_options_are_relative_to_the_settings(fake, tmp_path, monkeypatch):
    fake("pass")
    monkeypatch.chdir("/")
    files = {"Cu": "Cu.UPF", "Pd": "Pd.UPF"}
    options = {"command": ["./pw.x"], "pseudo_dir": ".", "pseudopotentials": files}
    section = ReferenceSection(engine="espresso", options=options)
    found = open_reference(section, str(tmp_path))
    elsewhere = ReferenceSection(
        engine="espresso", options=options | {"command": [f"{tmp_path}/pw.x"], "pseudo_dir": f"{tmp_path}"}
    )
    assert found.method == open_reference(elsewhere, "/tmp").method
    assert isinstance(found.evaluate(PAIR), Failure)  # it has started


def test_what_is_missing_is_told(fake, tmp_path):
    with pytest.raises(EngineAbsent, match=r"no-such-pw.x is not here; install Quantum ESPRESSO"):
        open_espresso({"command": ["no-such-pw.x"], "pseudopotentials": {}})
    with pytest.raises(EngineAbsent, match=r"is no pw.x of Quantum ESPRESSO"):
        open_espresso({"command": ["true"], "pseudopotentials": {}})
    with pytest.raises(SettingsError, match="`pseudopotentials`: Field required"):
        open_espresso({})
    with pytest.raises(ReferenceUnavailable, match=r"Ag.UPF cannot be read: No such file .*ESPRESSO_PSEUDO"):
        fake("pass", pseudopotentials={"Ag": "Ag.UPF"})
    (tmp_path / "Ag.UPF").write_text("<html>not found</html>")
    with pytest.raises(SettingsError, match=r"Ag.UPF is no pseudopotential in UPF: it has no z_valence"):
        fake("pass", pseudopotentials={"Ag": "Ag.UPF"})
    assert fake("pass").cannot([29, 46, 47]) == {47}


def installed(test):
    """Skipped by name where the program or the inputs of its pseudopotentials are not here."""
    for program in ("pw.x", "ld1.x"):
        missing = shutil.which(program) is None
        test = pytest.mark.skipif(missing, reason=f"Quantum ESPRESSO ({program}) is not installed")(test)
    return pytest.mark.skipif(not PSLIBRARY.is_dir(), reason="pslibrary is not beside the project")(test)


def generated(folder: Path, names: dict[str, str]) -> dict[str, str]:
    """Pseudopotentials of pslibrary made by ld1.x in this folder; the files by symbol."""
    for name in names.values():
        text = (PSLIBRARY / f"{name}.in").read_text().replace("$nrel", "1").replace("$fct", "pbe")
        subprocess.run(["ld1.x"], input=text, text=True, cwd=folder, capture_output=True, check=True, env=plain())
    return {symbol: f"{name}.UPF" for symbol, name in names.items()}


PALLADIUM = "Pd.pbe-n-rrkjus_psl.1.0.0"


@pytest.mark.nightly
@pytest.mark.timeout(3600)  # seconds of work, but other work may go on
@installed
def test_moments_and_u_with_the_real_program(tmp_path):
    """Recorded with Quantum ESPRESSO 6.7; the stress with U is the derivative of the energy (0.27 GPa when it was recorded)."""
    options = {"pseudo_dir": str(tmp_path), "pseudopotentials": generated(tmp_path, {"Pd": PALLADIUM})}
    options |= {"hubbard": {"Pd": {"d": 4.0}}}
    coarse = {"cutoff": 480.0, "density_cutoff": 3840.0, "kspacing": 0.25, "moments": {"Pd": [1.0, -0.5]}}
    found = open_espresso({**options, **coarse}).evaluate(bulk("Pd", a=3.95) * (1, 1, 2))
    assert isinstance(found, Label)
    assert found.energy == pytest.approx(-1841.12009, abs=5e-3)
    np.testing.assert_allclose(found.details["moments"], 0.372, atol=0.02)
    np.testing.assert_allclose(found.details["occupations"], 9.4854, atol=0.02)
    engine = open_espresso({**options, "kspacing": 0.12})
    low, middle, high = (engine.evaluate(bulk("Pd", a=3.95 * (1 + s))) for s in (-0.01, 0.0, 0.01))
    pressure = (high.energy - low.energy) / 0.02 / 3 / bulk("Pd", a=3.95).get_volume()
    assert np.trace(middle.stress) / 3 == pytest.approx(pressure, abs=0.5 / 160.2)


@installed
def test_a_real_calculation(tmp_path):
    """CuPd at random, ultrasoft pslibrary 1.0.0; recorded with Quantum ESPRESSO 6.7."""
    files = generated(tmp_path, {"Cu": "Cu.pbe-dn-rrkjus_psl.1.0.0", "Pd": PALLADIUM})
    options = {"pseudo_dir": str(tmp_path), "pseudopotentials": files, "cutoff": 480.0, "density_cutoff": 3840.0}
    engine = open_espresso({**options, "kspacing": 0.2})
    found = engine.evaluate(PAIR)
    assert isinstance(found, Label)
    assert found.energy == pytest.approx(-2591.44499, abs=5e-3)
    np.testing.assert_allclose(found.forces[0], [0.4969, -0.6275, -0.9938], atol=5e-3)
    # GPAW on the same mesh (test_gpaw.py): the two codes agree
    np.testing.assert_allclose(found.forces[0], [0.4886, -0.6188, -0.9863], atol=0.015)
    assert np.trace(found.stress) / 3 == pytest.approx(-0.04634, abs=1e-3)
    assert found.details["attempt"] == 1
    skewed = PAIR.copy()
    skewed.set_cell(np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]]) @ np.asarray(PAIR.cell))
    again = engine.evaluate(skewed)
    assert isinstance(again, Label)
    assert again.energy == pytest.approx(found.energy, abs=1e-4)
    np.testing.assert_allclose(again.stress, found.stress, atol=1e-5)


def plain() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
