"""Prospects: what a call of the reference is expected to do to the hull, and which few calls to make at once.

An energy that the reference has not told is taken as normal: a mean, and a deviation that was calibrated on crystals which no
fit has seen. With the hull h at its composition, the chance that a crystal extends the hull is Phi(z), z = (h - mean)/deviation,
and the lowering that is expected of it (Jones, Schonlau, Welch, J. Glob. Optim. 13, 455 (1998)) is

    (h - mean) Phi(z) + deviation phi(z).

A batch is taken one by one. Each is then believed to have its mean (Ginsbourger, Le Riche, Carraro 2010,
doi:10.1007/978-3-642-10701-6_6): it lowers the hull for the others, and what looks like it is less uncertain, as if errors were a
Gaussian process with a squared exponential kernel. So a batch spreads over compositions and kinds of crystals by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from evo.hull import Hull, Point
from potentials.structures import Floats

ALIKE = 0.5  # of the typical length of a vector: crystals that differ by less err alike
TOLD = 0.1  # part of a variance that stays when the crystal's own energy is told: what is alike need not be equal
LONGEST = 400  # crystals that a batch is chosen from: those that promise most alone
LOW_LYING = 0.15  # eV/atom above the hull: there the search is decided


@dataclass(frozen=True, eq=False)
class Prospects:
    """Crystals that the reference could be asked about."""

    compositions: Sequence[Mapping[int, int]]
    means: Floats  # (n,) eV/atom, what the reference is expected to say
    deviations: Floats  # (n,) eV/atom, standard deviation
    vectors: Floats  # (n, D) what they look like, mean square length 1; (n, 0): nothing is known of that
    seconds: Floats  # (n,) predicted cost of the call

    def select(self, index: Sequence[int]) -> Prospects:
        """These crystals, in the order given."""
        return Prospects(
            [self.compositions[i] for i in index],
            self.means[index],
            self.deviations[index],
            self.vectors[index],
            self.seconds[index],
        )


def chances(prospects: Prospects, levels: Floats) -> Floats:
    """(n,) probability that each lies below these energies, eV/atom: those of the hull for that of being on it."""
    return np.asarray(ndtr((levels - prospects.means) / prospects.deviations))


def lowerings(means: Floats, deviations: Floats, levels: Floats) -> Floats:
    """(n,) eV/atom by which each is expected to lower the hull at its composition; infinite where there is no hull."""
    z = np.where(np.isfinite(levels), (levels - means) / deviations, 0.0)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.where(np.isfinite(levels), deviations * (z * ndtr(z) + density), np.inf)


def promising(hull: Hull, prospects: Prospects) -> list[int]:
    """Indices of the LONGEST crystals at most that are expected to lower the hull most per second, each alone."""
    alone = lowerings(prospects.means, prospects.deviations, hull.energies(prospects.compositions)) / prospects.seconds
    return [int(i) for i in np.argsort(-alone, kind="stable")[:LONGEST]]


def batch(hull: Hull, prospects: Prospects, n: int) -> list[int]:
    """Indices of at most n crystals, the ones with most lowering per second first, each after those before it are believed."""
    covariance = _covariance(prospects)
    known = [
        Point({z: float(x) for z, x in zip(hull.elements, row, strict=True)}, float(e), hull.method, f"known {k}")
        for k, (row, e) in enumerate(zip(hull.fractions, hull.vertex_energies, strict=True))
    ]
    levels = hull.energies(prospects.compositions)
    free = np.ones(len(prospects.means), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < n and free.any():
        deviations = np.sqrt(np.maximum(np.diag(covariance), 1e-10))
        value = np.where(free, lowerings(prospects.means, deviations, levels) / prospects.seconds, -1.0)
        i = int(value.argmax())
        free[i] = False
        chosen.append(i)
        column = covariance[:, i]
        covariance = covariance - np.outer(column, column) / ((1 + TOLD) * covariance[i, i])
        if prospects.means[i] < levels[i]:
            known.append(Point(prospects.compositions[i], float(prospects.means[i]), hull.method, f"believed {i}"))
            levels = Hull.of(known).energies(prospects.compositions)
    return chosen


def _covariance(prospects: Prospects) -> Floats:
    """(n, n) eV²/atom² of the errors."""
    v = prospects.vectors
    squares = (v**2).sum(axis=1)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2 * v @ v.T, 0.0)
    kernel = np.exp(-apart / (2 * ALIKE**2)) if v.shape[1] else np.eye(len(v))
    return np.asarray(kernel * prospects.deviations[:, None] * prospects.deviations[None, :])
