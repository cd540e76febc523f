"""Labels out of files: vasprun.xml, OUTCAR, pw.x, extxyz, databases; what does not converge or is cut off is refused."""

import bz2
import gzip
import lzma
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.db import connect
from ase.io import write
from ase.units import GPa, Ry

from potentials.dataset import DataError, read_dataset, write_dataset
from potentials.labelled.reading import read_labels
from tests.crystals import CU, PD, crystal
from tests.labelled import dataset
from tests.potentials.vasp_files import Ionic, ionic_steps, outcar, vasprun

OUTPUTS = Path(__file__).parent / "outputs"  # recorded from pw.x 6.7 with pslibrary's Cu and Pd
OF_ASE = Path(ase.__file__).parent / "test" / "testdata" / "vasp"


def steps(n=3, seed=0, cycles=()):
    rng = np.random.default_rng(seed)
    first = crystal(rng, 4, (CU, PD))
    first.numbers[:2] = CU, PD
    moved = [first.copy() for _ in range(n)]
    for k, atoms in enumerate(moved):
        atoms.positions += 0.02 * k * rng.normal(size=(4, 3))
    return ionic_steps(moved, cycles)


def reading(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return read_labels(tmp_path / name)


@pytest.mark.parametrize("form", [vasprun, outcar])
def test_every_ionic_step_of_vasp_with_its_free_energy(tmp_path, form):
    given = steps()
    found = reading(tmp_path, "some-name", form(given))
    assert not found.refused and len(found.dataset) == 3
    labels, crystals = found.dataset.labels, found.dataset.structures
    for c, step in enumerate(given):
        part = slice(crystals.offsets[c], crystals.offsets[c + 1])
        assert labels.energies[c] == pytest.approx(step.energy, abs=1e-8)
        np.testing.assert_allclose(labels.forces[part], step.forces, atol=1e-6)
        np.testing.assert_allclose(labels.stresses[c], -0.1 * GPa * step.kilobar, atol=1e-7)
        np.testing.assert_allclose(crystals.positions[part], step.atoms.positions, atol=1e-5)
        np.testing.assert_array_equal(crystals.numbers[part], step.atoms.numbers)
    assert len(set(found.dataset.families)) == 1 and found.dataset.families[0]
    assert found.dataset.sources == tuple(f"{found.digits}:{c + 1}" for c in range(3))


def test_both_files_of_a_run_give_one_method(tmp_path):
    one, two = reading(tmp_path, "vasprun.xml", vasprun(steps())), reading(tmp_path, "OUTCAR", outcar(steps()))
    assert one.run.method == two.run.method and one.dataset.methods == two.dataset.methods
    assert one.run.method.settings["functional"] == "PBE" and one.run.method.settings["cutoff_eV"] == 400.0
    assert one.run.method.elements["Cu"] == {"pseudopotential": "PAW_PBE Cu 06Sep2000"}
    assert one.run.k_points == "8 8 8" and one.run.spacing > 0
    assert list(one.dataset.seconds) == [7.25] * 3  # the file does not say of how many processes
    assert list(two.dataset.seconds) == [4 * 7.25] * 3


@pytest.mark.parametrize(
    ("tags", "differs"),
    [({}, False), ({"ENMAX": "500.0"}, True), ({"GGA": "PS"}, True), ({"ISPIN": "2"}, True), ({"GGA": "PE"}, False),
     ({"LASPH": "T"}, True), ({"LASPH": "F"}, False), ({"LNONCOLLINEAR": "T"}, True), ({"NUPDOWN": "2.0"}, True),
     ({"NUPDOWN": "-1.0"}, False), ({"EFIELD": "0.5"}, True), ({"EFIELD": "0.0"}, False)],
)  # fmt: skip
def test_the_method_follows_the_settings(tmp_path, tags, differs):
    plain = reading(tmp_path, "a.xml", vasprun(steps()))
    other = reading(tmp_path, "b.xml", vasprun(steps(), **tags))
    assert (plain.run.method.name != other.run.method.name) == differs


def test_the_method_of_a_setting_stays_what_it_is(tmp_path):
    """Libraries name their methods so: another name for the same settings would make them mixed."""
    assert reading(tmp_path, "a.xml", vasprun(steps())).run.method.name == "vasp:7da35746c467"
    assert read_labels(OUTPUTS / "cu.pwo").run.method.name == "pw.x:1565d68b2897"


def incar(text, tag, value):
    """vasprun.xml with this tag in what it keeps of the INCAR."""
    return text.replace(
        " <kpoints>", f' <incar>\n  <i type="string" name="{tag}"> {value}</i>\n </incar>\n <kpoints>', 1
    )


def test_names_of_tags_that_vasp_fills_up_with_blanks(tmp_path):
    padded = vasprun(steps(), GGA="PS").replace('name="GGA"', 'name="GGA    "')
    assert reading(tmp_path, "a.xml", padded).run.method.settings["functional"] == "PBEsol"


def test_tags_that_only_the_incar_holds(tmp_path):
    plain = reading(tmp_path, "a.xml", vasprun(steps())).run.method
    meta = reading(tmp_path, "b.xml", incar(vasprun(steps()), "METAGGA", "R2scan")).run.method
    assert meta.settings["functional"] == "R2SCAN" and meta.name != plain.name
    both = incar(vasprun(steps(), METAGGA="--"), "METAGGA", "R2scan")
    assert reading(tmp_path, "c.xml", both).run.method.name == meta.name
    taken = incar(vasprun(steps()), "ISMEAR", "0")  # what VASP took counts, not what it was asked for
    assert reading(tmp_path, "d.xml", taken).run.method.name == plain.name


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("INCAR", "ISMEAR = 1 ; ivdw=12 ! D3\n", 12),
        ("INCAR", "# IVDW = 12\nENCUT = 400\n", None),
        ("INCAR", "IVDW = 0\n", None),
        ("OUTCAR", outcar(steps(1)).replace("   LREAL ", "   IVDW   =  11\n   LREAL ", 1), 11),
        ("POSCAR", "IVDW = 12\n", None),
    ],
)
def test_dispersion_is_named_by_a_file_beside_vasprun(tmp_path, name, text, found):
    (tmp_path / name).write_text(text)
    settings = reading(tmp_path, "vasprun.xml", vasprun(steps())).run.method.settings
    assert settings.get("dispersion") == found


