"""Levenberg-Marquardt: the minimum of a sum of squares with a weak pull of the parameters to a prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from potentials.structures import Floats

TRIES = 6  # dampings tried with one normal matrix
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-7, 1e7


class Problem(Protocol):
    """A sum of squared residuals r in some parameters p."""

    def residuals(self, p: Floats) -> Floats: ...
    def normal(self, p: Floats) -> tuple[Floats, Floats]:
        """J^T J, of which the lower triangle counts, and J^T r, for the Jacobian J = dr/dp."""
        ...


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where a minimisation ended."""

    parameters: Floats
    iterations: int


def minimise(problem: Problem, start: Floats, prior: Floats, decay: Floats, iterations: int) -> Minimum:
    """Parameters with a lower |r|² + sum decay (p - prior)², after this many normal matrices at most.

    Damping is Marquardt's, on half the diagonal plus half its mean, and follows the ratio of gain to promise
    (Madsen, Nielsen, Tingleff, Methods for non-linear least squares problems, 2004, algorithm 3.16).
    """
    p, damping, growth = start.copy(), FIRST_DAMPING, 2.0
    cost = _cost(problem, p, prior, decay)
    for iteration in range(iterations):
        matrix, gradient = problem.normal(p)
        matrix[np.diag_indices_from(matrix)] += decay
        gradient = gradient + decay * (p - prior)
        diagonal = np.diag(matrix).copy()
        extra = 0.5 * diagonal + 0.5 * diagonal.mean()
        for _ in range(TRIES):
            step = _solve(matrix, diagonal + damping * extra, -gradient)
            new_cost = _cost(problem, p + step, prior, decay) if step is not None else np.inf
            if step is not None and new_cost < cost:
                gain = (cost - new_cost) / max(float(step @ (damping * extra * step - gradient)), 1e-300)
                damping = max(damping * max(0.2, 1 - (2 * gain - 1) ** 3), LEAST_DAMPING)
                p, cost, growth = p + step, new_cost, 2.0
                break
            damping, growth = min(damping * growth, MOST_DAMPING), 2 * growth
        else:
            return Minimum(p, iteration)
    return Minimum(p, iterations)


def _cost(problem: Problem, p: Floats, prior: Floats, decay: Floats) -> float:
    r = problem.residuals(p)
    return float(r @ r + (decay * (p - prior)) @ (p - prior))


def _solve(matrix: Floats, diagonal: Floats, right: Floats) -> Floats | None:
    """The solution with another diagonal; None where the matrix is not positive definite in double precision."""
    damped = matrix.copy()
    damped[np.diag_indices_from(damped)] = diagonal
    try:
        solution: Floats = cho_solve(cho_factor(damped, lower=True, overwrite_a=True, check_finite=False), right)
    except np.linalg.LinAlgError:
        return None
    return solution
