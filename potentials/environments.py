"""Environments: what surroundings a stratum was trained on, and how far others are from them.

The grade of a centre rests on its leverage, x^T (X^T X + r)^-1 x, for its scaled features x and the rows X of all training
centres of its element: the variance of a linear model's prediction, large along directions that the data do not hold. It is the
square root of that over an edge which all but one in a hundred training centres stay below when their own family is left
out. So 1 is the edge of the training set, whatever the descriptor. The features of a block are scaled by their deviation in the
block's own stratum. (Leverage: Hoaglin and Welsch, Am. Stat. 32, 17 (1978).)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potentials.features import Descriptor
from potentials.stratum import Stratum
from potentials.structures import Floats

EDGE = 99.0  # percent of the training centres whose leverage, their family left out, lies below the edge
RIDGE = 0.02  # of the length of a typical feature vector: differences of that size mean nothing
LEAST = 1e-7  # of the largest eigenvalue of X^T X: smaller ones are not kept
ALONE = (
    0.95  # most of the leverage that one family is taken to have: more cannot be told apart from a direction of its own
)
LARGEST_BLOCK = 3  # elements; larger sets have no features of their own

Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Environments:
    """Of one stratum, by atomic number of the centre."""

    scales: Mapping[int, Floats]  # (n_block,) of the features in the stratum's own block
    factors: Mapping[int, Singles]  # (k, D) F with F^T F = X^T X of scaled features, among the elements of the stratum
    edges: Mapping[int, float]  # leverage at the edge


def remember(
    shape: Descriptor,
    stratum: Stratum,
    below: Mapping[Stratum, Environments],
    features: Mapping[int, Floats],
    families: Mapping[int, Sequence[str]],
    scales: Mapping[int, Floats] | None = None,
) -> Environments:
    """From the features (n, D) of all training centres of each element, and the family each came from.

    scales: of the features in the own block, where several strata were fitted at once and share them; else by deviation.
    """
    own_scales, factors, edges = {}, {}, {}
    for z, table in features.items():
        own_scales[z] = np.zeros(0) if scales is None else scales[z]
        for block in shape.blocks(z, stratum.numbers):
            if block.stratum == stratum and scales is None:
                own_scales[z] = shape.smoothness(block) / deviations(table[:, block.start : block.stop])
        known = {**{s: e.scales[z] for s, e in below.items() if z in e.scales}, stratum: own_scales[z]}
        scaled = table * _scale(shape, known, stratum, z)
        values, vectors = np.linalg.eigh(scaled.T @ scaled)
        kept = values > LEAST * values.max(initial=0.0)
        factors[z] = np.ascontiguousarray((vectors[:, kept] * np.sqrt(values[kept])).T, dtype=np.float32)
        all_factors = {**{s: e.factors[z] for s, e in below.items() if z in e.factors}, stratum: factors[z]}
        edges[z] = _edge(scaled, _inverse(shape, all_factors, stratum, z), np.asarray(families[z]))
    return Environments(own_scales, factors, edges)


def _inverse(shape: Descriptor, factors: Mapping[Stratum, Singles], company: Stratum, centre: int) -> Floats:
    """(D, D) A with leverage |A x|², from the factors of the strata of a centre among `company`."""
    rows = np.concatenate([_embedded(shape, f, s, company, centre) for s, f in factors.items()])
    typical = np.concatenate([shape.smoothness(b) for b in shape.blocks(centre, company.numbers)])
    values, vectors = np.linalg.eigh(rows.T @ rows)
    return np.asarray((vectors / np.sqrt(np.maximum(values, 0.0) + RIDGE**2 * float(typical @ typical))).T)


def _edge(scaled: Floats, inverse: Floats, families: NDArray[np.str_]) -> float:
    """The leverage, its family left out, that EDGE percent of all centres do not exceed."""
    if not len(scaled):
        return 1.0
    turned, found = scaled @ inverse.T, []
    for family in np.unique(families):
        own = turned[families == family]
        values, vectors = np.linalg.eigh(own @ own.T)
        values = np.clip(values, 0.0, ALONE)
        found.append((vectors**2) @ (values / (1.0 - values)))  # diagonal of H (1 - H)^-1
    return max(float(np.percentile(np.concatenate(found), EDGE)), 1e-12)


def _scale(shape: Descriptor, known: Mapping[Stratum, Floats], company: Stratum, centre: int) -> Floats:
    """(D,) factors of the features of a centre among `company`; 0 for strata that are missing."""
    factors = np.zeros(shape.n_features(company.order))
    for block in shape.blocks(centre, company.numbers):
        if block.stratum in known:
            factors[block.start : block.stop] = known[block.stratum]
    return factors


@dataclass(frozen=True, eq=False)
class Surroundings:
    """All that is known of one element as a centre among some elements."""

    inverse: Floats  # (D, D) of unscaled features
    edge: float

    def grades(self, features: Floats) -> Floats:
        """(n,) of centres with unscaled features (n, D); infinite where they are not finite."""
        result = np.full(len(features), np.inf)
        finite = np.isfinite(features).all(axis=1)
        if finite.any():
            # one product for each centre: its bits must not depend on how many there are
            turned = np.matmul(features[finite][:, None, :], self.inverse.T)[:, 0]
            result[finite] = np.sqrt((turned * turned).sum(axis=1) / self.edge)
        return result


def surroundings(
    shape: Descriptor, environments: Mapping[Stratum, Environments], company: Stratum, centre: int
) -> Surroundings | None:
    """What the strata know of `centre` among `company`; None where that set, or a triple of a larger set, was never trained.

    Surroundings that lack an element of the company are those of a smaller stratum, with zeros in the other blocks.
    """
    subsets = [s for s in company.subsets() if centre in s.numbers and s.order <= LARGEST_BLOCK]
    top = [s for s in subsets if s.order == min(company.order, LARGEST_BLOCK)]
    if any(s not in environments for s in top):
        return None
    known = {s: environments[s] for s in subsets if s in environments}
    scale = _scale(shape, {s: e.scales[centre] for s, e in known.items()}, company, centre)
    inverse = _inverse(shape, {s: e.factors[centre] for s, e in known.items()}, company, centre)
    return Surroundings(inverse * scale, max(environments[s].edges[centre] for s in top))


def _embedded(shape: Descriptor, points: Singles | Floats, stratum: Stratum, company: Stratum, centre: int) -> Floats:
    """Features among `stratum` as features among the larger `company`."""
    wide = np.zeros((len(points), shape.n_features(company.order)))
    places = {block.stratum: block for block in shape.blocks(centre, company.numbers)}
    for block in shape.blocks(centre, stratum.numbers):
        place = places[block.stratum]
        wide[:, place.start : place.stop] = points[:, block.start : block.stop]
    return wide


def deviations(table: Floats) -> Floats:
    """(D,) standard deviations of the columns of (n, D), never so small that scaling by them would magnify noise."""
    sizes = np.sqrt((table**2).mean(axis=0))
    floor = np.maximum(1e-3 * sizes, 1e-6 * sizes.max(initial=0.0) or 1.0)
    return np.asarray(np.maximum(table.std(axis=0), floor))