def test_a_packed_incar_beside_vasprun(tmp_path):
    data = gzip.compress(b"IVDW = 12\n")
    (tmp_path / "INCAR.gz").write_bytes(data)
    assert reading(tmp_path, "vasprun.xml", vasprun(steps())).run.method.settings["dispersion"] == 12
    (tmp_path / "INCAR.gz").write_bytes(data[:-9])
    with pytest.raises(DataError, match=r"INCAR\.gz beside it, which may name IVDW, cannot be read"):
        read_labels(tmp_path / "vasprun.xml")


def test_screening_and_nonlocal_correlation_are_part_of_the_method(tmp_path):
    def name(**tags):
        return reading(tmp_path, "a.xml", vasprun(steps(), **tags)).run.method.name

    exact = {"LHFCALC": " T  ", "AEXX": " 0.25"}
    assert len({name(), name(**exact), name(**exact, HFSCREEN=" 0.2"), name(LUSE_VDW=" T  ")}) == 4
    assert name() == name(LUSE_VDW=" F  ", HFSCREEN=" 0.0") and name(**exact) == name(**exact, HFSCREEN=" 0.0")
    lines = "   LUSE_VDW =     T    nonlocal correlation\n k-points in rec"
    text = outcar(steps()).replace(" k-points in rec", lines, 1)
    assert reading(tmp_path, "b", text).run.method.name == name(LUSE_VDW=" T  ")


def test_hubbard_parameters_belong_to_elements(tmp_path):
    tags = {"LDAU": " T ", "LDAUTYPE": " 2", "LDAUL": " 2 -1", "LDAUU": " 4.5 0.0", "LDAUJ": " 0.5 0.0"}
    lines = """ LDA+U is selected, type is set to LDAUTYPE =  2
   angular momentum for each species LDAUL =     2   -1
   U (eV)           for each species LDAUU =   4.5  0.0
   J (eV)           for each species LDAUJ =   0.5  0.0
"""
    one = reading(tmp_path, "a.xml", vasprun(steps(), **tags)).run.method
    two = reading(tmp_path, "b", outcar(steps()).replace(" k-points in rec", lines + " k-points in rec", 1)).run.method
    assert one == two and one.name != reading(tmp_path, "c", outcar(steps())).run.method.name
    assert one.elements["Cu"]["LDAUU"] == 4.5 and one.elements["Pd"]["LDAUL"] == -1.0


