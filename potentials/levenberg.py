"""Levenberg-Marquardt for networks: weighted sums of squares over energies, forces and virials, linear algebra in blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from potentials.structures import Floats

TRIES = 6  # dampings tried with one normal matrix
LEAST_DAMPING, MOST_DAMPING = 1e-7, 1e7


class Problem(Protocol):
    """A sum of squared residuals in some parameters."""

    def residuals(self, parameters: Floats) -> Floats: ...
    def normal(self, parameters: Floats) -> tuple[Floats, Floats]: ...


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where a minimisation ended."""

    parameters: Floats
    score: float  # of `parameters`
    iterations: int


def minimise(
    problem: Problem,
    start: Floats,
    decay: Floats,
    iterations: int,
    score: Callable[[Floats], float] | None = None,
    patience: int = 10**9,
    damping: float = 1e-2,
) -> Minimum:
    """Parameters with the lowest |residuals|² + sum decay p², or the lowest `score` met on the way there.

    Damping is Marquardt's on half the diagonal plus half its mean; it follows the ratio of gain to promise
    (Madsen, Nielsen, Tingleff, Methods for non-linear least squares problems, 2004).
    """
    p = start.copy()
    cost = _cost(problem, p, decay)
    best, best_score, last_gain, done = p, score(p) if score else cost, 0, 0
    growth = 2.0
    for iteration in range(1, iterations + 1):
        matrix, gradient = problem.normal(p)
        matrix[np.diag_indices_from(matrix)] += decay
        gradient = gradient + decay * p
        diagonal = np.diag(matrix).copy()
        extra = 0.5 * diagonal + 0.5 * diagonal.mean()
        done = iteration
        for _ in range(TRIES):
            step = _solve(matrix, diagonal + damping * extra, -gradient)
            new_cost = _cost(problem, p + step, decay) if step is not None else np.inf
            if step is not None and new_cost < cost:
                promised = float(step @ (damping * extra * step - gradient))
                gain = (cost - new_cost) / max(promised, 1e-300)
                damping = max(damping * max(0.2, 1 - (2 * gain - 1) ** 3), LEAST_DAMPING)
                p, cost, growth = p + step, new_cost, 2.0
                break
            damping, growth = min(damping * growth, MOST_DAMPING), 2 * growth
        else:
            break
        now = score(p) if score else cost
        if now < best_score:
            best, best_score, last_gain = p, now, iteration
        if iteration - last_gain >= patience:
            break
    return Minimum(best, float(best_score), done)


def _cost(problem: Problem, p: Floats, decay: Floats) -> float:
    r = problem.residuals(p)
    return float(r @ r + (decay * p) @ p)


def _solve(matrix: Floats, diagonal: Floats, right: Floats) -> Floats | None:
    damped = matrix.copy()
    damped[np.diag_indices_from(damped)] = diagonal
    try:
        solution: Floats = cho_solve(cho_factor(damped, lower=True, overwrite_a=True, check_finite=False), right)
    except np.linalg.LinAlgError:
        return None
    return solution
