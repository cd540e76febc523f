"""Relax many crystals at once, positions and cell; those that end leave the batch.

Trust-region BFGS (`descent`) on displacements and strain (`batch`). The initial curvature and the scale of strain
decide the number of calls, the method hardly does: about 30 calls for random 8-atom cells where the defaults of
general optimisers take 100. Strain acts within the periodic subspace: all of it for a crystal, in the plane for a
layer, none for a cluster.

A crystal's result does not depend on the others in the batch, to the bit, when that holds for `evaluate`: crystals are
padded to a multiple of eight atoms, which depends on the crystal alone. So those that wait may join at any time (`stream`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from potentials import memory
from potentials.batch import End, Limits
from potentials.memory import halving, join_predictions
from potentials.stream import Stream
from potentials.structures import Floats, Ints, Prediction, Structures
from potentials.units import EV_PER_A3_PER_GPA

Evaluate = Callable[[Structures], Prediction]
OnCall = Callable[[Ints, Structures, Prediction], None]


@dataclass(frozen=True, slots=True)
class Relaxed:
    """What became of each crystal, in the order given."""

    structures: Structures
    prediction: Prediction  # at the final geometry
    outcomes: list[str]  # "converged", or why not: "not finite", "collapsed", "exploded", "step limit"
    calls: Ints  # (n,) evaluations spent on each


def relax(
    evaluate: Evaluate,
    structures: Structures,
    *,
    pressure: float = 0.0,
    fmax: float = 0.01,
    smax: float = 0.1 * EV_PER_A3_PER_GPA,
    max_calls: int = 300,
    fixed_cell: bool = False,
    on_call: OnCall | None = None,
    room: int | None = None,
    noise: float = 0.0,
    inverses: Sequence[Floats] | None = None,
) -> Relaxed:
    """Crystals at a minimum of the enthalpy E + pV, each with its outcome.

    pressure in eV/Å³; converged when every force is below fmax (eV/Å) and every component of stress + p below
    smax (eV/Å³), where the stress of a cell of more than 30 Å³/atom, which holds vacuum, counts as that of one of 30.
    `on_call(indices, structures, prediction)` sees every evaluation, trial steps included.
    As many crystals are under way as fit into `room` bytes (a share of the memory that is free when left out), the others
    wait; the room is halved when memory runs out all the same. MemoryError when a single crystal is too large.
    noise (eV/atom): where energies are off by so much from one geometry to the next, as those of plane waves are, smaller
    changes do not count, and forces and stresses at both ends of a step say whether it led down.
    inverses: where the inverse Hessians of the descents begin, those that `curvature` has of a cheap model, one for each crystal.
    """
    if pressure and (fixed_cell or not structures.periodic.all()):
        raise ValueError("`pressure` needs crystals periodic along three axes, and `fixed_cell=False`")
    if max_calls < 1 or fmax <= 0 or smax <= 0:
        raise ValueError(f"`max_calls`, `fmax`, `smax` must be positive, got {max_calls}, {fmax}, {smax}")
    if not noise >= 0:
        raise ValueError(f"`noise` must not be negative, got {noise}")
    limits = Limits(pressure, fmax, smax, max_calls, noise)
    stream = Stream(structures, fixed_cell, memory.room() if room is None else room, inverses)
    ends: list[End] = []
    while stream.busy:
        batches = stream.next()
        trial = Structures.join([b.structures() for b in batches])
        prediction = halving(evaluate, join_predictions, trial)
        if on_call is not None:
            on_call(np.concatenate([b.crystals.index for b in batches]), trial, prediction)
        ends += stream.absorb(prediction, limits)
    return _collect(structures, ends)


def _collect(structures: Structures, ends: list[End]) -> Relaxed:
    """The ends in the order of `structures`."""
    n, n_atoms = len(structures), len(structures.numbers)
    n_members = ends[0].geometry.member_energies.shape[1] if ends else 1
    positions, cells = np.zeros((n_atoms, 3)), structures.cells.copy()
    prediction = Prediction(
        np.zeros(n), np.zeros((n_atoms, 3)), np.zeros((n, 3, 3)), np.zeros((n, n_members)), np.zeros(n_atoms)
    )
    for end in ends:
        c, at = end.index, end.geometry
        atoms, size = slice(structures.offsets[c], structures.offsets[c + 1]), int(structures.sizes[c])
        positions[atoms] = at.positions[0, :size]
        cells[c] = np.where(structures.periodic[c][:, None], at.cells[0], structures.cells[c])
        prediction.energies[c] = at.energies[0]
        prediction.forces[atoms] = at.forces[0, :size]
        prediction.stresses[c] = at.stresses[0]
        prediction.member_energies[c] = at.member_energies[0]
        prediction.atomic_energies[atoms] = at.atomic_energies[0, :size]
    final = Structures(structures.numbers, positions, cells, structures.periodic, structures.offsets)
    by_index = sorted(ends, key=lambda end: end.index)
    return Relaxed(final, prediction, [e.outcome for e in by_index], np.array([e.calls for e in by_index], np.int64))
