"""What a new block's weights are drawn to: neighbours of any kind count like neighbours of the centre's own kind.

A density that does not tell elements apart has the products P = P^XX + 2 P^XY + P^YY, so the weights of a pair are those of
the centre's own T and P; those of a triple are the means of its two pairs', twice. Symmetry functions have
G4 = G4(XX) + G4(XY) + G4(YY), so there unlike neighbours count once (`unlike` of the descriptor).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from potentials.features import Descriptor
from potentials.stratum import Stratum
from potentials.structures import Floats


def inherited(shape: Descriptor, stratum: Stratum, centre: int, raw: Mapping[Stratum, Floats]) -> Floats:
    """(n_block, k) weights of the unscaled features of the block `stratum`, from those of the blocks below it.

    raw: (n_block, k) of every smaller stratum that holds the centre.
    """
    others = [y for y in stratum.numbers if y != centre]
    if len(others) == 1:
        own = raw[Stratum((centre,))]
        return np.concatenate([own[: shape.n_pair], shape.unlike * own[shape.n_pair :], own[shape.n_pair :]])
    n = shape.n_products
    pairs = [raw[Stratum.of((centre, y))][len(raw[Stratum.of((centre, y))]) - n :] for y in others]
    return np.asarray(shape.unlike / 2 * sum(pairs[1:], pairs[0]))


def whole(shape: Descriptor, company: Stratum, centre: int, raw: Mapping[Stratum, Floats]) -> Floats:
    """(D, k) weights of all unscaled features of a centre among `company`; a block without weights inherits them."""
    known = dict(raw)
    for block in shape.blocks(centre, company.numbers):
        if block.stratum not in known:
            known[block.stratum] = inherited(shape, block.stratum, centre, known)
    return np.concatenate([known[block.stratum] for block in shape.blocks(centre, company.numbers)])
