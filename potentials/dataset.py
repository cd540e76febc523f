"""Labelled crystals, as the rest of the package knows them; the parts are in `potentials.labelled`."""

from potentials.labelled.duplicates import first_in_each_place
from potentials.labelled.files import read_dataset, write_dataset
from potentials.labelled.record import HELD_OUT, DataError, Dataset, is_held_out

__all__ = ["HELD_OUT", "DataError", "Dataset", "first_in_each_place", "is_held_out", "read_dataset", "write_dataset"]
