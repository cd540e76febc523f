"""Other ways to descend, each in the place of `potentials.descent.Descent`: same interface, rows never meet.

All start with the same curvature and the same scale of strain against displacement, so that what differs is the method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from potentials.descent import CURVATURE, Descent
from potentials.structures import Floats, Ints

LONGEST = 0.2  # Å, of a step without a trust region, as ASE's optimisers cap it
MEMORY = 20  # steps that L-BFGS remembers


@dataclass
class _Always:
    """Takes every step, shortened to `LONGEST`."""

    values: Floats
    gradients: Floats
    steps: Floats

    def propose(self, steps: Floats, lengths: Floats) -> Floats:
        self.steps = steps * np.minimum(1.0, LONGEST / np.maximum(lengths, 1e-300))[:, None]
        return self.steps

    def _take(self, values: Floats, gradients: Floats) -> NDArray[np.bool_]:
        self.values, self.gradients = values, gradients
        return np.ones(len(values), dtype=bool)


@dataclass
class Lbfgs(_Always):
    """Liu and Nocedal, Math. Program. 45, 503 (1989), without a line search; pairs without curvature are not kept."""

    moved: Floats  # (c, MEMORY, n) the latest last
    changed: Floats  # (c, MEMORY, n)
    inverse_curvatures: Floats  # (c, MEMORY) 1/(s y); 0: an empty place

    @classmethod
    def start(cls, values: Floats, gradients: Floats) -> Self:
        c, n = gradients.shape
        return cls(
            values,
            gradients,
            np.zeros((c, n)),
            np.zeros((c, MEMORY, n)),
            np.zeros((c, MEMORY, n)),
            np.zeros((c, MEMORY)),
        )

    def newton(self) -> Floats:
        q, alphas = self.gradients.copy(), np.zeros_like(self.inverse_curvatures)
        for k in reversed(range(MEMORY)):
            alphas[:, k] = self.inverse_curvatures[:, k] * (self.moved[:, k] * q).sum(axis=1)
            q -= alphas[:, k, None] * self.changed[:, k]
        q /= CURVATURE
        for k in range(MEMORY):
            beta = self.inverse_curvatures[:, k] * (self.changed[:, k] * q).sum(axis=1)
            q += (alphas[:, k] - beta)[:, None] * self.moved[:, k]
        return -q

    def learn(self, values: Floats, gradients: Floats) -> NDArray[np.bool_]:
        y = gradients - self.gradients
        sy = (self.steps * y).sum(axis=1)
        good = sy > 1e-12
        for memory, new in ((self.moved, self.steps), (self.changed, y), (self.inverse_curvatures, None)):
            rows = memory[good]
            rows[:, :-1] = rows[:, 1:]
            rows[:, -1] = 1.0 / sy[good] if new is None else new[good]
            memory[good] = rows
        return self._take(values, gradients)


@dataclass
class Fire(_Always):
    """Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006); constants as in ASE."""

    velocities: Floats
    times: Floats  # (c,)
    mixing: Floats  # (c,)
    downhill: Ints  # (c,) steps since the power was last negative

    @classmethod
    def start(cls, values: Floats, gradients: Floats) -> Self:
        c = len(values)
        zero = np.zeros_like(gradients)
        return cls(values, gradients, zero, zero.copy(), np.full(c, 0.1), np.full(c, 0.1), np.zeros(c, np.int64))

    def newton(self) -> Floats:
        forces = -self.gradients
        power = (forces * self.velocities).sum(axis=1)
        down = power > 0
        norm = np.linalg.norm(forces, axis=1) + 1e-300
        speed = np.linalg.norm(self.velocities, axis=1)
        mixed = (1 - self.mixing)[:, None] * self.velocities + (self.mixing * speed / norm)[:, None] * forces
        self.velocities = np.where(down[:, None], mixed, 0.0)
        late = down & (self.downhill > 5)
        moving = speed > 0
        self.times = np.where(late, np.minimum(1.1 * self.times, 1.0), self.times)
        self.times = np.where(~down & moving, 0.5 * self.times, self.times)
        self.mixing = np.where(late, 0.99 * self.mixing, np.where(down, self.mixing, 0.1))
        self.downhill = np.where(down, self.downhill + 1, 0)
        self.velocities = self.velocities + self.times[:, None] * forces
        return self.times[:, None] * self.velocities

    def learn(self, values: Floats, gradients: Floats) -> NDArray[np.bool_]:
        return self._take(values, gradients)


class CappedBfgs(Descent):
    """Our dense BFGS with every step taken and none longer than `LONGEST`: no trust region."""

    def propose(self, steps: Floats, lengths: Floats) -> Floats:
        self.radii = np.full(len(steps), LONGEST)
        return super().propose(steps, lengths)

    def learn(self, values: Floats, gradients: Floats) -> NDArray[np.bool_]:
        slope = (self.gradients * self.steps).sum(axis=1)
        self._update(gradients - self.gradients, -self.fractions * slope)
        self.values, self.gradients = values, gradients
        return np.ones(len(values), dtype=bool)
