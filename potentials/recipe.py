"""Recipe: what all strata of one library have in common, and how they are trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from potentials import features
from potentials.features.symmetry_functions import VP2017
from potentials.kernels.embedded import DEGREES
from potentials.network import Descriptor, Shape


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a fit weighs. The defaults were chosen on labels of EMT, UNEP-v1 and VASP of Cu, Pd, Ag and their compounds.

    A residual is divided by its unit, and multiplied by 1/(1 + (x/x0)²) where x is how far out it is: the energy per
    atom of its crystal above the lowest (eV), for a force the force (eV/Å). Without that the few violent crystals of a
    training set cost the others half of their accuracy.
    """

    energy: float = 0.003  # eV/atom
    force: float = 0.06  # eV/Å
    virial: float = 0.03  # eV/atom: plane-wave stresses carry a Pulay term of that order
    high_energy: float = 0.4  # eV/atom, x0
    high_force: float = 1.5  # eV/Å, x0
    decay: float = 0.05  # times the sum of squared parameters of an element
    pull: float = 1.0  # times the sum of squared differences of the columns of a pair or triple from their prior
    # crystals; of n fewer that speak of a stratum, `decay` and `pull` are (few/n)² times as large: with labels of UNEP-v1, 40
    # crystals want a hundred times the decay of 400 to 1,500 (benchmarks/few_crystals.py)
    few: int = 400
    seed: int = 0


SCALINGS = ("deviation", "range")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Descriptor, size of the networks, input scaling, baseline, weights of the fit."""

    shape: Descriptor
    hidden: int = 10  # hidden units of each element's network
    members: int = 4  # networks in the committee
    repulsion: bool = True  # screened nuclear repulsion as baseline
    fitting: Fitting = field(default_factory=Fitting)
    second: int = 0  # units of a second hidden layer; 0: there is none
    scaling: str = "deviation"  # an input is divided by its deviation, or (Gmin = 0) by its greatest value: "range"
    core_energy: float = 0.0  # eV, of hard cores as MAISE adds them to published models; 0: none
    widened: int = 0  # units of its own that a pair or triple adds for each of its elements
    refined: bool = False  # pairs and triples have networks of their own beside their columns (potentials.refine)
    embedded: bool = False  # an embedded-atom potential of few parameters lies under the networks (potentials.embedded)
    degree: int = (
        3  # of its functions (potentials.kernels.embedded); libraries made before there were fourths have cubes
    )

    def __post_init__(self) -> None:
        for name, least in (("hidden", 1), ("members", 1), ("second", 0), ("widened", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
        if self.scaling not in SCALINGS:
            raise ValueError(f'`scaling` must be "deviation" or "range", got "{self.scaling}"')
        if self.refined and (self.widened or self.second or not isinstance(self.shape, Shape)):
            raise ValueError("`refined` strata need the density, one hidden layer, and `widened` 0")
        if self.degree not in DEGREES:
            raise ValueError(f"`degree` must be one of {', '.join(map(str, DEGREES))}, got {self.degree}")
        if not 0.0 <= self.core_energy < float("inf"):
            raise ValueError(f"`core_energy` must be an energy in eV, or 0 for none, got {self.core_energy}")

    def __str__(self) -> str:
        hidden = f"{self.hidden} + {self.second}" if self.second else str(self.hidden)
        widened = f", widened by {self.widened}" if self.widened else ", refined" if self.refined else ""
        atoms = f", on embedded atoms of degree {self.degree}" if self.embedded else ""
        return f"{self.shape}, hidden {hidden}{widened}, members {self.members}{atoms}"

    def to_json(self) -> dict[str, Any]:
        """A JSON value. What came later is left out where it is not used, so that older libraries keep their hashes."""
        value: dict[str, Any] = {
            "shape": features.to_json(self.shape),
            "hidden": self.hidden,
            "members": self.members,
            "repulsion": self.repulsion,
            "fitting": asdict(self.fitting),
        }
        later = ("second", "scaling", "core_energy", "widened", "refined", "embedded", "degree")
        late = {f.name: f.default for f in fields(self) if f.name in later}
        return value | {name: getattr(self, name) for name, usual in late.items() if getattr(self, name) != usual}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recipe:
        rest = {k: v for k, v in data.items() if k not in ("shape", "fitting")}
        return cls(shape=features.from_json(data["shape"]), fitting=Fitting(**data["fitting"]), **rest)


@dataclass(frozen=True, slots=True)
class GuptaRecipe:
    """A library of Gupta potentials: nothing to resolve and nothing to train."""

    def to_json(self) -> dict[str, Any]:
        return {"kind": "gupta"}

    def __str__(self) -> str:
        return "Gupta potentials"


def recipe_from_json(data: dict[str, Any]) -> Recipe | GuptaRecipe:
    """ValueError, TypeError or KeyError when this is no recipe."""
    return GuptaRecipe() if data.get("kind") == "gupta" else Recipe.from_json(data)


# vp2017: the architecture of Hajinazar, Shao, Kolmogorov, Phys. Rev. B 95, 014114 (2017): 30-10-10-1 for an element
RECIPES = {
    "default": Recipe(Shape(6.0, n_max=5, l_max=4, n_pair=8), hidden=10, refined=True),
    "quick": Recipe(Shape(6.0, n_max=5, l_max=4, n_pair=8), hidden=10),
    # less error, a fifth more cost (docs/descriptors.md)
    "fine": Recipe(Shape(6.0, n_max=6, l_max=4, n_pair=8), hidden=10, refined=True),
    # for few labels of metals: what networks learn is small, so they are drawn to nothing more strongly (docs/cu-pd-ag-pbe.md)
    "embedded": Recipe(
        Shape(6.0, n_max=6, l_max=4, n_pair=8),
        hidden=10,
        embedded=True,
        degree=4,
        fitting=Fitting(decay=20.0, pull=50.0, few=100),
    ),
    "vp2017": Recipe(VP2017, hidden=10, second=10, repulsion=False, scaling="range"),
}
