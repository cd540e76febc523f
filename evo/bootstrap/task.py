"""BootstrapTask: a piece of the first training set that any rank can make, in any order."""

from __future__ import annotations

from dataclasses import dataclass

from evo.cell import Space
from potentials.stratum import Stratum


@dataclass(frozen=True)
class BootstrapTask:
    """What is labelled follows from this record and the reference alone."""

    index: int
    stratum: Stratum  # every crystal of the task has exactly these elements
    calls: int  # reference calls, at most
    seed: int
    space: Space  # elements of the stratum, sizes and distances of its crystals
