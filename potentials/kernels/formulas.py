"""Formulas that several kernels share, on any numbers: torch tensors, or the symbols that code is written from.

The compiled kernel has them in `harmonics.h`, `centre.h` and `network.h`; tests hold all of them equal.
"""

from __future__ import annotations

from math import factorial, sqrt
from typing import Any

Number = Any  # has + - * /


def radial(distance: Number, sine: Number, cosine: Number, cutoff: float, n: int) -> list[Number]:
    """g_k for k = 1..n, from sin and cos of pi r/Rc.

    By rotation, whose error grows with k; that of the recursion in three terms grows with k².
    """
    fade = sqrt(2 / cutoff) * (0.5 + 0.5 * cosine) / distance
    functions, s, c = [], sine, cosine
    for k in range(n):
        functions.append(fade * s)
        if k + 1 < n:
            s, c = s * cosine + c * sine, c * cosine - s * sine
    return functions


def smooth_step(u: Number) -> Number:
    """10u³ - 15u⁴ + 6u⁵: from 0 to 1 for u from 0 to 1, with two derivatives that vanish at both ends."""
    return u * u * u * (10.0 - u * (15.0 - 6.0 * u))


def smooth_step_slope(u: Number) -> Number:
    """Its derivative."""
    return 30.0 * u * u * (1.0 - u) * (1.0 - u)


def harmonics(x: Number, y: Number, z: Number, l_max: int) -> list[Number]:
    """The real harmonics of a unit vector without their norms: l from 1, m from -l.

    d^m P_l/dz^m over its leading coefficient, times Re (x + iy)^m, or Im (x + iy)^|m| where m < 0.
    """
    cosines, sines = [1.0, x], [0.0, y]
    for m in range(1, l_max):
        cosines, sines = (
            [*cosines, x * cosines[m] - y * sines[m]],
            [*sines, x * sines[m] + y * cosines[m]],
        )
    # monic multiples of d^m P_l/dz^m, by the three-term recursion in l
    monic: dict[tuple[int, int], Number] = {}
    for m in range(l_max + 1):
        monic[m, m] = 1.0
        if m < l_max:
            monic[m + 1, m] = z
        for l in range(m + 1, l_max):
            monic[l + 1, m] = z * monic[l, m] - monic[l - 1, m] * ((l * l - m * m) / (4 * l * l - 1))
    return [
        monic[l, 0] if m == 0 else monic[l, abs(m)] * (cosines[m] if m > 0 else sines[-m])
        for l in range(1, l_max + 1)
        for m in range(-l, l + 1)
    ]


def norms(l_max: int) -> list[float]:
    """What makes sum_m Y_lm Y_lm = 1, in the order of `harmonics`.

    sqrt((2 - [m = 0]) (l - m)!/(l + m)!) (2l)!/(2^l l! (l - m)!)
    """
    factors = []
    for l in range(1, l_max + 1):
        for m in range(-l, l + 1):
            k = abs(m)
            leading = factorial(2 * l) / (2**l * factorial(l) * factorial(l - k))
            factors.append(leading * sqrt((2 if k else 1) * factorial(l - k) / factorial(l + k)))
    return factors


def products(a: list[list[Number]], b: list[list[Number]], l_max: int) -> list[Number]:
    """P_nn'l of the moments (n, lm) of two elements: n slowest, then n' from n, then l."""

    def dot(left: list[Number], right: list[Number], l: int) -> Number:
        return sum(left[q] * right[q] for q in range(l * l - 1, (l + 1) ** 2 - 1))

    return [
        dot(a[n], b[n], l) if m == n else 0.5 * (dot(a[n], b[m], l) + dot(a[m], b[n], l))
        for n in range(len(a))
        for m in range(n, len(a))
        for l in range(1, l_max + 1)
    ]
