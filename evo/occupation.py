"""Occupation: which atoms sit on which Wyckoff positions of a group, counted exactly before anything is tried.

Positions of one multiplicity are one class; a position without free parameters holds one orbit at most, over all
elements. A pattern says how many orbits of each class every element has. All patterns are counted by dynamic
programming, so that an impossible composition costs one table look-up, and a possible one is drawn uniformly over its
patterns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np

from evo.wyckoff import Position

# (multiplicity, how many orbits it can hold in all; -1 without limit), one entry per class
Classes = tuple[tuple[int, int], ...]


def choose(
    rng: np.random.Generator, positions: Sequence[Position], counts: Mapping[int, int]
) -> list[tuple[int, Position]] | None:
    """An element and a position for every orbit, so that these counts per primitive cell come out; None if none can.

    Counts are atoms by atomic number. Orbits come element by element.
    """
    members, classes = _classes(tuple(positions))
    elements = sorted(counts, key=lambda z: (-counts[z], z))  # equal patterns of counts share one table
    pattern = _draw(rng, classes, tuple(counts[z] for z in elements))
    if pattern is None:
        return None
    free: dict[int, list[Position]] = {}  # those of limited classes, in an order at random
    orbits = []
    for z, chosen in zip(elements, pattern, strict=True):
        for c, n_orbits in enumerate(chosen):
            for _ in range(n_orbits):
                found = members[c]
                if classes[c][1] < 0:
                    position = found[int(rng.integers(len(found)))]
                else:
                    if c not in free:
                        free[c] = [found[i] for i in rng.permutation(len(found))]
                    position = free[c].pop()
                orbits.append((z, position))
    return orbits


@lru_cache(maxsize=1000)
def _classes(positions: tuple[Position, ...]) -> tuple[list[list[Position]], Classes]:
    """The positions of every class, and what each class can hold."""
    members: dict[tuple[int, bool], list[Position]] = {}
    for position in positions:
        members.setdefault((position.multiplicity, position.n_free == 0), []).append(position)
    classes = tuple((m, len(found) if fixed else -1) for (m, fixed), found in members.items())
    return list(members.values()), classes


def _draw(rng: np.random.Generator, classes: Classes, counts: tuple[int, ...]) -> list[list[int]] | None:
    """Number of orbits [element][class], uniform over all patterns; None when there is no pattern."""
    total = _patterns(classes, counts)
    if total == 0:
        return None
    pattern = []
    left = tuple(limit for _, limit in classes)
    for e in range(len(counts)):
        chosen = []
        remaining = counts[e]
        for c in range(len(classes)):
            reached = _reached(classes, counts[e:], c, remaining, left)
            k = bisect_right(reached, int(rng.integers(reached[-1])))
            chosen.append(k)
            remaining -= k * classes[c][0]
            left = _less(left, c, k)
        pattern.append(chosen)
    return pattern


@lru_cache(maxsize=100_000)
def _reached(classes: Classes, counts: tuple[int, ...], c: int, remaining: int, left: tuple[int, ...]) -> list[int]:
    """Patterns in which the first element has at most 0, 1, 2 ... orbits of class c; arguments as those of `_ways`."""
    return list(
        accumulate(
            _ways(classes, counts, c + 1, remaining - k * classes[c][0], _less(left, c, k))
            for k in _possible(classes, c, remaining, left)
        )
    )


def _patterns(classes: Classes, counts: tuple[int, ...]) -> int:
    return _ways(classes, counts, 0, counts[0], tuple(limit for _, limit in classes))


@lru_cache(maxsize=1_000_000)
def _ways(classes: Classes, counts: tuple[int, ...], c: int, remaining: int, left: tuple[int, ...]) -> int:
    """Patterns for the first element's `remaining` atoms on the classes from c on, and all later elements.

    `left`: orbits that each class can still hold, -1 without limit.
    """
    if remaining == 0:
        return 1 if len(counts) == 1 else _ways(classes, counts[1:], 0, counts[1], left)
    if c == len(classes):
        return 0
    if c == len(classes) - 1:  # it takes all that remain, or nothing comes of it
        k, over = divmod(remaining, classes[c][0])
        if over or 0 <= left[c] < k:
            return 0
        return _ways(classes, counts, c + 1, 0, _less(left, c, k))
    return sum(
        _ways(classes, counts, c + 1, remaining - k * classes[c][0], _less(left, c, k))
        for k in _possible(classes, c, remaining, left)
    )


def _possible(classes: Classes, c: int, remaining: int, left: tuple[int, ...]) -> range:
    """How many orbits of class c an element with `remaining` atoms to place may take."""
    most = remaining // classes[c][0]
    return range((most if left[c] < 0 else min(most, left[c])) + 1)


def _less(left: tuple[int, ...], c: int, k: int) -> tuple[int, ...]:
    if left[c] < 0 or k == 0:
        return left
    return (*left[:c], left[c] - k, *left[c + 1 :])
