"""What the output of a DFT program says beside the labels: with which settings, whether it converged, what it cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Setting = str | float | int | bool


@dataclass(frozen=True, slots=True)
class Method:
    """What energies must have in common to be compared.

    K-points are not part of it: cells of different size need different grids, so the grid is kept with each file.
    """

    engine: str
    settings: Mapping[str, Setting]  # functional, cut-offs, smearing, ...
    elements: Mapping[str, Mapping[str, Setting]]  # pseudopotential and U, by symbol

    @property
    def name(self) -> str:
        """The engine, and 12 hex digits that stand for the settings without those of single elements."""
        return f"{self.engine}:{_digits([self.engine, dict(self.settings)])}"

    def name_apart(self, elements: Sequence[str]) -> str:
        """The same with the settings of these elements, where others have taken the plain name."""
        own = {e: dict(self.elements[e]) for e in elements}
        return f"{self.engine}:{_digits([self.engine, dict(self.settings), own])}"


@dataclass(frozen=True, slots=True)
class Step:
    """One ionic step."""

    fault: str  # why it brings no label; empty when it converged
    seconds: float  # CPU s, zero when the file does not say
    energy: float | None = None  # eV, where ASE's reader takes another one than the forces belong to


@dataclass(frozen=True, slots=True)
class Run:
    """One output file."""

    method: Method
    program: str  # name and version
    k_points: str  # the grid, or how many, as far as the file tells
    steps: Sequence[Step]
    spacing: float | None = None  # largest distance between k-points, 1/Å without 2 pi
    images: Sequence[int] = field(default_factory=tuple)  # the number of each step among the images of ASE's reader


def _digits(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