@pytest.mark.parametrize("form", [vasprun, outcar])
def test_steps_that_reached_nelm_are_refused(tmp_path, form):
    found = reading(tmp_path, "file", form(steps(cycles=(9, 12, 5)), nelm=12))
    assert [str(r).split(" (")[0] for r in found.refused] == ["crystal 2"]
    assert "is not converged: 12 electronic steps reached NELM = 12" in str(found.refused[0])
    assert len(found.dataset) == 2 and found.dataset.sources[1].endswith(":3")


@pytest.mark.parametrize("form", [vasprun, outcar])
@pytest.mark.parametrize("what", ["energy", "forces"])
def test_labels_that_are_not_finite_are_refused(tmp_path, form, what):
    one, two, three = steps()
    if what == "energy":
        two = Ionic(two.atoms, np.nan, two.forces, two.kilobar)
    else:
        two.forces[1, 2] = np.inf
    found = reading(tmp_path, "file", form([one, two, three]))
    (refused,) = found.refused
    assert refused.number == 2 and f"has no finite {what}" in str(refused)
    assert len(found.dataset) == 2


def test_stars_in_place_of_numbers_are_refused(tmp_path):
    text = vasprun(steps())
    wrong = f"{steps()[1].energy:16.8f}"
    assert wrong in text
    found = reading(tmp_path, "vasprun.xml", text.replace(wrong, 16 * "*"))
    assert [r.number for r in found.refused] == [2] and len(found.dataset) == 2


@pytest.mark.parametrize("form", [vasprun, outcar])
def test_a_truncated_file_keeps_its_complete_steps(tmp_path, form):
    text = form(steps())
    seen = set()
    for share in np.linspace(0.02, 0.995, 40):
        (tmp_path / "file").write_text(text[: int(share * len(text))])
        try:
            found = read_labels(tmp_path / "file")
        except DataError as error:
            assert "file" in str(error) and "\n" not in str(error)
            seen.add(-1)
            continue
        n = len(found.dataset)
        seen.add(n)
        whole = text[: int(share * len(text))].count("</calculation>" if form is vasprun else "energy(sigma->0)")
        assert n in (whole, whole - 1)
        assert n == whole or found.refused
        for c in range(n):
            assert found.dataset.labels.energies[c] == pytest.approx(steps()[c].energy, abs=1e-8)
    assert seen >= {-1, 0, 1, 2}


def test_pw_output_as_recorded():
    found = read_labels(OUTPUTS / "cupd-relax.pwo")
    np.testing.assert_allclose(
        found.dataset.labels.energies / Ry, [-190.20899269, -190.20906624, -190.20913622], atol=2e-7
    )
    assert np.isfinite(found.dataset.labels.stresses).all() and len(set(found.dataset.families)) == 1
    assert sum(found.dataset.seconds) == pytest.approx(2.69)
    assert found.run.method.settings == {
        "functional": "PBE",
        "cutoff_Ry": 25.0,
        "density_cutoff_Ry": 200.0,
        "smearing": "Marzari-Vanderbilt",
        "width_Ry": 0.02,
        "spin": 1,
    }
    assert found.run.method.elements["Pd"]["md5"] == "7987eaa73d5acef8aafc86a2013aa855"
    assert read_labels(OUTPUTS / "cu.pwo").run.method.name == found.run.method.name


def test_pw_output_that_did_not_converge():
    found = read_labels(OUTPUTS / "cupd-unconverged.pwo")
    assert not len(found.dataset)
    assert "crystal 1 is not converged: 4 electronic steps" in str(found.refused[0])


def test_pw_output_with_hubbard_spin_and_dispersion():
    method = read_labels(OUTPUTS / "cupd-u-spin-d3.pwo").run.method
    assert method.settings["spin"] == 2 and method.settings["dispersion"] == "grimme-d3"
    assert method.elements["Cu"]["U_eV"] == 2.5 and "U_eV" not in method.elements["Pd"]


def test_pw_output_of_a_hybrid_has_the_energy_of_its_last_cycle():
    found = read_labels(OUTPUTS / "h2-pbe0.pwo")
    # !!   total energy              =      -2.46476886 Ry; that of PBE, which it begins with, is -2.45255638
    assert found.dataset.labels.energies[0] == pytest.approx(-2.46476886 * 13.60569, abs=1e-4)
    assert found.run.method.settings["exact_exchange"] == 0.25


def test_exact_exchange_that_was_cut_off_is_no_label(tmp_path):
    text = (OUTPUTS / "h2-pbe0.pwo").read_text()
    (tmp_path / "out").write_text(text.replace("     EXX self-consistency reached\n", ""))
    found = read_labels(tmp_path / "out")
    assert not len(found.dataset) and "exact exchange is not self-consistent" in str(found.refused[0])


