"""Crystals of similar size on their way to a minimum, as arrays with one padded row per crystal.

Variables of a crystal of N atoms: displacements in the present frame, and sqrt(N) * 1 Å * symmetric strain e (six
components, the off-diagonal ones times sqrt(2)). After a step the cell is h exp(e), the atoms are carried along,
and that geometry is the next frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from ase.geometry import complete_cell
from numpy.typing import NDArray

from potentials.descent import CURVATURE, Descent
from potentials.runaway import collapsed, exploded, overlapping, shortest_allowed, spheres
from potentials.structures import VOIGT, Floats, Ints, Prediction, Structures

Bools = NDArray[np.bool_]

SMALLEST_VOLUME = 1e-3  # Å³ per atom: below, a cell is flat
SOLID = 30.0  # Å³ per atom: what is larger holds vacuum, and its stress counts as that of so much
STRAIN_LENGTH = 2.0  # Å: a radius of 0.2 Å allows a strain of 0.1
ROW, COLUMN = (np.array(axes) for axes in VOIGT)
WEIGHT = np.array([1.0, 1.0, 1.0, *[np.sqrt(2.0)] * 3])


@dataclass(frozen=True, slots=True)
class Limits:
    """When a relaxation ends."""

    pressure: float  # eV/Å³
    fmax: float  # eV/Å
    smax: float  # eV/Å³
    max_calls: int
    noise: float = 0.0  # eV/atom, changes of the energy that say nothing


@dataclass(frozen=True)
class Geometry:
    """c crystals, padded to p atoms, and what was evaluated there."""

    positions: Floats  # (c, p, 3) Å
    cells: Floats  # (c, 3, 3) Å
    energies: Floats  # (c,) eV per cell
    forces: Floats  # (c, p, 3) eV/Å
    stresses: Floats  # (c, 3, 3) eV/Å³
    member_energies: Floats  # (c, members) eV per cell
    atomic_energies: Floats  # (c, p) eV

    def choose(self, rows: Bools, other: Geometry) -> Geometry:
        """These rows of this, the remaining ones of the other."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Geometry(*(np.where(rows.reshape((-1,) + (1,) * (a.ndim - 1)), a, b) for a, b in pairs))


@dataclass(frozen=True)
class Crystals:
    """What does not change while the atoms move."""

    index: Ints  # (c,) in the list the caller gave
    numbers: Ints  # (c, p) 0 where there is no atom
    real: Bools  # (c, p)
    sizes: Ints  # (c,)
    periodic: Bools  # (c, 3)
    given_cells: Floats  # (c, 3, 3) Å, whose non-periodic vectors do not change
    movable: Floats  # (c, 3, 3) projector on the periodic subspace, in which strain acts
    allowed: Floats  # (c, p, p) Å, shortest distances
    first_volumes: Floats  # (c,) Å³
    of_spheres: Floats  # (c,) Å³, of the atoms
    first_lengths: Floats  # (c,) Å, longest periodic vector

    @property
    def solid(self) -> Bools:
        """(c,) periodic along three axes."""
        return np.asarray(self.periodic.all(axis=1))


@dataclass(frozen=True)
class End:
    """A crystal that leaves the batch."""

    index: int
    outcome: str
    calls: int
    geometry: Geometry  # one row


