"""Both sides together: equal ones show no difference, unequal ones theirs; a reference that falls or fails is named."""

import json
import math
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from ase.calculators.emt import EMT

from potentials.assess import (
    PROPERTIES,
    AssessmentError,
    Reference,
    Settings,
    Side,
    UsageError,
    assess,
    compare,
    formation,
    held_out,
    lattice,
    write_assessment,
)
from potentials.assess.formation import formation_energy
from potentials.assess.prototypes import Crystal, crystals, element
from potentials.assess.results import Value, beside
from potentials.assess.table import lines
from potentials.calculator import from_calculator
from potentials.stratum import Stratum
from tests.assess.sides import SMALL, UNEP, emt, emt_reference
from tests.crystals import AG, CU, PD
from tests.labelled import dataset, trained

CUPD = Stratum.parse("CuPd").subsets()
PHYSICAL = [p for p in PROPERTIES if p != "errors" and (p != "phonons" or find_spec("phonopy"))]
# what 1e-3 eV/Å and 0.01 GPa leave open, by unit
TOLERANCE = {"meV/atom": 0.01, "eV/atom": 1e-5, "Å": 1e-4, "Å³/atom": 2e-3, "GPa": 0.1, "eV": 1e-4, "J/m²": 1e-4}


@pytest.mark.parametrize("topic", PHYSICAL)
def test_equal_sides_do_not_differ(topic):
    strata = CUPD if topic in ("formation", "eos") else CUPD[:1]
    found = compare(emt(), emt_reference(), strata, properties=[topic])
    assert len(found.compared) > 0 and {r.topic for r in found.compared} == {topic}
    for row in found.compared:
        assert row.subject.startswith(("Cu", "Pd"))
        assert abs(row.difference) < TOLERANCE.get(row.unit, 2e-3), row
    assert found.cost["reference_calls"] == found.cost["reference_answers"] > 0


def test_a_difference_has_its_size_and_sign():
    one = emt()
    scaled = Side("scaled", lambda s: _scaled(one.evaluate(s), 1.1), SMALL)
    found = compare(scaled, emt_reference(), CUPD, properties=["elastic", "formation"])
    rows = {(r.subject, r.quantity): r for r in found.compared}
    c11, b2 = rows["Cu fcc", "C11"], rows["CuPd L1_0", "formation energy"]
    assert c11.network / c11.reference == pytest.approx(1.1, abs=1e-3)
    assert b2.difference == pytest.approx(0.1 * b2.reference, rel=1e-2) and b2.reference < 0
    largest = {(d.topic, d.subject, d.quantity): d.value for d in found.deviations}
    worst = max(abs(r.difference) for r in found.of("formation") if r.quantity == "formation energy")
    assert largest["formation", "formation energy", "largest"] == pytest.approx(worst)


def _scaled(said, factor):
    return replace(said, energies=factor * said.energies, forces=factor * said.forces, stresses=factor * said.stresses)


def test_formation_energy_is_that_of_relaxed_cells():
    side = emt()
    l1_2 = next(c for c in crystals(Stratum.parse("CuPd")) if c.name == "Cu3Pd L1_2")
    found, cu, pd = (side.relaxed(c) for c in (l1_2, element(CU), element(PD)))
    by_hand = (found.energy - 3 * cu.energy - pd.energy) / 4
    assert formation_energy(side, l1_2) == pytest.approx(by_hand, abs=1e-12)
    atoms = found.atoms.copy()
    atoms.calc = EMT()
    assert atoms.get_potential_energy() == pytest.approx(found.energy, abs=1e-9)
    assert np.abs(atoms.get_stress()).max() < SMALL.smax


def test_a_prototype_that_became_another_is_named():
    # L1_0 with one element on both sites is fcc in another cell
    l1_0 = next(c for c in crystals(Stratum.parse("CuPd")) if c.prototype.name == "L1_0").prototype
    same = Crystal(l1_0, (CU, CU))
    assert "fallen to space group 225" in emt().trouble(same)
    assert emt().trouble(element(CU)) == ""


