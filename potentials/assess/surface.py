"""Surface energies of slabs one unit cell wide, positions relaxed at the element's own equilibrium lattice.

gamma = (E_slab - N E_bulk) / 2A. All three axes are periodic, with vacuum between the slabs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
from ase import Atoms
from ase.build import bcc100, bcc110, bcc111, fcc100, fcc110, fcc111, hcp0001
from ase.data import chemical_symbols

from potentials.assess.prototypes import Crystal
from potentials.assess.results import NONE, Measured, Value
from potentials.assess.side import Relaxed, Side
from potentials.units import J_PER_M2_PER_EV_PER_A2

FACETS: dict[str, dict[str, Callable[..., Atoms]]] = {
    "fcc": {"(111)": fcc111, "(100)": fcc100, "(110)": fcc110},
    "bcc": {"(110)": bcc110, "(100)": bcc100, "(111)": bcc111},
    "hcp": {"(0001)": hcp0001},
}
EDGES = {"fcc": 2**0.5, "bcc": 2 / 3**0.5, "hcp": 1.0}  # conventional a by the length of the first primitive vector


def slab(side: Side, crystal: Crystal, facet: str) -> Atoms:
    """The thinnest slab of the element's relaxed lattice that is thick enough, as cut."""
    lattice, symbol = crystal.prototype.name, chemical_symbols[crystal.elements[0]]

    def cut(atoms: Atoms, n_layers: int) -> Atoms:
        lengths = atoms.cell.lengths()
        edges = {"a": lengths[0] * EDGES[lattice]} | ({"c": lengths[2]} if lattice == "hcp" else {})
        vacuum = side.settings.vacuum / 2
        return FACETS[lattice][facet](symbol, (1, 1, n_layers), vacuum=vacuum, periodic=True, **edges)

    # layers are counted in the guessed crystal: as many for both sides
    thick = (n for n in count(3) if np.ptp(cut(crystal.guess(), n).positions[:, 2]) >= side.settings.slab)
    return cut(side.relaxed(crystal).atoms, next(thick))


def surface_energies(side: Side, crystal: Crystal, facet: str) -> tuple[float, float]:
    """eV/Å², relaxed and as cut; NaN where the lattice or the slab could not be relaxed."""
    start = side.relaxed(crystal)
    if not start.converged:
        return NONE, NONE
    cut = slab(side, crystal, facet)
    relaxed: Relaxed = side.relax(cut, cell="fixed")
    area = float(np.linalg.norm(np.cross(cut.cell[0], cut.cell[1])))
    bulk = len(cut) * start.energy_per_atom
    return (relaxed.energy - bulk) / (2 * area), float(side.energies([cut])[0] - bulk) / (2 * area)


def measure(side: Side, crystals: Sequence[Crystal]) -> Measured:
    """Energies in J/m² of the low-index surfaces of elements, relaxed and as cut."""
    values = []
    for crystal in crystals:
        for facet in FACETS[crystal.prototype.name]:
            relaxed, cut = surface_energies(side, crystal, facet)
            note = side.trouble(crystal) or ("slab not relaxed" if np.isnan(relaxed) else "")
            for quantity, energy in (("relaxed", relaxed), ("as cut", cut)):
                values.append(Value(f"{crystal.name} {facet}", quantity, "J/m²", energy * J_PER_M2_PER_EV_PER_A2, note))
    return Measured(values)
