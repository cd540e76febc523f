"""Levenberg-Marquardt: the minimum of a sum of squares with a weak pull of the parameters to a prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsyrk

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

    @property
    def wide(self) -> bool:
        """Whether there are so many more parameters than residuals that `rows` costs less than `normal`."""
        ...

    def rows(self, p: Floats) -> tuple[Floats, Floats]:
        """J (residuals, parameters) and r."""
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
        system = Wide(*problem.rows(p)) if problem.wide else Tall(*problem.normal(p))
        pulled = decay * (p - prior)
        gradient = system.gradient + pulled
        diagonal = system.diagonal + decay
        extra = 0.5 * diagonal + 0.5 * diagonal.mean()
        for _ in range(TRIES):
            step = system.step(decay + damping * extra, pulled)
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


class Tall:
    """Linearised residuals, more of them than parameters: J^T J is what remains of them."""

    def __init__(self, matrix: Floats, gradient: Floats) -> None:
        self._matrix, self.gradient = matrix, gradient
        self.diagonal = np.diag(matrix).copy()

    def step(self, added: Floats, pulled: Floats) -> Floats | None:
        """(J^T J + added) step = -(J^T r + pulled); None where the matrix is not positive definite in double precision."""
        damped = self._matrix.copy()
        damped[np.diag_indices_from(damped)] = self.diagonal + added
        return _solve(damped, -(self.gradient + pulled))


class Wide:
    """Linearised residuals, fewer of them than parameters: equations as many as residuals say the same.

    With D = added and c = pulled, step = -D^-1 c + D^-1 J^T w, where (1 + J D^-1 J^T) w = -r + J D^-1 c
    (the push-through identity; Rasmussen, Williams, Gaussian Processes for Machine Learning, 2006, appendix A.3).
    """

    def __init__(self, rows: Floats, residuals: Floats) -> None:
        self._rows, self._residuals = rows, residuals
        self.gradient = residuals @ rows
        self.diagonal = np.einsum("rp,rp->p", rows, rows)

    def step(self, added: Floats, pulled: Floats) -> Floats | None:
        """As of `Tall`."""
        scaled = self._rows / np.sqrt(added)
        # the transpose of C-ordered rows is what BLAS reads without a copy
        matrix = dsyrk(1.0, scaled.T, trans=1, lower=1)
        matrix[np.diag_indices_from(matrix)] += 1.0
        weights = _solve(matrix, self._rows @ (pulled / added) - self._residuals)
        return None if weights is None else (weights @ self._rows - pulled) / added


def _solve(matrix: Floats, right: Floats) -> Floats | None:
    """By Cholesky, of the lower triangle; `matrix` is overwritten."""
    try:
        solution: Floats = cho_solve(cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False), right)
    except np.linalg.LinAlgError:
        return None
    return solution
