"""What may not enter the population, each with its reason.

Reasons of the relaxation itself (exploded, collapsed, not finite, step limit) come from potentials/relax.py; the ones here
follow: `atoms too close`, `absurd volume`, `extrapolation`, `absurd energy`.
"""

from __future__ import annotations

import math

from evo.candidate import Candidate, Failure
from evo.cell import Space, shortest_ratio
from evo.settings import GateSection


def geometry(candidate: Candidate, space: Space, settings: GateSection) -> Failure | None:
    """Whether this crystal can be one at all: distances, volume, and what the network has learned."""
    atoms = candidate.atoms
    ratio = shortest_ratio(atoms)
    if not ratio >= space.min_distance:
        return Failure("atoms too close", f"{ratio:.2f} of the sum of covalent radii, {space.min_distance:.2f} allowed")
    if atoms.pbc.all():
        scale = atoms.get_volume() / space.volume(candidate.atoms.numbers)
        low, high = settings.volume_scale
        if not low <= scale <= high:
            return Failure("absurd volume", f"{scale:.2f} of the guess, {low} to {high} allowed")
    if not candidate.grade <= settings.max_grade:
        return Failure("extrapolation", f"grade {candidate.grade:.2f}, {settings.max_grade:.2f} allowed")
    return None


def energy(per_atom: float, above_hull: float, settings: GateSection) -> Failure | None:
    """Whether this energy is one to believe, `above_hull` (eV/atom) measured from what is known."""
    if not math.isfinite(per_atom):
        return Failure("not finite", f"energy {per_atom}")
    if not math.isfinite(above_hull):  # nothing is known at this composition
        return None
    if above_hull < -settings.below_hull:
        return Failure("absurd energy", f"{-above_hull:.3f} eV/atom below everything known")
    if above_hull > settings.energy_window:
        return Failure("absurd energy", f"{above_hull:.3f} eV/atom above the hull")
    return None
