"""One published Gupta potential: seven numbers for every pair of its elements."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols

from potentials.kernels.gupta import PARAMETERS
from potentials.maise.box import MaiseError, ModelFile
from potentials.network import StratumParameters
from potentials.stratum import Stratum

# how the header calls them
LABELS = {
    "A": "A rep (eV)",
    "p": "p rep (Ang)",
    "B": "B att (eV)",
    "q": "q att (Ang)",
    "r0": "r0 (Ang)",
    "Rmin": "Rmin (Ang)",
    "Rmax": "Rmax (Ang)",
}


def read_gupta(file: ModelFile) -> dict[Stratum, StratumParameters]:
    """The pairs of the file's elements, canonical order; MaiseError where one is not complete."""
    species = file.species
    strata: dict[Stratum, StratumParameters] = {}
    for k, one in enumerate(species):
        for other in species[k:]:
            pair = " ".join(chemical_symbols[z] for z in dict.fromkeys((one, other)))
            values = np.array([_number(file, f"{LABELS[name]} {pair}") for name in PARAMETERS])
            *_, r0, inner, outer = values
            if not (r0 > 0 and 0 < inner < outer):
                raise MaiseError(f"{file.path}: expected r0 > 0 and Rmin < Rmax of {pair}, got {r0}, {inner}, {outer}")
            stratum = Stratum.of((one, other))
            strata[stratum] = StratumParameters(stratum, {}, {}, {}, gupta=values)
    return dict(sorted(strata.items(), key=lambda item: item[0].sort_key()))


def _number(file: ModelFile, key: str) -> float:
    text = file.row(key)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise MaiseError(f"{file.path}: expected a number for `{key}`, got `{text[:40]}`")
    return value
