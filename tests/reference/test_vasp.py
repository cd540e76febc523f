"""VASP: what it is told, and its results read with suspicion. The program is stood in for.

Its results are recorded ones of VASP 6.3 that ASE's own tests bring, and ones in VASP's form with EMT's numbers, which show that
every atom gets its own force.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ase
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from evo.candidate import Failure
from evo.reference import EngineAbsent, Label, ReferenceUnavailable, open_reference
from evo.reference.vasp import open_vasp
from evo.settings import ReferenceSection, SettingsError

RECORDED = Path(ase.__file__).parent / "test" / "testdata" / "vasp"
ROOT = Path(__file__).parents[2]

# stands in for vasp_std: answers with EMT's numbers for the POSCAR it is given, on the first or only on a later rung
PROGRAM = """
import shutil, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
mode = sys.argv[1]
for name in ("INCAR", "KPOINTS", "POSCAR", "POTCAR"):
    shutil.copy(name, {kept!r})
if mode == "silent": sys.exit(1)
if mode == "hangs": time.sleep(1000)
if mode.endswith(".xml"):
    shutil.copy(mode, "vasprun.xml")
    sys.exit()
from ase.calculators.emt import EMT
from ase.io import read
from ase.units import GPa
from tests.potentials.vasp_files import Ionic, vasprun
lines = Path("INCAR").read_text()
good = mode in ("good", "other", "nan", "cut") or (mode == "second" and "AMIX" in lines)
atoms = read("POSCAR") * ((2, 1, 1) if mode == "other" else 1)
atoms.calc = EMT()
kilobar = -10 * atoms.get_stress(voigt=False) / GPa
cycles = 9 if good else 60
text = vasprun([Ionic(atoms, atoms.get_potential_energy(), atoms.get_forces(), kilobar, cycles)])
if mode == "nan": text = text.replace('name="forces"', 'name="f"')
Path("vasprun.xml").write_text(text[: len(text) // 2] if mode == "cut" else text)
"""


@pytest.fixture
def engine(tmp_path):
    """Builds the engine in front of a program in this mode, with pseudopotentials that are none."""
    for name in ("Cu", "Pd", "Pd_pv", "C"):
        (tmp_path / "potcar" / name).mkdir(parents=True)
        (tmp_path / "potcar" / name / "POTCAR").write_text(f"  PAW_PBE {name} 06Sep2000\n   11.0\n End of Dataset\n")
    program = tmp_path / "vasp.py"
    program.write_text(PROGRAM.format(root=str(ROOT), kept=str(tmp_path)))

    def build(mode="good", **options):
        given = {"command": [sys.executable, str(program), str(mode)], "version": "6.3.0", "seconds": 100, **options}
        return open_vasp({"potcar_dir": str(tmp_path / "potcar"), "kspacing": 0.1, **given})

    return build


def crystal() -> Atoms:
    """Atoms in an order that VASP does not keep."""
    atoms = bulk("Cu", cubic=True, a=3.75)
    atoms.symbols = ["Pd", "Cu", "Pd", "Cu"]
    atoms.rattle(0.1, rng=np.random.default_rng(3))
    return atoms


def test_every_atom_gets_its_own_force(engine, tmp_path):
    atoms = crystal()
    found = engine(moments={"Cu": [1.0, -0.5]}, hubbard={"Cu": {"d": 4.0}}).evaluate(atoms)
    assert isinstance(found, Label), found
    atoms.calc = EMT()
    assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-5)
    np.testing.assert_allclose(found.stress, atoms.get_stress(voigt=False), atol=1e-6)
    assert found.energy_zero > found.energy
    assert (found.details["attempt"], found.seconds > 0) == (1, True)
    incar = dict(line.split("=", 1) for line in (tmp_path / "INCAR").read_text().splitlines() if "=" in line)
    told = {key.strip(): value.strip() for key, value in incar.items()}
    assert float(told["ENCUT"]) == 400.0
    assert (told["ISMEAR"], float(told["SIGMA"]), told["NELM"], told["ISPIN"]) == ("-1", 0.1, "60", "2")
    # in VASP's order, Pd first, the atoms of Cu begin with 1 and -1/2 in the order in which they were given
    assert told["MAGMOM"].split() == ["2*0.0000", "1*1.0000", "1*-0.5000"]
    assert (told["LDAUL"].split(), [float(u) for u in told["LDAUU"].split()]) == (["-1", "2"], [0.0, 4.0])
    assert (tmp_path / "POTCAR").read_text().count("PAW_PBE") == 2
    assert (tmp_path / "KPOINTS").read_text().splitlines()[2].lower().startswith("r")


def test_vasp_is_left_to_use_symmetry(engine, tmp_path):
    """A list of points is worked out as it stands: of a symmetric crystal only the numbers along the axes are given."""
    copper = bulk("Cu")
    assert isinstance(engine().evaluate(copper), Label)
    lines = (tmp_path / "KPOINTS").read_text().splitlines()
    size = engine().options.mesh(copper, None).size
    assert (lines[1].strip(), lines[2].strip().lower()) == ("0", "gamma")
    assert tuple(map(int, lines[3].split())) == size and [float(x) for x in lines[4].split()] == [0, 0, 0]
    skewed = crystal()
    assert isinstance(engine().evaluate(skewed), Label)
    points = engine().options.mesh(skewed, None)
    assert points.centred
    lines = (tmp_path / "KPOINTS").read_text().splitlines()
    assert int(lines[1]) == len(points.halved()[0]) and lines[2].lower().startswith("r")


def test_further_tags_and_the_use_of_cores(engine, tmp_path):
    plain = engine()
    assert "KPAR" not in plain.identity and "incar" not in plain.identity
    found = engine(incar={"IVDW": 12, "LASPH": True, "VDW_S8": 0.5}, parallel={"KPAR": 2, "LPLANE": False})
    assert isinstance(found.evaluate(bulk("Cu")), Label)
    told = [line.split("#")[0].split() for line in (tmp_path / "INCAR").read_text().splitlines()]
    for tag in ("IVDW = 12", "LASPH = .TRUE.", "VDW_S8 = 0.5", "KPAR = 2", "LPLANE = .FALSE."):
        assert tag.split() in told
    tags = [line[0].upper() for line in told if "=" in line]
    assert len(set(tags)) == len(tags)  # VASP would take one of two, and not say which
    assert found.identity == engine(incar={"IVDW": 12, "LASPH": True, "VDW_S8": 0.5}).identity != plain.identity
    for options, said in (
        ({"incar": {"encut": 500}}, "incar has encut, which is reference.options.cutoff"),
        ({"incar": {"NCORE": 4}}, "incar has NCORE, which is reference.options.parallel"),
        ({"incar": {"GGA": "PS"}}, r"incar has GGA, which is reference\.options\.xc$"),
        ({"incar": {"NSW": 10}}, "incar has NSW, which is fixed"),
        ({"parallel": {"IVDW": 12}}, "`parallel.IVDW"),
    ):
        with pytest.raises(SettingsError, match=said):
            engine(**options)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="ASE's recorded VASP results are not installed")
def test_a_recorded_result(engine):
    """Diamond by VASP 6.3.0."""
    file = RECORDED / "vasprun_pstress.xml"
    diamond = bulk("C", a=3.57)
    found = engine(file).evaluate(diamond)
    assert isinstance(found, Label), found
    recorded = ase.io.read(file)
    assert found.energy == pytest.approx(recorded.get_potential_energy(force_consistent=True))
    np.testing.assert_allclose(found.forces, 0.0, atol=1e-6)
    np.testing.assert_allclose(found.stress, recorded.get_stress(voigt=False))
    assert abs(np.trace(found.stress) / 3 / GPa) < 100
    for options, said in (({"version": "6.4.2"}, "expected vasp 6.4.2"), ({"cutoff": 500.0}, "at 400.0 eV")):
        refused = engine(file, **options).evaluate(diamond)
        assert isinstance(refused, Failure)
        assert said in refused.detail
    other = engine(file).evaluate(bulk("Cu"))
    assert isinstance(other, Failure)
    assert other.reason == "garbage"


@pytest.mark.parametrize(
    ("mode", "reason", "detail"),
    [
        ("never", "unconverged", "attempt 3: is not converged: 60 electronic steps reached NELM = 60"),
        ("cut", "garbage", "vasprun.xml is cut off"),
        ("silent", "crashed", "status 1"),
        ("other", "garbage", "vasprun.xml"),
        ("nan", "garbage", "vasprun.xml: KeyError"),
        ("hangs", "timeout", "no result after 4 s"),
    ],
)
def test_what_is_no_result_is_a_failure(engine, mode, reason, detail):
    found = engine(mode, seconds=4.0 if mode == "hangs" else 100.0).evaluate(bulk("Cu"))
    assert isinstance(found, Failure)
    assert (found.reason, detail in found.detail) == (reason, True), found


def test_the_ladder_changes_mixing(engine):
    found = engine("second").evaluate(bulk("Cu"))
    assert isinstance(found, Label)
    assert found.details["attempt"] == 2


def test_method_is_physics_and_files(engine, tmp_path):
    def method(**options):
        given = engine(**options).options.model_dump(mode="json")
        reference = open_reference(ReferenceSection(engine="vasp", options=given))
        assert reference is not None
        return reference.method

    plain = method()
    assert method(seconds=7.0, threads=2) == plain
    others = [
        method(cutoff=500.0),
        method(version="6.4.2"),
        method(setups={"Pd": "_pv"}),
        method(hubbard={"Cu": {"d": 1.0}}),
    ]
    (tmp_path / "potcar" / "Cu" / "POTCAR").write_text("another")
    assert len({plain, *others, method()}) == 6


def test_what_is_missing_is_told(engine, tmp_path):
    with pytest.raises(EngineAbsent, match=r"no-such-vasp is not here; install VASP"):
        engine(command=["no-such-vasp"])
    with pytest.raises(SettingsError, match="`version`: Field required"):
        open_vasp({})
    with pytest.raises(ReferenceUnavailable, match=r"nowhere is no folder of POTCAR files; .*VASP_PP_PATH"):
        engine(potcar_dir=str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match='smearing of engine "vasp" is fermi-dirac'):
        engine(smearing="marzari-vanderbilt")
    assert engine().cannot([29, 46, 47]) == {47}
