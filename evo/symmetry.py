"""Symmetry: the space group of a crystal, its exact primitive cell, and the groups themselves.

The only place that knows spglib. What spglib cannot do is a value here (group 1, the crystal as it was), never an
exception: a search meets every odd crystal there is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.cell import Cell
from numpy.typing import NDArray

from evo import wyckoff
from evo.cell import reduce_cell

os.environ.setdefault("SPGLIB_WARNING", "OFF")  # what it cannot do it would also tell on standard error
if hasattr(spglib.error, "OLD_ERROR_HANDLING"):
    spglib.error.OLD_ERROR_HANDLING = False  # raise, rather than return None and remember

N_HALL = 530  # settings in spglib's table
DIGITS = 1e-9  # Å, and of lattice coordinates: symmetry to the last digits
# of translations to lattice vectors, of the standard setting, in any of its cells: halves, thirds, quarters, sixths, eighths
TRANSLATIONS = 24
PRIMITIVE = {  # rows: the primitive vectors in units of the conventional ones
    "P": np.eye(3),
    "A": np.array([[2, 0, 0], [0, 1, 1], [0, -1, 1]]) / 2,
    "C": np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}
SYSTEMS = (
    (2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (142, "tetragonal"), (194, "hexagonal"), (230, "cubic")
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """A space group in its standard setting (unique axis b, hexagonal axes, origin choice 1)."""

    number: int
    symbol: str  # short Hermann-Mauguin
    system: str  # shape of the conventional cell; trigonal groups have the hexagonal one
    rotations: NDArray[np.int_]  # (m, 3, 3), conventional cell, centring translations included
    translations: NDArray[np.float64]  # (m, 3)
    centring: int  # lattice points per conventional cell
    primitive: NDArray[np.float64]  # (3, 3): primitive @ conventional cell = primitive cell, rows are vectors
    positions: tuple[wyckoff.Position, ...]  # of the primitive cell, the most special first


@dataclass(frozen=True)
class Conventional:
    """A crystal in the conventional cell of its space group, on exact places, with one atom of each orbit."""

    number: int
    symbol: str  # full Hermann-Mauguin, such as P 1 21/c 1
    cell: Cell
    numbers: NDArray[np.int_]  # (n,) atomic numbers of all atoms of the cell
    rotations: NDArray[np.int_]  # (m, 3, 3), centring translations included
    translations: NDArray[np.float64]  # (m, 3)
    sites: NDArray[np.int_]  # (k,) atomic number of each orbit
    places: NDArray[np.float64]  # (k, 3) fractional, in [0, 1)
    multiplicities: NDArray[np.int_]  # (k,) atoms of the orbit


def space_group(atoms: Atoms, symprec: float = 0.05) -> int:
    """Number of the space group when atoms may be `symprec` Å off their places; 1 when there is no telling."""
    dataset = _dataset(atoms, symprec)
    return 1 if dataset is None else int(dataset.number)


def primitive(atoms: Atoms, symprec: float = 0.05) -> Atoms:
    """The primitive cell, Niggli-reduced, with cell and atoms on their exact places; the crystal as it was on failure."""
    if (crystal := _crystal(atoms)) is None:
        return atoms.copy()
    try:
        found = spglib.standardize_cell(crystal, to_primitive=True, no_idealize=False, symprec=symprec)
    except spglib.SpglibError:
        return atoms.copy()
    return atoms.copy() if found is None else reduce_cell(_atoms(found))


def conventional(atoms: Atoms, symprec: float = 0.05) -> Conventional:
    """The crystal in its conventional cell; in its own as P 1 when there is no telling. ValueError: it is no crystal."""
    if (crystal := _crystal(atoms)) is None:
        raise ValueError(
            f"a crystal is periodic along all three axes and has atoms, got {len(atoms)} with pbc {atoms.pbc}"
        )
    if (dataset := _dataset(atoms, symprec)) is None:
        cell, places, numbers = crystal
        hall = 1
    else:
        cell, places, numbers = dataset.std_lattice, dataset.std_positions, np.asarray(dataset.std_types)
        hall = int(dataset.hall_number)
    operations = spglib.get_symmetry_from_database(hall)
    rotations, translations = operations["rotations"].astype(int), operations["translations"]
    places = places % 1.0 % 1.0
    orbits = _orbits(np.asarray(cell), places, numbers, rotations, translations)
    _, first, counts = np.unique(orbits, return_index=True, return_counts=True)
    kind = spglib.get_spacegroup_type(hall)
    return Conventional(
        number=int(kind.number),
        symbol=str(kind.international).split(" = ")[-1].replace("_", ""),
        cell=Cell(cell),
        numbers=numbers,
        rotations=rotations,
        translations=translations,
        sites=numbers[first],
        places=places[first],
        multiplicities=counts,
    )


def conventional_axes(atoms: Atoms, symprec: float) -> NDArray[np.int_] | None:
    """(3, 3) the conventional cell of a centred lattice, rows, in vectors of this primitive cell, right-handed.

    None where the conventional cell is no larger, is not made of whole cells like this one, or when there is no telling.
    """
    if (dataset := _dataset(atoms, symprec)) is None:
        return None
    axes = np.linalg.inv(dataset.transformation_matrix).T
    whole = np.rint(axes).astype(int)
    if np.abs(axes - whole).max() > 1e-3 or round(abs(np.linalg.det(whole))) < 2:
        return None
    return whole if np.linalg.det(whole) > 0 else -whole


def exact(atoms: Atoms, symprec: float) -> Atoms:
    """The crystal with its symmetry to the last digits: cell and atoms moved by less than about `symprec` Å onto their places.

    It is neither turned nor reordered. Its origin is that of the standard setting, about which the fewest need translations.
    The crystal as it was when there is no telling, or where its cell is not primitive.
    """
    result = atoms.copy()
    dataset = _dataset(atoms, symprec)
    if dataset is None or len(np.unique(dataset.rotations.reshape(-1, 9), axis=0)) < len(dataset.rotations):
        return result
    rotations = np.asarray(dataset.rotations, dtype=int)
    start = -np.linalg.solve(dataset.transformation_matrix, dataset.origin_shift)
    cell = np.asarray(atoms.cell, dtype=float)
    places = atoms.positions @ np.linalg.inv(cell) - start
    translations = dataset.translations + (rotations - np.eye(3, dtype=int)) @ start
    whole = np.rint(translations * TRANSLATIONS) / TRANSLATIONS
    other = np.where(atoms.numbers[:, None] == atoms.numbers, 0.0, np.inf)
    moved = np.zeros_like(places)
    for rotation, translation in zip(rotations, whole, strict=True):
        # where the images of the atoms lie from the atoms that are there already: they are moved by the mean of that
        apart = (places @ rotation.T + translation)[:, None] - places
        apart -= np.rint(apart)
        distances = np.linalg.norm(apart @ cell, axis=2) + other
        nearest = distances.argmin(axis=1)
        if distances[np.arange(len(places)), nearest].max() > 10 * symprec or len(set(nearest.tolist())) < len(places):
            return result
        moved[nearest] += apart[np.arange(len(places)), nearest]
    # the metric that all rotations leave, R^T G R = G, by a strain without a rotation
    metric = (rotations.transpose(0, 2, 1) @ (cell @ cell.T) @ rotations).mean(axis=0)
    inverse = np.linalg.inv(cell)
    squares, axes = np.linalg.eigh(inverse @ metric @ inverse.T)
    result.set_cell(cell @ (axes * np.sqrt(squares)) @ axes.T)
    result.set_scaled_positions(places + moved / len(rotations))
    return result


def is_exact(atoms: Atoms, symprec: float) -> bool:
    """Whether all symmetry that the crystal has within `symprec` Å is there to the last digits, as `exact` makes it."""
    loose, tight = (_dataset(atoms, tolerance) for tolerance in (symprec, DIGITS))
    if loose is None or tight is None or len(loose.rotations) != len(tight.rotations):
        return False
    steps = tight.translations * TRANSLATIONS
    return bool(np.abs(steps - np.rint(steps)).max() < TRANSLATIONS * DIGITS)


def _orbits(
    cell: NDArray[np.float64],
    places: NDArray[np.float64],
    numbers: NDArray[np.int_],
    rotations: NDArray[np.int_],
    translations: NDArray[np.float64],
) -> NDArray[np.int_]:
    """(n,) for each atom the first one whose images it is among, by the nearest image."""
    orbits = np.full(len(places), -1)
    for i in range(len(places)):
        if orbits[i] < 0:
            images = rotations @ places[i] + translations
            apart = images[:, None] - places
            apart = np.linalg.norm((apart - np.rint(apart)) @ cell, axis=2)
            apart[:, numbers != numbers[i]] = np.inf
            orbits[np.unique(apart.argmin(axis=1))] = i
    return orbits


def laue_rotations(atoms: Atoms, symprec: float = 0.05) -> NDArray[np.int_]:
    """(m, 3, 3) rotations of the crystal together with the inversion, of lattice coordinates (x' = R x), identity first.

    Identity and inversion when there is no telling.
    """
    least = np.stack([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    if (dataset := _dataset(atoms, symprec)) is None:
        return least
    rotations = np.asarray(dataset.rotations, dtype=int).reshape(-1, 9)
    found = np.unique(np.concatenate([rotations, -rotations]), axis=0).reshape(-1, 3, 3)
    return np.concatenate([least[:1], found[(found != least[0]).any(axis=(1, 2))]])


def symbol(number: int) -> str:
    """Short Hermann-Mauguin symbol, for instance Fm-3m for 225."""
    return str(spglib.get_spacegroup_type(_hall(number)).international_short)


@cache
def group(number: int) -> Group:
    """The space group with this number, 1 to 230. The first call derives it, in about ten milliseconds."""
    if not 1 <= number <= 230:
        raise ValueError(f"a space group has a number from 1 to 230, got {number}")
    operations = spglib.get_symmetry_from_database(_hall(number))
    rotations, translations = operations["rotations"].astype(int), operations["translations"]
    name = symbol(number)
    basis = PRIMITIVE[name[0]]
    # one operation for each rotation; in columns x_primitive = basis^-T x_conventional
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    to_primitive = np.linalg.inv(basis).T
    small = np.rint(to_primitive @ rotations[first] @ basis.T).astype(int)
    return Group(
        number=number,
        symbol=name,
        system=next(system for last, system in SYSTEMS if number <= last),
        rotations=rotations,
        translations=translations,
        centring=len(rotations) // len(first),
        primitive=basis,
        positions=wyckoff.positions(small, translations[first] @ to_primitive.T),
    )


@cache
def _halls() -> dict[int, int]:
    """Space group number -> the first setting in spglib's table, which is its standard."""
    first: dict[int, int] = {}
    for hall in range(1, N_HALL + 1):
        first.setdefault(int(spglib.get_spacegroup_type(hall).number), hall)
    return first


def _hall(number: int) -> int:
    return _halls()[number]


def _dataset(atoms: Atoms, symprec: float) -> Any:
    """What spglib tells of the crystal, or None for what is no crystal or cannot be told."""
    if (crystal := _crystal(atoms)) is None:
        return None
    try:
        return spglib.get_symmetry_dataset(crystal, symprec=symprec)
    except spglib.SpglibError:
        return None


def _crystal(atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int_]] | None:
    """What spglib reads, or None for what is no crystal."""
    cell = np.asarray(atoms.cell, dtype=float)
    if len(atoms) == 0 or not np.asarray(atoms.pbc).all():
        return None
    if not (np.isfinite(cell).all() and np.isfinite(atoms.positions).all()) or abs(np.linalg.det(cell)) < 1e-6:
        return None
    return cell, atoms.positions @ np.linalg.inv(cell), atoms.numbers


def _atoms(crystal: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int_]]) -> Atoms:
    cell, fractional, numbers = crystal
    return Atoms(numbers, scaled_positions=fractional, cell=cell, pbc=True)


def equivalent_sites(atoms: Atoms, symprec: float = 0.05) -> NDArray[np.int_]:
    """(n,) for each atom the first atom that symmetry carries onto it; every atom alone when there is no telling."""
    alone = np.arange(len(atoms))
    dataset = _dataset(atoms, symprec)
    return alone if dataset is None else np.asarray(dataset.equivalent_atoms, dtype=int)
