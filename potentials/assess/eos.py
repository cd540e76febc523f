"""Equations of state: energies over volumes, third-order Birch-Murnaghan (Phys. Rev. 71, 809 (1947)).

E is a cubic polynomial in x = V^(-2/3), so the fit is linear (as in Lejaeghere, Crit. Rev. Solid State 39, 1 (2014)).
Shape and positions are relaxed at every volume, under the symmetry of the crystal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from potentials.assess.prototypes import Crystal
from potentials.assess.results import Curve, Measured, Value
from potentials.assess.side import Side
from potentials.structures import Floats
from potentials.units import GPA_PER_EV_PER_A3

SMOOTH = 61  # points of a curve


@dataclass(frozen=True, eq=False)
class EquationOfState:
    """E(V) of a crystal."""

    volumes: Floats  # (n,) Å³ per atom
    energies: Floats  # (n,) eV per atom
    volume: float  # V0, Å³ per atom
    energy: float  # E0, eV per atom
    bulk_modulus: float  # B0, eV/Å³
    derivative: float  # B' = dB/dp
    residual: float  # eV per atom, RMS of the fit

    def energies_at(self, volumes: Floats) -> Floats:
        """(m,) eV per atom of the fit at these volumes in Å³ per atom."""
        eta = (self.volume / volumes) ** (2 / 3) - 1
        strain = eta**3 * self.derivative + eta**2 * (6 - 4 * (eta + 1))
        return np.asarray(self.energy + 9 / 16 * self.volume * self.bulk_modulus * strain)


def fit(volumes: Floats, energies: Floats) -> EquationOfState | None:
    """The fit to volumes (n,) Å³ and energies (n,) eV, of at least five points; None where it has no minimum."""
    x = volumes ** (-2 / 3)
    centre, width = x.mean(), x.std()
    cubic = np.polynomial.Polynomial.fit((x - centre) / width, energies, 3, domain=[-1, 1], window=[-1, 1])
    slope, curvature = cubic.deriv(), cubic.deriv(2)
    roots = [float(r.real) for r in slope.roots() if abs(r.imag) < 1e-10 and curvature(r.real) > 0]
    if not roots:
        return None
    at = min(roots, key=abs)
    x0 = centre + width * at
    if x0 <= 0:
        return None
    second, third = float(curvature(at)) / width**2, float(cubic.deriv(3)(at)) / width**3
    volume = x0**-1.5
    of_volume2 = 4 / 9 * x0**5 * second  # d²E/dV²
    of_volume3 = -20 / 9 * x0**6.5 * second - 8 / 27 * x0**7.5 * third  # d³E/dV³
    return EquationOfState(
        volumes=volumes,
        energies=energies,
        volume=volume,
        energy=float(cubic(at)),
        bulk_modulus=volume * of_volume2,
        derivative=-1 - volume * of_volume3 / of_volume2,
        residual=float(np.sqrt(np.mean((cubic((x - centre) / width) - energies) ** 2))),
    )


def equation_of_state(side: Side, crystal: Crystal) -> EquationOfState | None:
    """Of the relaxed prototype; None where it, or one of its volumes, has no finite energy, or the fit no minimum."""
    start, s = side.relaxed(crystal), side.settings
    if not start.converged:
        return None
    n = len(start.atoms)
    volumes = np.linspace(1 - s.volume_range, 1 + s.volume_range, s.volumes) * start.atoms.cell.volume
    energies = []
    for volume in volumes:
        atoms = start.atoms.copy()
        atoms.set_cell(atoms.cell[:] * (volume / atoms.cell.volume) ** (1 / 3), scale_atoms=True)
        energies.append(side.relax(atoms, cell="volume", like=start.atoms).energy)
    if not np.isfinite(energies).all():
        return None
    return fit(volumes / n, np.array(energies) / n)


def measure(side: Side, crystals: Sequence[Crystal]) -> Measured:
    """a0 (of cubic crystals, the edge of the conventional cube), V0, E0, B0 and B' of each crystal, and E(V)."""
    values, curves = [], []
    for crystal in crystals:
        found, name = equation_of_state(side, crystal), crystal.name
        note = side.trouble(crystal)
        if found is None:
            note = note or "no minimum in E(V)"
        known = {
            "V0": ("Å³/atom", found.volume if found else np.nan),
            "E0": ("eV/atom", found.energy if found else np.nan),
            "B0": ("GPa", found.bulk_modulus * GPA_PER_EV_PER_A3 if found else np.nan),
            "B'": ("", found.derivative if found else np.nan),
        }
        per_cube = cube_atoms(crystal)
        if per_cube:
            edge = (found.volume * per_cube) ** (1 / 3) if found else np.nan
            known = {"a0": ("Å", edge), **known}
        values += [Value(name, quantity, unit, float(value), note) for quantity, (unit, value) in known.items()]
        if found:
            smooth = np.linspace(found.volumes[0], found.volumes[-1], SMOOTH)
            curves.append(
                Curve(name, smooth.tolist(), [found.energies_at(smooth).tolist()], "volume, Å³/atom", "E, eV/atom")
            )
    return Measured(values, curves)


def cube_atoms(crystal: Crystal) -> int:
    """Atoms in the conventional cube; 0 where the crystal is not cubic."""
    prototype = crystal.prototype
    if prototype.system != "cubic":
        return 0
    # vectors with zeros and halves: a primitive cell of a centred cube, as long as half its diagonals
    longest = float(np.abs(prototype.cell).max())
    return round(len(prototype.sites) * (longest**3 * (1 if longest == 1 else 8)) / abs(np.linalg.det(prototype.cell)))
