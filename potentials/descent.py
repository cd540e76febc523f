"""Trust-region quasi-Newton descent of many functions at once, one row each; rows never meet.

Every operation is elementwise, a reduction along a row or a matrix product per row, so a row gets the same bits
whichever rows stand beside it.

BFGS on the inverse Hessian with Powell's damping (Nocedal and Wright, Numerical Optimization, 2006, procedure 18.2).
The step s is a fraction a of the quasi-Newton step -H g, hence B s = -a g without a second matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potentials.structures import Floats

CURVATURE = 8.0  # eV/Å², of every variable before anything is known; 10 and 6 cost 5 % more calls on metals
FIRST_RADIUS, LAST_RADIUS = 0.2, 0.5  # Å
DAMPING = 0.2  # a step must show at least this fraction of the curvature expected
NOISE = 1e-6  # eV: a rise this small is not held against a step


@dataclass
class Descent:
    """Where each row stands. A row proposes a step, is told value and gradient there, and takes it or not."""

    values: Floats  # (c,) eV
    gradients: Floats  # (c, n) eV/Å
    inverses: Floats  # (c, n, n) Å²/eV
    radii: Floats  # (c,) Å, longest step allowed in the caller's measure
    steps: Floats  # (c, n) Å, the step under trial
    fractions: Floats  # (c,) of the quasi-Newton step that `steps` is

    @classmethod
    def start(cls, values: Floats, gradients: Floats, inverses: Floats | None = None) -> Descent:
        """Rows at their first point, with these inverse Hessians or diagonal ones."""
        c, n = gradients.shape
        if inverses is None:
            inverses = np.broadcast_to(np.eye(n) / CURVATURE, (c, n, n)).copy()
        return cls(values, gradients, inverses, np.full(c, FIRST_RADIUS), np.zeros((c, n)), np.ones(c))

    def newton(self) -> Floats:
        """(c, n) Å, the step -H g before it is shortened; steepest descent where H has been spoilt by overflow."""
        steps = -_product(self.inverses, self.gradients)
        spoilt = ~np.isfinite(steps.sum(axis=1))
        if spoilt.any():
            self.inverses[spoilt] = np.eye(steps.shape[1]) / CURVATURE
            steps[spoilt] = -self.gradients[spoilt] / CURVATURE
        return steps

    def propose(self, steps: Floats, lengths: Floats) -> Floats:
        """(c, n) Å, the steps shortened to the radii, `lengths` (c,) being theirs in the caller's measure."""
        self.fractions = np.minimum(1.0, self.radii / np.maximum(lengths, 1e-300))
        self.steps = steps * self.fractions[:, None]
        return self.steps

    def learn(self, values: Floats, gradients: Floats, noises: Floats) -> NDArray[np.bool_]:
        """(c,) which trial steps are taken; radii and Hessians learn from all of them, taken or not.

        noises: (c,) eV, changes of the values that say nothing; the gradients at both ends say then whether the step led down.
        """
        slope = _dot(self.gradients, self.steps)
        expected = -self.fractions * slope  # s B s
        promised = slope + 0.5 * expected
        rise = values - self.values
        doubtful = np.abs(rise) < noises
        if doubtful.any():
            rise = np.where(doubtful, 0.5 * (slope + _dot(gradients, self.steps)), rise)
        ratio = np.divide(rise, promised, out=np.zeros_like(rise), where=promised < 0)
        taken = (rise <= NOISE) | (ratio >= 0.1)
        self._update(gradients - self.gradients, expected)
        full = self.fractions < 1.0
        grown = np.minimum(self.radii * 1.5, LAST_RADIUS)
        kept = np.where((ratio > 0.6) & full, grown, np.where(ratio < 0.25, 0.6 * self.radii, self.radii))
        self.radii = np.where(taken, kept, 0.4 * self.radii)
        self.values = np.where(taken, values, self.values)
        self.gradients = np.where(taken[:, None], gradients, self.gradients)
        return taken

    def _update(self, change: Floats, expected: Floats) -> None:
        """Powell-damped BFGS of the inverse; a step too short to show a curvature teaches nothing."""
        s, seen = self.steps, _dot(self.steps, change)
        low = seen < DAMPING * expected
        theta = np.divide((1 - DAMPING) * expected, expected - seen, out=np.ones_like(seen), where=low)
        y = theta[:, None] * change - ((1 - theta) * self.fractions)[:, None] * self.gradients
        sy = _dot(s, y)
        known = sy > 1e-24
        inverse_sy = np.divide(1.0, sy, out=np.zeros_like(sy), where=known)
        hy = _product(self.inverses, y)
        # H + s r^T + r s^T with r = ((1 + yHy/sy) s/2 - Hy)/sy is the textbook formula in two outer products
        r = ((0.5 * (1.0 + _dot(y, hy) * inverse_sy))[:, None] * s - hy) * inverse_sy[:, None]
        outer = s[:, :, None] * r[:, None, :]
        self.inverses = self.inverses + (outer + np.swapaxes(outer, 1, 2))


def _product(matrices: Floats, vectors: Floats) -> Floats:
    """(c, n, n), (c, n) -> (c, n)."""
    return (matrices @ vectors[:, :, None])[:, :, 0]


def _dot(a: Floats, b: Floats) -> Floats:
    """(c, n), (c, n) -> (c,)."""
    return (a[:, None, :] @ b[:, :, None])[:, 0, 0]
