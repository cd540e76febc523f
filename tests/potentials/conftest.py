"""What several tests of the commands share."""

import pytest

from potentials.dataset import write_dataset
from tests.crystals import CU, PD
from tests.labelled import dataset


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """24 labelled crystals each of Cu, Pd, CuPd."""
    folder = tmp_path_factory.mktemp("files")
    for name, numbers in (("Cu", (CU,)), ("Pd", (PD,)), ("CuPd", (CU, PD))):
        write_dataset(folder / f"{name}.extxyz", dataset(numbers, 24, 0))
    return [str(folder / f"{name}.extxyz") for name in ("Cu", "Pd", "CuPd")]
