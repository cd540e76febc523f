"""Published models: the same numbers as the program they were made with; families cut into strata; damaged files."""

import json
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read

from potentials.__main__ import main
from potentials.dataset import Dataset
from potentials.features.symmetry_functions import VP2017
from potentials.library import Library, LibraryError
from potentials.maise.box import MaiseError
from potentials.maise.importing import import_files
from potentials.stratum import Stratum
from potentials.structures import Structures
from potentials.train import finish, fit_member, plan
from tests.crystals import CU, PD, crystal

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "maise"
MODELS = SHARED / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="../shared/maise/models is absent")
FAMILY = [f"nn_{name}_d3_vp" for name in ("Cu", "Pd", "Ag", "CuPd", "CuAg", "PdAg", "CuPdAg")]


def published():
    return json.loads((SHARED / "efs_reference.json").read_text())["structures"] if MODELS.is_dir() else []


def imported(target, *names, **options):
    import_files([MODELS / name for name in names], target, **options)
    return Library.open(target)


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("maise") / "vp", *FAMILY)


@needs_models
@pytest.mark.parametrize("known", published(), ids=lambda k: k["name"])
@pytest.mark.parametrize("kernel", ["auto", "torch"])
def test_energies_forces_and_virials_are_those_published(known, kernel, tmp_path):
    atoms = Atoms(known["numbers"], known["positions_cart_A"], cell=known["cell_A"], pbc=known["ndim"] == 3)
    structures, elements = Structures.from_ase([atoms]), Stratum.of(known["model_species_Z"])
    bare = imported(tmp_path / "bare", known["model"]).assemble(elements)
    hard = imported(tmp_path / "hard", known["model"], core_energy=known["urep_eV"]).assemble(elements)
    found = hard.evaluate(structures, kernel=kernel)
    assert abs(found.energies[0] - known["energy_eV"]) < 1e-10
    np.testing.assert_allclose(found.forces, known["forces_eV_per_A"], atol=1e-10, rtol=0)
    atomic = bare.evaluate(structures, kernel=kernel).atomic_energies  # MAISE leaves the cores out of these
    np.testing.assert_allclose(atomic, known["atom_energies_eV"], atol=1e-10, rtol=0)
    if known["ndim"] == 3:
        virial = -found.stresses[0][[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]] * structures.volumes[0]
        np.testing.assert_allclose(virial, known["virial_eV_xx_yy_zz_xy_yz_zx"], atol=1e-10, rtol=0)


@needs_models
def test_a_family_is_stored_once(family, tmp_path):
    assert family.recipe.shape == VP2017
    assert list(family.versions().values()) == [1] * 7
    rows = {row.stratum: row for row in family.describe()}
    assert (rows["Cu"].n_parameters, rows["CuPd"].n_parameters, rows["CuPd"].n_total) == (431, 1040, 1902)
    assert (rows["CuPdAg"].n_parameters, rows["CuPdAg"].n_total) == (660, 5073)
    assert rows["CuPd"].errors == {"energy_train": 0.007058, "energy_held_out": 0.007368}
    assert rows["CuPd"].n_data == 7623 and rows["CuPd"].seconds == 23488.19
    header = family.stratum(Stratum.parse("CuPd")).metadata["published"]
    assert header["reference"] == "https://doi.org/10.1103/PhysRevB.95.014114" and header["own"]
    again = imported(tmp_path / "again", *FAMILY[:3])
    import_files([MODELS / name for name in FAMILY[2:]], again.path)  # a family may grow
    assert Library.open(again.path).version() == family.version()
    assert import_files([MODELS / FAMILY[3]], again.path)[2] == ("CuPd", FAMILY[3])  # nothing new
    assert Library.open(again.path).version() == family.version()


@needs_models
def test_a_file_alone_is_cut_into_the_same_strata(family, tmp_path):
    alone = imported(tmp_path / "alone", FAMILY[-1])
    assert alone.version() == family.version()
    for stratum in alone.strata():
        assert alone.stratum(stratum).metadata["published"]["own"] == (stratum.order == 3)
    crystals = [bulk("Cu", a=3.6), bulk("CuPd", "cesiumchloride", a=3.0), bulk("AgPd", "rocksalt", a=5.0)]
    for atoms in crystals:
        structures = Structures.from_ase([atoms])
        own, all_three = Stratum.of(atoms.numbers.tolist()), Stratum.parse("CuPdAg")
        found = [family.assemble(s).evaluate(structures).energies for s in (own, all_three)]
        np.testing.assert_array_equal(*found)


