"""Crystals as a fit sees them: inputs of the free blocks in few dimensions, what frozen blocks give, labels as rows.

The features of a block are nearly collinear. They enter a fit rotated to the principal axes of the residuals' derivatives by
them; axes along which the data say next to nothing are left out, so the parameters keep their prior there. A decay of the
sum of squares is the same before and after a rotation. Crystals of equal composition lie in one array.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potentials.features import Descriptor
from potentials.network import StratumParameters
from potentials.prior import whole
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.tables import Table

Singles = NDArray[np.float32]
LEAST = 1e-8  # of the largest eigenvalue: smaller ones are left out
AT_ONCE = 64  # crystals in one array


@dataclass(frozen=True, eq=False)
class Basis:
    """The inputs of one block and centre: ((f - shift) scale) axes."""

    shift: Floats  # (D,)
    scale: Floats  # (D,)
    axes: Floats  # (D, d) orthonormal columns
    length: float  # of a typical vector of inputs, without their mean

    def raw(self) -> Floats:
        """(D, d) weights of the unscaled features, one column per input."""
        return self.scale[:, None] * self.axes


Bases = Mapping[tuple[Stratum, int], Basis]  # by block and centre


@dataclass(frozen=True, eq=False)
class Own:
    """The inputs of one block for units that see it alone: nothing of the blocks above, which inherit from it elsewhere."""

    block: Stratum
    f: Floats  # (crystals, n, d)
    s: Singles  # (crystals, n, q, d)


@dataclass(frozen=True, eq=False)
class Centres:
    """The centres of one element in the crystals of a batch."""

    element: int
    blocks: tuple[Stratum, ...]  # free ones, canonical order: their inputs lie side by side
    f: Floats  # (crystals, n, d)
    s: Singles  # (crystals, n, q, d) derivatives by positions and strain
    a: Floats  # (crystals, n, members, hidden) what does not change in the fit
    z: Singles  # (crystals, n, q, members, hidden) its derivatives
    own: tuple[Own, ...] = ()  # of the free blocks that are widened, canonical order


@dataclass(frozen=True, eq=False)
class Batch:
    """Crystals of equal composition."""

    centres: tuple[Centres, ...]
    targets: Floats  # (crystals, 1 + q) eV and its derivatives, without the baseline; 0 where unknown
    weights: Floats  # (crystals, 1 + q) 1/unit of each row; 0 where unknown
    places: NDArray[np.int64]  # (crystals,) in the list of tables
    given: Floats | None = None  # (members, crystals, 1 + q) of frozen own units; None without any


def inputs(shape: Descriptor, company: Stratum, centre: int, block: Stratum, raw: Floats) -> Floats:
    """(D, d) weights of all features of a centre among `company` per input of `block`, whose own are `raw`.

    Blocks above inherit from this one: an input of a block below is that of a density which does not tell elements apart.
    """
    zero: dict[Stratum, Floats] = {}
    for b in shape.blocks(centre, company.numbers):
        below = set(b.stratum.numbers) >= set(block.numbers)
        if b.stratum == block:
            zero[block] = raw
        elif not below:
            zero[b.stratum] = np.zeros((b.size, raw.shape[1]))
    return whole(shape, company, centre, zero)


def principal_axes(
    shape: Descriptor, block: Stratum, centre: int, scale: Floats, known: Iterable[tuple[Stratum, Sequence[Table]]]
) -> Floats:
    """(D, d) axes of the scaled inputs of a block along which these crystals (by their elements) say something."""
    gram = np.zeros((len(scale), len(scale)))
    for company, tables in known:
        if not set(company.numbers) >= set(block.numbers):
            continue
        to_inputs = inputs(shape, company, centre, block, np.diag(scale))
        for table in tables:
            if centre not in table.centres:
                continue
            own = table.centres[centre]
            f, s = own.features @ to_inputs, own.slopes @ to_inputs
            f -= f.mean(axis=0) if block.order == 1 else 0.0
            f *= table.weights[0]
            s = (s * table.weights[1:][:, None]).reshape(-1, len(scale))
            gram += f.T @ f + s.T @ s
    values, vectors = np.linalg.eigh(gram)
    kept = values > LEAST * values[-1] if len(values) else np.zeros(0, dtype=bool)
    return np.ascontiguousarray(vectors[:, kept][:, ::-1])


def batches(
    shape: Descriptor,
    company: Stratum,
    tables: Sequence[Table],
    places: Sequence[int],
    bases: Bases,
    constant: Mapping[int, tuple[Floats, Floats]],
    widened: Collection[Stratum] = (),
    frozen: Collection[StratumParameters] = (),
    at_once: int = AT_ONCE,
) -> list[Batch]:
    """The crystals of `tables`, whose elements are `company`, so many in one array.

    places: of each table, as it is to be known later. constant: by centre, weights (D, members, hidden) and biases
    (members, hidden) of what does not change. widened: the blocks whose own units are free. frozen: strata whose own units,
    where they have any, do not change.
    """
    kinds: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for k, table in enumerate(tables):
        kinds.setdefault(tuple((z, len(c.features)) for z, c in sorted(table.centres.items())), []).append(k)
    result = []
    for kind, members in sorted(kinds.items()):
        for start in range(0, len(members), at_once):
            chosen = members[start : start + at_once]
            own = [tables[k] for k in chosen]
            centres = tuple(_centres(shape, company, own, z, bases, *constant[z], widened) for z, _ in kind)
            result.append(
                Batch(
                    centres,
                    np.stack([t.targets for t in own]),
                    np.stack([t.weights for t in own]),
                    np.array([places[k] for k in chosen]),
                    _given(shape, company, own, frozen),
                )
            )
    return result


def _given(
    shape: Descriptor, company: Stratum, tables: Sequence[Table], frozen: Collection[StratumParameters]
) -> Floats | None:
    """(members, crystals, 1 + q) energies of own units that do not change, and their derivatives."""
    total: Floats | None = None
    for p in frozen:
        if not p.own_units or not set(p.stratum.numbers) <= set(company.numbers):
            continue
        for z, units in p.own_units.items():
            block = next(b for b in shape.blocks(z, company.numbers) if b.stratum == p.stratum)
            rows = slice(block.start, block.stop)
            features = np.stack([t.centres[z].features[:, rows] for t in tables])
            slopes = np.stack([t.centres[z].slopes[..., rows] for t in tables])
            if total is None:
                total = np.zeros((len(units.biases), len(tables), 1 + slopes.shape[2]))
            for m, (w, b, v) in enumerate(zip(units.weights, units.biases, units.outputs, strict=True)):
                scaled = w * p.scale[z][:, None]
                t = np.tanh(features @ scaled + b)
                total[m, :, 0] += ((t - np.tanh(b)) @ v).sum(axis=1)
                total[m, :, 1:] += np.matmul(slopes @ scaled, (v * (1 - t * t))[..., None])[..., 0].sum(axis=1)
    return total


def _centres(
    shape: Descriptor,
    company: Stratum,
    tables: Sequence[Table],
    element: int,
    bases: Bases,
    weights: Floats,
    biases: Floats,
    widened: Collection[Stratum],
) -> Centres:
    features = np.stack([t.centres[element].features for t in tables])
    slopes = np.stack([t.centres[element].slopes for t in tables])
    blocks = [b.stratum for b in shape.blocks(element, company.numbers) if (b.stratum, element) in bases]
    to_inputs, moved = np.zeros((features.shape[-1], 0)), np.zeros(0)
    for block in blocks:
        basis = bases[block, element]
        to_inputs = np.hstack([to_inputs, inputs(shape, company, element, block, basis.raw())])
        moved = np.concatenate([moved, basis.shift @ basis.raw()])
    places = {b.stratum: slice(b.start, b.stop) for b in shape.blocks(element, company.numbers)}
    own = []
    for block in (s for s in blocks if s in widened):
        raw = bases[block, element].raw()
        apart = features[..., places[block]] @ raw, np.asarray(slopes[..., places[block]] @ raw, dtype=np.float32)
        own.append(Own(block, *apart))
    members, hidden = biases.shape
    flat = weights.reshape(len(weights), members * hidden)
    return Centres(
        element,
        tuple(blocks),
        features @ to_inputs - moved,
        np.asarray(slopes @ to_inputs, dtype=np.float32),
        (features @ flat).reshape(*features.shape[:-1], members, hidden) + biases,
        np.asarray(slopes @ flat, dtype=np.float32).reshape(*slopes.shape[:-1], members, hidden),
        tuple(own),
    )
