"""Packing: what turns a raw arrangement of atoms into a crystal that may be relaxed, or refuses it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from evo.cell import Space, counts_of, grid, reduce_cell, shortest_ratio, well_proportioned

TIGHTEST, LOOSEST = 0.65, 1.6  # volume over guess beyond which a crystal is rescaled to the guess
MOST_PUSHES = 40
SLACK = 0.6  # Å beyond their limit within which pairs are kept in view while atoms are pushed
MARGIN = 1.02  # pushed atoms end a little beyond the limit, so that rounding does not undo it
INFLATION = 1.06  # of the volume, when pushing alone does not help
MOST_INFLATIONS = 5


def settle(atoms: Atoms, space: Space) -> Atoms | None:
    """This crystal in its Niggli cell, atoms pushed apart, volume near the guess; None if it cannot be had.

    Whatever it returns is allowed by `space`, finite, no needle or plate, and no two atoms are too close. The
    argument is not changed.
    """
    if len(atoms) == 0 or not space.allows(counts_of(atoms.numbers)):
        return None
    if not (np.isfinite(atoms.positions).all() and np.isfinite(np.asarray(atoms.cell)).all()):
        return None
    periodic = bool(np.asarray(atoms.pbc).all())
    result = reduce_cell(atoms)
    if periodic:
        volume = result.get_volume()
        if volume < 1e-6 or not well_proportioned(np.asarray(result.cell), len(result)):
            return None
        guess = space.volume(result.numbers)
        if not TIGHTEST < volume / guess < LOOSEST:
            result = at_volume(result, guess)
    for _ in range(MOST_INFLATIONS):
        if shortest_ratio(result) >= space.min_distance:
            return result
        pushed = push_apart(result, space.min_distance * MARGIN)
        if shortest_ratio(pushed) >= space.min_distance:
            return reduce_cell(pushed)
        if not periodic:
            return None
        result = at_volume(result, INFLATION * result.get_volume())
    return None


def push_apart(atoms: Atoms, ratio: float) -> Atoms:
    """The crystal after atoms closer than `ratio` times their sum of covalent radii stepped apart.

    Every overlapping pair moves by half of what it lacks, both ways, until none overlaps or MOST_PUSHES are
    spent. The cell stays, so an atom too close to its own image stays too close.
    """
    result = atoms.copy()
    pbc = np.asarray(result.pbc)
    cell = np.asarray(result.cell.complete())
    inverse = np.linalg.inv(cell)
    images = grid(tuple(int(n) for n in pbc)) @ cell
    first, second = np.triu_indices(len(result), k=1)
    if len(first) == 0:
        return result
    radii = covalent_radii[result.numbers]
    limits = ratio * (radii[first] + radii[second])
    positions, moved = result.positions, None
    for _ in range(MOST_PUSHES):
        # of all pairs and images few can overlap before an atom has moved by half of SLACK
        if moved is None or np.einsum("nx,nx->n", moved, moved).max() > (0.5 * SLACK) ** 2:
            if moved is not None:
                positions = positions + moved
            fractional = (positions[second] - positions[first]) @ inverse
            fractional -= np.rint(fractional) * pbc
            vectors = (fractional @ cell)[:, None, :] + images  # pair, image, xyz
            pair, image = np.nonzero(np.einsum("pix,pix->pi", vectors, vectors) < (limits[:, None] + SLACK) ** 2)
            start, limit, one, other = vectors[pair, image], limits[pair], first[pair], second[pair]
            moved = np.zeros_like(positions)
        now = start + moved[other] - moved[one]
        distances = np.sqrt(np.einsum("kx,kx->k", now, now))
        close = np.flatnonzero(distances < limit)
        if len(close) == 0:
            break
        now, distances = now[close], distances[close]
        lacking = limit[close] - distances
        stuck = distances < 1e-6
        if stuck.any():
            # atoms on one point have no direction: any will do, the same one every time
            now[stuck], distances[stuck] = [0.6, 0.64, 0.48], 1.0
        steps = (0.5 * lacking / distances)[:, None] * now
        np.add.at(moved, other[close], steps)
        np.subtract.at(moved, one[close], steps)
    result.positions = positions if moved is None else positions + moved
    return result


def at_volume(atoms: Atoms, volume: float) -> Atoms:
    """The crystal with its cell scaled to this volume in Å³, fractional coordinates kept; unchanged if not periodic."""
    result = atoms.copy()
    if np.asarray(atoms.pbc).all():
        factor = (volume / atoms.get_volume()) ** (1 / 3)
        result.set_cell(np.asarray(atoms.cell) * factor)
        result.positions *= factor
    return result


def recast(atoms: Atoms, numbers: Sequence[int] | NDArray[np.int_], space: Space) -> Atoms:
    """The same sites with other elements on them, the volume following the guess for the new composition."""
    result = Atoms(numbers=numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return at_volume(result, result.cell.volume * space.volume(result.numbers) / space.volume(atoms.numbers))
