"""Levenberg-Marquardt: the minimum of a sum of squares with a weak pull of the parameters to a prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from potentials.structures import Floats

TRIES = 6  # dampings tried with one normal matrix
FIRST_DAMPING, CLOSE_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-4, 1e-7, 1e7
PATIENCE = 12  # normal matrices without a better validation
WORTH = 1e-3  # a gain of the validation below this share is none


class Problem(Protocol):
    """A sum of squared residuals r in some parameters p; a second sum validates."""

    @property
    def validates(self) -> bool: ...
    def costs(self, p: Floats) -> tuple[float, float]:
        """|r|² and the sum that validates."""
        ...

    def normal(self, p: Floats) -> tuple[Floats, Floats]:
        """J^T J, of which the lower triangle counts, and J^T r, for the Jacobian J = dr/dp."""
        ...


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where a minimisation ended."""

    parameters: Floats
    iterations: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a minimisation stands after some iterations: all that the next one depends on."""

    parameters: Floats
    best: Floats  # parameters with the best validation so far
    best_validated: float
    since: int  # iterations without a better validation
    damping: float
    growth: float
    iteration: int  # of those that are done


def minimise(
    problem: Problem,
    start: Floats,
    prior: Floats,
    decay: Floats,
    iterations: int,
    watch: Callable[[Floats], None] | None = None,
    progress: Progress | None = None,
    keep: Callable[[Progress], None] | None = None,
    damping: float = FIRST_DAMPING,
) -> Minimum:
    """Parameters with a lower |r|² + sum decay (p - prior)², after this many normal matrices at most.

    Damping is Marquardt's, on half the diagonal plus half its mean, and follows the ratio of gain to promise
    (Madsen, Nielsen, Tingleff, Methods for non-linear least squares problems, 2004, algorithm 3.16). Where the problem
    validates, the parameters with the best validation are returned, and PATIENCE matrices without a better one end it.
    `watch` sees the parameters after every step, `keep` where the minimisation stands after every iteration; from such a
    `progress` it goes on to the same bits as if it had not been cut. `damping` is the first one; CLOSE_DAMPING suits a start near
    a minimum.
    """
    p, growth, first = start.copy(), 2.0, 0
    if progress is not None:
        p, damping, growth = progress.parameters, progress.damping, progress.growth
        first = progress.iteration

    def costs(p: Floats) -> tuple[float, float]:
        fitted, validated = problem.costs(p)
        return fitted + float((decay * (p - prior)) @ (p - prior)), validated

    cost, validated = costs(p)
    best, best_validated, since = p, validated, 0
    if progress is not None:
        best, best_validated, since = progress.best, progress.best_validated, progress.since
        if problem.validates and since >= PATIENCE:
            return Minimum(best, first)
    for iteration in range(first, iterations):
        matrix, gradient = problem.normal(p)
        matrix[np.diag_indices_from(matrix)] += decay
        gradient = gradient + decay * (p - prior)
        diagonal = np.diag(matrix).copy()
        extra = 0.5 * diagonal + 0.5 * diagonal.mean()
        for _ in range(TRIES):
            step = _solve(matrix, diagonal + damping * extra, -gradient)
            new_cost, new_validated = costs(p + step) if step is not None else (np.inf, np.inf)
            if step is not None and new_cost < cost:
                gain = (cost - new_cost) / max(float(step @ (damping * extra * step - gradient)), 1e-300)
                damping = max(damping * max(0.2, 1 - (2 * gain - 1) ** 3), LEAST_DAMPING)
                p, cost, growth, validated = p + step, new_cost, 2.0, new_validated
                if watch is not None:
                    watch(p)
                break
            damping, growth = min(damping * growth, MOST_DAMPING), 2 * growth
        else:
            return Minimum(best if problem.validates else p, iteration)
        since = 0 if validated < (1 - WORTH) * best_validated else since + 1
        if validated < best_validated:
            best, best_validated = p, validated
        if keep is not None:
            keep(Progress(p, best, best_validated, since, damping, growth, iteration + 1))
        if problem.validates and since >= PATIENCE:
            return Minimum(best, iteration + 1)
    return Minimum(best if problem.validates else p, iterations)


def _solve(matrix: Floats, diagonal: Floats, right: Floats) -> Floats | None:
    """The solution with another diagonal; None where the matrix is not positive definite in double precision."""
    damped = matrix.copy()
    damped[np.diag_indices_from(damped)] = diagonal
    try:
        solution: Floats = cho_solve(cho_factor(damped, lower=True, overwrite_a=True, check_finite=False), right)
    except np.linalg.LinAlgError:
        return None
    return solution
