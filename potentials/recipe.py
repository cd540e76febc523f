"""Recipe: what all strata of one library have in common, and how they are trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from potentials.network import Shape


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a fit weighs. The defaults were chosen on held-out EMT data of Cu, Pd, Ag and their binaries.

    A residual is divided by its unit, and multiplied by 1/(1 + (x/x0)²) where x is how far out its crystal is: the energy
    per atom above the lowest (eV), for forces the force (eV/Å). Without that the few violent crystals of a training
    set cost the others half of their accuracy.
    """

    energy: float = 0.004  # eV/atom
    force: float = 0.08  # eV/Å
    virial: float = 0.03  # eV/atom
    high_energy: float = 0.5  # eV/atom, x0
    high_force: float = 2.0  # eV/Å, x0
    decay: float = 0.1  # times the sum of squared parameters
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Resolution of the descriptor, size of the networks, baseline, weights of the fit."""

    shape: Shape
    hidden: int = 10  # hidden units of each element's network
    members: int = 4  # networks in the committee
    repulsion: bool = True  # screened nuclear repulsion as baseline
    fitting: Fitting = field(default_factory=Fitting)

    def __post_init__(self) -> None:
        for name in ("hidden", "members"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recipe:
        rest = {k: v for k, v in data.items() if k not in ("shape", "fitting")}
        return cls(shape=Shape(**data["shape"]), fitting=Fitting(**data["fitting"]), **rest)
