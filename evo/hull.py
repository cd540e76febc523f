"""Hull: the lower convex hull of energy per atom over composition, for any number of elements.

The hull is the largest convex function of composition below all points: the energy of the best mixture.
It consists of flat facets, and its energy is the largest of their planes. The facets come from Qhull (scipy)
after what upsets Qhull is taken away: an apex far above gives every set of points its full dimension,
compositions are projected on the space that they span, and points above the plane of the end members go.

Without an end member (fixed composition, an oxide search that never made the metal) the hull spans the
compositions that are there. Outside there is no hull: its energy is infinite and every phase extends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from evo.mixtures import EndMembers
from potentials.structures import Floats, Ints

SAME = 1e-9  # eV/atom and fractions of composition: smaller differences are rounding


class Point(NamedTuple):
    """One phase: what it is made of, its energy in eV per atom, the method that gave it, and its name."""

    counts: Mapping[int, float]  # atomic number -> atoms, in any multiple of the formula
    energy: float
    method: str
    id: str


@dataclass(frozen=True)
class Hull:
    """Lower convex hull of phases whose energies come from one method. Build it with `Hull.of`."""

    method: str
    elements: tuple[int, ...]  # atomic numbers, ascending
    vertices: tuple[str, ...]  # ids of the corners, by composition; one per composition
    fractions: Floats  # (n_vertices, n_elements) compositions of the corners
    vertex_energies: Floats  # (n_vertices,) eV/atom
    end_members: dict[int, float]  # eV/atom of the lowest phase of each pure element that has one
    mixtures: EndMembers | None  # what formation energies are relative to; None: the elements
    _axes: Floats  # (n_elements, k) orthonormal: composition -> coordinates in the space spanned
    _facets: Ints  # (n_facets, k + 1) vertices of each facet
    _planes: Floats  # (n_facets, k + 1) energy = coordinates . plane[:k] + plane[k]
    _borders: Floats  # (n_borders, k + 1) inside when coordinates . border[:k] + border[k] <= 0

    @classmethod
    def of(
        cls, points: Sequence[tuple[Mapping[int, float], float, str, str]], mixtures: EndMembers | None = None
    ) -> Hull:
        """The hull of (counts, eV/atom, method, id); the order of the points does not matter.

        With `mixtures` it is that of these end members (a pseudo-binary such as NiO-MgO): others are left out.
        A phase within 1e-9 eV/atom of a mixture of others lies on the hull (above = 0) but is no corner.
        Of phases that share composition and energy the one with the smallest id counts.
        ValueError: no points, energies that are not finite, more than one method.
        """
        if mixtures is not None:
            points = [p for p in points if mixtures.parts(p[0]) is not None]
        if not points:
            raise ValueError("a hull needs at least one phase, got none")
        methods = sorted({p[2] for p in points})
        if len(methods) > 1:
            raise ValueError(f"a hull never mixes methods, got {', '.join(methods)}; evaluate all with one")
        bad = ", ".join([p[3] for p in points if not np.isfinite(p[1])][:5])
        if bad:
            raise ValueError(f"energies on a hull must be finite, those of {bad} are not; gate them first")
        elements = tuple(sorted({z for p in points for z, n in p[0].items() if n > 0}))
        fractions = _fractions([p[0] for p in points], elements)
        energies = np.array([p[1] for p in points], dtype=float)
        ids = [p[3] for p in points]
        chosen = _lowest(fractions, energies, ids)
        pure = [i for i in chosen if fractions[i].max() == 1.0]
        ends = {elements[int(fractions[i].argmax())]: float(energies[i]) for i in pure}
        chosen = chosen[_below_end_members(fractions[chosen], energies[chosen], elements, ends)]
        axes = _spanned(fractions[chosen])
        x, e = fractions[chosen] @ axes, energies[chosen]
        corners = _corners(x, e)
        facets, planes, borders = _lower_facets(x[corners], e[corners])
        return cls(
            method=methods[0],
            elements=elements,
            vertices=tuple(ids[i] for i in chosen[corners]),
            fractions=fractions[chosen[corners]],
            vertex_energies=e[corners],
            end_members=ends,
            mixtures=mixtures,
            _axes=axes,
            _facets=facets,
            _planes=planes,
            _borders=borders,
        )

    def energy(self, counts: Mapping[int, float]) -> float:
        """eV/atom of the best mixture of this composition; inf outside what the phases span."""
        return float(self.energies([counts])[0])

    def energies(self, compositions: Sequence[Mapping[int, float]]) -> Floats:
        """(n,) the same for many compositions."""
        known = set(self.elements)
        inside = np.array([all(z in known for z, n in c.items() if n > 0) for c in compositions], dtype=bool)
        result = np.full(len(compositions), np.inf)
        if not inside.any():
            return result
        x = _fractions([c for c, ok in zip(compositions, inside, strict=True) if ok], self.elements)
        y = x @ self._axes
        origin = self.fractions[0]
        away = x - origin - (y - origin @ self._axes) @ self._axes.T
        spanned = np.abs(away).max(axis=1) < SAME
        if len(self._borders):
            spanned &= (y @ self._borders[:, :-1].T + self._borders[:, -1]).max(axis=1) < SAME
        values = (y @ self._planes[:, :-1].T + self._planes[:, -1]).max(axis=1)
        result[inside] = np.where(spanned, values, np.inf)
        return result

    def above(self, counts: Mapping[int, float], energy_per_atom: float) -> float:
        """eV/atom above the hull, negative below; -inf where there is no hull."""
        return float(self.above_many([counts], [energy_per_atom])[0])

    def above_many(self, compositions: Sequence[Mapping[int, float]], energies: Sequence[float] | Floats) -> Floats:
        """(n,) the same for many phases. ValueError when an energy is not finite."""
        values = np.asarray(energies, dtype=float)
        if not np.isfinite(values).all():
            raise ValueError("energies above a hull must be finite; gate them first")
        difference = values - self.energies(compositions)
        return np.where(np.abs(difference) < SAME, 0.0, difference)

    def decomposition(self, counts: Mapping[int, float]) -> dict[str, float]:
        """Id -> fraction of the atoms in each phase of the best mixture; empty where there is no hull."""
        if not np.isfinite(self.energy(counts)):
            return {}
        y = (_fractions([counts], self.elements) @ self._axes)[0]
        corners = self.fractions @ self._axes
        best: Floats | None = None
        for facet in self._facets:
            matrix = np.vstack([corners[facet].T, np.ones(len(facet))])
            if abs(np.linalg.det(matrix)) < 1e-14:
                continue  # a sliver of a flat region that its neighbours cover
            parts = np.linalg.solve(matrix, np.append(y, 1.0))
            if best is None or parts.min() > best.min() + SAME:
                best, members = parts, facet
        assert best is not None  # every hull has a facet
        order = sorted((int(m), float(p)) for m, p in zip(members, best, strict=True) if p > SAME)
        return {self.vertices[m]: p for m, p in order}

    def formation(self, counts: Mapping[int, float], energy_per_atom: float) -> float | None:
        """eV/atom relative to the end members; None when one of them is not known, or it is no mixture of them."""
        if self.mixtures is not None:
            parts = self.mixtures.parts(counts)
            if parts is None:
                return None
            # nothing else has the composition of an end member, so the hull there is its lowest phase
            units = [dict(member) for member in self.mixtures.members]
            ends = [self.energy(unit) * sum(unit.values()) for unit in units]
            mixture = sum(p * e for p, e in zip(parts, ends, strict=True) if p > SAME) / sum(counts.values())
            return energy_per_atom - mixture if np.isfinite(mixture) else None
        used = {z: n for z, n in counts.items() if n > 0}
        if not used or any(z not in self.end_members for z in used):
            return None
        return energy_per_atom - sum(n * self.end_members[z] for z, n in used.items()) / sum(used.values())


def _fractions(compositions: Sequence[Mapping[int, float]], elements: tuple[int, ...]) -> Floats:
    """(n, n_elements) atomic fractions."""
    amounts = np.array([[c.get(z, 0) for z in elements] for c in compositions], dtype=float)
    amounts = amounts.reshape(-1, len(elements))
    totals = amounts.sum(axis=1)
    if not (totals > 0).all() or (amounts < 0).any():
        raise ValueError("a composition needs at least one atom and no negative counts")
    return amounts / totals[:, None]


def _lowest(fractions: Floats, energies: Floats, ids: Sequence[str]) -> Ints:
    """The lowest point of every composition, ordered by composition whatever the order of the points."""
    best: dict[tuple[float, ...], int] = {}
    for i, key in enumerate(map(tuple, np.round(fractions, 12).tolist())):
        j = best.get(key)
        if j is None or (energies[i], ids[i]) < (energies[j], ids[j]):
            best[key] = i
    return np.array([best[key] for key in sorted(best, reverse=True)], dtype=np.int64)


def _below_end_members(
    fractions: Floats, energies: Floats, elements: tuple[int, ...], ends: dict[int, float]
) -> NDArray[np.bool_]:
    """(n,) False for mixed points above the plane of all end members: they cannot be corners."""
    if len(ends) < len(elements):
        return np.ones(len(energies), dtype=bool)
    formation = energies - fractions @ np.array([ends[z] for z in elements])
    return (formation < -SAME) | (fractions.max(axis=1) == 1.0)


def _spanned(fractions: Floats) -> Floats:
    """(n_elements, k) orthonormal axes of the space that the compositions span; k = 0 for one composition."""
    _, sizes, rows = np.linalg.svd(fractions - fractions[0], full_matrices=False)
    return np.ascontiguousarray(rows[sizes > SAME].T)


def _corners(x: Floats, e: Floats) -> Ints:
    """Points that the others cannot make, ascending."""
    facets, planes, _ = _lower_facets(x, e)
    corners = np.unique(facets)
    on_plane = np.abs(e[corners, None] - x[corners] @ planes[:, :-1].T - planes[:, -1]) < SAME
    if on_plane.sum(axis=0).max() <= x.shape[1] + 1:
        return corners  # no facet has a point beside its own, so none is a mixture of others
    kept = corners.tolist()
    for i in corners.tolist():
        others = [j for j in kept if j != i]
        if e[i] > _mixture(x[others], e[others], x[i]) - SAME:
            kept = others
    return np.array(kept, dtype=np.int64)


def _mixture(x: Floats, e: Floats, where: Floats) -> float:
    """eV/atom that these points can make at this place, inf when they cannot."""
    if len(x) == 0 or _spanned(x).shape[1] < x.shape[1]:
        return float("inf")  # the last point in some direction is always a corner
    _, planes, borders = _lower_facets(x, e)
    if len(borders) and (borders[:, :-1] @ where + borders[:, -1]).max() > SAME:
        return float("inf")
    return float((planes[:, :-1] @ where + planes[:, -1]).max())


def _lower_facets(x: Floats, e: Floats) -> tuple[Ints, Floats, Floats]:
    """Facets (n, k + 1) as indices, their planes (n, k + 1), and the borders (m, k + 1) of what they cover.

    x (n_points, k) must span k dimensions. Planes and borders are laid out as in `Hull`.
    """
    k = x.shape[1]
    if k == 0:
        lowest = int(np.argmin(e))
        return np.array([[lowest]]), np.array([[e[lowest]]]), np.zeros((0, 1))
    # Qhull wants all axes of like size: take the tilt away and bring what is left to 1
    design = np.column_stack([x, np.ones(len(x))])
    tilt = np.linalg.lstsq(design, e, rcond=None)[0]
    flat = e - design @ tilt
    scale = float(np.ptp(flat)) if np.ptp(flat) > SAME else 1.0
    apex = np.append(x.mean(axis=0), flat.max() / scale + 2.0)
    hull = ConvexHull(np.vstack([np.column_stack([x, flat / scale]), apex]))
    lower = hull.equations[:, k] < -1e-9
    equations = hull.equations[lower]
    planes = -scale * np.delete(equations, k, axis=1) / equations[:, k, None] + tilt
    facets = hull.simplices[lower].astype(np.int64)
    if k == 1:
        return facets, planes, np.array([[-1.0, x.min()], [1.0, -x.max()]])
    return facets, planes, ConvexHull(x).equations