@pytest.mark.parametrize(
    ("name", "setting"),
    [("h2-d2", {"dispersion": "grimme-d2"}), ("h2-xdm", {"dispersion": "xdm"}), ("h2-charged", {"charge": 0.5}),
     ("h2-isolated", {"isolated": "Martyna-Tuckerman method"})],
)  # fmt: skip
def test_pw_settings_that_shift_energies_make_another_method(name, setting):
    plain, other = (read_labels(OUTPUTS / f"{n}.pwo").run.method for n in ("h2", name))
    assert dict(other.settings) == dict(plain.settings) | setting and other.name != plain.name


def test_pseudopotentials_of_elements_of_one_letter():
    plain, soft = (read_labels(OUTPUTS / f"{n}.pwo").run.method.elements["H"] for n in ("h2", "h2-soft"))
    assert (
        plain["pseudopotential"] == "H.UPF" and soft["pseudopotential"] == "Hsoft.UPF" and plain["md5"] != soft["md5"]
    )


def test_pw_output_that_names_no_pseudopotential(tmp_path):
    (tmp_path / "out").write_text((OUTPUTS / "h2.pwo").read_text().replace("PseudoPot. # 1", "PseudoPot."))
    with pytest.raises(DataError, match="it does not name the pseudopotential of H"):
        read_labels(tmp_path / "out")


def test_charge_solvent_and_dipole_correction_of_vasp(tmp_path):
    electrons = 11 * len(steps()[0].atoms)
    plain = reading(tmp_path, "a.xml", vasprun(steps(), NELECT=f"{electrons:.4f}")).run.method
    assert plain.name == reading(tmp_path, "b.xml", vasprun(steps())).run.method.name
    tags = {
        "charge": {"NELECT": f"{electrons - 1:.4f}"},
        "solvent": {"LSOL": "T"},
        "gga_compatible": {"GGA_COMPAT": "F"},
    }
    tags["dipole_correction"] = {"LDIPOL": "T", "IDIPOL": "3"}
    for name, tag in tags.items():
        found = reading(tmp_path, "c.xml", vasprun(steps(), **tag)).run.method
        assert set(found.settings) - set(plain.settings) == {name} and found.name != plain.name
    for n, charge in ((electrons, None), (electrons - 1, 1.0)):
        lines = f"   ZVAL   = {' 11.00' * 2}\n   NELECT =  {n:12.4f}    total number of electrons\n   GGA     ="
        out = reading(tmp_path, "OUTCAR", outcar(steps()).replace("   GGA     =", lines)).run.method
        assert out.settings.get("charge") == charge


def test_pw_output_that_was_cut_off(tmp_path):
    text = (OUTPUTS / "cupd-relax.pwo").read_text()
    for end, complete in (
        (text.rindex("Forces acting"), 2),
        (text.index("!    total energy"), 0),
        (text.index("kinetic-energy"), None),
    ):
        (tmp_path / "out").write_text(text[:end])
        if complete is None:
            with pytest.raises(DataError, match="it ends before the settings"):
                read_labels(tmp_path / "out")
            continue
        found = read_labels(tmp_path / "out")
        assert len(found.dataset) == complete
        assert "stops within this ionic step; the file is truncated" in str(found.refused[-1])


@pytest.mark.skipif(not OF_ASE.is_dir(), reason="this ASE comes without its test data")
def test_recorded_vasp_files():
    squeezed = read_labels(OF_ASE / "vasprun_pstress.xml")
    assert squeezed.dataset.labels.energies[0] == pytest.approx(-20.24695937, abs=1e-7)  # without the PV of the file
    assert squeezed.run.method.settings["functional"] == "LDA" and not squeezed.refused
    cluster = read_labels(OF_ASE / "OUTCAR_example_1")
    assert len(cluster.dataset) == 1 and cluster.run.method.settings["spin"] == 2
    assert cluster.dataset.seconds[0] == pytest.approx(512 * 110.13)


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_archives_are_read(tmp_path, ending, pack):
    path = tmp_path / f"OUTCAR.{ending}"
    data = pack(outcar(steps()).encode())
    path.write_bytes(data)
    assert len(read_labels(path).dataset) == 3
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"OUTCAR\.\w+ cannot be read") as error:
        read_labels(path)
    assert "\n" not in str(error.value)


