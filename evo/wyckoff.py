"""Wyckoff positions of a space group, derived from its operations alone.

An operation x -> R x + t fixes a point, a line or a plane. These flats, the points where fixed lines cross, and the
whole space are the places where an atom has its own site symmetry; flats that an operation carries into one another
are one Wyckoff position. (A line where mirrors meet is the axis of their product, and a point that only rotations fix
lies on two axes, so nothing else needs to be intersected.) All arithmetic is exact: integers in units of 1/UNIT.

Coordinates are fractional in the primitive cell, points are columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

UNIT = 288  # translations are multiples of 1/12, fixed points of the orders 2, 3, 4 and 6 divide them further
_IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)
_SHIFTS = np.array([[i, j, k] for i in range(-2, 3) for j in range(-2, 3) for k in range(-2, 3)])


@dataclass(frozen=True, eq=False)
class Position:
    """A Wyckoff position: the points origin + parameters @ directions and their images under the group.

    Equal to itself alone, so that tables can be kept of positions.
    """

    multiplicity: int  # atoms per primitive cell
    origin: Floats  # (3,) fractional, primitive cell
    directions: Floats  # (free parameters, 3): steps of one repeat of the flat
    rotations: Floats  # (multiplicity, 3, 3): one operation for each image of a point
    translations: Floats  # (multiplicity, 3)

    @cached_property
    def n_free(self) -> int:
        """Number of free parameters: 0 for a point, 1 for a line, 2 for a plane, 3 for the general position."""
        return len(self.directions)

    def orbits(self, rng: np.random.Generator, n: int) -> Floats:
        """(n, multiplicity, 3) fractional coordinates in [0, 1) of the primitive cell, free parameters at random."""
        if not self.n_free:
            return np.broadcast_to(self._point, (n, *self._point.shape))
        points = self.origin + rng.random((n, self.n_free)) @ self.directions
        turned = self.rotations.reshape(-1, 3) @ points.T
        images: Floats = turned.T.reshape(n, -1, 3) + self.translations
        return images - np.floor(images)

    @cached_property
    def _point(self) -> Floats:
        """(multiplicity, 3) the same of a position without free parameters."""
        images: Floats = self.rotations @ self.origin + self.translations
        return images - np.floor(images)


@dataclass(frozen=True)
class _Flat:
    """Points origin + span of the directions, modulo the lattice. `normals` @ x tells flats of one direction apart."""

    origin: Ints  # (3,), units of 1/UNIT
    directions: Ints  # (d, 3)
    normals: Ints  # (3 - d, 3)

    def keys(self, rotations: Ints, translations: Ints, inverses: Ints) -> list[tuple[int, ...]]:
        """For each operation, numbers that are the same for the same flat, wherever along it the origin lies.

        `inverses` (m, 3, 3) are those of the rotations.
        """
        origins = rotations @ self.origin + translations
        if len(self.directions) == 0:
            return [(0, *row) for row in (origins % UNIT).tolist()]
        if len(self.directions) == 1:
            vectors = rotations @ self.directions[0]
        else:
            # a normal is a row: it turns with the inverse
            vectors = self.normals[0] @ inverses
        result = []
        for vector, (x, y, z) in zip(vectors.tolist(), origins.tolist(), strict=True):
            direction = _upright(tuple(vector))
            normals = _across(direction).tolist() if len(self.directions) == 1 else [direction]
            heights = [(a * x + b * y + c * z) % UNIT for a, b, c in normals]
            result.append((len(self.directions), *direction, *heights))
        return result


def positions(rotations: Ints, translations: Floats) -> tuple[Position, ...]:
    """All Wyckoff positions, the most special first: by free parameters, then multiplicity.

    `rotations` (m, 3, 3) and `translations` (m, 3) are those of a primitive cell, one operation for each rotation.
    """
    exact = np.rint(translations * UNIT).astype(int)
    if np.abs(exact - translations * UNIT).max() > 1e-3:
        raise ValueError(f"translations must be multiples of 1/{UNIT}")
    fixed = _distinct((flat for r, t in zip(rotations, exact, strict=True) for flat in _fixed(r, t)), rotations, exact)
    lines = [flat for flat in fixed if len(flat.directions) == 1]
    crossings = (flat for line in lines for flat in _crossings(line, rotations, exact))
    everything = _Flat(np.zeros(3, int), np.eye(3, dtype=int), np.zeros((0, 3), int))
    flats = _distinct([*fixed, *crossings], rotations, exact)
    found = [_position(flat, rotations, exact) for flat in [*flats, everything]]
    return tuple(sorted(found, key=lambda p: (p.n_free, p.multiplicity, tuple(p.origin))))


class _Turn(NamedTuple):
    """What a rotation leaves fixed, wherever its axis or plane lies."""

    order: int
    along: Ints  # (3, 3) order times the projection on what the rotation leaves alone
    sums: Ints  # (3, 3) transposed: sum over j < order of sum over i < j of R^i
    directions: Ints  # (d, 3) of what is fixed
    normals: Ints  # (3 - d, 3)


@cache
def _turn(elements: tuple[int, ...]) -> _Turn:
    """Of the rotation with these nine elements, row by row; not of the identity. Groups have few rotations between them."""
    rotation = np.array(elements).reshape(3, 3)
    powers = [np.eye(3, dtype=int)]
    while not np.array_equal(rotation @ powers[-1], powers[0]):
        powers.append(rotation @ powers[-1])
    along = np.sum(powers, axis=0)
    sums = np.sum(np.cumsum(powers, axis=0)[:-1], axis=0).T
    if not along.any():
        directions, normals = np.zeros((0, 3), int), np.eye(3, dtype=int)
    elif np.linalg.matrix_rank(along) == 1:
        axis = _upright(tuple(along[:, np.flatnonzero(along.any(axis=0))[0]].tolist()))
        directions, normals = np.array([axis]), _across(axis)
    else:
        moved = rotation - powers[0]
        normal = _upright(tuple(moved[np.flatnonzero(moved.any(axis=1))[0]].tolist()))
        directions, normals = _across(normal), np.array([normal])
    return _Turn(len(powers), along, sums, directions, normals)


def _fixed(rotation: Ints, translation: Ints) -> list[_Flat]:
    """The flats, modulo the lattice, that this operation fixes with any lattice translation added to it."""
    elements = tuple(rotation.ravel().tolist())
    if elements == _IDENTITY:
        return []
    turn = _turn(elements)
    steps = translation + UNIT * _SHIFTS
    steps = steps[~(steps @ turn.along.T).any(axis=1)]  # a translation along the axis fixes nothing
    if len(steps) == 0:
        return []
    # the mean of the orbit of the origin: (1/order) sum over j of (sum over i < j of R^i) s
    origins = steps @ turn.sums
    if (origins % turn.order).any():
        raise ValueError(f"a fixed point is no multiple of 1/{UNIT}")
    origins //= turn.order
    first = _first_of_each(origins @ turn.normals.T % UNIT)
    return [_Flat(origins[i] % UNIT, turn.directions, turn.normals) for i in first]


def _first_of_each(rows: Ints) -> list[int]:
    """Ascending indices of the rows (n, k) that are there for the first time."""
    seen: dict[tuple[int, ...], int] = {}
    for i, row in enumerate(rows.tolist()):
        seen.setdefault(tuple(row), i)
    return list(seen.values())


def _crossings(line: _Flat, rotations: Ints, translations: Ints) -> list[_Flat]:
    """Points of this line that an operation fixes which moves the rest of the line."""
    moved = rotations - np.eye(3, dtype=int)
    drift = moved @ line.directions[0]
    moves = drift.any(axis=1)
    back = -(moved @ line.origin + translations)[moves] % UNIT
    held = (_multiples()[drift[moves] % UNIT] == back[:, :, None]).all(axis=1)  # operation, place along the line
    return [
        _Flat((line.origin + j * line.directions[0]) % UNIT, np.zeros((0, 3), int), np.eye(3, dtype=int))
        for j in np.flatnonzero(held.any(axis=0))
    ]


def _distinct(flats: Iterable[_Flat], rotations: Ints, translations: Ints) -> list[_Flat]:
    """One flat of every orbit under the group."""
    identity = np.eye(3, dtype=int)[None], np.zeros((1, 3), int)
    inverses = np.rint(np.linalg.inv(rotations)).astype(int)
    seen: set[tuple[int, ...]] = set()
    kept = []
    for flat in flats:
        if flat.keys(*identity, identity[0])[0] not in seen:
            seen.update(flat.keys(rotations, translations, inverses))
            kept.append(flat)
    return kept


def _position(flat: _Flat, rotations: Ints, translations: Ints) -> Position:
    """The position whose points are these, with one operation for each distinct image of a general point of the flat."""
    images = np.concatenate(
        [(rotations @ flat.origin + translations) % UNIT, (rotations @ flat.directions.T).reshape(len(rotations), -1)],
        axis=1,
    )
    first = _first_of_each(images)
    return Position(
        multiplicity=len(first),
        origin=flat.origin / UNIT,
        directions=flat.directions.astype(float),
        rotations=rotations[first].astype(float),
        translations=translations[first] / UNIT,
    )


@cache
def _multiples() -> NDArray[np.int16]:
    """(UNIT, UNIT) products modulo UNIT."""
    return (np.outer(np.arange(UNIT), np.arange(UNIT)) % UNIT).astype(np.int16)


@cache
def _upright(vector: tuple[int, ...]) -> tuple[int, ...]:
    """The primitive integer vector along this one whose first component that is not zero is positive."""
    divisor = int(np.gcd.reduce(vector))
    if next(x for x in vector if x) < 0:
        divisor = -divisor
    return tuple(x // divisor for x in vector)


@cache
def _across(vector: tuple[int, ...]) -> Ints:
    """(2, 3) basis of all integer vectors perpendicular to this primitive one: their cross product is ± the vector."""
    target = np.array(vector)
    shortest = sorted(_SHIFTS.tolist(), key=lambda v: (sum(x * x for x in v), v))
    candidates = np.array([v for v in shortest if not np.dot(v, target)])[1:]
    for i, u in enumerate(candidates):
        for w in candidates[:i]:
            if np.array_equal(np.abs(np.cross(w, u)), np.abs(target)):
                return np.array([w, u])
    raise ValueError(f"{vector} is no direction of a crystal's symmetry in a primitive cell")
