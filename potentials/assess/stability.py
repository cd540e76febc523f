"""Whether prototypes are minima: a disturbed copy is relaxed without symmetry, and one that falls is named.

Only what the primitive cell allows is seen: strains, and atoms moving against each other; phonons see the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from potentials.assess.prototypes import Crystal
from potentials.assess.results import NONE, Measured, Value
from potentials.assess.side import Side
from potentials.assess.space_group import space_group

LENGTH = 3.0  # Å, turns a displacement into a strain
FALLS = 2e-3  # eV/atom below the prototype: another minimum


def disturbed(atoms: Atoms, size: float, rng: np.random.Generator) -> Atoms:
    """Atoms moved by `size` Å and the cell strained by size / 3 Å, standard deviations of every component."""
    strain = rng.normal(scale=size / LENGTH, size=(3, 3))
    copy = atoms.copy()
    copy.set_cell(copy.cell[:] @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
    copy.positions += rng.normal(scale=size, size=copy.positions.shape)
    return copy


def measure(side: Side, crystals: Sequence[Crystal]) -> Measured:
    """Energy in meV/atom that each relaxed prototype loses when disturbed and let go; all let go in one batch."""
    known = [(c, side.relaxed(c)) for c in crystals]
    sound = [(c, r) for c, r in known if r.converged]
    s = side.settings
    copies = [disturbed(r.atoms, s.disturbance, _stream(c, s.seed)) for c, r in sound]
    ends = dict(zip((c.name for c, _ in sound), side.release(copies) if copies else [], strict=True))
    values = []
    for crystal, start in known:
        note, loss = side.trouble(crystal), NONE
        if (end := ends.get(crystal.name)) is not None:
            loss = 1e3 * (start.energy_per_atom - end.energy_per_atom)
            note = note or _fate(crystal, end.atoms, end.outcome, loss)
        values.append(Value(crystal.name, "loss", "meV/atom", loss, note))
    return Measured(values)


def _stream(crystal: Crystal, seed: int) -> np.random.Generator:
    """Of the crystal's own: both sides are disturbed alike, whatever else is looked at."""
    return np.random.default_rng([seed, crystal.prototype.space_group, *crystal.elements])


def _fate(crystal: Crystal, atoms: Atoms, outcome: str, loss: float) -> str:
    if outcome != "converged":
        return f"unstable: a disturbed copy ends with {outcome}"
    if loss < 1e3 * FALLS:
        return ""
    group = space_group(atoms)
    return f"unstable: falls to space group {group} from {crystal.prototype.space_group}"
