"""Lattices of the elements: volume and shape of fcc, bcc and hcp, and their energies above fcc."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols

from potentials.assess.prototypes import element
from potentials.assess.results import Measured, Value
from potentials.assess.side import Side


def measure(side: Side, numbers: Sequence[int]) -> Measured:
    """hcp - fcc and bcc - fcc in meV/atom, the volumes of all three, c/a of hcp; each relaxed under its symmetry."""
    values = []
    for z in numbers:
        symbol = chemical_symbols[z]
        fcc = side.relaxed(element(z, "fcc"))
        for lattice in ("hcp", "bcc"):
            other = side.relaxed(element(z, lattice))
            notes = [side.trouble(element(z, "fcc")), side.trouble(element(z, lattice))]
            gap = 1e3 * (other.energy_per_atom - fcc.energy_per_atom)
            values.append(Value(symbol, f"{lattice} - fcc", "meV/atom", gap, ", ".join(n for n in notes if n)))
        for lattice in ("fcc", "hcp", "bcc"):
            found, note = side.relaxed(element(z, lattice)), side.trouble(element(z, lattice))
            volume = found.atoms.cell.volume / len(found.atoms) if found.converged else np.nan
            values.append(Value(f"{symbol} {lattice}", "volume", "Å³/atom", float(volume), note))
            if lattice == "hcp":
                lengths = found.atoms.cell.lengths()
                ratio = lengths[2] / lengths[0] if found.converged else np.nan
                values.append(Value(f"{symbol} hcp", "c/a", "", float(ratio), note))
    return Measured(values)
