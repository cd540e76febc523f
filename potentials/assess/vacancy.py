"""Vacancy formation energies: one atom taken out of a supercell of the element, at its own equilibrium cell.

E_f = E(N - 1) - (N - 1)/N E(N).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import make_supercell

from potentials.assess.prototypes import Crystal
from potentials.assess.results import NONE, Measured, Value
from potentials.assess.side import Side

TO_CUBE = {"fcc": [[-1, 1, 1], [1, -1, 1], [1, 1, -1]], "bcc": [[0, 1, 1], [1, 0, 1], [1, 1, 0]]}


@dataclass(frozen=True, eq=False)
class Vacancy:
    """A missing atom in a supercell of `n_atoms` sites."""

    n_atoms: int
    relaxed: float  # eV, positions relaxed at fixed cell
    unrelaxed: float  # eV, all atoms on their sites
    perfect: Atoms | None  # N atoms
    defective: Atoms | None  # N - 1 atoms, relaxed


def supercell(atoms: Atoms, lattice: str, repeat: int) -> Atoms:
    """About as large for every lattice: 4 n³ atoms of fcc, 2 (n + 1)³ of bcc, 2 n (n + 1)² of hcp."""
    if lattice == "hcp":
        return atoms.repeat((repeat + 1, repeat + 1, repeat))
    times = repeat if lattice == "fcc" else repeat + 1
    return make_supercell(atoms, times * np.array(TO_CUBE[lattice]))


def vacancy(side: Side, crystal: Crystal) -> Vacancy:
    """Of an element; NaN where something could not be relaxed."""
    start = side.relaxed(crystal)
    if not start.converged:
        return Vacancy(0, NONE, NONE, None, None)
    perfect = supercell(start.atoms, crystal.prototype.name, side.settings.vacancy_repeat)
    n = len(perfect)
    defective = perfect[1:]
    relaxed = side.relax(defective, cell="fixed")
    whole, ideal = (side.energies([a])[0] for a in (perfect, defective))
    share = (n - 1) / n * whole
    return Vacancy(n, float(relaxed.energy - share), float(ideal - share), perfect, relaxed.atoms)


def measure(side: Side, crystals: Sequence[Crystal], geometries: Sequence[Vacancy | None]) -> Measured:
    """Formation energies in eV: relaxed, unrelaxed and, where a geometry is given, of that geometry as it is."""
    values = []
    for crystal, given in zip(crystals, geometries, strict=True):
        found, note = vacancy(side, crystal), side.trouble(crystal)
        if not note and np.isnan(found.relaxed):
            note = "not relaxed"
        name = f"{crystal.name}, {found.n_atoms} sites" if found.n_atoms else crystal.name
        values.append(Value(name, "relaxed", "eV", found.relaxed, note))
        values.append(Value(name, "unrelaxed", "eV", found.unrelaxed, note))
        if given is not None and given.perfect is not None and given.defective is not None:
            whole, without = (side.energies([a])[0] for a in (given.perfect, given.defective))
            energy = float(without - (given.n_atoms - 1) / given.n_atoms * whole)
            values.append(Value(name, "at the reference's geometry", "eV", energy, note))
    return Measured(values)