@pytest.mark.skipif(not (UNEP.exists() and find_spec("calorine")), reason="needs UNEP-v1 and calorine")
def test_figures_of_unep():
    """Lattice constants, differences of lattices and formation energies as ../shared/unep/README.md states them."""
    reference = Reference.load("calorine.calculators:CPUNEP", {"model_filename": str(UNEP)})
    side = Side.of_reference(reference)
    rows = {(v.subject, v.quantity): v.value for v in lattice.measure(side, [28]).values}
    assert rows["Ni", "hcp - fcc"] == pytest.approx(24.1, abs=0.1)
    assert rows["Ni", "bcc - fcc"] == pytest.approx(75.2, abs=0.1)
    assert rows["Ni fcc", "volume"] == pytest.approx(3.508**3 / 4, rel=1e-3)
    phases = [c for c in crystals(Stratum.parse("AlNi")) if c.name in ("AlNi B2", "AlNi L1_0", "AlNi3 L1_2")]
    values = {v.subject: v for v in formation.measure(side, phases).values if v.quantity == "formation energy"}
    assert values["AlNi B2"].value == pytest.approx(-674.9, abs=0.1) and values["AlNi B2"].note == ""
    assert values["AlNi3 L1_2"].value == pytest.approx(-483.2, abs=0.1)
    assert "fallen to space group 221" in values["AlNi L1_0"].note  # as the README says: it falls to B2
    assert values["AlNi L1_0"].value == pytest.approx(values["AlNi B2"].value, abs=0.01)


def test_a_side_without_an_element_ends_in_one_line():
    with pytest.raises(
        AssessmentError, match=r"emt:EMT gives no energy, forces and stress of Ti, not finite: No"
    ) as error:
        compare(emt_reference(), None, Stratum.parse("Ti").subsets(), properties=["eos"])
    assert "\n" not in str(error.value) and "No EMT-potential for Ti" in str(error.value)
    with pytest.raises(AssessmentError, match="emt gives no energy, forces and stress of Ti"):
        compare(emt(), emt_reference(), Stratum.parse("Ti").subsets(), properties=["eos"])


def test_a_failure_in_the_middle_is_a_gap_with_a_reason():
    whole = from_calculator(EMT())

    def fails(structures):  # on everything but one and two atoms of copper
        said = whole(structures)
        large = structures.sizes > 2
        return replace(said, energies=np.where(large, np.nan, said.energies))

    found = compare(Side("short", fails, SMALL), emt_reference(), CUPD[:1], properties=["vacancy", "lattice"])
    rows = {(r.subject, r.quantity): r for r in found.compared}
    gap = rows["Cu fcc, 32 sites", "relaxed"]
    assert math.isnan(gap.network) and gap.reference == pytest.approx(1.23, abs=0.02) and "not relaxed" in gap.note
    assert math.isnan(rows["Cu", "hcp - fcc"].network) and "both lattices share" in rows["Cu", "hcp - fcc"].note
    assert math.isfinite(rows["Cu", "bcc - fcc"].difference)
    text = "\n".join(lines(found))
    assert "nan" not in text and "not relaxed" in text


def test_rows_pair_by_subject_and_quantity():
    from potentials.assess.results import Measured

    mine = Measured([Value("a", "q", "eV", 1.0, "odd"), Value("b", "q", "eV", 2.0)])
    theirs = Measured(
        [Value("b", "q", "eV", 1.5), Value("a", "q", "eV", 3.0, "odd"), Value("c", "q", "eV", 4.0, "new")]
    )
    rows = {r.subject: r for r in beside("t", mine, theirs)}
    assert rows["a"].difference == -2.0 and rows["a"].note == "both: odd"
    assert rows["b"].difference == 0.5 and rows["b"].note == ""
    assert math.isnan(rows["c"].network) and rows["c"].note == "reference: new"
    assert math.isnan(beside("t", mine, None)[0].reference)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("assess") / "lib", ["Cu", "Pd", "CuPd"])


