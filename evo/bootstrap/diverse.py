"""Diverse: of many crystals the few whose features lie farthest apart.

Farthest-first traversal (Gonzalez, Theor. Comput. Sci. 38, 293 (1985)) over mean and spread of each crystal's density features:
what is chosen after k steps covers the pool within twice the best radius that k crystals can have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from potentials import kernels
from potentials.environments import deviations
from potentials.network import Shape
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures

SHAPE = Shape(6.0, n_max=4, l_max=3, n_pair=8)


def far_apart(
    pool: Sequence[Atoms], quota: int, stratum: Stratum, taken: Sequence[Atoms] = (), kinds: Sequence[str] = ()
) -> list[int]:
    """Indices of `quota` crystals of the pool that lie far from each other and from those already taken.

    `kinds`, one per crystal of the pool: none is chosen more often than its share of the pool. A crystal whose features are not
    finite is never chosen. Fewer than `quota` where the pool has no more.
    """
    table = vectors([*taken, *pool], stratum)
    mine, others = table[len(taken) :], table[: len(taken)]
    free = np.asarray(np.isfinite(mine).all(axis=1))
    names = np.array(kinds if len(kinds) else [""] * len(pool))
    left = _quotas(names, quota)
    apart = np.full(len(mine), np.inf)
    for vector in others[np.isfinite(others).all(axis=1)]:
        apart = np.minimum(apart, ((mine - vector) ** 2).sum(axis=1))
    if not np.isfinite(apart).any() and free.any():
        apart = -((mine - np.median(mine[free], axis=0)) ** 2).sum(axis=1)  # the first is the most usual one
        first = True
    else:
        first = False
    chosen: list[int] = []
    while len(chosen) < quota and free.any():
        best = int(np.argmax(np.where(free, apart, -np.inf)))
        chosen.append(best)
        distance = ((mine - mine[best]) ** 2).sum(axis=1)
        apart = distance if first else np.minimum(apart, distance)
        first = False
        left[str(names[best])] -= 1
        free[best] = False
        if left[str(names[best])] == 0:
            free[names == names[best]] = False
    return chosen


def _quotas(names: np.ndarray, quota: int) -> dict[str, int]:
    """How many of each kind: its share of the pool, rounded up."""
    kinds, counts = np.unique(names, return_counts=True)
    return {str(k): -(-quota * int(n) // len(names)) for k, n in zip(kinds, counts, strict=True)}


def vectors(atoms: Sequence[Atoms], stratum: Stratum) -> Floats:
    """(n, D) mean and spread over the atoms of their features, in units of their deviation; capped against outliers."""
    tables = kernels.features(Structures.from_ase(atoms), SHAPE, stratum.numbers)
    table = np.array([np.concatenate([t.mean(axis=0), t.std(axis=0)]) for t in tables])
    known = np.isfinite(table).all(axis=1)
    result = np.full(table.shape, np.nan)
    if known.any():
        middle = np.median(table[known], axis=0)
        result[known] = np.tanh((table[known] - middle) / deviations(table[known]) / 2)
    return result
