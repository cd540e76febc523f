"""Prototypes: their space groups, compositions and volumes."""

import numpy as np
import pytest

from potentials.assess.prototypes import crystals, element, guessed_volume, lattice_of
from potentials.assess.space_group import space_group
from potentials.stratum import Stratum

ALL = [c for name in ("Cu", "CuPd", "CuPdAg") for c in crystals(Stratum.parse(name))]


@pytest.mark.parametrize("crystal", ALL, ids=[c.name for c in ALL])
def test_a_prototype_is_what_its_name_says(crystal):
    atoms = crystal.build(14.0)
    assert space_group(atoms, 1e-4) == crystal.prototype.space_group
    assert atoms.cell.volume / len(atoms) == pytest.approx(14.0)
    assert set(atoms.numbers) == set(crystal.elements)
    distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
    # all are decorated fcc, bcc or hcp
    nearest = {True: 14.0 ** (1 / 3) * 2 ** (1 / 6), False: 14.0 ** (1 / 3) * 2 ** (1 / 3) * 0.75**0.5}
    assert not len(distances) or min(abs(distances.min() - n) for n in nearest.values()) < 1e-6


def test_crystals_of_every_stratum_have_names_of_their_own():
    assert len({c.name for c in ALL}) == len(ALL) == 3 + 18 + 6
    assert "CuPd3 L1_2" in {c.name for c in ALL} and "Cu3Pd L1_2" in {c.name for c in ALL}
    assert crystals(Stratum.parse("CuPdAgAu")) == []


def test_elements_have_their_natural_lattices():
    assert [lattice_of(z).name for z in (29, 74, 22, 14)] == ["fcc", "bcc", "hcp", "fcc"]
    assert element(29).name == "Cu fcc" and element(29, "hcp").name == "Cu hcp"
    assert guessed_volume(29) == pytest.approx(11.8, abs=0.1)  # from a = 3.61 Å
    assert guessed_volume(74) == pytest.approx(15.8, abs=0.1)  # a = 3.16 Å
    assert guessed_volume(22) == pytest.approx(17.7, abs=0.2)  # a = 2.95 Å, c/a = 1.59
