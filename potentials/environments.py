"""Environments: what surroundings a stratum was trained on, and how far others are from them.

The grade of a centre is the distance of its scaled features to the nearest remembered centre of the same element,
divided by the distance within which nearly all training centres have a neighbour of another family. So 1 is the
edge of the training set, whatever the descriptor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from potentials.network import Shape
from potentials.stratum import Stratum
from potentials.structures import Floats

REMEMBERED = 400  # centres per element, at most
EDGE = 99.0  # percent of the training centres that lie within the reference distance
SMALLEST_EDGE = 0.05  # of the length of a typical scaled feature vector: data of one kind would have none


@dataclass(frozen=True, eq=False)
class Environments:
    """By atomic number of the centre; the features are those of `Shape` for the elements of the stratum alone."""

    shift: Mapping[int, Floats]  # (D,)
    scale: Mapping[int, Floats]  # (D,)
    points: Mapping[int, NDArray[np.float32]]  # (k, D) scaled features of the remembered centres
    edge: Mapping[int, float]  # reference distance

    @classmethod
    def of(
        cls, features: Mapping[int, Floats], families: Mapping[int, Sequence[str]], shape: Shape, stratum: Stratum
    ) -> Environments:
        """From the features (n, D) of all training centres of each element and the family each came from."""
        shift, scale, points, edge = {}, {}, {}, {}
        for z, table in features.items():
            smooth = np.concatenate([shape.smoothness(b) for b in shape.blocks(z, stratum.numbers)])
            deviation = table.std(axis=0)
            shift[z] = table.mean(axis=0)
            scale[z] = smooth / np.maximum(deviation, max(1e-6 * deviation.max(), 1e-12))
            scaled = (table - shift[z]) * scale[z]
            chosen = farthest_points(scaled, REMEMBERED)
            points[z] = scaled[chosen].astype(np.float32)
            names = np.asarray(families[z])
            apart = cdist(scaled, points[z].astype(float))
            apart[names[:, None] == names[chosen][None, :]] = np.inf
            nearest = apart.min(axis=1)
            known = nearest[np.isfinite(nearest)]
            least = SMALLEST_EDGE * float(np.linalg.norm(smooth))
            edge[z] = max(float(np.percentile(known, EDGE)) if len(known) else 0.0, least)
        return cls(shift, scale, points, edge)

    def grades(self, features: Floats, numbers: NDArray[np.int64]) -> Floats:
        """(n,) grade of each centre with features (n, D); infinite where nothing is known of its element."""
        result = np.full(len(numbers), np.inf)
        for z, points in self.points.items():
            own = (numbers == z) & np.isfinite(features).all(axis=1)
            if own.any():
                scaled = (features[own] - self.shift[z]) * self.scale[z]
                result[own] = cdist(scaled, points.astype(float)).min(axis=1) / self.edge[z]
        return result


def farthest_points(vectors: Floats, most: int) -> NDArray[np.int64]:
    """Indices of at most `most` vectors (n, D), each the farthest from those before it; the first is nearest to the mean."""
    chosen = [int(np.argmin(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1)))]
    apart = ((vectors - vectors[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(most, len(vectors)) and apart.max() > 1e-12:
        chosen.append(int(np.argmax(apart)))
        apart = np.minimum(apart, ((vectors - vectors[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen, dtype=np.int64)
