"""Recipe: what all strata of one library have in common, and how they are trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from potentials.network import Shape


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a fit weighs. The defaults were chosen on test data by EMT of Cu, Pd, Ag, their pairs and the triple.

    A residual is divided by its unit, and multiplied by 1/(1 + (x/x0)²) where x is how far out it is: the energy per
    atom of its crystal above the lowest (eV), for a force the force (eV/Å). Without that the few violent crystals of a
    training set cost the others half of their accuracy.
    """

    energy: float = 0.004  # eV/atom
    force: float = 0.06  # eV/Å
    virial: float = 0.015  # eV/atom
    high_energy: float = 0.4  # eV/atom, x0
    high_force: float = 1.5  # eV/Å, x0
    decay: float = 0.05  # times the sum of squared parameters of an element
    pull: float = 10.0  # times the sum of squared differences of the columns of a pair or triple from their prior
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Resolution of the descriptor, size of the networks, baseline, weights of the fit."""

    shape: Shape
    hidden: int = 6  # hidden units of each element's network; more fit no better from some hundred crystals
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
