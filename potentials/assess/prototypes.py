"""Prototypes: fcc, bcc and hcp, and the ordered phases that decorate them, each as a primitive cell of given volume.

Names are Strukturbericht symbols where there is one; a formula says which element is on which sublattice.
Cells of cubic lattices have the cubic axes along x, y, z; those with one main axis have it along z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii, reference_states
from numpy.typing import NDArray

from potentials.stratum import Stratum
from potentials.structures import Floats

LATTICES = ("fcc", "bcc", "hcp")
IDEAL = (8 / 3) ** 0.5  # c/a of close-packed spheres
FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
BCC = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
HEXAGONAL = np.array([[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, 1]])
BODY_CENTRED = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5]])
RHOMBOHEDRAL = np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3  # in units of hexagonal vectors


@dataclass(frozen=True, eq=False)
class Prototype:
    """A lattice with places for up to three elements."""

    name: str
    system: str  # crystal system, which decides the independent elastic constants
    space_group: int
    cell: Floats  # (3, 3), any unit: only the shape counts
    places: Floats  # (n, 3) lattice coordinates
    sites: tuple[int, ...]  # (n,) which element, 0 the first

    def build(self, elements: Sequence[int], volume: float) -> Atoms:
        """The crystal with these atomic numbers on its sites, at `volume` Å³ per atom."""
        scale = (volume * len(self.sites) / abs(np.linalg.det(self.cell))) ** (1 / 3)
        numbers = [elements[s] for s in self.sites]
        return Atoms(numbers, scaled_positions=self.places, cell=scale * self.cell, pbc=True)


@dataclass(frozen=True)
class Crystal:
    """A prototype with elements on its sites."""

    prototype: Prototype
    elements: tuple[int, ...]  # atomic numbers by site

    @property
    def name(self) -> str:
        """For instance "Cu3Pd L1_2"."""
        return f"{self.build(1.0).get_chemical_formula(mode='hill', empirical=True)} {self.prototype.name}"

    def build(self, volume: float) -> Atoms:
        """The ideal crystal at `volume` Å³ per atom."""
        return self.prototype.build(self.elements, volume)

    def guess(self) -> Atoms:
        """The ideal crystal at a volume that is known without any calculation."""
        return self.build(float(np.mean([guessed_volume(self.elements[s]) for s in self.prototype.sites])))


def _prototype(name: str, system: str, group: int, cell: Floats, places: object, sites: str) -> Prototype:
    return Prototype(name, system, group, cell, np.array(places, dtype=float), tuple("ABC".index(s) for s in sites))


def _diagonal(x: float, y: float, z: float) -> NDArray[np.float64]:
    return np.diag([x, y, z]).astype(float)


_ALONG = [[0.25 * k] * 3 for k in range(4)]  # the four bcc sites along the diagonal of a doubled cube
_L1_2 = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
_D0_19 = [
    [(i + a) / 2, (j + b) / 2, z]
    for z, a, b in ((0.25, 1 / 3, 2 / 3), (0.75, 2 / 3, 1 / 3))
    for i in (0, 1)
    for j in (0, 1)
]


def _placed(cell: Floats, cartesian: object) -> Floats:
    """Lattice coordinates of places given along x, y, z."""
    return np.asarray(np.array(cartesian, dtype=float) @ np.linalg.inv(cell) % 1.0)


_D0_22_CELL = BODY_CENTRED @ _diagonal(1, 1, 2)
_D0_23_CELL = BODY_CENTRED @ _diagonal(1, 1, 4)
_C11_B_CELL = BODY_CENTRED @ _diagonal(1, 1, 3)
_MOPT2_CELL = BODY_CENTRED @ _diagonal(0.5**0.5, 3 * 0.5**0.5, 1)
_HALVES = [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
_D0_23 = [[0, 0, 0], [0, 0, 1], *_HALVES, *([x, y, z + 1] for x, y, z in _HALVES)]

UNARY = (
    _prototype("fcc", "cubic", 225, FCC, [[0, 0, 0]], "A"),
    _prototype("bcc", "cubic", 229, BCC, [[0, 0, 0]], "A"),
    _prototype(
        "hcp", "hexagonal", 194, HEXAGONAL @ _diagonal(1, 1, IDEAL), [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], "AA"
    ),
)
# first those with equal shares, then A3B, then A2B
BINARY_EQUAL = (
    _prototype("B2", "cubic", 221, np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], "AB"),
    _prototype("B32", "cubic", 227, FCC, _ALONG, "AABB"),
    _prototype("L1_0", "tetragonal", 123, _diagonal(0.5**0.5, 0.5**0.5, 1), [[0, 0, 0], [0.5] * 3], "AB"),
    _prototype(
        "L1_1", "trigonal", 166, RHOMBOHEDRAL @ HEXAGONAL @ _diagonal(1, 1, 2 * 6**0.5), [[0, 0, 0], [0.5] * 3], "AB"
    ),
)
BINARY_UNEQUAL = (
    _prototype("L1_2", "cubic", 221, np.eye(3), _L1_2, "BAAA"),
    _prototype("D0_3", "cubic", 225, FCC, _ALONG, "BAAA"),
    _prototype("D0_19", "hexagonal", 194, HEXAGONAL @ _diagonal(2, 2, IDEAL), _D0_19, "AABAABAA"),
    _prototype("D0_22", "tetragonal", 139, _D0_22_CELL, _placed(_D0_22_CELL, [[0, 0, 0], *_HALVES]), "BAAA"),
    _prototype("D0_23", "tetragonal", 139, _D0_23_CELL, _placed(_D0_23_CELL, _D0_23), "BBAAAAAA"),
    _prototype("C11_b", "tetragonal", 139, _C11_B_CELL, _placed(_C11_B_CELL, [[0, 0, 0], [0, 0, 1], [0, 0, 2]]), "BAA"),
    _prototype(
        "MoPt2",
        "orthorhombic",
        71,
        _MOPT2_CELL,
        _placed(_MOPT2_CELL, [[0, 0, 0], [0, 0.5**0.5, 0], [0, 2 * 0.5**0.5, 0]]),
        "BAA",
    ),
)
# ABC2: the third element twice, the other two change places without a difference
TERNARY = (
    _prototype("L2_1", "cubic", 225, FCC, _ALONG, "ACBC"),
    _prototype(
        "L1_0-ABC2", "tetragonal", 123, np.eye(3), [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], "ABCC"
    ),
)
ORDERED = frozenset(p.name for p in (*BINARY_EQUAL, *BINARY_UNEQUAL, *TERNARY))


def crystals(stratum: Stratum) -> list[Crystal]:
    """Every prototype of exactly these elements: three lattices of one, 18 phases of two, 6 of three, none of more."""
    numbers = stratum.numbers
    if stratum.order == 1:
        return [Crystal(p, numbers) for p in UNARY]
    if stratum.order == 2:
        both = (numbers, numbers[::-1])
        return [Crystal(p, numbers) for p in BINARY_EQUAL] + [Crystal(p, n) for p in BINARY_UNEQUAL for n in both]
    if stratum.order == 3:
        pairs = [(*pair, next(iter(set(numbers) - set(pair)))) for pair in combinations(numbers, 2)]
        return [Crystal(p, n) for p in TERNARY for n in pairs]
    return []


def lattice_of(number: int) -> Prototype:
    """The lattice that an element has in nature where it is fcc, bcc or hcp; fcc for all others."""
    state = reference_states[number]
    name = state["symmetry"] if state is not None else ""
    return UNARY[LATTICES.index(name) if name in LATTICES else 0]


def element(number: int, lattice: str = "") -> Crystal:
    """An element in this lattice, by default its natural one."""
    return Crystal(UNARY[LATTICES.index(lattice)] if lattice else lattice_of(number), (number,))


def guessed_volume(number: int) -> float:
    """Å³ per atom to start from: of the crystal in nature where its lattice is known, else of touching spheres in fcc."""
    state = reference_states[number]
    symmetry = state["symmetry"] if state is not None else ""
    if symmetry == "fcc":
        return float(state["a"] ** 3 / 4)
    if symmetry == "bcc":
        return float(state["a"] ** 3 / 2)
    if symmetry == "hcp":
        return float(0.75**0.5 * state["a"] ** 3 * state["c/a"] / 2)
    return float((2 * covalent_radii[number]) ** 3 / 2**0.5)