@needs_models
@pytest.mark.parametrize("path", sorted(MODELS.glob("nn_*")) + sorted(MODELS.glob("gp_*")), ids=lambda p: p.name)
def test_every_published_file_can_be_read(path, tmp_path):
    import_files([path], tmp_path / "lib")
    library = Library.open(tmp_path / "lib")
    elements = library.strata()[-1]
    atoms = Atoms(elements.numbers * 2, np.random.default_rng(0).uniform(0, 5, (2 * elements.order, 3)))
    found = library.assemble(elements).evaluate(Structures.from_ase([atoms]))
    assert np.isfinite(found.energies).all() and np.isfinite(found.forces).all()


@needs_models
def test_the_elements_have_the_published_lattice(family):
    phases = json.loads((SHARED / "vp_phase_energies.json").read_text())
    for name in ("Cu", "Pd", "Ag"):
        energy, _, a = phases[name]["fcc"]
        found = family.assemble(Stratum.parse(name)).evaluate(Structures.from_ase([bulk(name, a=a)]))
        assert abs(found.energies[0] - energy) < 1e-6
        lowest = family.stratum(Stratum.parse(name)).metadata["lowest"]
        assert energy - 0.01 < lowest < energy + 0.001  # hcp Ag lies below; steps of the lattice constant


@needs_models
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nn_CuAgAu_d3_v1", "nn_CuAg_d3_v1"], "has another Cu than .*they are not of one family"),
        (["nn_Cu_d3_vp", "nn_Ag_d3_v1"], "has other symmetry functions than"),
        (["nn_MgCa_d3_vp", "nn_MgCa_d3_v0"], r"has 10 \+ 10 hidden units, .* 15 \+ 15"),
        (["nn_Cu_d3_vp", "gp_Cu_d3_vp"], "gp_Cu_d3_vp is of another kind"),
        (["gp_CuAg_d3_vp", "gp_Ag_d3_vp"], "has another Ag than"),
    ],
)
def test_files_that_do_not_go_together_are_refused(names, message, tmp_path):
    with pytest.raises(MaiseError, match=message):
        import_files([MODELS / name for name in names], tmp_path / "lib")
    assert not (tmp_path / "lib").exists()


@needs_models
def test_another_library_is_refused(family, tmp_path):
    target = imported(tmp_path / "lib", "nn_Cu_d3_vp").path
    with pytest.raises(MaiseError, match="holds a library of another recipe"):
        import_files([MODELS / "nn_Ag_d3_v0"], target)
    with pytest.raises(MaiseError, match="holds a library of another recipe"):
        import_files([MODELS / "gp_Cu_d3_vp"], target)


@needs_models
def test_a_pair_can_be_trained_on_imported_elements(family, tmp_path):
    """Labels by the published pair; its energies are learned from 60 crystals to a tenth of their spread."""
    library = imported(tmp_path / "lib", "nn_Cu_d3_vp", "nn_Pd_d3_vp")
    crystals = [
        a for a in (crystal(np.random.default_rng(k), 4, (CU, PD)) for k in range(90)) if len(set(a.numbers)) == 2
    ]
    structures = Structures.from_ase(crystals)
    labels = family.assemble(Stratum.parse("CuPd")).evaluate(structures)
    data = Dataset.of(
        crystals,
        energies=labels.energies,
        forces=[labels.forces[a:b] for a, b in pairwise(structures.offsets)],
        stresses=list(labels.stresses),
        method="published:maise",
    )
    before = {name: library.content(name, 1) for name in ("Cu", "Pd")}
    tasks = plan(library, library.versions(), data, Stratum.parse("CuPd"))
    library.add(finish(tasks, [fit_member(task) for task in tasks]))
    assert {name: library.content(name, 1) for name in before} == before
    found = library.assemble(Stratum.parse("CuPd")).evaluate(structures)
    missed = (found.energies - labels.energies) / structures.sizes
    assert np.sqrt(np.mean(missed**2)) < 0.1 * np.std(labels.energies / structures.sizes)


