"""Environments: what surroundings a stratum was trained on, and how far others are from them.

The grade of a centre is the distance of its scaled features to the nearest remembered ones of its element, divided by the
distance within which nearly all training centres have a neighbour of another family. So 1 is the edge of the training set,
whatever the descriptor. The features of a block are scaled by their deviation in the block's own stratum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from potentials.features import Descriptor
from potentials.stratum import Stratum
from potentials.structures import Floats

REMEMBERED = 400  # centres per element and stratum, at most
EDGE = 99.0  # percent of the training centres that lie within the reference distance
SMALLEST_EDGE = 0.05  # of the length of a typical feature vector: data of one kind would have none
LARGEST_BLOCK = 3  # elements; larger sets have no features of their own

Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Environments:
    """Of one stratum, by atomic number of the centre."""

    scales: Mapping[int, Floats]  # (n_block,) of the features in the stratum's own block
    points: Mapping[int, Singles]  # (k, D) features, unscaled, among the elements of the stratum
    edges: Mapping[int, float]  # reference distance, of scaled features


def remember(
    shape: Descriptor,
    stratum: Stratum,
    below: Mapping[Stratum, Environments],
    features: Mapping[int, Floats],
    families: Mapping[int, Sequence[str]],
) -> Environments:
    """From the features (n, D) of all training centres of each element, and the family each came from."""
    own_scales, points, edges = {}, {}, {}
    for z, table in features.items():
        own_scales[z] = np.zeros(0)
        for block in shape.blocks(z, stratum.numbers):
            if block.stratum == stratum:
                own_scales[z] = shape.smoothness(block) / deviations(table[:, block.start : block.stop])
        known = {**{s: e.scales[z] for s, e in below.items() if z in e.scales}, stratum: own_scales[z]}
        scaled = table * _scale(shape, known, stratum, z)
        chosen = farthest_points(scaled, REMEMBERED)
        points[z] = table[chosen].astype(np.float32)
        typical = np.linalg.norm(np.concatenate([shape.smoothness(b) for b in shape.blocks(z, stratum.numbers)]))
        edges[z] = max(_edge(scaled, chosen, np.asarray(families[z])), SMALLEST_EDGE * float(typical))
    return Environments(own_scales, points, edges)


def _edge(scaled: Floats, chosen: NDArray[np.int64], families: NDArray[np.str_]) -> float:
    """The distance to a chosen centre of another family that EDGE percent of all do not exceed; 0 of one family."""
    apart = cdist(scaled, scaled[chosen])
    apart[families[:, None] == families[chosen][None, :]] = np.inf
    nearest = apart.min(axis=1)
    known = nearest[np.isfinite(nearest)]
    return float(np.percentile(known, EDGE)) if len(known) else 0.0


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

    scale: Floats  # (D,)
    points: Floats  # (k, D) scaled
    edge: float

    def grades(self, features: Floats) -> Floats:
        """(n,) of centres with unscaled features (n, D); infinite where they are not finite."""
        result = np.full(len(features), np.inf)
        finite = np.isfinite(features).all(axis=1)
        if finite.any():
            result[finite] = cdist(features[finite] * self.scale, self.points).min(axis=1) / self.edge
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
    points = np.concatenate([_embedded(shape, e.points[centre], s, company, centre) for s, e in known.items()])
    return Surroundings(scale, points * scale, max(environments[s].edges[centre] for s in top))


def _embedded(shape: Descriptor, points: Singles, stratum: Stratum, company: Stratum, centre: int) -> Floats:
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


def farthest_points(vectors: Floats, most: int) -> NDArray[np.int64]:
    """Indices of at most `most` vectors (n, D), each the farthest from those before it; the first is nearest to the mean."""
    chosen = [int(np.argmin(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1)))]
    apart = ((vectors - vectors[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(most, len(vectors)) and apart.max() > 1e-12:
        chosen.append(int(np.argmax(apart)))
        apart = np.minimum(apart, ((vectors - vectors[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen, dtype=np.int64)
