"""What stands on the pre-activations of an element's hidden units: one layer or two, and their derivatives for a fit.

E = e + sum_h v_h t_h, or E = e + sum_k v_k u_k with u_k = tanh(c_k + sum_h U_hk t_h); t_h = tanh(a_h).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potentials.network import StratumParameters
from potentials.structures import Floats

Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Head:
    """What stands on the inputs of the hidden units of one element and member."""

    biases: Floats  # (hidden,) b
    outputs: Floats  # (units of the last layer,) v
    shift: float  # e
    second_weights: Floats | None = None  # (hidden, second) U
    second_biases: Floats | None = None  # (second,) c

    @classmethod
    def of(cls, p: StratumParameters, member: int) -> Head:
        """That of a unary stratum; ValueError for any other."""
        if p.biases is None or p.outputs is None or p.shifts is None:
            raise ValueError(f"`p` must be the parameters of an element, got those of {p.stratum.name}")
        deep = [None if a is None else a[member] for a in (p.second_weights, p.second_biases)]
        return cls(p.biases[member], p.outputs[member], float(p.shifts[member]), *deep)


class Above:
    """A head over the pre-activations a (n, hidden) of some centres, and its derivatives."""

    def __init__(self, head: Head, a: Floats) -> None:
        self.head = head
        self.t = np.tanh(a)
        self.t1 = 1 - self.t * self.t
        if head.second_weights is None or head.second_biases is None:
            self.last, self.first = self.t, head.outputs * self.t1  # (n, units), (n, hidden) dE/da
            return
        self.last = np.tanh(self.t @ head.second_weights + head.second_biases)
        self.deep = head.outputs * (1 - self.last * self.last)  # (n, second) dE/d(input)
        self.first = self.t1 * (self.deep @ head.second_weights.T)

    def bent(self, z: Floats) -> Floats:
        """(n, q, hidden) derivatives of dE/da by q, from those of a."""
        if self.head.second_weights is None:
            second = -2 * self.head.outputs * self.t * self.t1
            return second[:, None, :] * z
        by_first = -2 * self.t * self.first
        bent_deep = self._bent_deep(self._deep_slopes(z))
        return np.asarray(by_first[:, None, :] * z + self.t1[:, None, :] * (bent_deep @ self.head.second_weights.T))

    def fill(self, out: Singles, z: Floats) -> None:
        """Rows (1 + q, ...) of the parameters after b: of a second layer U and c; v; e."""
        units, n_deep = self.last.shape[1], out.shape[1] - self.last.shape[1] - 1
        slopes = self.t1[:, None, :] * z
        if self.head.second_weights is not None:
            deep = self._deep_slopes(z)
            bent = self._bent_deep(deep)
            n_weights = self.head.second_weights.size
            out[0, :n_weights] = (self.t.T @ self.deep).ravel()
            by_weights = np.einsum("nqk,nh->qhk", bent, self.t) + np.einsum("nk,nqh->qhk", self.deep, slopes)
            out[1:, :n_weights] = by_weights.reshape(len(by_weights), -1)
            out[0, n_weights:n_deep], out[1:, n_weights:n_deep] = self.deep.sum(axis=0), bent.sum(axis=0)
            slopes = (1 - self.last * self.last)[:, None, :] * deep
        out[0, n_deep : n_deep + units], out[1:, n_deep : n_deep + units] = self.last.sum(axis=0), slopes.sum(axis=0)
        out[0, -1] = len(self.last)

    def _deep_slopes(self, z: Floats) -> Floats:
        """(n, q, second) derivatives of the inputs of the second layer."""
        assert self.head.second_weights is not None
        return np.asarray((self.t1[:, None, :] * z) @ self.head.second_weights)

    def _bent_deep(self, slopes: Floats) -> Floats:
        """(n, q, second) derivatives of `deep` by q."""
        return np.asarray((-2 * self.last * self.deep)[:, None, :] * slopes)