def damage(lines):
    """Name, change of the lines, message."""
    start = next(k for k, line in enumerate(lines) if line.strip().startswith("minimum"))
    basis = next(k for k, line in enumerate(lines) if line.strip().startswith("B2A"))
    yield "cut in the ranges", lines[: start + 10], "ends at line .*truncated"
    yield "cut in the weights", lines[: start + 60], "ends at line .*truncated"
    yield "cut before the table", lines[: basis - 1], "expected a line `B2A"
    yield "cut in the table", lines[: basis + 12], "expected a line `Rc"
    yield "a weight too few", lines[: start + 50] + lines[start + 51 :], "expected 1 numbers, got"
    yield "a letter", [*lines[: start + 50], "  0.12x4", *lines[start + 51 :]], f"line {start + 51}: expected 1 numbers"
    yield "not finite", [*lines[: start + 50], "  nan", *lines[start + 51 :]], "expected 1 numbers, got `nan`"
    yield "another range", [*lines[: start + 1], " 0.0 27.0 0.5", *lines[start + 2 :]], "expected 1/"
    for name, old, new, message in (
        ("old", "maise.2.4.00", "maise.2.3.00", "expected a model of MAISE 2.4.0 or later"),
        ("sizes", "30 10 10 1", "30 10 11 1", "expected 443 weights"),
        ("species", "|  29  ", "|  99999", "must be atomic numbers"),
        ("kind", "neural network general", "Sutton-Chen general", "expected a neural network or a Gupta potential"),
        ("power", "16.0000", "17.0000", "`zeta` must be one of"),
        ("missing row", "number of weights", "number of wheels ", "expected a row `number of weights`"),
    ):
        yield name, [line.replace(old, new) for line in lines], message


@needs_models
def test_damaged_files_are_one_clear_line(tmp_path, capsys):
    lines = (MODELS / "nn_Cu_d3_vp").read_text().splitlines()
    for name, changed, message in damage(lines):
        path = tmp_path / name.replace(" ", "_")
        path.write_text("\n".join(changed) + "\n")
        assert changed != lines
        with pytest.raises(MaiseError, match=message):
            import_files([path], tmp_path / "lib")
        assert main(["import-maise", str(path), "-o", str(tmp_path / "lib")]) == 65
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and str(path) in error
        assert not (tmp_path / "lib").exists()


@needs_models
def test_damaged_gupta_files_are_refused(tmp_path):
    text = (MODELS / "gp_CuAg_d3_vp").read_text()
    for old, new, message in (
        ("1.2274", "none  ", "expected a number for `B att"),
        ("p rep (Ang)  Cu Ag", "p rep (Ang)  Cu Au", "expected a row `p rep"),
        ("10.000 ", "8.000  ", "expected r0 > 0 and Rmin < Rmax"),
    ):
        path = tmp_path / "changed"
        path.write_text(text.replace(old, new))
        with pytest.raises(MaiseError, match=message):
            import_files([path], tmp_path / "lib")


def test_other_files_are_refused(tmp_path, capsys):
    for name, data in (("text", b"hello\n"), ("bytes", bytes(range(256))), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        assert main(["import-maise", str(tmp_path / name), "-o", str(tmp_path / "lib")]) == 65
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["import-maise", str(tmp_path / "absent"), "-o", str(tmp_path / "lib")]) == 74
    assert main(["import-maise", str(tmp_path / "text"), "-o", str(tmp_path / "lib"), "--urep", "-1"]) == 64


def gupta(atoms, pairs):
    """Energy of a cluster by the formula."""
    total = 0.0
    for i in range(len(atoms)):
        repulsion = square = 0.0
        for j in range(len(atoms)):
            if i == j:
                continue
            a, p, b, q, r0, inner, outer = pairs[frozenset((atoms[i].symbol, atoms[j].symbol))]
            r = atoms.get_distance(i, j)
            u = 1.0 if r < inner else 0.5 * (1 + np.cos(np.pi * (r - inner) / (outer - inner))) if r < outer else 0.0
            repulsion += a * u * np.exp(-p * (r / r0 - 1))
            square += b**2 * u * np.exp(-2 * q * (r / r0 - 1))
        total += repulsion - np.sqrt(square)
    return total


