"""Supercells: one of the distinct lattices with a given number of cells, at random.

Hermite normal forms (Hart and Forcade 2008, doi:10.1103/PhysRevB.77.224115) count every sublattice once, so
layered, chequered and skewed supercells all get their turn.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from evo.cell import reduce_cell


@cache
def hermite_forms(factor: int) -> tuple[NDArray[np.int_], ...]:
    """All matrices [[a, 0, 0], [b, c, 0], [d, e, f]] with a c f = factor, 0 <= b, d < a and 0 <= e < c."""
    forms = []
    for a in range(1, factor + 1):
        if factor % a:
            continue
        for c in range(1, factor // a + 1):
            if (factor // a) % c:
                continue
            f = factor // (a * c)
            forms += [np.array([[a, 0, 0], [b, c, 0], [d, e, f]]) for b in range(a) for d in range(a) for e in range(c)]
    return tuple(forms)


def random_supercell(rng: np.random.Generator, atoms: Atoms, factor: int) -> Atoms:
    """The same crystal in a random supercell of `factor` cells, Niggli-reduced; all axes must be periodic."""
    if factor == 1:
        return reduce_cell(atoms)
    forms = hermite_forms(factor)
    return supercell(atoms, forms[int(rng.integers(len(forms)))])


def supercell(atoms: Atoms, matrix: NDArray[np.int_]) -> Atoms:
    """The same crystal with `matrix` @ cell as its cell, Niggli-reduced. `matrix` is lower triangular."""
    a, c, f = (int(n) for n in np.diag(matrix))
    cell = np.asarray(atoms.cell)
    # one lattice point per coset: the box of the diagonal of a triangular matrix
    shifts = np.array([[i, j, k] for i in range(a) for j in range(c) for k in range(f)]) @ cell
    positions = (atoms.positions[:, None, :] + shifts).reshape(-1, 3)
    return reduce_cell(
        Atoms(numbers=np.repeat(atoms.numbers, len(shifts)), positions=positions, cell=matrix @ cell, pbc=atoms.pbc)
    )
