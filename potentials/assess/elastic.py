"""Elastic constants: central differences of the stress under small strains, positions relaxed.

C_ij = d sigma_i / d e_j in Voigt order xx, yy, zz, yz, xz, xy with e_4 = 2 e_yz and so on, at zero stress. The crystal
system says which strains are needed and which constants are equal (Nye, Physical Properties of Crystals, 1957, table 9).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from potentials.assess.prototypes import Crystal
from potentials.assess.results import Measured, Value
from potentials.assess.side import Side
from potentials.structures import VOIGT, Floats
from potentials.units import GPA_PER_EV_PER_A3

ROW, COLUMN = VOIGT
# of each system the constants to report, as (row, column) from 1: the columns are the strains that are applied
CONSTANTS: dict[str, tuple[tuple[int, int], ...]] = {
    "cubic": ((1, 1), (2, 1), (4, 4)),
    "hexagonal": ((1, 1), (2, 1), (3, 1), (3, 3), (4, 4)),
    "trigonal": ((1, 1), (2, 1), (3, 1), (4, 1), (3, 3), (4, 4)),
    "tetragonal": ((1, 1), (2, 1), (3, 1), (3, 3), (4, 4), (6, 6)),
    "orthorhombic": ((1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (3, 3), (4, 4), (5, 5), (6, 6)),
}
TIGHTER = 0.1  # of the usual largest force: what is left of it appears in the stress, divided by the small strain


def elastic_constants(side: Side, crystal: Crystal) -> Floats | None:
    """(6, 6) eV/Å³, symmetric; None where the crystal or a strained copy could not be relaxed."""
    start = side.relaxed(crystal)
    if not start.converged:
        return None
    constants, system = np.full((6, 6), np.nan), crystal.prototype.system
    for k in sorted({column - 1 for _, column in CONSTANTS[system]}):
        up, down = (_stress(side, crystal, k, sign * side.settings.strain) for sign in (1, -1))
        if up is None or down is None:
            return None
        constants[:, k] = (up - down) / (2 * side.settings.strain)
    return _filled(constants, system)


def averages(constants: Floats) -> tuple[float, float]:
    """Bulk and shear modulus of a polycrystal after Hill (Proc. Phys. Soc. A 65, 349 (1952)), in the unit of `constants`."""
    c, s = constants, np.linalg.inv(constants)
    bulk_voigt = c[:3, :3].sum() / 9
    bulk_reuss = 1 / s[:3, :3].sum()
    off = c[0, 1] + c[1, 2] + c[0, 2]
    shear_voigt = (np.trace(c[:3, :3]) - off + 3 * np.trace(c[3:, 3:])) / 15
    s_off = s[0, 1] + s[1, 2] + s[0, 2]
    shear_reuss = 15 / (4 * (np.trace(s[:3, :3]) - s_off) + 3 * np.trace(s[3:, 3:]))
    return float((bulk_voigt + bulk_reuss) / 2), float((shear_voigt + shear_reuss) / 2)


def measure(side: Side, crystals: Sequence[Crystal]) -> Measured:
    """The independent constants of each crystal and Hill's averages, in GPa. Says where Born's criterion is not met."""
    values = []
    for crystal in crystals:
        found, note = elastic_constants(side, crystal), side.trouble(crystal)
        in_gpa = np.full((6, 6), np.nan) if found is None else found * GPA_PER_EV_PER_A3
        bulk, shear = (np.nan, np.nan) if found is None else averages(in_gpa)
        if found is None:
            note = note or "a strained copy was not relaxed"
        elif np.linalg.eigvalsh(found)[0] <= 0:
            shear = np.nan  # an average over a crystal that gives way means nothing
            note = ", ".join(n for n in (note, "mechanically unstable") if n)
        for row, column in CONSTANTS[crystal.prototype.system]:
            name = "C{}{}".format(*sorted((row, column)))
            values.append(Value(crystal.name, name, "GPa", float(in_gpa[row - 1, column - 1]), note))
        values += [Value(crystal.name, "bulk modulus", "GPa", bulk, note)]
        values += [Value(crystal.name, "shear modulus", "GPa", shear, note)]
    return Measured(values)


def _stress(side: Side, crystal: Crystal, k: int, size: float) -> Floats | None:
    """(6,) eV/Å³ under a strain of this size in component k; None where the positions could not be relaxed."""
    start = side.relaxed(crystal).atoms
    # k-points of the crystal itself: those of up and down must be the same, and electrons hardly know of so small a strain
    found = side.relax(_strained(start, k, size), cell="fixed", fmax=TIGHTER * side.settings.fmax, like=start)
    stress: Floats = found.stress[ROW, COLUMN]
    return stress if found.converged and np.isfinite(stress).all() else None


def _strained(atoms: Atoms, k: int, size: float) -> Atoms:
    strain = np.zeros((3, 3))
    strain[ROW[k], COLUMN[k]] += size / 2
    strain[COLUMN[k], ROW[k]] += size / 2
    copy = atoms.copy()
    copy.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def _filled(measured: Floats, system: str) -> Floats:
    """The whole matrix from the columns that were measured."""
    if system == "orthorhombic":
        return 0.5 * (measured + measured.T)
    c = np.zeros((6, 6))
    if system == "cubic":
        c[:3, :3] = measured[[1, 2], 0].mean()
        np.fill_diagonal(c, [*[measured[0, 0]] * 3, *[measured[3, 3]] * 3])
        return c
    c[0, 1] = measured[1, 0]
    c[0, 2] = c[1, 2] = np.mean([measured[2, 0], measured[0, 2], measured[1, 2]])
    if system == "trigonal":
        c[0, 3] = np.mean([measured[3, 0], measured[0, 3], -measured[1, 3]])
        c[1, 3], c[4, 5] = -c[0, 3], c[0, 3]
    c += c.T
    basal = measured[5, 5] if system == "tetragonal" else (measured[0, 0] - measured[1, 0]) / 2
    np.fill_diagonal(c, [measured[0, 0]] * 2 + [measured[2, 2]] + [measured[3, 3]] * 2 + [basal])
    return c
