"""The user's own structures: any format that ASE reads, checked before they enter the search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from evo.cell import Space, counts_of
from potentials.occupancy import shared

MOST_ATOMS = 10_000  # beyond this it is a mistake, or an attempt to fill the memory


class SeedError(ValueError):
    """A seed file that cannot be used; the message names it."""

    exit_code = 65


def read_seeds(path: Path, space: Space) -> list[Atoms]:
    """Every frame of the file: numbers, positions, cell and periodicity, and nothing else that it may hold.

    SeedError in one line with the file, what was expected and what came, when it cannot be read, holds no frame, or
    holds a frame with no atoms, other elements, another composition than the fixed formula, numbers that are not
    finite, or a periodic cell without volume. The number of atoms is free: it is the user's own crystal.
    """
    return [_checked(f"seed file {path}, structure {i + 1}", a, space) for i, a in enumerate(_frames(path))]


def with_moments(path: Path) -> bool:
    """Whether a frame of the file begins with magnetic moments, which `read_seeds` leaves out; SeedError as there."""
    return any(isinstance(a, Atoms) and a.get_initial_magnetic_moments().any() for a in _frames(path))


def _frames(path: Path) -> list[Atoms]:
    """All that ASE reads of the file, at least one."""
    if not path.is_file():
        raise SeedError(f"seed file {path}: expected a file, found none")
    try:
        frames = ase.io.read(path, index=":")
    except Exception as error:  # noqa: BLE001  (ASE's hundred readers raise whatever they like on bad input)
        reason = " ".join(str(error).split())[:160] or "it is damaged, or its name does not say what it is"
        raise SeedError(
            f"seed file {path}: expected a format that ASE reads, got {type(error).__name__}: {reason}"
        ) from None
    if not frames:
        raise SeedError(f"seed file {path}: expected at least one structure, found none")
    return list(frames)


def _checked(name: str, atoms: Atoms, space: Space) -> Atoms:
    """A bare copy of these atoms, or a ValueError that begins with `name`."""
    if not isinstance(atoms, Atoms) or not 1 <= len(atoms) <= MOST_ATOMS:
        found = len(atoms) if isinstance(atoms, Atoms) else type(atoms).__name__
        raise SeedError(f"{name}: expected 1 to {MOST_ATOMS} atoms, got {found}")
    if found := shared(atoms):
        raise SeedError(f"{name}: expected an ordered crystal, got sites that are shared ({found})")
    cell = np.asarray(atoms.cell, dtype=float)
    for what, values in (("positions", atoms.positions), ("cell", cell)):
        if not np.isfinite(values).all():
            raise SeedError(f"{name}: expected finite {what}, got {values[~np.isfinite(values)][0]}")
    foreign = sorted({int(z) for z in atoms.numbers} - set(space.elements))
    if foreign:
        expected = ", ".join(chemical_symbols[z] for z in space.elements)
        got = ", ".join(chemical_symbols[z] if 0 < z < len(chemical_symbols) else f"number {z}" for z in foreign)
        raise SeedError(f"{name}: expected only the elements {expected}, got {got}")
    counts = counts_of(atoms.numbers)
    if space.formula is not None and _reduced(counts) != _reduced(space.formula):
        raise SeedError(f"{name}: expected the composition {_text(space.formula)}, got {_text(counts)}")
    if not space.spans(counts):
        ends = ", ".join(_text(corner) for corner in space.corners())
        raise SeedError(f"{name}: expected a mixture of {ends}, got {_text(counts)}")
    if not np.asarray(atoms.pbc).all():
        raise SeedError(f"{name}: expected a crystal, periodic in three directions, got pbc {atoms.pbc.tolist()}")
    if abs(np.linalg.det(np.asarray(atoms.cell.complete()))) < 1e-6:
        raise SeedError(f"{name}: expected a cell with a volume, got {cell.tolist()}")
    return Atoms(atoms.numbers, positions=atoms.positions, cell=cell, pbc=atoms.pbc)


def _reduced(counts: Mapping[int, int]) -> dict[int, int]:
    divisor = math.gcd(*counts.values())
    return {z: n // divisor for z, n in counts.items()}


def _text(counts: Mapping[int, int]) -> str:
    return "".join(f"{chemical_symbols[z]}{n if n > 1 else ''}" for z, n in sorted(counts.items()))
