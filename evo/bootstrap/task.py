"""BootstrapTask: a piece of the first training set that any rank can make, in any order."""

from __future__ import annotations

from dataclasses import dataclass

from evo.cell import Space
from potentials.stratum import Stratum


@dataclass(frozen=True)
class BootstrapTask:
    """What is labelled follows from this record alone."""

    index: int
    stratum: Stratum  # every crystal of the task has exactly these elements
    family: str  # name in evo/bootstrap/__init__.py, FAMILIES
    variant: int  # counts the tasks of this family and stratum: which prototype, which lattice
    calls: int  # reference calls, at most
    seed: int
    space: Space  # sizes and distances of random crystals
