"""The least-squares problem of one stratum and one committee member: rows and their derivatives by its parameters.

For a centre with pre-activations a_h = a0_h + sum_d W_hd f_d, where a0 comes from frozen strata, and E = e + sum_h v_h tanh(a_h):
dE/dW_hd = v_h t' f_d, and for a derivative of the energy by a coordinate q (with z_hq = da_h/dq, s_qd = df_d/dq)
d(dE/dq)/dW_hd = v_h (t'' z_hq f_d + t' s_qd); biases are the same with f = 1, s = 0. With a second layer,
E = e + sum_k v_k u_k, u_k = tanh(c_k + sum_h U_hk t_h), v_h t' becomes g_h = t'_h sum_k U_hk v_k u'_k, and v_h t'' z_hq becomes
dg_h/dq.

Parameters, by ascending centre: W (hidden, D); a unary stratum adds b (hidden), with a second layer U (hidden, second) and
c (second), v (units of the last layer), e.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import ssyrk

from potentials.heads import Above, Head
from potentials.structures import Floats
from potentials.tables import Centres, Table

Singles = NDArray[np.float32]
ROWS_AT_ONCE = 4096  # of the Jacobian in memory


@dataclass(frozen=True, eq=False)
class Scaled:
    """The features `part` of a centre as inputs of its network: (f - shift) scale."""

    part: slice
    shift: Floats  # (D,)
    scale: Floats  # (D,)

    def apply(self, centres: Centres) -> tuple[Floats, Floats]:
        """(n, D) and (n, q, D)."""
        return (centres.features[:, self.part] - self.shift) * self.scale, centres.slopes[:, :, self.part] * self.scale


@dataclass(frozen=True, eq=False)
class Frozen:
    """A block of a lower stratum."""

    inputs: Scaled
    columns: Floats  # (D, hidden)
    biases: Floats  # (hidden,) zero unless the block is unary


@dataclass(frozen=True, eq=False)
class Input:
    """One crystal's centres of one element, as the new columns see them."""

    place: int  # of the element in the stratum
    f: Floats  # (n, D) scaled
    s: Floats  # (n, q, D) scaled
    s_single: Singles
    a: Floats  # (n, hidden) frozen pre-activation
    z: Floats  # (n, q, hidden) its derivatives


@dataclass(frozen=True, eq=False)
class Row:
    """One crystal: its inputs, targets (1 + q,) and weights (1 + q,)."""

    inputs: list[Input]
    targets: Floats
    weights: Floats


@dataclass(frozen=True)
class Layout:
    """Where each parameter stands in the vector."""

    n_centres: int
    n_columns: int
    hidden: int
    unary: bool
    second: int = 0

    @property
    def last(self) -> int:
        """Units of the last layer."""
        return self.second or self.hidden

    @property
    def size(self) -> int:
        """Parameters of one centre."""
        head = self.hidden + self.second * (self.hidden + 1) + self.last + 1
        return self.hidden * self.n_columns + (head if self.unary else 0)

    def columns(self, p: Floats, centre: int) -> Floats:
        """(hidden, D)."""
        start = centre * self.size
        return p[start : start + self.hidden * self.n_columns].reshape(self.hidden, self.n_columns)

    def head(self, p: Floats, centre: int) -> Head:
        """Of a unary stratum."""
        own = p[centre * self.size + self.hidden * self.n_columns :][: self.size - self.hidden * self.n_columns]
        biases, outputs, shift = own[: self.hidden], own[-1 - self.last : -1], float(own[-1])
        if not self.second:
            return Head(biases, outputs, shift)
        deep = own[self.hidden : -1 - self.last]
        weights = deep[: self.hidden * self.second].reshape(self.hidden, self.second)
        return Head(biases, outputs, shift, weights, deep[self.hidden * self.second :])

    def join(self, columns: Floats, head: Head) -> Floats:
        """The vector of a unary stratum from its columns (D, hidden) and head."""
        deep = [] if head.second_weights is None else [head.second_weights.ravel()]
        deep += [] if head.second_biases is None else [head.second_biases]
        return np.concatenate([columns.T.ravel(), head.biases, *deep, head.outputs, [head.shift]])


