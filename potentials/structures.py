"""Records of arrays that pass between all parts: many crystals, their labels, and what a potential predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
VOIGT = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)  # rows and columns of xx, yy, zz, yz, xz, xy


@dataclass(frozen=True, slots=True)
class Structures:
    """Many crystals, concatenated. Crystal c owns atoms offsets[c]:offsets[c + 1]."""

    numbers: Ints  # (n_atoms,) atomic numbers
    positions: Floats  # (n_atoms, 3) Å, Cartesian, not necessarily wrapped
    cells: Floats  # (n_crystals, 3, 3) Å, rows are the vectors
    periodic: NDArray[np.bool_]  # (n_crystals, 3)
    offsets: Ints  # (n_crystals + 1,)

    def __post_init__(self) -> None:
        n_atoms, n_crystals = len(self.numbers), len(self.cells)
        _shape("positions", self.positions, (n_atoms, 3))
        _shape("cells", self.cells, (n_crystals, 3, 3))
        _shape("periodic", self.periodic, (n_crystals, 3))
        _shape("offsets", self.offsets, (n_crystals + 1,))

    @classmethod
    def from_ase(cls, crystals: Sequence[Atoms]) -> Structures:
        """Structures of ASE Atoms; an axis without extent is stored as it is and must not be periodic."""
        sizes = [len(a) for a in crystals]
        if crystals and min(sizes) == 0:
            raise ValueError("a crystal without atoms cannot be evaluated; remove it from the list")
        n = sum(sizes)
        return cls(
            numbers=np.concatenate([a.numbers for a in crystals]).astype(np.int64) if n else np.zeros(0, np.int64),
            positions=np.concatenate([a.positions for a in crystals]).astype(float) if n else np.zeros((0, 3)),
            cells=np.array([np.asarray(a.cell) for a in crystals], dtype=float).reshape(-1, 3, 3),
            periodic=np.array([a.pbc for a in crystals], dtype=bool).reshape(-1, 3),
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        )

    @classmethod
    def join(cls, parts: Sequence[Structures]) -> Structures:
        """The crystals of all parts, one part after the other."""
        return cls(
            numbers=np.concatenate([p.numbers for p in parts]),
            positions=np.concatenate([p.positions for p in parts]),
            cells=np.concatenate([p.cells for p in parts]),
            periodic=np.concatenate([p.periodic for p in parts]),
            offsets=np.concatenate([[0], np.cumsum(np.concatenate([p.sizes for p in parts]))]).astype(np.int64),
        )

    def to_ase(self) -> list[Atoms]:
        return [self.atoms(c) for c in range(len(self))]

    def atoms(self, c: int) -> Atoms:
        """Crystal c as ASE Atoms."""
        s = slice(self.offsets[c], self.offsets[c + 1])
        return Atoms(self.numbers[s], positions=self.positions[s], cell=self.cells[c], pbc=self.periodic[c])

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def sizes(self) -> Ints:
        """(n_crystals,) number of atoms of each crystal."""
        return np.diff(self.offsets)

    @property
    def volumes(self) -> Floats:
        """(n_crystals,) Å³; meaningful where all three axes are periodic."""
        return np.abs(np.linalg.det(self.cells))

    def select(self, chosen: Sequence[int] | NDArray[np.integer]) -> Structures:
        """The crystals with these indices, in the order given."""
        index = np.asarray(chosen, dtype=np.int64)
        atoms = [np.arange(self.offsets[c], self.offsets[c + 1]) for c in index]
        which = np.concatenate(atoms) if atoms else np.zeros(0, np.int64)
        offsets = np.concatenate([[0], np.cumsum(self.sizes[index])]).astype(np.int64)
        return Structures(self.numbers[which], self.positions[which], self.cells[index], self.periodic[index], offsets)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a reference says of Structures; NaN where it says nothing."""

    energies: Floats  # (n_crystals,) eV per cell
    forces: Floats  # (n_atoms, 3) eV/Å
    stresses: Floats  # (n_crystals, 3, 3) eV/Å³, sign as ASE

    def select(self, structures: Structures, chosen: Sequence[int] | NDArray[np.integer]) -> Labels:
        """The labels of the chosen crystals of `structures`, which these labels belong to."""
        index = np.asarray(chosen, dtype=np.int64)
        atoms = [np.arange(structures.offsets[c], structures.offsets[c + 1]) for c in index]
        which = np.concatenate(atoms) if atoms else np.zeros(0, np.int64)
        return Labels(self.energies[index], self.forces[which], self.stresses[index])


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a potential says of Structures: the mean over its committee, and the members' energies."""

    energies: Floats  # (n_crystals,) eV per cell, mean of the members
    forces: Floats  # (n_atoms, 3) eV/Å, of the mean energy
    stresses: Floats  # (n_crystals, 3, 3) eV/Å³, sign as ASE; zero where no axis is periodic or the cell has no volume
    member_energies: Floats  # (n_crystals, n_members) eV per cell
    atomic_energies: Floats  # (n_atoms,) eV, mean of the members

    @property
    def spreads(self) -> Floats:
        """(n_crystals,) eV per cell, standard deviation over the members."""
        return self.member_energies.std(axis=1)


def _shape(name: str, value: NDArray[np.generic], expected: tuple[int, ...]) -> None:
    if value.shape != expected:
        raise ValueError(f"`{name}` must have shape {expected}, got {value.shape}")
