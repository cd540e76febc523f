"""Sides for the tests: EMT, straight and as a reference."""

from __future__ import annotations

from pathlib import Path

from ase.calculators.emt import EMT

from potentials.assess import Reference, Settings, Side
from potentials.calculator import from_calculator

SMALL = Settings(supercell=7.0, mesh=4, slab=8.0, vacuum=10.0, fault_layers=9)
UNEP = Path(__file__).resolve().parents[3] / "shared" / "unep" / "UNEP-v1.txt"


def emt(settings: Settings = SMALL) -> Side:
    """EMT where the network would be."""
    return Side("emt", from_calculator(EMT()), settings)


def emt_reference(cache: Path | None = None, settings: Settings = SMALL) -> Side:
    """EMT as anybody's calculator."""
    return Side.of_reference(Reference.load("ase.calculators.emt:EMT", {}, cache), settings)
