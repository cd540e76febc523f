"""Niggli reduction: the one shortest, least skewed basis of a lattice.

Krivy and Gruber 1976 (doi:10.1107/S0567739476000636), with the tolerances of Grosse-Kunstleve, Sauter and
Adams 2004 (doi:10.1107/S010876730302186X).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-5  # of V^(1/3): lengths closer than this are equal
MOST_STEPS = 300  # a sane lattice takes about ten

Row = list[float]  # a vector in Å, then its three integer coefficients in the basis that was given


def niggli(cell: NDArray[np.float64]) -> NDArray[np.int_] | None:
    """Integer matrix M of determinant ±1 such that M @ cell is the Niggli basis; None if there is none.

    `cell` is (3, 3), rows are vectors in Å.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = cell.tolist()
    volume = abs(ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx))
    if not (volume >= 1e-9 and math.isfinite(volume)):
        return None
    eps = TOLERANCE * volume ** (2 / 3)
    a, b, c = [ax, ay, az, 1.0, 0.0, 0.0], [bx, by, bz, 0.0, 1.0, 0.0], [cx, cy, cz, 0.0, 0.0, 1.0]
    for _ in range(MOST_STEPS):
        step = _step(a, b, c, eps)
        if step is None:
            return np.array([a[3:], b[3:], c[3:]], dtype=int)
        a, b, c = step
    return None


def _step(a: Row, b: Row, c: Row, eps: float) -> tuple[Row, Row, Row] | None:
    """The basis after the first rule that applies, or None when none does."""
    aa, bb, cc = _dot(a, a), _dot(b, b), _dot(c, c)
    if aa > bb + eps:
        return b, a, c
    if bb > cc + eps:
        return a, c, b
    xi, eta, zeta = 2 * _dot(b, c), 2 * _dot(a, c), 2 * _dot(a, b)
    if abs(aa - bb) <= eps and abs(xi) > abs(eta) + eps:
        return b, a, c
    if abs(bb - cc) <= eps and abs(eta) > abs(zeta) + eps:
        return a, c, b
    signs = _signs(xi, eta, zeta, eps)
    if signs is not None:
        a, b, c = ([sign * x for x in row] for sign, row in zip(signs, (a, b, c), strict=True))
        return a, b, c
    # from here on the angles are all acute or all obtuse; shorten along a face, then along the body
    if _beyond(xi, bb, 2 * eta, zeta, eps):
        return a, b, _add(c, b, -math.copysign(1, xi))
    if _beyond(eta, aa, 2 * xi, zeta, eps):
        return a, b, _add(c, a, -math.copysign(1, eta))
    if _beyond(zeta, aa, 2 * xi, eta, eps):
        return a, _add(b, a, -math.copysign(1, zeta)), c
    body = xi + eta + zeta + aa + bb
    if body < -eps or (abs(body) <= eps and 2 * (aa + eta) + zeta > eps):
        return a, b, _add(_add(c, b, 1), a, 1)
    return None


def _beyond(product: float, square: float, doubled: float, third: float, eps: float) -> bool:
    """Whether twice a scalar product exceeds the square of the shorter vector, or equals it the wrong way round."""
    return (
        abs(product) > square + eps
        or (abs(product - square) <= eps and doubled < third - eps)
        or (abs(product + square) <= eps and third < -eps)
    )


def _signs(xi: float, eta: float, zeta: float, eps: float) -> tuple[int, int, int] | None:
    """Signs of a, b, c that make the three angles all acute or all not acute; None when they are already."""
    kinds = [(x > eps) - (x < -eps) for x in (xi, eta, zeta)]
    acute = kinds[0] * kinds[1] * kinds[2] > 0
    wanted = [1] if acute else [-1, 0]
    if all(kind in wanted for kind in kinds):
        return None
    for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
        s, t, u = signs
        if all(kind in wanted for kind in (kinds[0] * t * u, kinds[1] * s * u, kinds[2] * s * t)):
            return signs
    raise AssertionError("four sign patterns cover every case")  # product > 0, < 0, or a zero that is free


def _add(row: Row, other: Row, factor: float) -> Row:
    a, b, c, i, j, k = row
    x, y, z, p, q, r = other
    return [a + factor * x, b + factor * y, c + factor * z, i + factor * p, j + factor * q, k + factor * r]


def _dot(a: Row, b: Row) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
