"""Dataset: labelled crystals with who labelled them, the family each belongs to, and its weight in a fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from potentials.stratum import Stratum
from potentials.structures import Floats, Labels, Structures

HELD_OUT = 8  # one family in this many is kept for testing


class DataError(ValueError):
    """A file of labelled crystals that cannot be used; the message names it."""

    exit_code = 65


def is_held_out(family: str) -> bool:
    """Whether a family of this name is held out."""
    return _out(hashlib.sha256(family.encode()).digest())


def _out(draw: bytes) -> bool:
    return draw[0] % HELD_OUT == 0


@dataclass(frozen=True)
class Dataset:
    """Labelled crystals. A family is whatever must stay on one side of a split: a relaxation, strains of one crystal."""

    structures: Structures
    labels: Labels
    families: tuple[str, ...]  # one per crystal; "" stands for a family of its own
    methods: tuple[str, ...]  # one per crystal, who labelled it
    weights: Floats  # (n,) 1 is usual
    seconds: Floats  # (n,) CPU s that the label took
    sources: tuple[str, ...] = ()  # one per crystal: 12 hex digits of its file's SHA-256, colon, number in the file
    provenance: tuple[str, ...] = ()  # one per crystal: what else is known of how the label was made, as it was given

    def __post_init__(self) -> None:
        n = len(self.structures)
        for name in ("sources", "provenance"):
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * n)
        for name in ("families", "methods", "weights", "seconds", "sources", "provenance"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"`{name}` must have one entry per crystal: {n}, got {len(getattr(self, name))}")

    @classmethod
    def of(
        cls,
        crystals: Sequence[Atoms],
        *,
        energies: Sequence[float],
        forces: Sequence[Floats],
        stresses: Sequence[Floats],
        method: str,
        families: Sequence[str] | None = None,
        seconds: Sequence[float] | None = None,
    ) -> Dataset:
        """Crystals with one method's energies (eV per cell), forces (eV/Å), stresses (3, 3) (eV/Å³, NaN: none)."""
        structures, n = Structures.from_ase(crystals), len(crystals)
        joined = np.concatenate([np.reshape(f, (-1, 3)) for f in forces]) if n else np.zeros((0, 3))
        labels = Labels(np.array(energies, dtype=float), joined, np.array(stresses, dtype=float).reshape(n, 3, 3))
        if labels.energies.shape != (n,) or labels.forces.shape != (len(structures.numbers), 3):
            raise ValueError(f"`energies` and `forces` must fit {n} crystals of {len(structures.numbers)} atoms in all")
        return cls(
            structures,
            labels,
            tuple(families) if families is not None else ("",) * n,
            (method,) * n,
            np.ones(n),
            np.array(seconds if seconds is not None else [0.0] * n, dtype=float),
        )

    def __len__(self) -> int:
        return len(self.structures)

    def strata(self) -> list[Stratum]:
        """The stratum of each crystal: the set of its elements."""
        numbers = self.structures.numbers.tolist()
        return [Stratum.of(numbers[a:b]) for a, b in pairwise(self.structures.offsets.tolist())]

    def select(self, chosen: Sequence[int] | NDArray[np.integer]) -> Dataset:
        """The crystals with these indices, in the order given."""
        index = np.asarray(chosen, dtype=np.int64)
        return Dataset(
            self.structures.select(index),
            self.labels.select(self.structures, index),
            tuple(self.families[c] for c in index),
            tuple(self.methods[c] for c in index),
            self.weights[index],
            self.seconds[index],
            tuple(self.sources[c] for c in index),
            tuple(self.provenance[c] for c in index),
        )

    def of_stratum(self, stratum: Stratum) -> Dataset:
        """The crystals that hold exactly these elements."""
        return self.select([c for c, s in enumerate(self.strata()) if s == stratum])

    def merge(self, other: Dataset) -> Dataset:
        """The crystals of both, these first; a crystal that is in both with the same labels appears once."""
        mine = set(self.hashes())
        return self.followed_by(other.select([c for c, h in enumerate(other.hashes()) if h not in mine]))

    def followed_by(self, new: Dataset) -> Dataset:
        """The crystals of both, these first."""
        labels = Labels(
            np.concatenate([self.labels.energies, new.labels.energies]),
            np.concatenate([self.labels.forces, new.labels.forces]),
            np.concatenate([self.labels.stresses, new.labels.stresses]),
        )
        return Dataset(
            Structures.join([self.structures, new.structures]),
            labels,
            self.families + new.families,
            self.methods + new.methods,
            np.concatenate([self.weights, new.weights]),
            np.concatenate([self.seconds, new.seconds]),
            self.sources + new.sources,
            self.provenance + new.provenance,
        )

    def hashes(self) -> list[str]:
        """The content hash of each crystal with its labels: 64 hex digits."""
        return list(self._hashes)

    @cached_property
    def _hashes(self) -> tuple[str, ...]:
        digests = []
        for c in range(len(self)):
            s = self.structures
            atoms = slice(s.offsets[c], s.offsets[c + 1])
            parts = (s.numbers[atoms], s.positions[atoms], s.cells[c], s.periodic[c])
            labels = (self.labels.energies[c : c + 1], self.labels.forces[atoms], self.labels.stresses[c])
            digest = hashlib.sha256(self.methods[c].encode())
            for array in (*parts, *labels):
                digest.update(np.ascontiguousarray(array).tobytes())
            digests.append(digest.hexdigest())
        return tuple(digests)

    def content_hash(self) -> str:
        """64 hex digits of all crystals, labels, families and weights, order included."""
        digest = hashlib.sha256("\n".join(self.hashes() + list(self.families)).encode())
        digest.update(self.weights.tobytes())
        return digest.hexdigest()

    def is_held_out(self) -> NDArray[np.bool_]:
        """(n,) about one in eight, decided by the hash of the family's name or of a crystal without family.

        So whole families are on one side, and the side of a crystal never changes when data are added.
        """
        return np.array([_out(d) for d in self._draws()], dtype=bool)

    def folds(self, number: int) -> NDArray[np.int64]:
        """(n,) 0 to number - 1, decided in the same way but independent of what is held out."""
        return np.array([d[1] % number for d in self._draws()], dtype=np.int64)

    def _draws(self) -> list[bytes]:
        """Random bytes of each crystal that its family shares."""
        keys = [family or content for family, content in zip(self.families, self._hashes, strict=True)]
        return [hashlib.sha256(k.encode()).digest() for k in keys]

    def held_out(self) -> Dataset:
        return self.select(np.flatnonzero(self.is_held_out()))

    def training(self) -> Dataset:
        return self.select(np.flatnonzero(~self.is_held_out()))
