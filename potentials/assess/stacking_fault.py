"""Intrinsic stacking faults of fcc: one close-packed layer missing from ABCABC, positions relaxed at fixed cell.

The cell is a column of (111) layers, one atom each. Its third vector leans: by three layer shifts for the perfect
crystal, by one more for a fault between each column and its image. gamma = (E_fault - E_perfect) / A.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from potentials.assess.prototypes import Crystal
from potentials.assess.results import NONE, Measured, Value
from potentials.assess.side import Side
from potentials.units import J_PER_M2_PER_EV_PER_A2


def column(number: int, edge: float, n_layers: int, *, fault: bool) -> Atoms:
    """(111) layers of fcc with the cubic edge in Å, in a cell one atom wide."""
    nearest = edge / 2**0.5
    first, second = nearest * np.array([1, 0, 0]), nearest * np.array([0.5, 0.75**0.5, 0])
    shift = (first + second) / 3  # from one layer to the next
    up = shift + np.array([0, 0, edge / 3**0.5])
    third = n_layers * up + (shift if fault else 0.0)
    positions = np.arange(n_layers)[:, None] * up
    return Atoms([number] * n_layers, positions=positions, cell=[first, second, third], pbc=True)


def stacking_fault_energies(side: Side, crystal: Crystal) -> tuple[float, float]:
    """eV/Å², relaxed and unrelaxed, of an fcc element; NaN where something could not be relaxed."""
    start = side.relaxed(crystal)
    if not start.converged:
        return NONE, NONE
    edge, n = float(start.atoms.cell.lengths()[0] * 2**0.5), side.settings.fault_layers
    perfect, faulted = (column(crystal.elements[0], edge, n, fault=f) for f in (False, True))
    area = float(np.linalg.norm(np.cross(perfect.cell[0], perfect.cell[1])))
    whole, broken = (side.energies([a])[0] for a in (perfect, faulted))
    return (side.relax(faulted, cell="fixed").energy - float(whole)) / area, float(broken - whole) / area


def measure(side: Side, crystals: Sequence[Crystal]) -> Measured:
    """Energies in mJ/m² of fcc crystals; others are passed over."""
    values = []
    for crystal in crystals:
        if crystal.prototype.name != "fcc":
            continue
        relaxed, unrelaxed = stacking_fault_energies(side, crystal)
        note = side.trouble(crystal) or ("not relaxed" if np.isnan(relaxed) else "")
        for quantity, energy in (("relaxed", relaxed), ("unrelaxed", unrelaxed)):
            values.append(Value(crystal.name, quantity, "mJ/m²", 1e3 * J_PER_M2_PER_EV_PER_A2 * energy, note))
    return Measured(values)
