"""Lattices of the elements: volume and shape of fcc, bcc and hcp, and their energies above fcc.

The differences are meV where a mesh of k-points is off by as much, so they are taken between cells that are deformations
of each other, with the same mesh: six close-packed layers of fcc and hcp; two atoms of fcc and bcc, which Bain's strain connects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.build import make_supercell
from ase.data import chemical_symbols

from potentials.assess.prototypes import element
from potentials.assess.results import NONE, Measured, Value
from potentials.assess.side import Side
from potentials.assess.vacancy import TO_CUBE

LAYERS = [[1, -1, 0], [0, 1, -1], [2, 2, 2]]  # of the primitive vectors of fcc: six layers, one atom each
BAIN = [[0, 0, 1], [1, -1, 0], [1, 1, -1]]  # a body-centred tetragonal cell of two atoms


def above_fcc(side: Side, number: int, lattice: str) -> float:
    """eV per atom by which the element's hcp or bcc lies above its fcc, each at its minimum; NaN where one has none."""
    fcc, other = (side.relaxed(element(number, name)) for name in ("fcc", lattice))
    if not (fcc.converged and other.converged):
        return NONE
    if lattice == "hcp":
        cells = make_supercell(fcc.atoms, LAYERS), other.atoms.repeat((1, 1, 3))
    else:
        cells = make_supercell(fcc.atoms, BAIN), make_supercell(other.atoms, TO_CUBE["bcc"])
    low, high = side.energies(
        cells, like=cells[1]
    )  # the finer mesh of the two: fcc has more symmetry than its cell here shows
    return float(high - low) / len(cells[0])


def measure(side: Side, numbers: Sequence[int]) -> Measured:
    """hcp - fcc and bcc - fcc in meV/atom, the volumes of all three, c/a of hcp; each relaxed under its symmetry."""
    values = []
    for z in numbers:
        symbol = chemical_symbols[z]
        for lattice in ("hcp", "bcc"):
            notes = [side.trouble(element(z, "fcc")), side.trouble(element(z, lattice))]
            gap = 1e3 * above_fcc(side, z, lattice)
            if np.isnan(gap) and not any(notes):
                notes.append("a cell that both lattices share has no energy")
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