@dataclass
class Batch:
    """The crystals still on their way, the geometry each stands at, and the one under trial."""

    crystals: Crystals
    calls: Ints  # (c,)
    positions: Floats  # (c, p, 3) Å, under trial
    cells: Floats  # (c, 3, 3) Å, under trial
    now: Geometry | None = None
    descent: Descent | None = None
    inverses: Floats | None = None  # (c, n, n) Å²/eV to begin with, until the first gradients are there

    @classmethod
    def of(
        cls,
        structures: Structures,
        index: Ints,
        padding: int,
        fixed_cell: bool,
        inverses: Sequence[Floats] | None = None,
    ) -> Batch:
        """The crystals with these indices, padded to `padding` atoms. inverses: of all crystals of `structures`."""
        chosen = structures.select(index)
        real = np.arange(padding) < chosen.sizes[:, None]
        numbers, positions = np.zeros(real.shape, np.int64), np.zeros((*real.shape, 3))
        numbers[real], positions[real] = chosen.numbers, chosen.positions
        cells = chosen.cells.copy()
        for c in np.flatnonzero(~chosen.periodic.all(axis=1)):
            if not abs(np.linalg.det(cells[c])) > 0.0:  # a vector along an axis that is not periodic may be anything
                cells[c][~chosen.periodic[c]] = 0.0
        bare = np.logical_not(cells.any(axis=2))
        for c in np.flatnonzero(~chosen.periodic.all(axis=1)):
            cells[c] = complete_cell(cells[c])
        # without a volume a layer or wire has no stress, and its periodic vectors would stay as they are
        absent = bare & chosen.periodic.any(axis=1, keepdims=True)
        crystals = Crystals(
            index=index,
            numbers=numbers,
            real=real,
            sizes=chosen.sizes,
            periodic=chosen.periodic,
            given_cells=np.where(absent[:, :, None], cells, chosen.cells),
            movable=np.zeros_like(cells) if fixed_cell else _periodic_subspace(cells, chosen.periodic),
            allowed=shortest_allowed(numbers, real),
            first_volumes=np.abs(np.linalg.det(cells)),
            of_spheres=spheres(numbers, real),
            first_lengths=_longest(cells, chosen.periodic),
        )
        first = None if inverses is None else np.stack([padded_inverse(inverses[c], padding) for c in index])
        return cls(crystals, np.zeros(len(index), np.int64), positions, cells, inverses=first)

    def __len__(self) -> int:
        return len(self.calls)

    @property
    def n_atoms(self) -> int:
        return int(self.crystals.sizes.sum())

    @property
    def padding(self) -> int:
        return int(self.crystals.numbers.shape[1])

    @property
    def footprint(self) -> int:
        """Bytes."""
        return len(self) * footprint(self.padding)

    def structures(self) -> Structures:
        """The crystals under trial."""
        fixed = self.crystals
        return Structures(
            fixed.numbers[fixed.real],
            self.positions[fixed.real],
            np.where(fixed.periodic[:, :, None], self.cells, fixed.given_cells),
            fixed.periodic,
            np.concatenate([[0], np.cumsum(fixed.sizes)]),
        )

    def absorb(self, prediction: Prediction, limits: Limits) -> list[End]:
        """Take or refuse the geometry under trial; the crystals that end here, removed from the batch."""
        self.calls = self.calls + 1
        trial = self._padded(prediction)
        ends = []
        for outcome, rows in self._runaways(trial):
            ends += self._ends(outcome, rows, trial)
            trial = trial if not rows.any() else _rows(trial, ~rows)
            self._keep(~rows)
        if not len(self):
            return ends
        values, gradients = self._enthalpies(trial, limits.pressure), self._gradients(trial, limits.pressure)
        if self.descent is None or self.now is None:
            self.descent, self.now = Descent.start(values, gradients, self.inverses), trial
            self.inverses = None
        else:
            noises = np.asarray(limits.noise * self.crystals.sizes, dtype=np.float64)
            self.now = trial.choose(self.descent.learn(values, gradients, noises), self.now)
        ends += self._ends("converged", rows := self._converged(self.now, limits), self.now)
        self._keep(~rows)
        ends += self._ends("step limit", rows := self.calls >= limits.max_calls, self.now)
        self._keep(~rows)
        return ends

    def join(self, other: Batch) -> Batch:
        """Both batches as one; their crystals have been absorbed at least once and have the same padding."""
        return replace(
            self,
            crystals=_both(self.crystals, other.crystals),
            calls=np.concatenate([self.calls, other.calls]),
            positions=np.concatenate([self.positions, other.positions]),
            cells=np.concatenate([self.cells, other.cells]),
            now=_both(self.now, other.now),
            descent=_both(self.descent, other.descent),
        )

    def propose(self) -> None:
        """Put the next geometry under trial."""
        assert self.descent is not None and self.now is not None  # absorb() came first
        steps = self.descent.newton()
        moves, strains = self._apart(steps)
        longest = np.sqrt((moves**2).sum(axis=2)).max(axis=1)
        lengths = np.maximum(longest, STRAIN_LENGTH * np.sqrt((strains**2).sum(axis=(1, 2))))
        self.move(self.now.positions, self.now.cells, self.descent.propose(steps, lengths))

    def move(self, positions: Floats, cells: Floats, steps: Floats) -> None:
        """Put the geometry under trial that is these (c, 3 p + 6) steps away."""
        moves, strains = self._apart(steps)
        w, v = np.linalg.eigh(strains)
        stretch = (v * np.exp(w)[:, None, :]) @ np.swapaxes(v, 1, 2)
        self.positions = (positions + moves) @ stretch
        self.cells = cells @ stretch

    def gradients(self, prediction: Prediction, pressure: float) -> Floats:
        """(c, 3 p + 6) eV/Å of the enthalpies under trial."""
        return self._gradients(self._padded(prediction), pressure)

    def _padded(self, prediction: Prediction) -> Geometry:
        real = self.crystals.real
        forces, atomic = np.zeros((*real.shape, 3)), np.zeros(real.shape)
        forces[real], atomic[real] = prediction.forces, prediction.atomic_energies
        return Geometry(
            self.positions,
            self.cells,
            prediction.energies,
            forces,
            prediction.stresses,
            prediction.member_energies,
            atomic,
        )

    def _runaways(self, trial: Geometry) -> list[tuple[str, Bools]]:
        """Crystals that end at once, the first reason of each; every later mask is for what the earlier leave.

        A collapsed crystal is called that even where the potential answers it with NaN.
        """
        fixed = self.crystals
        strained = fixed.movable.any(axis=(1, 2))
        sums = trial.energies + trial.forces.sum(axis=(1, 2))
        sums = sums + np.where(strained, trial.stresses.sum(axis=(1, 2)), 0.0)
        placed = np.isfinite(self.cells.sum(axis=(1, 2)) + self.positions.sum(axis=(1, 2)))
        volumes = np.abs(np.linalg.det(np.where(placed[:, None, None], self.cells, np.eye(3))))
        flat = volumes < np.where(fixed.solid, SMALLEST_VOLUME * fixed.sizes, 1e-9)
        sound = placed & ~flat
        positions = np.where(placed[:, None, None], self.positions, 0.0)
        cells = np.where(sound[:, None, None], self.cells, np.eye(3))
        close = overlapping(positions, cells, fixed.periodic, fixed.allowed)
        dense = placed & (flat | close | collapsed(volumes, fixed.first_volumes, fixed.of_spheres, fixed.solid))
        lengths = _longest(self.cells, fixed.periodic)
        first = fixed.first_volumes, fixed.of_spheres
        wide = exploded(volumes, *first, lengths, fixed.first_lengths, fixed.sizes, fixed.solid)
        wide &= placed & ~dense
        broken = ~(np.isfinite(sums) & placed | dense | wide)
        if not (dense | wide | broken).any():
            return []
        return [("collapsed", dense), ("exploded", wide[~dense]), ("not finite", broken[~(dense | wide)])]

    def _enthalpies(self, at: Geometry, pressure: float) -> Floats:
        return at.energies + pressure * np.abs(np.linalg.det(at.cells)) if pressure else at.energies

    def _stresses(self, at: Geometry, pressure: float) -> Floats:
        """(c, 3, 3) eV/Å³, stress + pressure where the cell may give way, 0 elsewhere."""
        movable = self.crystals.movable
        free = np.asarray(movable.any(axis=(1, 2)))
        total = np.where(free[:, None, None], at.stresses, 0.0) + pressure * np.eye(3)
        return movable @ (0.5 * (total + np.swapaxes(total, 1, 2))) @ movable

    def _gradients(self, at: Geometry, pressure: float) -> Floats:
        """(c, 3 p + 6) eV/Å, without the translations."""
        fixed = self.crystals
        mean = at.forces.sum(axis=1) / fixed.sizes[:, None]
        moves = np.where(fixed.real[:, :, None], mean[:, None, :] - at.forces, 0.0)
        scale = np.abs(np.linalg.det(at.cells)) / np.sqrt(fixed.sizes)
        strains = self._stresses(at, pressure)[:, ROW, COLUMN] * WEIGHT * scale[:, None]
        return np.concatenate([moves.reshape(len(moves), -1), strains], axis=1)

    def _apart(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Displacements (c, p, 3) Å and strains (c, 3, 3) of (c, 3 p + 6) variables."""
        components = vectors[:, -6:] / (WEIGHT * np.sqrt(self.crystals.sizes)[:, None])
        strains = np.zeros((len(vectors), 3, 3))
        strains[:, ROW, COLUMN] = components
        strains[:, COLUMN, ROW] = components
        return vectors[:, :-6].reshape(len(vectors), -1, 3), strains

    def _converged(self, at: Geometry, limits: Limits) -> Bools:
        forces = np.sqrt((at.forces**2).sum(axis=2)).max(axis=1)
        stresses = np.abs(self._stresses(at, limits.pressure)).max(axis=(1, 2))
        # a force over the whole cell says little of a layer or a wire in vacuum
        stresses *= np.maximum(np.abs(np.linalg.det(at.cells)) / (SOLID * self.crystals.sizes), 1.0)
        return np.asarray((forces < limits.fmax) & (stresses < limits.smax))

    def _ends(self, outcome: str, rows: Bools, at: Geometry) -> list[End]:
        index = self.crystals.index
        return [End(int(index[c]), outcome, int(self.calls[c]), _rows(at, np.array([c]))) for c in np.flatnonzero(rows)]

    def _keep(self, rows: Bools) -> None:
        """Drop the other rows from the batch."""
        if rows.all():
            return
        self.crystals, self.calls = _rows(self.crystals, rows), self.calls[rows]
        self.positions, self.cells = self.positions[rows], self.cells[rows]
        self.inverses = None if self.inverses is None else self.inverses[rows]
        self.now = None if self.now is None else _rows(self.now, rows)
        self.descent = None if self.descent is None else _rows(self.descent, rows)


def padded_inverse(inverse: Floats, padding: int) -> Floats:
    """(n, n) with n = 3 padding + 6, of the (3 N + 6, 3 N + 6) of N atoms."""
    n, n_atoms = 3 * padding + 6, (len(inverse) - 6) // 3
    rows = np.r_[: 3 * n_atoms, n - 6 : n]
    padded = np.eye(n) / CURVATURE
    padded[np.ix_(rows, rows)] = inverse
    return padded


def footprint(padding: int) -> int:
    """Bytes that a crystal padded to so many atoms needs while it is relaxed: state, and what one step takes besides."""
    variables = 3 * padding + 6
    return 8 * (5 * variables**2 + 16 * padding**2 + 150 * padding + 400)


def _rows(record: Any, rows: Bools | Ints) -> Any:
    """A copy of the record with these rows of every array."""
    return replace(record, **{f.name: getattr(record, f.name)[rows] for f in fields(record)})


def _both(a: Any, b: Any) -> Any:
    """One record with the rows of both."""
    return replace(a, **{f.name: np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in fields(a)})


def _periodic_subspace(cells: Floats, periodic: Bools) -> Floats:
    """(c, 3, 3) orthogonal projectors on the span of the periodic vectors."""
    projectors = np.broadcast_to(np.eye(3), cells.shape).copy()
    for c in np.flatnonzero(~periodic.all(axis=1)):
        q = np.linalg.qr(cells[c][periodic[c]].T)[0]
        projectors[c] = q @ q.T
    return projectors


def _longest(cells: Floats, periodic: Bools) -> Floats:
    return np.where(periodic, np.sqrt((cells**2).sum(axis=2)), 0.0).max(axis=1)
