"""A reference whose k-points jump where cells grow: what is compared has the same ones."""

import numpy as np
import pytest
from ase.build import make_supercell
from ase.calculators.emt import EMT

from potentials.assess import Reference, Side
from potentials.assess.elastic import elastic_constants
from potentials.assess.eos import equation_of_state
from potentials.assess.lattice import BAIN, LAYERS, above_fcc
from potentials.assess.prototypes import element
from potentials.assess.vacancy import TO_CUBE
from tests.assess.sides import SMALL, emt

COPPER = element(29)
ERROR = 0.002  # eV/Å³, 0.3 GPa: 0.02 eV/atom


class Meshed(EMT):
    """EMT with the error of a mesh: of another sign as its number of points along an axis is even or odd."""

    identity = {"engine": "meshed"}  # noqa: RUF012 - as an ASE calculator has it

    def __init__(self, spacing: float = 0.005) -> None:
        super().__init__()
        self.spacing, self.like, self.seen = spacing, None, []

    def keep_mesh_of(self, like):
        self.like = like

    def calculate(self, atoms=None, *args, **kwargs):
        super().calculate(atoms, *args, **kwargs)
        cell = (atoms if self.like is None else self.like).cell
        points = np.ceil(np.linalg.norm(np.linalg.inv(cell[:]), axis=0) / self.spacing).astype(int)
        self.seen.append(tuple(points))
        error = ERROR * np.mean((-1.0) ** points)
        for name in ("energy", "free_energy"):
            self.results[name] += error * atoms.cell.volume
        self.results["stress"] = self.results["stress"] + error * np.array([1, 1, 1, 0, 0, 0])


class Jumping(Meshed):
    """The same without a way to keep a mesh."""

    keep_mesh_of = property()


def side(calculator) -> Side:
    return Side.of_reference(Reference(calculator, "meshed"), SMALL)


def test_a_relaxation_keeps_its_mesh():
    calculator = Meshed()
    found = side(calculator).relax(COPPER.build(12.5))
    assert found.converged and len(calculator.seen) > 3
    assert len(set(calculator.seen)) == 1 and calculator.like is None
    jumping = Jumping()
    side(jumping).relax(COPPER.build(12.5))
    assert len(set(jumping.seen)) > 1


def test_volumes_and_strains_are_compared_with_one_mesh():
    straight = emt()
    volume, constants = equation_of_state(straight, COPPER).volume, elastic_constants(straight, COPPER)
    meshed, jumping = side(Meshed(0.0015)), side(Jumping(0.0015))
    for one in (meshed, jumping):
        one._known[COPPER.name] = straight.relaxed(COPPER)  # from the same crystal on
    assert equation_of_state(meshed, COPPER).volume == pytest.approx(volume, rel=0.005)
    np.testing.assert_allclose(elastic_constants(meshed, COPPER), constants, atol=1e-6 * constants.max())
    # without a kept mesh these crystals would show it
    own = {tuple(np.ceil(np.linalg.norm(np.linalg.inv(straight.relaxed(COPPER).atoms.cell[:]), axis=0) / 0.0015))}
    assert set(meshed.book._calculator.seen) == own
    assert abs(equation_of_state(jumping, COPPER).volume / volume - 1) > 0.05
    assert np.abs(elastic_constants(jumping, COPPER) - constants).max() > 0.3 * constants.max()


@pytest.mark.parametrize("lattice", ["hcp", "bcc"])
def test_lattices_are_compared_in_cells_that_are_deformations_of_each_other(lattice):
    straight = emt()
    gap = straight.relaxed(element(29, lattice)).energy_per_atom - straight.relaxed(COPPER).energy_per_atom
    assert above_fcc(straight, 29, lattice) == pytest.approx(gap, abs=1e-8)
    calculator = Meshed(0.02)
    meshed = side(calculator)
    meshed._known[COPPER.name] = straight.relaxed(COPPER)
    meshed._known[element(29, lattice).name] = straight.relaxed(element(29, lattice))
    assert above_fcc(meshed, 29, lattice) == pytest.approx(gap, abs=2e-4)  # the error goes with the volume
    assert len(calculator.seen) == 2 and len(set(calculator.seen)) == 1


@pytest.mark.parametrize(("change", "lattice", "stretch"), [(LAYERS, "hcp", 0.0), (BAIN, "bcc", 0.3)])
def test_the_shared_cells_are_those_of_one_lattice_strained(change, lattice, stretch):
    """Vector by vector: nearly the same for close-packed layers, Bain's strain for bcc."""
    fcc = make_supercell(COPPER.build(11.5), change)
    other = element(29, lattice).build(11.5)
    other = other.repeat((1, 1, 3)) if lattice == "hcp" else make_supercell(other, TO_CUBE["bcc"])
    assert len(fcc) == len(other)
    strain = np.linalg.solve(fcc.cell.standard_form()[0][:], other.cell.standard_form()[0][:]) - np.eye(3)
    assert np.abs(strain - np.diag(np.diag(strain))).max() < 1e-9
    assert np.ptp(np.diag(strain)) == pytest.approx(stretch, abs=0.06)


def test_the_mesh_is_part_of_the_question_and_the_calculator_of_the_identity(tmp_path):
    calculator = Meshed()
    reference = Reference(calculator, "meshed")
    first, second = COPPER.build(11.5), COPPER.build(11.8)
    asked = Side.of_reference(reference, SMALL)
    own, others = asked.energies([first])[0], asked.energies([first], like=second)[0]
    assert reference.calls == 2 and own != others
    assert (asked.energies([first])[0], asked.energies([first], like=second)[0]) == (own, others)
    asked.energies([first], like=first)
    assert reference.calls == 2  # its own mesh is the one that it has without being told
    here = f"{__name__}:Meshed"
    cache = tmp_path / "answers.jsonl"
    Side.of_reference(Reference.load(here, {"spacing": 0.005}, cache)).energies([first])
    again = Reference.load(here, {"spacing": 0.006}, cache)  # no part of what it says its answers hang on
    Side.of_reference(again).energies([first])
    assert again.calls == 0
