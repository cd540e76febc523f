"""Calibration: from the committee's spread and the grade to a band that holds the true energy nine times in ten.

Split conformal prediction with normalised scores (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, J. Am. Stat. Assoc. 113, 1094
(2018)): on crystals that no fit has seen, s = |error|/u with u² = spread² + (c grade)² per atom; the band of another crystal is
q u, where q is the ceil((n + 1) 0.9)-th smallest of n scores. c is the median error over the median grade, so the grade
counts where the committee agrees by chance.

Steps of one relaxation err alike, so it is families that are exchangeable, and each weighs as much as another (Lee, Barber,
Willett, "Distribution-free inference with hierarchical data", arXiv:2306.06342): of F families with n_f scores a score weighs
1/((F + 1) n_f), and q is the smallest score up to which the weights add up to 0.9. From families of one crystal that is as above.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from potentials.structures import Floats

SHARE = 0.9  # of the crystals whose true energy lies inside the band
FEWEST = 9  # families without which the quantile does not exist: F / (F + 1) must reach SHARE


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of the energies of one stratum's crystals."""

    factor: float  # q
    per_grade: float  # c, eV/atom
    number: int  # crystals it was made from

    @classmethod
    def of(cls, errors: Floats, spreads: Floats, grades: Floats, families: Sequence[str]) -> Calibration | None:
        """From absolute errors and spreads (n,) in eV/atom, grades (n,) and families; None from too few of these.

        families: what crystals of one relaxation have in common; "" is a family of its own.
        """
        known = np.flatnonzero(np.isfinite(errors) & np.isfinite(spreads) & np.isfinite(grades))
        names = [families[c] or f"#{c}" for c in known.tolist()]
        sizes = Counter(names)
        if len(sizes) < FEWEST:
            return None
        errors, spreads, grades = errors[known], spreads[known], grades[known]
        per_grade = float(np.median(errors) / max(float(np.median(grades)), 1e-6))
        scores = errors / np.maximum(np.hypot(spreads, per_grade * grades), 1e-12)
        order = np.argsort(scores)
        weights = np.array([1.0 / sizes[name] for name in names])[order] / (len(sizes) + 1)
        # a sum of rounded numbers may lie just below what it stands for
        reached = int(np.searchsorted(np.cumsum(weights), SHARE - 1e-9))
        return cls(float(scores[order[reached]]), per_grade, len(errors))

    def bands(self, spreads: Floats, grades: Floats) -> Floats:
        """(n,) half-widths in eV/atom, from spreads in eV/atom and grades; infinite where a grade is."""
        return np.asarray(self.factor * np.hypot(spreads, self.per_grade * grades))

    def to_json(self) -> dict[str, Any]:
        return {"factor": self.factor, "per_grade": self.per_grade, "number": self.number}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        return cls(float(data["factor"]), float(data["per_grade"]), int(data["number"]))
