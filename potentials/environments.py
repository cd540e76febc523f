"""Environments: what surroundings a stratum was trained on, and how far others are from them.

The grade of a centre rests on its leverage, x^T (X^T X + r)^-1 x, for its scaled features x and the rows X of all training
centres of its element: the variance of a linear model's prediction, large along directions that the data do not hold. The model
has a constant, so the last entry of every row is 1: an atom that has lost its neighbours is far from the data, not where all
features begin. The grade is the square root of that over an edge which all but one in a hundred training centres stay below when
their own family is left out. So 1 is the edge of the training set, whatever the descriptor. The features of a block are scaled by
their deviation in the block's own stratum. (Leverage: Hoaglin and Welsch, Am. Stat. 32, 17 (1978).)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potentials.features import Descriptor
from potentials.stratum import Stratum
from potentials.structures import Floats

EDGE_GRADE = 1.0  # at the edge of the training data
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
    # (k, D + 1) F with F^T F = X^T X of scaled features, among the elements of the stratum, and the constant; (k, D) without it,
    # of libraries from before it was there
    factors: Mapping[int, Singles]
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
        factors[z] = _factor(scaled)
        all_factors = {**{s: e.factors[z] for s, e in below.items() if z in e.factors}, stratum: factors[z]}
        inverse = _inverse(shape, all_factors, stratum, z)
        edges[z] = _edge(_with_constant(scaled, inverse.shape[1]), inverse, np.asarray(families[z]))
    return Environments(own_scales, factors, edges)


def _factor(scaled: Floats) -> Singles:
    """(k, D + 1) of rows (n, D): of their differences from the mean, and the mean itself with the constant.

    Apart, because single precision would lose differences that are small beside the mean.
    """
    n = len(scaled)
    if not n:
        return np.zeros((0, scaled.shape[1] + 1), np.float32)
    mean = scaled.mean(axis=0)
    values, vectors = np.linalg.eigh((scaled - mean).T @ (scaled - mean))
    kept = values > LEAST * values.max(initial=0.0)
    apart = _with_constant((vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0.0))).T, scaled.shape[1] + 1)
    apart[:, -1] = 0.0
    both = np.concatenate([apart, np.sqrt(n) * np.append(mean, 1.0)[None]])
    return np.ascontiguousarray(both, dtype=np.float32)


def _with_constant(rows: Floats, width: int) -> Floats:
    """(n, D) rows as they are, or with a last entry of 1 where the width is D + 1."""
    return rows if rows.shape[1] == width else np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def _inverse(shape: Descriptor, factors: Mapping[Stratum, Singles], company: Stratum, centre: int) -> Floats:
    """A with leverage |A x|², from the factors of the strata of a centre among `company`.

    (D + 1, D + 1); (D, D) where one of the strata has no constant.
    """
    size = shape.n_features(company.order)
    constant = all(f.shape[1] == shape.n_features(s.order) + 1 for s, f in factors.items())
    rows = np.concatenate([_embedded(shape, f, s, company, centre) for s, f in factors.items()])
    if constant:
        last = np.concatenate([f[:, -1:] for f in factors.values()])
        rows = np.concatenate([rows, last], axis=1)
    assert rows.shape[1] == size + constant
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

    inverse: Floats  # (D', D) of unscaled features
    constant: Floats  # (D',) what the constant adds
    edge: float

    def grades(self, features: Floats) -> Floats:
        """(n,) of centres with unscaled features (n, D); infinite where they are not finite."""
        result = np.full(len(features), np.inf)
        finite = np.isfinite(features).all(axis=1)
        if finite.any():
            # one product for each centre: its bits must not depend on how many there are
            turned = np.matmul(features[finite][:, None, :], self.inverse.T)[:, 0] + self.constant
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
    size = len(scale)
    constant = inverse[:, size] if inverse.shape[1] > size else np.zeros(len(inverse))
    return Surroundings(inverse[:, :size] * scale, constant, max(environments[s].edges[centre] for s in top))


def _embedded(shape: Descriptor, points: Singles | Floats, stratum: Stratum, company: Stratum, centre: int) -> Floats:
    """Features among `stratum` as features among the larger `company`, without a constant."""
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
