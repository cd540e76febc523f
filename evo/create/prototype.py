"""Prototypes: the structure types in which elements, alloys and simple compounds are found most often.

Each is given once, by its space group, its cell in units of a, and one point of each orbit; spglib's own operations
make the crystal. Strukturbericht names as in the AFLOW encyclopedia (Mehl 2017, doi:10.1016/j.commatsci.2017.01.017).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from evo.cell import reduce_cell
from evo.elements import atomic_volume, compound_volume
from evo.symmetry import group

Point = tuple[float, float, float]

IDEAL = (8 / 3) ** 0.5  # c/a of ideal hexagonal close packing
SAME = ((0, 1),)  # exchanging both elements gives the same crystal
FIRST_TWO = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # exchanging the first two does


@dataclass(frozen=True)
class Prototype:
    """A structure type. `orbits`: which element (0 = the first letter), and a point, fractional in the standard cell."""

    name: str
    group: int
    orbits: tuple[tuple[int, Point], ...]
    ratio: float = 1.0  # c/a
    orders: tuple[tuple[int, ...], ...] = ()  # distinct ways to put the elements on the letters; () for all

    @property
    def n_elements(self) -> int:
        return 1 + max(element for element, _ in self.orbits)


PROTOTYPES = (
    Prototype("fcc", 225, ((0, (0, 0, 0)),)),
    Prototype("bcc", 229, ((0, (0, 0, 0)),)),
    Prototype("hcp", 194, ((0, (1 / 3, 2 / 3, 1 / 4)),), IDEAL),
    Prototype("dhcp", 194, ((0, (0, 0, 0)), (0, (1 / 3, 2 / 3, 1 / 4))), 2 * IDEAL),
    Prototype("diamond", 227, ((0, (0, 0, 0)),)),
    Prototype("sc", 221, ((0, (0, 0, 0)),)),
    Prototype("beta-Sn", 141, ((0, (0, 0, 0)),), 0.55),
    Prototype("omega", 191, ((0, (0, 0, 0)), (0, (1 / 3, 2 / 3, 1 / 2))), 0.61),
    Prototype("A15", 223, ((0, (0, 0, 0)), (0, (1 / 4, 0, 1 / 2)))),
    # AB
    Prototype("B1", 225, ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 1 / 2))), orders=SAME),
    Prototype("B2", 221, ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 1 / 2))), orders=SAME),
    Prototype("B3", 216, ((0, (0, 0, 0)), (1, (1 / 4, 1 / 4, 1 / 4))), orders=SAME),
    Prototype("B4", 186, ((0, (1 / 3, 2 / 3, 0)), (1, (1 / 3, 2 / 3, 3 / 8))), IDEAL, orders=SAME),
    Prototype("B8_1", 194, ((0, (0, 0, 0)), (1, (1 / 3, 2 / 3, 1 / 4))), 1.4),
    Prototype("B_h", 187, ((0, (0, 0, 0)), (1, (1 / 3, 2 / 3, 1 / 2))), 0.95, orders=SAME),
    Prototype("L1_0", 123, ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 1 / 2))), 2**0.5, orders=SAME),
    Prototype("L1_1", 166, ((0, (0, 0, 0)), (1, (0, 0, 1 / 2))), 2 * 6**0.5, orders=SAME),
    # AB2
    Prototype("C1", 225, ((0, (0, 0, 0)), (1, (1 / 4, 1 / 4, 1 / 4)))),
    Prototype("C4", 136, ((0, (0, 0, 0)), (1, (0.305, 0.305, 0))), 0.644),
    Prototype("C11_b", 139, ((0, (0, 0, 0)), (1, (0, 0, 1 / 3))), 3.0),
    Prototype("C32", 191, ((0, (0, 0, 0)), (1, (1 / 3, 2 / 3, 1 / 2))), 1.08),
    Prototype("C15", 227, ((0, (0, 0, 0)), (1, (5 / 8, 5 / 8, 5 / 8)))),
    Prototype("CdI2", 164, ((0, (0, 0, 0)), (1, (1 / 3, 2 / 3, 1 / 4))), 1.6),
    # AB3
    Prototype("L1_2", 221, ((0, (0, 0, 0)), (1, (0, 1 / 2, 1 / 2)))),
    Prototype("D0_3", 225, ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 1 / 2)), (1, (1 / 4, 1 / 4, 1 / 4)))),
    Prototype("D0_22", 139, ((0, (0, 0, 0)), (1, (0, 0, 1 / 2)), (1, (0, 1 / 2, 1 / 4))), 2.0),
    Prototype("D0_19", 194, ((0, (1 / 3, 2 / 3, 1 / 4)), (1, (1 / 6, 1 / 3, 3 / 4))), IDEAL / 2),
    # three elements
    Prototype("L2_1", 225, ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 1 / 2)), (2, (1 / 4, 1 / 4, 1 / 4))), orders=FIRST_TWO),
    Prototype("C1_b", 216, ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 1 / 2)), (2, (1 / 4, 1 / 4, 1 / 4))), orders=FIRST_TWO),
    Prototype("E2_1", 221, ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 1 / 2)), (2, (0, 1 / 2, 1 / 2)))),
    Prototype("L1_0-ABC2", 123, ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 0)), (2, (0, 1 / 2, 1 / 2))), 1.0, FIRST_TWO),
    Prototype("delafossite", 166, ((0, (0, 0, 0)), (1, (0, 0, 1 / 2)), (2, (0, 0, 0.11))), 5.8),
    # four elements
    Prototype(
        "quaternary Heusler",
        216,
        ((0, (0, 0, 0)), (1, (1 / 2, 1 / 2, 1 / 2)), (2, (1 / 4, 1 / 4, 1 / 4)), (3, (3 / 4, 3 / 4, 3 / 4))),
        orders=((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)),
    ),
)


def prototypes(elements: Iterable[int]) -> list[tuple[str, Atoms]]:
    """Name and crystal of every prototype of exactly these elements, primitive cells at the guessed volume.

    One crystal for each distinct way to put the elements on the sites; the name is then that of the prototype and the
    symbols in the order of its sites, for instance "L1_2 Pd Cu" for PdCu3.
    """
    return [(name, atoms.copy()) for name, atoms in _prototypes(tuple(sorted({int(z) for z in elements})))]


@cache
def _prototypes(elements: tuple[int, ...]) -> list[tuple[str, Atoms]]:
    found = []
    for kind in PROTOTYPES:
        if kind.n_elements != len(elements):
            continue
        for order in kind.orders or permutations(range(len(elements))):
            chosen = tuple(elements[i] for i in order)
            name = " ".join([kind.name, *(chemical_symbols[z] for z in chosen)])
            found.append((name, crystal(kind, chosen)))
    return found


def crystal(kind: Prototype, elements: tuple[int, ...]) -> Atoms:
    """This prototype with these elements on its sites, in the order of its letters."""
    space_group = group(kind.group)
    numbers: list[int] = []
    points: list[np.ndarray] = []
    for element, point in kind.orbits:
        images = space_group.rotations @ np.array(point) + space_group.translations
        images = images @ np.linalg.inv(space_group.primitive)
        images = np.rint((images % 1.0) * 1e6).astype(int) % 1_000_000
        orbit = np.unique(images, axis=0) / 1e6
        numbers += [elements[element]] * len(orbit)
        points.append(orbit)
    hexagonal = space_group.system == "hexagonal"
    cell = np.diag([1.0, 1.0, kind.ratio])
    if hexagonal:
        cell[1, :2] = -0.5, 0.75**0.5
    cell = space_group.primitive @ cell
    counts = {z: numbers.count(z) for z in elements}
    volume = compound_volume(counts, {z: atomic_volume(z) for z in elements})
    cell *= (volume / abs(float(np.linalg.det(cell)))) ** (1 / 3)
    return reduce_cell(Atoms(numbers, scaled_positions=np.concatenate(points), cell=cell, pbc=True))
