"""Formation energies of ordered phases, against the elements in their natural lattices, all relaxed by the same side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from potentials.assess.prototypes import Crystal
from potentials.assess.results import Measured, Value
from potentials.assess.side import Side


def formation_energy(side: Side, crystal: Crystal) -> float:
    """eV per atom; NaN where the crystal or one of its elements could not be relaxed."""
    found = side.relaxed(crystal)
    elements = np.mean([side.element_energy(z) for z in found.atoms.numbers.tolist()])
    return float(found.energy_per_atom - elements)


def measure(side: Side, crystals: Sequence[Crystal]) -> Measured:
    """Formation energy in meV/atom and volume of each crystal."""
    values = []
    for crystal in crystals:
        energy, note = 1e3 * formation_energy(side, crystal), side.trouble(crystal)
        found = side.relaxed(crystal)
        volume = found.atoms.cell.volume / len(found.atoms) if found.converged else np.nan
        values.append(Value(crystal.name, "formation energy", "meV/atom", energy, note))
        values.append(Value(crystal.name, "volume", "Å³/atom", float(volume), note))
    return Measured(values)
