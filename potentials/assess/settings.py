"""Settings: how the properties are computed, the same for both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from potentials.units import EV_PER_A3_PER_GPA

SMALLEST_STRAIN = 1e-4
MOST = {"volume_range": 0.5, "strain": 0.1}
MAY_BE_ZERO = ("noise", "seed", "repeat")


@dataclass(frozen=True, slots=True)
class Settings:
    """Sizes and tolerances. ValueError says which one cannot be."""

    fmax: float = 1e-3  # eV/Å, largest force after a relaxation
    smax: float = 0.01 * EV_PER_A3_PER_GPA  # eV/Å³, largest component of the stress after it
    max_calls: int = 300  # evaluations of one relaxation, at most
    noise: float = 0.0  # eV/atom, changes of energy below which a relaxation goes by forces and stresses alone
    volume_range: float = 0.06  # equations of state from 1 - this to 1 + this of the volume
    volumes: int = 7  # points of an equation of state
    strain: float = 0.005  # of the elastic constants, to either side
    vacancy_repeat: int = 2  # conventional cubic cells along each edge: 2 is 32 - 1 atoms of fcc
    slab: float = 12.0  # Å, thickness of a slab, at least
    vacuum: float = 12.0  # Å between a slab and its image
    fault_layers: int = 12  # layers between stacking faults, a multiple of three
    displacement: float = 0.01  # Å, of the phonons
    supercell: float = 10.0  # Å, shortest vector of the phonons' supercell
    repeat: int = 0  # of the primitive cell along each vector, the phonons' supercell; 0: as `supercell` has it
    mesh: int = 8  # points of the phonons' mesh along each reciprocal vector
    disturbance: float = 0.03  # Å and, divided by 3 Å, strain that tests whether a prototype is stable
    seed: int = 0  # of the disturbance

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not math.isfinite(value):
                raise ValueError(f"`{f.name}` must be finite, got {value}")
            if f.name not in MAY_BE_ZERO and not value > 0:
                raise ValueError(f"`{f.name}` must be positive, got {value}")
        for name in MAY_BE_ZERO:
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}")
        if self.strain < SMALLEST_STRAIN:
            text = "below, a strained crystal counts as symmetric"
            raise ValueError(f"`strain` must be at least {SMALLEST_STRAIN:g} ({text}), got {self.strain:g}")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"`{name}` must be at most {most:g}, got {getattr(self, name):g}")
        if self.repeat == 1:
            raise ValueError("`repeat` must be 0 or at least 2: in one primitive cell all of its copies move along")
        if self.mesh % 2:
            raise ValueError(f"`mesh` must be even, so that it leaves out the centre of the zone, got {self.mesh}")
        if self.volumes < 5:
            raise ValueError(f"`volumes` must be at least 5 for a fit with four parameters, got {self.volumes}")
        if self.fault_layers % 3 or self.fault_layers < 6:
            raise ValueError(f"`fault_layers` must be a multiple of three from 6 on, got {self.fault_layers}")
