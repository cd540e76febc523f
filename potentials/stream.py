"""Crystals that wait to be relaxed and those under way, as many as memory holds; places of those that end are taken again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from potentials.batch import Batch, End, Limits, footprint
from potentials.structures import Floats, Prediction, Structures

PADDING = 8  # atoms
REFILL = 1 / 4  # of the room: less is not worth another batch, which costs as much as a large one


class Stream:
    """One Batch of each padding under way, and one more of each while crystals join."""

    def __init__(
        self, structures: Structures, fixed_cell: bool, room: int, inverses: Sequence[Floats] | None = None
    ) -> None:
        """room in bytes; one crystal is taken whatever it needs. inverses: Å²/eV, where descents begin, by crystal."""
        self._structures = structures
        self._fixed_cell = fixed_cell
        self._room = room
        self._inverses = inverses
        self._paddings = PADDING * -(-structures.sizes // PADDING)
        self._open = np.ones(len(structures), dtype=bool)  # not ended yet
        self._waiting = deque(range(len(structures)))
        self._under_way: list[Batch] = []
        self._joining: list[Batch] = []

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._under_way)

    def next(self) -> list[Batch]:
        """The batches whose trial geometries are to be evaluated now."""
        while True:
            try:
                self._admit()
            except MemoryError as error:
                reason = str(error)
            else:
                return self._under_way + self._joining
            self._begin_anew(reason)  # outside the handler, whose traceback keeps the failed attempt alive

    def absorb(self, prediction: Prediction, limits: Limits) -> list[End]:
        """What becomes of the batches of `next`: crystals that end. The others have their next trial geometry.

        When memory runs out, crystals that have not ended begin anew, fewer at a time; that does not change where they end.
        """
        ends: list[End] = []
        reason = None
        try:
            crystal = atom = 0
            for batch in self._under_way + self._joining:
                crystals, atoms = slice(crystal, crystal + len(batch)), slice(atom, atom + batch.n_atoms)
                crystal, atom = crystals.stop, atoms.stop
                ends += batch.absorb(_part(prediction, crystals, atoms), limits)
            self._merge()
            for batch in self._under_way:
                batch.propose()
        except MemoryError as error:
            reason = str(error)
        self._open[[end.index for end in ends]] = False
        if reason is not None:
            self._begin_anew(reason)
        return ends

    def _begin_anew(self, reason: str) -> None:
        """All crystals that have not ended wait again, and there is room for half of those that were under way."""
        taken = np.setdiff1d(np.flatnonzero(self._open), np.array(self._waiting, dtype=np.int64))
        if len(taken) == 1:
            raise MemoryError(f"a crystal of {self._structures.sizes[taken[0]]} atoms cannot be relaxed: {reason}")
        self._room = sum(footprint(int(p)) for p in self._paddings[taken]) // 2
        self._under_way, self._joining = [], []
        self._waiting = deque(np.flatnonzero(self._open).tolist())

    def _admit(self) -> None:
        self._joining = []
        if not self._waiting:
            return
        free = self._room - sum(b.footprint for b in self._under_way)
        if self._under_way and free < REFILL * self._room:
            return
        chosen: list[int] = []
        while self._waiting:
            needed = footprint(int(self._paddings[self._waiting[0]]))
            if needed > free and (chosen or self._under_way):
                break
            free -= needed
            chosen.append(self._waiting.popleft())
        index = np.array(chosen, dtype=np.int64)
        paddings = self._paddings[index]
        for padding in np.unique(paddings).tolist():
            chosen_here = index[paddings == padding]
            batch = Batch.of(self._structures, chosen_here, padding, self._fixed_cell, self._inverses)
            self._joining.append(batch)

    def _merge(self) -> None:
        """One batch of each padding; those without crystals go."""
        merged: dict[int, Batch] = {}
        for batch in self._under_way + self._joining:
            if len(batch):
                there = merged.get(batch.padding)
                merged[batch.padding] = batch if there is None else there.join(batch)
        self._under_way, self._joining = list(merged.values()), []


def _part(prediction: Prediction, crystals: slice, atoms: slice) -> Prediction:
    return Prediction(
        prediction.energies[crystals],
        prediction.forces[atoms],
        prediction.stresses[crystals],
        prediction.member_energies[crystals],
        prediction.atomic_energies[atoms],
    )