class StratumProblem:
    """Residuals and normal equations over some crystals."""

    def __init__(self, rows: list[Row], layout: Layout, heads: list[Head]) -> None:
        """`heads` by centre are frozen, their biases already in the rows; a unary stratum fits its own."""
        self.rows, self.layout = rows, layout
        self._heads = heads

    def predictions(self, p: Floats) -> list[Floats]:
        """Per crystal (1 + q,): energy and derivatives, without the baseline."""
        result = []
        for row in self.rows:
            total = np.zeros(len(row.targets))
            for x in row.inputs:
                head, a, z = self._activations(p, x)
                above = Above(head, a)
                total[0] += (above.last @ head.outputs).sum() + head.shift * len(a)
                total[1:] += (z @ above.first[:, :, None]).sum(axis=0)[:, 0]
            result.append(total)
        return result

    def residuals(self, p: Floats) -> Floats:
        """Weighted, all crystals after one another."""
        parts = [(y - r.targets) * r.weights for y, r in zip(self.predictions(p), self.rows, strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def jacobian(self, p: Floats, rows: list[Row]) -> Singles:
        """(all rows of these crystals, parameters), weighted."""
        out = np.zeros((sum(len(r.targets) for r in rows), self.layout.size * self.layout.n_centres), np.float32)
        start = 0
        for row in rows:
            own = out[start : start + len(row.targets)]
            for x in row.inputs:
                self._fill(own[:, x.place * self.layout.size : (x.place + 1) * self.layout.size], p, x)
            own *= row.weights.astype(np.float32)[:, None]
            start += len(row.targets)
        return out

    def normal(self, p: Floats) -> tuple[Floats, Floats]:
        """J^T J (lower triangle) and J^T r."""
        n = self.layout.size * self.layout.n_centres
        matrix, gradient = np.zeros((n, n), np.float32, order="F"), np.zeros(n)
        residuals, start = self.residuals(p), 0
        for rows in _portions(self.rows):
            j = self.jacobian(p, rows)
            matrix = ssyrk(1.0, j.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
            gradient += j.T @ residuals[start : start + len(j)].astype(np.float32)
            start += len(j)
        return matrix.astype(float), gradient

    def _activations(self, p: Floats, x: Input) -> tuple[Head, Floats, Floats]:
        """What stands above, pre-activations (n, hidden), their derivatives (n, q, hidden)."""
        w = self.layout.columns(p, x.place)
        a, z = x.a + x.f @ w.T, x.z + x.s @ w.T
        if not self.layout.unary:
            return self._heads[x.place], a, z
        head = self.layout.head(p, x.place)
        return head, a + head.biases, z

    def _fill(self, out: Singles, p: Floats, x: Input) -> None:
        """Unweighted rows (1 + q, parameters of this centre)."""
        hidden, d = self.layout.hidden, self.layout.n_columns
        head, a, z = self._activations(p, x)
        above = Above(head, a)
        first, bent = above.first.astype(np.float32), above.bent(z).astype(np.float32)
        n, q, _ = bent.shape
        f = x.f.astype(np.float32)
        columns = out[:, : hidden * d]
        columns[0] = (first.T @ f).ravel()
        block = (bent.reshape(n, q * hidden).T @ f).reshape(q, hidden, d)
        block += (first.T @ x.s_single.reshape(n, q * d)).reshape(hidden, q, d).transpose(1, 0, 2)
        columns[1:] = block.reshape(q, hidden * d)
        if self.layout.unary:
            rest = out[:, hidden * d :]
            rest[0, :hidden], rest[1:, :hidden] = first.sum(axis=0), bent.sum(axis=0)
            above.fill(rest[:, hidden:], z)


def rows_of(
    tables: list[Table], centres: tuple[int, ...], new: list[Scaled], below: list[list[Frozen]], hidden: int
) -> list[Row]:
    """Crystals as the new columns of each centre see them, on top of the frozen blocks of that centre."""
    rows = []
    for table in tables:
        inputs = []
        for place, z in enumerate(centres):
            if z not in table.centres:
                continue
            f, s = new[place].apply(table.centres[z])
            a, dz = np.zeros((len(f), hidden)), np.zeros((*s.shape[:2], hidden))
            for block in below[place]:
                frozen_f, frozen_s = block.inputs.apply(table.centres[z])
                a += frozen_f @ block.columns + block.biases
                dz += frozen_s @ block.columns
            inputs.append(Input(place, f, s, s.astype(np.float32), a, dz))
        rows.append(Row(inputs, table.targets, table.weights))
    return rows


def _portions(rows: list[Row]) -> Iterator[list[Row]]:
    """Runs of crystals with about ROWS_AT_ONCE rows."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += len(row.targets)
        if size >= ROWS_AT_ONCE:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
