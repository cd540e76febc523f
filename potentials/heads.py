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

    def vector(self) -> Floats:
        """b, U, c, v, e, one after another."""
        deep = [a.ravel() for a in (self.second_weights, self.second_biases) if a is not None]
        return np.concatenate([self.biases, *deep, self.outputs, [self.shift]])

    @classmethod
    def from_vector(cls, p: Floats, hidden: int, second: int) -> Head:
        """The reverse of `vector`; second: units of the second layer, 0 where there is none."""
        last = second or hidden
        biases, outputs, shift = p[:hidden], p[-1 - last : -1], float(p[-1])
        if not second:
            return cls(biases, outputs, shift)
        deep = p[hidden : -1 - last]
        return cls(biases, outputs, shift, deep[: hidden * second].reshape(hidden, second), deep[hidden * second :])

    @staticmethod
    def size(hidden: int, second: int) -> int:
        """Numbers in `vector`."""
        return hidden + second * (hidden + 1) + (second or hidden) + 1


class Above:
    """A head over the pre-activations a (crystals, n, hidden) of n centres each, and its derivatives."""

    def __init__(self, head: Head, a: Floats) -> None:
        self.head = head
        self.t = np.tanh(a)
        self.t1 = 1 - self.t * self.t
        if head.second_weights is None or head.second_biases is None:
            self.last, self.first = self.t, head.outputs * self.t1  # (..., units), (..., hidden) dE/da
            return
        self.last = np.tanh(self.t @ head.second_weights + head.second_biases)
        self.deep = head.outputs * (1 - self.last * self.last)  # (..., second) dE/d(input)
        self.first = self.t1 * (self.deep @ head.second_weights.T)

    def energies(self) -> Floats:
        """(crystals,) of these centres together."""
        return np.asarray((self.last @ self.head.outputs).sum(axis=1) + self.head.shift * self.last.shape[1])

    def bent(self, z: Floats | Singles) -> Floats:
        """(crystals, n, q, hidden) derivatives of dE/da by q, from those of a."""
        if self.head.second_weights is None:
            return np.asarray((-2 * self.t * self.first)[..., None, :] * z)
        bent_deep = self._bent_deep(self._deep_slopes(z))
        by_first, weights = -2 * self.t * self.first, self.head.second_weights
        return np.asarray(by_first[..., None, :] * z + self.t1[..., None, :] * (bent_deep @ weights.T))

    def fill(self, out: Singles, z: Floats | Singles, bent: Floats | Singles) -> None:
        """Rows (crystals, 1 + q, size of the head): derivatives by b, U, c, v, e."""
        hidden, units = self.t.shape[-1], self.last.shape[-1]
        out[:, 0, :hidden], out[:, 1:, :hidden] = self.first.sum(axis=1), bent.sum(axis=1)
        n_deep = out.shape[-1] - units - 1
        slopes = self.t1[..., None, :] * z
        if self.head.second_weights is not None:
            deep = self._deep_slopes(z)
            bent_deep, end = self._bent_deep(deep), hidden + self.head.second_weights.size
            weights = np.einsum("bnh,bnk->bhk", self.t, self.deep)
            out[:, 0, hidden:end] = weights.reshape(len(out), -1)
            by_weights = np.einsum("bnqk,bnh->bqhk", bent_deep, self.t) + np.einsum("bnk,bnqh->bqhk", self.deep, slopes)
            out[:, 1:, hidden:end] = by_weights.reshape(*by_weights.shape[:2], -1)
            out[:, 0, end:n_deep], out[:, 1:, end:n_deep] = self.deep.sum(axis=1), bent_deep.sum(axis=1)
            slopes = (1 - self.last * self.last)[..., None, :] * deep
        out[:, 0, n_deep:-1], out[:, 1:, n_deep:-1] = self.last.sum(axis=1), slopes.sum(axis=1)
        out[:, 0, -1] = self.last.shape[1]

    def _deep_slopes(self, z: Floats | Singles) -> Floats:
        """(crystals, n, q, second) derivatives of the inputs of the second layer."""
        assert self.head.second_weights is not None
        return np.asarray((self.t1[..., None, :] * z) @ self.head.second_weights)

    def _bent_deep(self, slopes: Floats) -> Floats:
        """(crystals, n, q, second) derivatives of `deep` by q."""
        return np.asarray((-2 * self.last * self.deep)[..., None, :] * slopes)
