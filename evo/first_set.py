"""The first training set as a file of labels: what `evo bootstrap` writes, by the bootstrap of every campaign (evo/bootstrap).

Every call is durable (evo/reference/collection.py). A stopped or killed set is made again from its beginning, with the calls that
are there already as answers, so it comes out as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from evo import bootstrap
from evo.bootstrap import crystals
from evo.candidate import Failure
from evo.cell import Space
from evo.reference import Label, Reference
from evo.reference.collect import Stopped, keeping, line, stoppable
from evo.reference.collection import Collection
from evo.reference.cost import predicted_seconds
from evo.settings import ReferenceSection, SettingsError

DEFAULT_CALLS = 800
SAMPLES = 8  # crystals of each stratum from which the mean cost of a call is predicted


@dataclass(frozen=True)
class Remembering:
    """A reference that is asked about a crystal only once. What the bootstrap sees of a Reference."""

    known: Callable[[Atoms], Label | Failure | None]
    ask: Callable[[Atoms], Label | Failure]

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        found = self.known(atoms)
        return self.ask(atoms) if found is None else found


def numbers_of(symbols: Sequence[str]) -> tuple[int, ...]:
    """The atomic numbers of these symbols."""
    return tuple(int(atomic_numbers[s]) for s in symbols)


def calls_within(hours: float, section: ReferenceSection, space: Space, seed: int) -> int:
    """Calls that so many CPU hours are predicted to pay for."""
    tasks = bootstrap.plan(space.elements, 1000, seed, space)
    by_stratum = {t.stratum: t for t in tasks}
    planned = {s: sum(t.calls for t in tasks if t.stratum == s) for s in by_stratum}
    total = 0.0
    for stratum, task in by_stratum.items():
        rng = np.random.default_rng([seed, *stratum.numbers])
        made = [crystals.near_lattice(rng, task.space) for _ in range(SAMPLES)]
        mean = float(np.mean([predicted_seconds(section, atoms) for atoms in made]))
        total += mean * planned[stratum] / sum(planned.values())
    if (calls := int(3600 * hours / total)) < 1:
        raise SettingsError(
            f"{hours:g} CPU hours do not pay for one call of the bootstrap: {total:.3g} s are predicted for each"
        )
    return calls


def make(space: Space, calls: int, seed: int, out: Path, reference: Reference, say: Callable[[str], None]) -> bool:
    """Write the set; False when it was stopped by a signal before the end.

    OUT is extxyz with energy, forces, stress and for each crystal its family, its kind (how it was made), method and provenance.
    """
    reference.require(space.elements)
    tasks = bootstrap.plan(space.elements, calls, seed, space)
    collection = Collection(out, reference)
    try:
        say(f"{calls} calls, {len(collection.records)} of them done ({reference.method})")
        chosen: list[Atoms] = []
        with stoppable() as interruptible:
            keep = keeping(collection)

            def ask(atoms: Atoms) -> Label | Failure:
                with interruptible():
                    found = reference.evaluate(atoms)
                keep(atoms, found)
                say(f"{len(collection.records)}/{calls} {line(atoms, found)}")
                return found

            remembering = Remembering(collection.find, ask)
            try:
                for task in tasks:
                    made = bootstrap.run_task(task, remembering)
                    chosen += [_remarked(x) for x in made.labelled]
            except Stopped:
                return False
            finally:
                collection.write(chosen)
        return True
    finally:
        collection.close()


def _remarked(labelled: bootstrap.Labelled) -> Atoms:
    """The crystal with how it was made; one that was labelled alone is a family of its own."""
    atoms = labelled.atoms.copy()
    atoms.info = {"kind": labelled.kind} | ({"family": labelled.family} if labelled.family else {})
    return atoms