def test_a_library_against_labels_and_reference(library, tmp_path):
    data = dataset((CU,), 30, 5).merge(dataset((CU, PD), 30, 5))
    found = assess(library, emt_reference(), data=data, properties=["lattice", "errors"], system=Stratum.parse("CuPd"))
    errors = {(e.stratum, e.kind): e for e in found.errors}
    said = library.assemble(Stratum.parse("CuPd")).evaluate(data.structures)
    off = (said.energies - data.labels.energies) / data.structures.sizes
    assert errors["all", "energy"].rmse == pytest.approx(np.sqrt(np.mean(off**2)))
    assert found.network == library.version() and found.reference == "ase.calculators.emt:EMT"
    gap = next(r for r in found.compared if (r.subject, r.quantity) == ("Cu", "bcc - fcc"))
    assert math.isfinite(gap.network) and gap.reference == pytest.approx(32.7, abs=0.1)
    written = json.loads(write_assessment(tmp_path, found).read_text(encoding="utf-8"))
    row = next(r for r in written["compared"] if (r["subject"], r["quantity"]) == ("Cu", "bcc - fcc"))
    assert row["network"] == gap.network and row["unit"] == "meV/atom" and row["difference"] == gap.difference
    assert {e["stratum"] for e in written["errors"]} == {"Cu", "CuPd", "all"}
    assert written["settings"]["supercell"] == SMALL.supercell


def test_a_smaller_system_asks_about_its_elements_only(library):
    found = assess(library, emt_reference(), properties=["lattice"], system=Stratum.parse("Cu"))
    assert {r.subject.split()[0] for r in found.compared} == {"Cu"}


def test_phases_that_were_named_and_no_others():
    found = compare(emt(), None, CUPD, properties=["formation", "elastic"], prototypes=["B2", "L1_2"])
    assert {r.subject for r in found.of("formation")} == {"CuPd B2", "Cu3Pd L1_2", "CuPd3 L1_2"}
    assert {r.subject for r in found.of("elastic")} == {"CuPd B2", "Cu3Pd L1_2", "CuPd3 L1_2", "Cu fcc", "Pd fcc"}


def test_held_out_is_what_training_leaves_out(library):
    data = dataset((CU, PD), 40, 0)  # the library was trained on these
    rest = held_out(library, data)
    assert 0 < len(rest) < 20 and set(rest.hashes()) == set(data.held_out().hashes())
    assert len(held_out(library, data, whole=True)) == 40
    with pytest.raises(AssessmentError, match=r"crystals of Ag, of which .*lib has no stratum"):
        held_out(library, dataset((CU, AG), 4, 0), whole=True)
    with pytest.raises(AssessmentError, match="no held-out crystals among 0 labelled ones of Pd"):
        held_out(library, data, Stratum.parse("Pd"))
    with pytest.raises(AssessmentError, match="no held-out crystals among 0 labelled ones in all"):
        held_out(library)


def test_what_cannot_be_asked(library):
    with pytest.raises(AssessmentError, match="nothing to compare with"):
        assess(library)
    with pytest.raises(AssessmentError, match="no held-out crystals"):
        assess(library, emt_reference(), properties=["errors"])
    with pytest.raises(UsageError, match=r"no property is called elastics; there are errors, lattice"):
        assess(library, emt_reference(), properties=["elastics"])
    with pytest.raises(ValueError, match="same settings"):
        compare(emt(Settings()), emt_reference(), CUPD)
    with pytest.raises(ValueError, match="`fault_layers` must be a multiple of three"):
        Settings(fault_layers=10)
    with pytest.raises(ValueError, match="`strain` must be positive, got 0"):
        Settings(strain=0)
