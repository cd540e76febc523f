"""How far an atom is from everything a stratum was trained on: distances between scaled features.

An atom's grade is the distance of its features to the nearest training environment of its element, in units of the
99th percentile of that distance between families of the training set themselves: 1 is the edge of what was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from potentials.structures import Floats

MOST = 400  # environments kept per element; the farthest from each other
EDGE = 99.0  # percentile of the distances between families
LEAST_DISTANCE = 1e-3  # of a training set whose environments are all alike (a single crystal)


@dataclass(frozen=True, eq=False)
class Environments:
    """Training environments of one element in one stratum."""

    points: Floats  # (k, D) scaled features
    distance: float  # what counts as 1

    def nearest(self, scaled: Floats) -> Floats:
        """(n,) distance of each row to the nearest point."""
        return _nearest(scaled, self.points)


def of_training(scaled: Floats, families: Sequence[str]) -> Environments:
    """The environments of one element: rows of scaled features, each with the family of its crystal."""
    kept = scaled[_farthest(scaled, MOST)]
    names = np.array(families)
    distances = []
    for name in np.unique(names):
        own = names == name
        if (~own).any():
            distances.append(_nearest(scaled[own], scaled[~own]))
    edge = float(np.percentile(np.concatenate(distances), EDGE)) if distances else 0.0
    return Environments(kept, max(edge, LEAST_DISTANCE))


def _nearest(rows: Floats, points: Floats) -> Floats:
    """(n,) Euclidean distance to the nearest point; by differences, because squares of norms cancel."""
    squares = (rows**2).sum(axis=1)[:, None] + (points**2).sum(axis=1)[None, :] - 2.0 * rows @ points.T
    which = squares.argmin(axis=1)
    return np.sqrt(((rows - points[which]) ** 2).sum(axis=1))


def _farthest(rows: Floats, most: int) -> list[int]:
    """Indices of rows such that each next one is the farthest from those before it."""
    if len(rows) <= most:
        return list(range(len(rows)))
    chosen = [int(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    distances = ((rows - rows[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < most:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
    return chosen
