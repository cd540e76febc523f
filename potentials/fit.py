"""The least-squares problem of one committee member: residuals of some crystals and their derivatives by its parameters.

For a centre with pre-activations a_h = a0_h + sum_d W_hd f_d, where a0 does not change, and E = e + sum_h v_h tanh(a_h):
dE/dW_hd = v_h t' f_d, and for a derivative of the energy by a coordinate q (with z_hq = da_h/dq, s_qd = df_d/dq)
d(dE/dq)/dW_hd = v_h (t'' z_hq f_d + t' s_qd); biases are the same with f = 1, s = 0. With a second layer,
E = e + sum_k v_k u_k, u_k = tanh(c_k + sum_h U_hk t_h), v_h t' becomes g_h = t'_h sum_k U_hk v_k u'_k, and v_h t'' z_hq becomes
dg_h/dq. A widened pair or triple adds sum_k v_k (tanh(b_k + sum_d W_kd f_d) - tanh(b_k)) of the inputs of its own block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import ssyrk

from potentials.batches import Batch, Centres, Own
from potentials.heads import Above, Head
from potentials.stratum import Stratum
from potentials.structures import Floats

Singles = NDArray[np.float32]

WIDE = 2  # parameters for each residual, from which on equations of the residuals are solved


class Layout:
    """Where each parameter stands in the vector: by ascending centre the free blocks W (hidden, d), the own units of
    widened strata W (units, d), b, v, then a free head.
    """

    def __init__(
        self,
        blocks: Mapping[tuple[Stratum, int], int],
        heads: Sequence[int],
        hidden: int,
        second: int,
        own_units: Mapping[Stratum, int] | None = None,
    ) -> None:
        """blocks: inputs of each free block and centre. heads: the elements whose heads are free. own_units: of strata."""
        self.hidden, self.second, self.size = hidden, second, 0
        self._blocks: dict[tuple[Stratum, int], slice] = {}
        self._heads: dict[int, slice] = {}
        self._own: dict[tuple[Stratum, int], slice] = {}
        self._units = {s: n for s, n in (own_units or {}).items() if n}
        for z in sorted({centre for _, centre in blocks} | set(heads)):
            for stratum in sorted((s for s, centre in blocks if centre == z), key=Stratum.sort_key):
                self._blocks[stratum, z] = self._take(hidden * blocks[stratum, z])
            for stratum in sorted(
                (s for s, centre in blocks if centre == z and s in self._units), key=Stratum.sort_key
            ):
                self._own[stratum, z] = self._take(self._units[stratum] * (blocks[stratum, z] + 2))
            if z in heads:
                self._heads[z] = self._take(Head.size(hidden, second))

    def _take(self, size: int) -> slice:
        self.size += size
        return slice(self.size - size, self.size)

    def columns(self, p: Floats, stratum: Stratum, centre: int) -> Floats:
        """(hidden, d), a view."""
        return p[self._blocks[stratum, centre]].reshape(self.hidden, -1)

    def own(self, p: Floats, stratum: Stratum, centre: int) -> tuple[Floats, Floats, Floats]:
        """Views of W (units, d), b (units,), v (units,)."""
        mine, units = p[self._own[stratum, centre]], self._units[stratum]
        return mine[: -2 * units].reshape(units, -1), mine[-2 * units : -units], mine[-units:]

    def has_own(self, stratum: Stratum) -> bool:
        return stratum in self._units

    def head(self, p: Floats, centre: int) -> Head:
        return Head.from_vector(p[self._heads[centre]], self.hidden, self.second)

    def place(self, centre: int) -> slice:
        """Of a free head."""
        return self._heads[centre]

    def has_head(self, centre: int) -> bool:
        return centre in self._heads

    def spots(self, centres: Centres) -> NDArray[np.int64]:
        """Places of the parameters that these centres depend on, in the order of `Problem` rows."""
        parts = [self._blocks[stratum, centres.element] for stratum in centres.blocks]
        parts += [self._own[own.block, centres.element] for own in centres.own]
        if self.has_head(centres.element):
            parts.append(self._heads[centres.element])
        return np.concatenate([np.zeros(0, dtype=np.int64), *[np.arange(s.start, s.stop) for s in parts]])


class Problem:
    """Residuals and normal equations over some crystals; a part of them validates."""

    def __init__(
        self,
        batches: Sequence[Batch],
        layout: Layout,
        member: int,
        heads: Mapping[int, Head],
        validating: NDArray[np.bool_] | None = None,
    ) -> None:
        """heads: the frozen ones, their biases already in the batches. validating: by place of the crystal."""
        self.layout = layout
        self._batches, self._member, self._heads = batches, member, heads
        self._validating = [
            np.zeros(len(b.places), bool) if validating is None else validating[b.places] for b in batches
        ]

    @property
    def validates(self) -> bool:
        return any(v.any() for v in self._validating)

    @property
    def batches(self) -> list[tuple[Batch, NDArray[np.bool_]]]:
        """The crystals, and which of them validate."""
        return list(zip(self._batches, self._validating, strict=True))

    def predictions(self, p: Floats, batch: Batch) -> Floats:
        """(crystals, 1 + q) energies and derivatives, without the baseline."""
        total = self._given(batch)
        for centres in batch.centres:
            head, a, z = self._activations(p, centres)
            parts = [(z, Above(head, a)), *((x, above) for _, x, above in self._own(p, centres))]
            for slopes, above in parts:
                total[:, 0] += above.energies()
                total[:, 1:] += _along(slopes, above)
        return total

    def residuals(self, p: Floats) -> Floats:
        """Weighted, all crystals that do not validate, batch after batch."""
        return np.concatenate(
            [np.zeros(0), *[r[~v].ravel() for r, v in zip(self._weighted(p), self._validating, strict=True)]]
        )

    def costs(self, p: Floats) -> tuple[float, float]:
        """Sums of squared weighted residuals: of the crystals that are fitted, of those that validate."""
        fitted = validated = 0.0
        for residuals, validating in zip(self._weighted(p), self._validating, strict=True):
            squares = (residuals * residuals).sum(axis=1)
            fitted += float(squares[~validating].sum())
            validated += float(squares[validating].sum())
        return fitted, validated

    def normal(self, p: Floats) -> tuple[Floats, Floats]:
        """J^T J (lower triangle) and J^T r of the crystals that are fitted."""
        n = self.layout.size
        matrix, gradient = np.zeros((n, n), np.float32, order="F"), np.zeros(n)
        for batch, validating in zip(self._batches, self._validating, strict=True):
            if validating.all():
                continue
            spots, rows, residuals = self._rows(p, batch)
            if validating.any():
                rows, residuals = rows[~validating], residuals[~validating]
            j, r = rows.reshape(-1, len(spots)), residuals.ravel().astype(np.float32)
            gradient[spots] += r @ j
            if len(spots) == n:
                matrix = ssyrk(1.0, j.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
            else:  # the spots ascend, so the lower triangle stays below
                matrix[np.ix_(spots, spots)] += ssyrk(1.0, j.T, lower=1)
        return matrix.astype(float), gradient

    @property
    def wide(self) -> bool:
        """Whether there are so many more parameters than residuals that equations of the latter are solved sooner."""
        fitted = sum(int((~v).sum()) * b.targets.shape[1] for b, v in self.batches)
        return WIDE * fitted <= self.layout.size

    def rows(self, p: Floats) -> tuple[Floats, Floats]:
        """Derivatives (rows, parameters) and residuals (rows,) of the crystals that are fitted, weighted."""
        fitted = [(batch, ~validating) for batch, validating in self.batches if not validating.all()]
        counts = [int(keep.sum()) * batch.targets.shape[1] for batch, keep in fitted]
        found, missed, end = np.zeros((sum(counts), self.layout.size)), np.zeros(sum(counts)), 0
        for (batch, keep), count in zip(fitted, counts, strict=True):
            spots, rows, residuals = self._rows(p, batch)
            begin, end = end, end + count
            found[begin:end, spots] = rows[keep].reshape(count, -1)
            missed[begin:end] = residuals[keep].ravel()
        return found, missed

    def _weighted(self, p: Floats) -> list[Floats]:
        return [(self.predictions(p, b) - b.targets) * b.weights for b in self._batches]

    def _activations(self, p: Floats, centres: Centres) -> tuple[Head, Floats, Singles]:
        """What stands above, pre-activations (crystals, n, hidden), their derivatives (crystals, n, q, hidden)."""
        z, a, dz = centres.element, centres.a[..., self._member, :], centres.z[..., self._member, :]
        if centres.blocks:
            w = np.concatenate([self.layout.columns(p, s, z) for s in centres.blocks], axis=1).T
            a, dz = a + centres.f @ w, dz + centres.s @ w.astype(dz.dtype)
        if not self.layout.has_head(z):
            return self._heads[z], a, dz
        head = self.layout.head(p, z)
        return head, a + head.biases, dz

    def _given(self, batch: Batch) -> Floats:
        """(crystals, 1 + q) what the own units of frozen strata say."""
        return np.zeros(batch.targets.shape) if batch.given is None else batch.given[self._member].copy()

    def _own(self, p: Floats, centres: Centres) -> Iterator[tuple[Own, Singles, Above]]:
        """Of each block whose own units are free: its inputs, derivatives of the pre-activations, what stands above."""
        for own in centres.own:
            w, b, v = self.layout.own(p, own.block, centres.element)
            at_rest = Head(b, v, -float(v @ np.tanh(b)))
            yield own, own.s @ w.T.astype(own.s.dtype), Above(at_rest, own.f @ w.T + b)

    def _rows(self, p: Floats, batch: Batch) -> tuple[NDArray[np.int64], Singles, Floats]:
        """Places of parameters, weighted derivatives by them (crystals, 1 + q, ...), weighted residuals."""
        parts: list[Singles] = []
        spots: list[NDArray[np.int64]] = []
        total = self._given(batch)
        for centres in batch.centres:
            head, a, z = self._activations(p, centres)
            above = Above(head, a)
            first, bent = above.first.astype(np.float32), above.bent(z).astype(np.float32)
            total[:, 0] += above.energies()
            total[:, 1:] += _along(z, above)
            parts += _columns(
                centres, first, bent, [self.layout.columns(p, s, centres.element).shape[1] for s in centres.blocks]
            )
            for own, slopes, over in self._own(p, centres):
                total[:, 0] += over.energies()
                total[:, 1:] += _along(slopes, over)
                own_bent = over.bent(slopes).astype(np.float32)
                parts += _columns(own, over.first.astype(np.float32), own_bent, [own.f.shape[-1]])
                parts.append(_rows_of_own(over, slopes, own_bent))
            if self.layout.has_head(centres.element):
                place = self.layout.place(centres.element)
                rest = np.zeros((*batch.targets.shape, place.stop - place.start), np.float32)
                above.fill(rest, z, bent)
                parts.append(rest)
            spots.append(self.layout.spots(centres))
        rows = np.concatenate(parts, axis=2) if parts else np.zeros((*batch.targets.shape, 0), np.float32)
        rows *= batch.weights.astype(np.float32)[..., None]
        return np.concatenate([np.zeros(0, dtype=np.int64), *spots]), rows, (total - batch.targets) * batch.weights


def _rows_of_own(above: Above, slopes: Singles, bent: Singles) -> Singles:
    """(crystals, 1 + q, 2 units) derivatives by b and v of units that say nothing at rest."""
    n, units = above.t.shape[1:]
    rows = np.zeros((len(slopes), 1 + slopes.shape[2], 2 * units + 1), np.float32)
    above.fill(rows, slopes, bent)
    rest = np.tanh(above.head.biases)
    rows[:, 0, :units] -= n * above.head.outputs * (1 - rest * rest)
    rows[:, 0, units:-1] -= n * rest
    return rows[..., :-1]


def _along(z: Singles, above: Above) -> Floats:
    """(crystals, q) derivatives of the energies of these centres."""
    return np.asarray(np.matmul(z, above.first.astype(z.dtype)[..., None])[..., 0].sum(axis=1))


def _columns(centres: Centres | Own, first: Singles, bent: Singles, sizes: Sequence[int]) -> list[Singles]:
    """Derivatives (crystals, 1 + q, hidden * d) by the columns of each free block, in their order."""
    crystals, n, q, hidden = bent.shape
    d = centres.f.shape[-1]
    if not d:
        return []
    f = centres.f.astype(np.float32)
    out = np.empty((crystals, 1 + q, hidden, d), np.float32)
    out[:, 0] = np.matmul(first.transpose(0, 2, 1), f)
    out[:, 1:] = np.matmul(bent.reshape(crystals, n, q * hidden).transpose(0, 2, 1), f).reshape(crystals, q, hidden, d)
    straight = np.matmul(first.transpose(0, 2, 1), centres.s.reshape(crystals, n, q * d))
    out[:, 1:] += straight.reshape(crystals, hidden, q, d).transpose(0, 2, 1, 3)
    ends = np.cumsum(sizes)
    return [out[..., end - size : end].reshape(crystals, 1 + q, -1) for end, size in zip(ends, sizes, strict=True)]
