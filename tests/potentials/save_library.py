"""A small library as the present version writes it, for the tests of all later ones.

python -m tests.potentials.save_library VERSION writes tests/potentials/saved/VERSION (Cu, Pd, CuPd and their labelled
crystals) and VERSION.extxyz beside it: crystals with what the library says of them. Once committed they are not made again.
"""

import sys
import tempfile
from contextlib import chdir
from pathlib import Path

import numpy as np
from ase.io import write

from potentials.__main__ import main
from potentials.dataset import write_dataset
from potentials.labelled.reading import read_labels
from potentials.library import Library, Recipe
from potentials.network import Shape
from tests.crystals import CU, PD, mixed
from tests.labelled import dataset, train

SAVED = Path(__file__).parent / "saved"


def save(version: str) -> None:
    path = SAVED / version
    library = Library.create(path, Recipe(Shape(4.5, n_max=2, l_max=2, n_pair=3), hidden=2, members=2))
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for name, numbers in (("Cu.xyz", (CU,)), ("Pd.xyz", (PD,)), ("CuPd.xyz", (CU, PD))):
            write_dataset(name, dataset(numbers, 12, 0))
            library.add_data([read_labels(name)])
        train(library, ["Cu", "Pd", "CuPd"], n=12, iterations=8)
        write("crystals.traj", mixed(np.random.default_rng(7), (CU, PD)))
        main(["evaluate", str(path), "crystals.traj", "-o", str(SAVED / f"{version}.extxyz")])


if __name__ == "__main__":
    save(sys.argv[1])
