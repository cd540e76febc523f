"""What may not enter the population, each with its reason.

Reasons of the relaxation itself (exploded, collapsed, not finite, step limit) come from potentials/relax.py; the ones here
follow: `atoms too close`, `absurd volume`, `extrapolation`, `absurd energy`.
What holds vacuum is no crystal under a pull; that is asked of labels (evo/known.py).
"""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from evo.candidate import Candidate, Failure
from evo.cell import Space, images_near, shortest_ratio
from evo.settings import GateSection

# from the middle of a hole to the nearest atom, in guessed spacings: 0.70 in bcc, 0.79 in fcc and hcp, 0.87 in diamond, and 1.1
# where an atom is missing
HOLE = 1.0
THIN = 2.9  # volume over guess from which on there is such a hole, wherever atoms lie: none cover space better than bcc
STEP = 0.1  # of the grid on which holes are looked for, in guessed spacings


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


def hollow(atoms: Atoms, space: Space) -> bool:
    """Whether there is room for an atom that is not there: a vacancy, a gap between slabs, a box around a cluster."""
    guess = space.volume(atoms.numbers)
    if atoms.get_volume() > THIN * guess:
        return True
    spacing = (guess / len(atoms)) ** (1 / 3)
    cell, reach = np.asarray(atoms.cell), HOLE * spacing
    counts = np.ceil(np.linalg.norm(cell, axis=1) / (STEP * spacing)).astype(int)
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    _, images = images_near(atoms.get_scaled_positions(), cell, atoms.pbc, reach)
    apart, _ = cKDTree(images).query(points @ cell, distance_upper_bound=reach)
    return not np.isfinite(apart).all()
