"""CIF with symmetry, read again by ASE: the same crystal, whatever its group, and few atoms."""

import re
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from ase.neighborlist import neighbor_list

from evo.report.cif import write_cif
from evo.symmetry import group, primitive, space_group


def shells(atoms: Atoms, cutoff: float = 5.0) -> np.ndarray:
    """Sorted (element, element, distance) of all pairs, of the primitive cell: what no rotation and no choice of cell changes."""
    small = primitive(atoms, 1e-4)
    i, j, d = neighbor_list("ijd", small, cutoff)
    return np.array(sorted(zip(small.numbers[i], small.numbers[j], np.round(d, 4), strict=True)))


def same(one: Atoms, other: Atoms) -> bool:
    first, second = shells(one), shells(other)
    return first.shape == second.shape and bool(np.abs(first - second).max() < 2e-4)


def crystal_of(number: int, rng: np.random.Generator) -> Atoms:
    """Copper on a general position of the group, palladium on its most special one; cell of its system."""
    found = group(number)
    a, b, c = rng.uniform(8.0, 9.0, 3)
    angles = {"monoclinic": (90, 100, 90), "triclinic": (80, 95, 105), "hexagonal": (90, 90, 120)}
    lengths = {"cubic": (a, a, a), "tetragonal": (a, a, c), "hexagonal": (a, a, c)}.get(found.system, (a, b, c))
    cell = np.array(Atoms(cell=[*lengths, *angles.get(found.system, (90, 90, 90))]).cell)
    sites = [(29, rng.uniform(0.05, 0.95, 3)), (46, found.positions[0].orbits(rng, 1)[0][0] @ found.primitive)]
    numbers, places = [], []
    for z, site in sites:
        for rotation, translation in zip(found.rotations, found.translations, strict=True):
            place = (rotation @ site + translation) % 1.0
            apart = np.array(places).reshape(-1, 3) - place
            if not (np.abs(apart - np.rint(apart)).max(axis=1) < 1e-6).any():
                numbers.append(z)
                places.append(place)
    return Atoms(numbers, scaled_positions=places, cell=cell, pbc=True)


@pytest.mark.parametrize("number", range(1, 231))
def test_ase_reads_the_same_crystal(number: int, tmp_path) -> None:
    atoms = crystal_of(number, np.random.default_rng([number, 1]))
    write_cif(tmp_path / "x.cif", atoms, ["a remark"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ASE wonders about occupied sites that are close
        found = read(tmp_path / "x.cif")
    assert same(atoms, found)
    assert space_group(found, 1e-3) == space_group(atoms, 1e-3)
    text = (tmp_path / "x.cif").read_text()
    assert f"_space_group_IT_number {space_group(atoms, 1e-3)}\n" in text
    multiplicities = re.findall(r"^(?:Cu|Pd)\d+ \w\w (\d+) ", text, re.MULTILINE)
    assert sum(map(int, multiplicities)) == len(found)


def test_a_relaxed_supercell_becomes_its_conventional_cell(tmp_path) -> None:
    atoms = bulk("Cu", a=3.6).repeat((2, 2, 1))
    atoms.rattle(0.001, seed=1)
    write_cif(tmp_path / "Cu.cif", atoms)
    text = (tmp_path / "Cu.cif").read_text()
    assert "data_Cu\n" in text
    assert "_space_group_name_H-M_alt 'F m -3 m'\n" in text
    assert re.search(r"^Cu1 Cu 4 (0\.[05]0* ){3}1$", text, re.MULTILINE)
    assert len(read(tmp_path / "Cu.cif")) == 4


def test_a_distortion_is_kept(tmp_path) -> None:
    atoms = bulk("CuPd", "cesiumchloride", a=3.0)
    atoms.positions[1] += [0.0, 0.0, 0.1]
    write_cif(tmp_path / "x.cif", atoms)
    assert same(read(tmp_path / "x.cif"), atoms)
    assert "_space_group_IT_number 99\n" in (tmp_path / "x.cif").read_text()


def test_the_group_that_is_shown_is_the_group_that_is_written(tmp_path) -> None:
    """A table has the group within 0.05 Å; atoms that are a little further off than a relaxation leaves them do not change it."""
    atoms = bulk("CuPd", "cesiumchloride", a=3.0)
    atoms.positions[1] += [0.0, 0.0, 0.02]
    for number, written in ((None, 99), (221, 221), (99, 99), (12, 99)):
        write_cif(tmp_path / "x.cif", atoms, number=number)
        assert f"_space_group_IT_number {written}\n" in (tmp_path / "x.cif").read_text()


def test_what_is_no_crystal_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="periodic along all three axes"):
        write_cif(tmp_path / "x.cif", Atoms("Cu"))