def test_extxyz_and_database_keep_what_they_say(tmp_path):
    data = dataset((CU, PD), 6, 3)
    write_dataset(tmp_path / "data.xyz", data)
    found = read_labels(tmp_path / "data.xyz").dataset
    assert found.families == data.families and found.methods == data.methods
    images = data.structures.to_ase()
    with connect(tmp_path / "data.db") as base:
        for step in ionic_steps(images):
            base.write(step.atoms, key_value_pairs={"method": "emt", "family": "mine", "seconds": 2.5})
    rows = read_labels(tmp_path / "data.db").dataset
    assert set(rows.methods) == {"emt"} and set(rows.families) == {"mine"} and set(rows.seconds) == {2.5}
    np.testing.assert_allclose(rows.labels.energies, data.labels.energies, atol=1e-10)


@pytest.mark.parametrize("name", ["virial", "virials"])
def test_a_virial_is_a_stress(tmp_path, name):
    """As files of GAP and NEP have it; a stress beside it counts."""
    (step,) = steps(1)
    atoms, stress = step.atoms, step.atoms.get_stress(voigt=False)
    del atoms.calc.results["stress"]
    atoms.info[name] = -stress * atoms.cell.volume
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    np.testing.assert_allclose(read_labels(tmp_path / "a.xyz", "emt").dataset.labels.stresses[0], stress, atol=1e-7)
    atoms.info[name] = np.full((3, 3), np.nan)
    write(tmp_path / "b.xyz", atoms, format="extxyz")
    assert "stress that is not finite" in str(read_labels(tmp_path / "b.xyz", "emt").refused[0])


def test_the_energy_is_the_one_that_forces_belong_to(tmp_path):
    (step,) = steps(1)
    atoms = step.atoms
    atoms.calc.results["free_energy"] = step.energy - 0.5
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    assert read_labels(tmp_path / "a.xyz", "emt").dataset.labels.energies[0] == pytest.approx(step.energy - 0.5)


@pytest.mark.parametrize("name", ["weight", "seconds"])
def test_weights_and_seconds_that_mean_nothing_are_refused(tmp_path, name):
    images = [step.atoms for step in steps(6)]
    for atoms, value in zip(images, (0.5, -1.0, np.nan, np.inf, "much", np.ones(3)), strict=True):
        atoms.info[name] = value
    write(tmp_path / "a.xyz", images, format="extxyz")
    found = read_labels(tmp_path / "a.xyz", "emt")
    assert len(found.dataset) == 1 and [r.number for r in found.refused] == [2, 3, 4, 5, 6]
    for refused in found.refused:
        assert f"has the {name} " in str(refused) and "must be a finite number, 0 or more" in str(refused)
        assert "\n" not in str(refused)
    with pytest.raises(DataError, match=f"crystal 2 .* has the {name} -1.0"):
        read_dataset(tmp_path / "a.xyz")


def test_crystals_without_method_or_labels_are_refused(tmp_path):
    first, second = steps(2)
    second.atoms.calc = None
    write(tmp_path / "a.xyz", [first.atoms, second.atoms], format="extxyz")
    assert [r.number for r in read_labels(tmp_path / "a.xyz").refused] == [1, 2]
    found = read_labels(tmp_path / "a.xyz", "emt")
    assert [str(r) for r in found.refused] == ["crystal 2 (Cu3Pd) has no finite energy"] or found.refused[0].number == 2
    assert found.dataset.methods == ("emt",)


def test_what_is_no_crystal_of_elements_is_refused(tmp_path):
    ghost, twins, flat, fine = (s.atoms for s in steps(4))
    ghost.numbers[0] = 0
    twins.positions[1] = twins.positions[0] + twins.cell[2] - twins.cell[0]
    flat.cell[2] = flat.cell[0] - flat.cell[1]
    write(tmp_path / "md@300K.xyz", [ghost, twins, flat, fine], format="extxyz")  # a name that ASE would cut in two
    found = read_labels(tmp_path / "md@300K.xyz", "emt")
    assert len(found.dataset) == 1
    told = [r.reason for r in found.refused]
    assert ["no element" in told[0], "in one place" in told[1], "span nothing" in told[2]] == [True] * 3


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\x00\xff", b"<?xml?><modeling>", b" vasp.6\n POTCAR: x\n"])
def test_no_file_of_labels_is_one_clear_line(tmp_path, content):
    path = tmp_path / "file.dat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"file\.dat") as error:
        read_labels(path)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"missing\.xml cannot be read"):
        read_labels(tmp_path / "missing.xml")
