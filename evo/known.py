"""Known: everything the reference has said, as training data and as a hull; what has been read is not read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from evo import gate, labels
from evo.candidate import atoms_from_json, formula_of, reduced
from evo.cell import Space, counts_of
from evo.hull import Hull, Point
from evo.prospects import LOW_LYING
from potentials.dataset import Dataset


class Known:
    """Labels (JSON values, see evo/labels.py) in the order in which they came, those before the search included."""

    def __init__(self, method: str, space: Space, pressure: float) -> None:
        """method: of the reference. pressure: eV/Å³."""
        self.labels: list[dict[str, Any]] = []
        self._method, self._space, self._pressure = method, space, pressure
        self._points: list[Point] = []
        self._hull: Hull | None = None
        self._data: Dataset | None = None
        self._n_data = 0  # labels in it

    def add(self, new: Sequence[dict[str, Any]]) -> None:
        """Take in what the reference said now."""
        first = len(self.labels)
        self.labels += new
        for n, label in enumerate(new, first):
            if label["failure"] is None:
                numbers = label["crystal"]["numbers"]
                counts = counts_of(numbers)
                # the bootstrap also asked about the elements of the end members, about slabs and clusters
                crystal = all(label["crystal"]["pbc"]) and self._space.spans(counts)
                if crystal and self._has_enthalpy(atoms_from_json(label["crystal"])):
                    self._points.append(Point(counts, self.enthalpy(label) / len(numbers), self._method, str(n)))
        self._hull = None

    def _has_enthalpy(self, atoms: Atoms) -> bool:
        """Whether the enthalpy of this crystal says how low its composition can lie.

        At a pressure a cluster has none. Under a pull vacuum lowers it without end, so that what holds some is training data
        only; where the pressure is positive such a crystal lies high by itself.
        """
        if not self._pressure:
            return True
        return bool(atoms.pbc.all()) and (self._pressure > 0 or not gate.hollow(atoms, self._space))

    def lowest(self) -> list[tuple[int, dict[str, Any]]]:
        """Of each composition of the search the lowest label and its place, where it lies at most LOW_LYING above the hull."""
        hull, formula = self.hull(), self._space.formula
        wanted = None if formula is None else formula_of(reduced(formula))
        best: dict[str, Point] = {}
        for point in self._points:
            name = formula_of(reduced({z: int(n) for z, n in point.counts.items()}))
            if wanted in (None, name) and (name not in best or point.energy < best[name].energy):
                best[name] = point
        if hull is None or not best:
            return []
        above = hull.above_many([p.counts for p in best.values()], [p.energy for p in best.values()])
        places = [int(p.id) for p, height in zip(best.values(), above.tolist(), strict=True) if height <= LOW_LYING]
        return [(n, self.labels[n]) for n in sorted(places)]

    def told(self, crystal: dict[str, Any]) -> dict[str, Any] | None:
        """The label of this very crystal, where there is one that is no failure."""
        own = (x for x in self.labels if x["failure"] is None and x["crystal"] == crystal)
        return next(own, None)

    def enthalpy(self, label: dict[str, Any]) -> float:
        """eV per cell of a label that is no failure."""
        crystal = label["crystal"]
        volume = abs(np.linalg.det(np.array(crystal["cell"]))) if all(crystal["pbc"]) else 0.0
        return float(label["energy"] + self._pressure * volume)

    def hull(self) -> Hull | None:
        """The hull of all of them: what a candidate must not undercut absurdly; None before there is any."""
        if self._hull is None and self._points:
            self._hull = Hull.of(self._points)
        return self._hull

    def low_lying(self) -> Dataset:
        """The held-out crystals up to LOW_LYING above the hull, enthalpies at the pressure of the search.

        There the search is decided, and a single violent crystal would outweigh them all. Off the line between end members there
        is no hull to be near. At a pressure clusters have no enthalpy to count, under a pull nor does what holds vacuum.
        """
        data, hull = self.dataset().held_out(), self.hull()
        if hull is None or not len(data):
            return data.select([])
        if self._pressure:
            data = data.select(np.flatnonzero(data.structures.periodic.all(axis=1)))
        crystals = data.structures.to_ase()
        volumes = np.array([abs(a.cell.volume) if a.pbc.all() else 0.0 for a in crystals])
        enthalpies = (data.labels.energies + self._pressure * volumes) / data.structures.sizes
        above = hull.above_many([counts_of(a.numbers.tolist()) for a in crystals], enthalpies)
        low = np.flatnonzero(np.isfinite(above) & (above <= LOW_LYING))
        return data.select([c for c in low.tolist() if self._has_enthalpy(crystals[c])])

    def dataset(self) -> Dataset:
        """All labels, failures left out."""
        if self._data is None or self._n_data < len(self.labels):
            new = labels.dataset(self.labels[self._n_data :], self._method)
            self._data = new if self._data is None else self._data.followed_by(new)
            self._n_data = len(self.labels)
        return self._data
