"""Axes along which a crystal does not reach its own image: a slab, wire or cluster in a periodic box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potentials.structures import Structures


def empty_axes(structures: Structures, reach: float) -> NDArray[np.bool_]:
    """(n, 3) whether a slice of at least `reach` (Å) across a periodic vector holds no atom.

    With `reach` the distance at which a potential ends, no energy depends on the length of such a vector. Files of VASP and CIF
    call everything periodic.
    """
    found = np.zeros((len(structures), 3), dtype=bool)
    for c, cell in enumerate(structures.cells):
        if not structures.periodic[c].any() or not abs(np.linalg.det(cell)) > 0.0:
            continue
        inverse = np.linalg.inv(cell)
        positions = structures.positions[structures.offsets[c] : structures.offsets[c + 1]]
        fractions = np.sort(positions @ inverse % 1.0, axis=0)
        between = np.diff(fractions, axis=0, append=fractions[:1] + 1.0).max(axis=0)
        found[c] = structures.periodic[c] & (between / np.sqrt((inverse**2).sum(axis=0)) >= reach)
    return found