@needs_models
@pytest.mark.parametrize("kernel", ["auto", "torch"])
def test_gupta_potentials(kernel, tmp_path):
    library = imported(tmp_path / "lib", "gp_CuAg_d3_vp")
    potential = library.assemble(Stratum.parse("CuAg"))
    pairs = {
        frozenset(("Cu",)): (0.0894, 10.55, 1.2799, 2.43, 2.556, 9.0, 10.0),
        frozenset(("Cu", "Ag")): (0.0980, 10.70, 1.2274, 2.8050, 2.72405, 9.0, 10.0),
        frozenset(("Ag",)): (0.1031, 10.85, 1.1895, 3.18, 2.8921, 9.0, 10.0),
    }
    rng = np.random.default_rng(0)
    cluster = Atoms("Cu4Ag4", [2.7 * np.array(k) for k in np.ndindex(2, 2, 2)] + rng.normal(scale=0.1, size=(8, 3)))
    wide = Atoms("CuAgCu", [[0, 0, 0], [0, 0, 9.4], [0, 0, 19.2]])  # where the functions fade
    lone = Atoms("Cu")
    crystal = bulk("CuAg", "cesiumchloride", a=3.2) * (1, 1, 2)
    crystal.rattle(0.1, rng=rng)
    found = potential.evaluate(Structures.from_ase([cluster, wide, lone]), kernel=kernel)
    np.testing.assert_allclose(found.energies, [gupta(a, pairs) for a in (cluster, wide, lone)], rtol=1e-12, atol=1e-14)

    def energy(atoms):
        return potential.evaluate(Structures.from_ase([atoms]), kernel=kernel).energies[0]

    for atoms in (cluster, wide, crystal):
        at = potential.evaluate(Structures.from_ase([atoms]), kernel=kernel)
        for i in range(len(atoms)):
            moved = [atoms.copy() for _ in range(2)]
            for sign, other in zip((-1, 1), moved, strict=True):
                other.positions[i, 2] += sign * 1e-4
            np.testing.assert_allclose((energy(moved[0]) - energy(moved[1])) / 2e-4, at.forces[i, 2], atol=1e-6)
    at = potential.evaluate(Structures.from_ase([crystal]), kernel=kernel)
    for a, b in [(0, 0), (2, 2), *combinations(range(3), 2)]:
        ends = []
        for sign in (-1, 1):
            strain = np.eye(3)
            strain[a, b] += sign * 1e-5
            other = crystal.copy()
            other.set_cell(crystal.cell[:] @ strain, scale_atoms=True)
            ends.append(energy(other))
        slope = (ends[1] - ends[0]) / 2e-5 / crystal.get_volume()
        np.testing.assert_allclose(slope, at.stresses[0][a, b], atol=1e-7)


@needs_models
def test_gupta_kernels_agree_and_absurd_crystals_are_nan(tmp_path):
    potential = imported(tmp_path / "lib", "gp_PdAg_d3_vp").assemble(Stratum.parse("PdAg"))
    touching = Atoms("Pd2", [[0, 0, 0], [0, 0, 0]], cell=[5, 5, 5], pbc=True)
    crystal = bulk("PdAg", "rocksalt", a=5.3) * (2, 1, 1)
    crystal.rattle(0.2, seed=1)
    structures = Structures.from_ase([crystal, touching, bulk("Pd")])
    ours, theirs = (potential.evaluate(structures, kernel=k) for k in ("auto", "torch"))
    for field in ("energies", "forces", "stresses", "atomic_energies"):
        np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field), rtol=1e-10, atol=1e-10)
    assert np.isnan(ours.energies).tolist() == [False, True, False]
    assert np.isinf(potential.grades(structures)).all()


@needs_models
def test_gupta_libraries_are_not_trained_but_used(tmp_path, capsys):
    library = tmp_path / "lib"
    assert main(["import-maise", str(MODELS / "gp_Cu_d3_vp"), "-o", str(library)]) == 0
    assert main(["describe", str(library)]) == 0
    assert "Gupta potentials" in capsys.readouterr().out
    (tmp_path / "in.xyz").write_text('1\nLattice="0 1.8 1.8 1.8 0 1.8 1.8 1.8 0"\nCu 0 0 0\n')
    assert main(["relax", str(library), str(tmp_path / "in.xyz"), "-o", str(tmp_path / "out.extxyz")]) == 0
    assert "converged" in (tmp_path / "out.extxyz").read_text() + capsys.readouterr().out
    opened = Library.open(library)
    with pytest.raises(LibraryError, match="have no networks to train"):
        _ = opened.recipe
    with pytest.raises(LibraryError, match="has no stratum Ag"):
        opened.assemble(Stratum.parse("CuAg"))


@needs_models
def test_the_command_imports_evaluates_and_relaxes(tmp_path, capsys):
    library = tmp_path / "lib"
    assert main(["import-maise", *(str(MODELS / name) for name in FAMILY), "-o", str(library)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[1:]] == ["Cu", "Pd", "Ag", "CuPd", "CuAg", "PdAg", "CuPdAg"]
    assert main(["describe", str(library)]) == 0
    assert "symmetry functions, cut-off 5.99981 Å, G2 8, G4 22, hidden 10 + 10, members 1" in capsys.readouterr().out
    (tmp_path / "in.xyz").write_text('1\nLattice="0 1.8 1.8 1.8 0 1.8 1.8 1.8 0"\nCu 0 0 0\n')
    assert main(["relax", str(library), str(tmp_path / "in.xyz"), "-o", str(tmp_path / "out.extxyz")]) == 0
    assert "energy=-4.0985" in (tmp_path / "out.extxyz").read_text()
    assert main(["evaluate", str(library), str(tmp_path / "in.xyz"), "-o", str(tmp_path / "more.extxyz")]) == 0
    (found,) = read(tmp_path / "more.extxyz", index=":")
    assert np.isinf(found.info["grade"]) and np.isfinite(found.get_stress()).all()
