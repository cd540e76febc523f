"""Calibration: from the committee's spread and the grade to a band that holds the true energy nine times in ten.

Split conformal prediction with normalised scores (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, J. Am. Stat. Assoc. 113, 1094
(2018)): on crystals that no fit has seen, s = |error|/u with u² = spread² + (c grade)² per atom; the band of another crystal is
q u, where q is the ceil((n + 1) 0.9)-th smallest of the n scores. c is the median error over the median grade, so the grade
counts where the committee agrees by chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from potentials.structures import Floats

SHARE = 0.9  # of the crystals whose true energy lies inside the band
FEWEST = math.ceil(SHARE / (1 - SHARE))  # scores without which the quantile does not exist


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of the energies of one stratum's crystals."""

    factor: float  # q
    per_grade: float  # c, eV/atom
    number: int  # crystals it was made from

    @classmethod
    def of(cls, errors: Floats, spreads: Floats, grades: Floats) -> Calibration | None:
        """From absolute errors and spreads (n,) in eV/atom and grades (n,); None from too few crystals."""
        known = np.isfinite(errors) & np.isfinite(spreads) & np.isfinite(grades)
        errors, spreads, grades = errors[known], spreads[known], grades[known]
        n = len(errors)
        if n < FEWEST:
            return None
        per_grade = float(np.median(errors) / max(float(np.median(grades)), 1e-6))
        scores = np.sort(errors / np.maximum(np.hypot(spreads, per_grade * grades), 1e-12))
        return cls(float(scores[math.ceil((n + 1) * SHARE) - 1]), per_grade, n)

    def bands(self, spreads: Floats, grades: Floats) -> Floats:
        """(n,) half-widths in eV/atom, from spreads in eV/atom and grades; infinite where a grade is."""
        return np.asarray(self.factor * np.hypot(spreads, self.per_grade * grades))

    def to_json(self) -> dict[str, Any]:
        return {"factor": self.factor, "per_grade": self.per_grade, "number": self.number}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        return cls(float(data["factor"]), float(data["per_grade"]), int(data["number"]))
