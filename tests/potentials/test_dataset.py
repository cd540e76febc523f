"""Datasets: what is written comes back, the split is by content, families stay whole."""

import numpy as np
import pytest
from ase.build import bulk

from potentials.dataset import DataError, Dataset, read_dataset, write_dataset
from potentials.stratum import Stratum
from tests.crystals import CU, PD
from tests.labelled import dataset, labelled


def both() -> Dataset:
    return dataset((CU,), 20, 3).merge(dataset((CU, PD), 20, 3))


def test_extxyz_keeps_everything(tmp_path):
    data = both()
    write_dataset(tmp_path / "data.xyz", data)
    back = read_dataset(tmp_path / "data.xyz")
    assert back.families == data.families and back.methods == data.methods
    np.testing.assert_array_equal(back.structures.numbers, data.structures.numbers)
    for name in ("positions", "cells"):
        np.testing.assert_allclose(getattr(back.structures, name), getattr(data.structures, name), atol=1e-7)
    for name in ("energies", "forces", "stresses"):
        np.testing.assert_allclose(getattr(back.labels, name), getattr(data.labels, name), atol=1e-7)
    np.testing.assert_allclose(back.seconds, data.seconds)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_an_archive_is_written_where_the_name_says_so(tmp_path, ending):
    data = both()
    write_dataset(tmp_path / "plain.extxyz", data)
    write_dataset(packed := tmp_path / f"packed.extxyz.{ending}", data)
    assert packed.stat().st_size < 0.8 * (tmp_path / "plain.extxyz").stat().st_size
    assert read_dataset(packed).content_hash() == read_dataset(tmp_path / "plain.extxyz").content_hash()


def test_a_missing_stress_stays_missing(tmp_path):
    data = dataset((CU,), 2, 3)
    data.labels.stresses[0] = np.nan
    write_dataset(tmp_path / "data.xyz", data)
    back = read_dataset(tmp_path / "data.xyz")
    assert np.isnan(back.labels.stresses[0]).all() and np.isfinite(back.labels.stresses[1]).all()
    data.labels.stresses[0] = 0.0


@pytest.mark.parametrize("content", ["", "3\nno such thing\nCu 0 0\n", "\x00\xff\x00", "1\n\nCu 0 0 0\n"])
def test_a_bad_file_is_one_clear_line(tmp_path, content):
    path = tmp_path / "bad.xyz"
    path.write_text(content, encoding="latin1")
    with pytest.raises(DataError, match=r"bad\.xyz") as error:
        read_dataset(path)
    assert "\n" not in str(error.value)


def test_the_split_takes_whole_families_and_never_changes_with_the_data():
    data = both()
    held = dict(zip(data.families, data.is_held_out().tolist(), strict=True))
    assert all(held[f] == h for f, h in zip(data.families, data.is_held_out().tolist(), strict=True))
    reversed_ = data.select(np.arange(len(data))[::-1])
    assert reversed_.is_held_out().tolist() == data.is_held_out()[::-1].tolist()
    assert len(data.held_out()) + len(data.training()) == len(data)


def test_about_one_in_eight_is_held_out():
    one = bulk("Cu")
    cells = [one * (1, 1, 1) for _ in range(400)]
    for k, atoms in enumerate(cells):
        atoms.set_cell(atoms.cell[:] * (1 + k / 4000), scale_atoms=True)
    n = len(cells)
    data = Dataset.of(
        cells, energies=[0.0] * n, forces=[np.zeros((1, 3))] * n, stresses=[np.zeros((3, 3))] * n, method="m"
    )
    assert 0.06 < data.is_held_out().mean() < 0.2


def test_strata_and_merge():
    data = both()
    assert set(data.strata()) == {Stratum((CU,)), Stratum((CU, PD))}
    assert len(data.of_stratum(Stratum((CU, PD)))) == 20
    assert len(data.merge(data)) == len(data)
    assert data.merge(data).content_hash() == data.content_hash()
    assert data.select(range(39)).content_hash() != data.content_hash()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="`families` must have one entry per crystal: 1, got 2"):
        labelled([bulk("Cu")], ["a", "b"])
