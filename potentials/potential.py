"""A potential: networks of all strata of some elements, with the environments they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from potentials import kernels
from potentials.environments import Environments
from potentials.network import Model, Shape, StratumParameters
from potentials.stratum import Stratum
from potentials.structures import Floats, Prediction, Structures


@dataclass(frozen=True, eq=False)
class Potential:
    """Energies, forces, stresses of crystals of `stratum` or fewer elements. Assembled by a Library."""

    model: Model
    stratum: Stratum
    method: str  # "nn:" and 12 hex digits of everything its energies depend on
    parameters: Mapping[Stratum, StratumParameters]
    environments: Mapping[Stratum, Mapping[int, Environments]]  # of each trained stratum, by atomic number
    device: str = "cpu"
    _known: dict[tuple[Stratum, int], Environments | None] = field(default_factory=dict)

    def evaluate(self, structures: Structures, n_threads: int = 1, kernel: str = "auto") -> Prediction:
        """The committee's mean and its members' energies; NaN where a crystal cannot be evaluated."""
        return kernels.evaluate(structures, self.model, n_threads=n_threads, kernel=kernel, device=self.device)

    def grades(self, structures: Structures) -> Floats:
        """(n_crystals,) extrapolation grade of the worst atom: 1 is the edge of the training set.

        Infinite where nothing was trained on an element in such company, or the features are not finite.
        """
        return np.array([self._grade(structures.select([c])) for c in range(len(structures))])

    def _grade(self, crystal: Structures) -> float:
        numbers = crystal.numbers
        company = Stratum.of(numbers.tolist())
        features = kernels.features(crystal, self.model.shape, company.numbers)[0]
        if not np.isfinite(features).all():
            return float("inf")
        worst = 0.0
        for z in company.numbers:
            known = self._of(company, z)
            if known is None:
                return float("inf")
            scaled = features[numbers == z] * scales(self.model.shape, self.parameters, company, z)
            worst = max(worst, float(known.nearest(scaled).max()) / known.distance)
        return worst

    def _of(self, company: Stratum, z: int) -> Environments | None:
        """What is known of element z among these: the stratum's own environments and those of every subset with z."""
        key = (company, z)
        if key not in self._known:
            subsets = [s for s in company.subsets() if s in self.environments and z in self.environments[s]]
            top = max((s.order for s in subsets), default=0)
            # a quaternary has no parameters of its own: it is as known as its ternaries are
            if top < min(company.order, 3):
                self._known[key] = None
            else:
                points = [self._embedded(s, company, z) for s in subsets]
                distance = max(self.environments[s][z].distance for s in subsets if s.order == top)
                self._known[key] = Environments(np.concatenate(points), distance)
        return self._known[key]

    def _embedded(self, stratum: Stratum, company: Stratum, z: int) -> Floats:
        """The environments of z in `stratum` as features among `company`: blocks with other elements are zero."""
        shape, points = self.model.shape, self.environments[stratum][z].points
        wide = np.zeros((len(points), shape.n_features(company.order)))
        places = {b.stratum: b for b in shape.blocks(z, company.numbers)}
        for block in shape.blocks(z, stratum.numbers):
            place = places[block.stratum]
            wide[:, place.start : place.stop] = points[:, block.start : block.stop]
        return wide


def scales(shape: Shape, parameters: Mapping[Stratum, StratumParameters], company: Stratum, z: int) -> Floats:
    """(D,) factors that make features of element z among `company` comparable; 0 where no stratum knows them."""
    factors = np.zeros(shape.n_features(company.order))
    for block in shape.blocks(z, company.numbers):
        if block.stratum in parameters:
            factors[block.start : block.stop] = parameters[block.stratum].scale[z]
    return factors
