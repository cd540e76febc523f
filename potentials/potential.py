"""Potential: the strata of some elements, assembled; what it says of crystals, and how far they are from its training data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from potentials import kernels
from potentials.calibration import Calibration
from potentials.environments import Environments, Surroundings, surroundings
from potentials.kernels import GuptaModel
from potentials.network import Model
from potentials.stratum import Stratum
from potentials.structures import Floats, Prediction, Structures


@dataclass(frozen=True, eq=False)
class Potential:
    """A model of some elements. A crystal of fewer elements has the bits it has in the smaller library."""

    model: Model | GuptaModel
    stratum: Stratum
    method: str  # "nn:" and 12 hex digits of the strata's contents
    environments: Mapping[Stratum, Environments]  # of every stratum that was trained
    device: str = "cpu"
    calibrations: Mapping[Stratum, Calibration] = field(default_factory=dict)  # where enough crystals were held out
    _known: dict[tuple[Stratum, int], Surroundings | None] = field(default_factory=dict, repr=False)

    @property
    def cutoff(self) -> float:
        """Å, beyond which atoms do not feel each other."""
        return self.model.cutoff if isinstance(self.model, GuptaModel) else self.model.shape.cutoff

    def evaluate(self, structures: Structures, n_threads: int = 1, kernel: str = "auto") -> Prediction:
        """What the committee says of every crystal; NaN where one cannot be evaluated."""
        return kernels.evaluate(structures, self.model, n_threads, kernel, self.device)

    def atomic_spreads(self, structures: Structures, n_threads: int = 1) -> Floats:
        """(n_atoms,) eV, standard deviation of the atoms' energies over the committee, for one more evaluation per member."""
        members = [self.model.member(m) for m in range(self.model.members)]
        said = [kernels.evaluate(structures, m, n_threads, "auto", self.device).atomic_energies for m in members]
        return np.std(said, axis=0)

    def bands(self, structures: Structures, prediction: Prediction, grades: Floats) -> Floats:
        """(n_crystals,) eV per atom: nine times in ten the reference's energy lies this close to the committee's.

        prediction, grades: those of the same crystals. Infinite where the crystal's own set of elements has no calibration.
        """
        result = np.full(len(structures), np.inf)
        company = [Stratum.of(structures.numbers[a:b].tolist()) for a, b in pairwise(structures.offsets.tolist())]
        for stratum, calibration in self.calibrations.items():
            own = np.array([s == stratum for s in company], dtype=bool)
            result[own] = calibration.bands(prediction.spreads[own] / structures.sizes[own], grades[own])
        return result

    def grades(self, structures: Structures, n_threads: int = 1) -> Floats:
        """(n_crystals,) extrapolation grade of the worst atom of each crystal."""
        return np.maximum.reduceat(self.atomic_grades(structures, n_threads), structures.offsets[:-1])

    def atomic_grades(self, structures: Structures, n_threads: int = 1) -> Floats:
        """(n_atoms,) extrapolation grades: 1 is the edge of the training data of the crystal's elements.

        Infinite where nothing is known of the training data, where the crystal's own set of elements was never trained (of
        four and more elements: one of its triples), or its features cannot be computed.
        """
        result = np.full(len(structures.numbers), np.inf)
        if isinstance(self.model, GuptaModel) or not self.environments:
            return result
        groups: dict[Stratum, list[int]] = {}
        for c in range(len(structures)):
            own = structures.numbers[structures.offsets[c] : structures.offsets[c + 1]]
            groups.setdefault(Stratum.of(own.tolist()), []).append(c)
        for company, index in groups.items():
            chosen = structures.select(index)
            features = np.concatenate(kernels.features(chosen, self.model.shape, company.numbers, n_threads))
            grades = np.full(len(features), np.inf)
            for z in company.numbers:
                known = self._surroundings(company, z)
                if known is not None:
                    grades[chosen.numbers == z] = known.grades(features[chosen.numbers == z])
            result[np.concatenate([np.arange(*structures.offsets[c : c + 2]) for c in index])] = grades
        return result

    def _surroundings(self, company: Stratum, centre: int) -> Surroundings | None:
        key = (company, centre)
        if key not in self._known:
            assert isinstance(self.model, Model)  # grades of others are infinite
            self._known[key] = surroundings(self.model.shape, self.environments, company, centre)
        return self._known[key]


def resolve_device(device: str) -> str:
    """ "auto": the compiled kernel on the processor where there is one, else a GPU if torch sees one."""
    if device != "auto":
        return device
    if "compiled" in kernels.available() or not os.path.exists("/dev/nvidia0"):
        return "cpu"
    import torch  # slow to import, and only asked about a GPU

    return "cuda" if torch.cuda.is_available() else "cpu"
