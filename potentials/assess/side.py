"""Side: one of the two that are compared. The network and the reference are treated alike: anything that evaluates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms

from potentials.assess.prototypes import Crystal, element, guessed_volume
from potentials.assess.reference import Reference
from potentials.assess.results import NONE
from potentials.assess.settings import Settings
from potentials.assess.space_group import space_group
from potentials.curvature import inverse_hessian
from potentials.relax import Evaluate, relax
from potentials.structures import Floats, Prediction, Structures
from potentials.symmetry import keeping_symmetry

LOWER = 1.0  # meV/atom by which another minimum must lie below to be told


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A crystal after its relaxation."""

    atoms: Atoms
    energy: float  # eV per cell; NaN when the relaxation failed
    stress: Floats  # (3, 3) eV/Å³
    outcome: str  # "converged", or why not: "step limit", "not finite: ..."

    @property
    def converged(self) -> bool:
        return self.outcome == "converged"

    @property
    def energy_per_atom(self) -> float:
        """eV."""
        return self.energy / len(self.atoms)


@dataclass(eq=False)
class Side:
    """A name, what answers, and the prototypes relaxed with it so far."""

    name: str
    evaluate: Evaluate
    settings: Settings = field(default_factory=Settings)
    book: Reference | None = None  # who answers, where that is a calculator
    guide: Side | None = None  # whose minima are where prototypes begin; None: ideal crystals
    scout: Side | None = (
        None  # a cheap side that this one resembles: relaxations begin at its minima, with its curvature
    )
    seconds: float = 0.0  # CPU of this process, of all answers
    _elsewhere: dict[str, str] = field(default_factory=dict, repr=False)
    _known: dict[str, Relaxed] = field(default_factory=dict, repr=False)

    @classmethod
    def of_reference(cls, reference: Reference, settings: Settings | None = None) -> Side:
        """The side of a calculator."""
        return cls(reference.name, reference.evaluate, settings or Settings(), reference)

    def ask(self, structures: Structures) -> Prediction:
        """Energies, forces and stresses, with the CPU time counted."""
        started = time.process_time()
        said = self.evaluate(structures)
        self.seconds += time.process_time() - started
        return said

    def energies(self, crystals: Sequence[Atoms], like: Atoms | None = None) -> Floats:
        """(n,) eV per cell, as they are; with the k-points of `like`, by default each with its own."""
        with nullcontext() if like is None else self._meshed(like):
            return self.ask(Structures.from_ase(crystals)).energies

    def relax(
        self, atoms: Atoms, *, cell: str = "free", fmax: float | None = None, like: Atoms | None = None
    ) -> Relaxed:
        """The crystal at its minimum under its own symmetry; `cell` is "free", "fixed" or of fixed "volume".

        All its steps have the k-points of `like`, by default of itself at the start.
        """
        # rounding would let a prototype that is no minimum, such as bcc copper, slide away after enough steps
        keep = keeping_symmetry(self.ask, atoms)
        with self._meshed(atoms if like is None else like):
            start, inverse = self._begin(atoms, cell, fmax)
            ask = at_fixed_volume(keep) if cell == "volume" else keep
            found = self._relax(ask, [start], cell, fmax, inverse)[0]
            if found.converged and self.book is not None:
                # as it will be found again, to the last bit; its answer is there
                found = self._relax(ask, [self.book.keep_minimum(atoms, cell, found.atoms)], cell, fmax)[0]
            return found

    def _begin(self, atoms: Atoms, cell: str, fmax: float | None) -> tuple[Atoms, Floats | None]:
        """Where a relaxation of `atoms` begins, and with what inverse Hessian.

        At the minimum where it ended before: another library asks nothing new. Else at that of the scout, unless answers say that
        the relaxation has begun at the crystal itself, or symmetry has grown on the way there.
        """
        if self.book is not None and (minimum := self.book.minimum(atoms, cell)) is not None:
            return minimum, None
        if self.scout is None or (self.book is not None and self.book.knows(atoms)):
            return atoms, None
        there = self.scout.relax(atoms, cell=cell, fmax=fmax)
        if not there.converged or space_group(there.atoms) != space_group(atoms):
            return atoms, None
        if cell == "volume":
            return there.atoms, None
        one = Structures.from_ase([there.atoms])
        return there.atoms, inverse_hessian(self.scout.ask, one, fixed_cell=cell == "fixed")

    def release(self, crystals: Sequence[Atoms]) -> list[Relaxed]:
        """Crystals at the minima they fall into when no symmetry is kept, positions and cells."""
        if self.book is None:
            return self._relax(self.ask, crystals, "free", None)
        found = []
        for atoms in crystals:
            with self._meshed(atoms):
                found += self._relax(self.ask, [atoms], "free", None)
        return found

    def relaxed(self, crystal: Crystal) -> Relaxed:
        """The prototype at its minimum under its own symmetry, computed once.

        A prototype may have several minima, along c/a for instance. Both sides are compared at one of them, so the relaxation
        begins at the guide's where there is a guide that has the prototype, else at the ideal crystal.
        """
        if crystal.name not in self._known:
            guided = self.guide is not None and not self.guide.trouble(crystal)
            start = self.guide.relaxed(crystal).atoms if self.guide is not None and guided else self.ideal(crystal)
            self._known[crystal.name] = self.relax(start)
        return self._known[crystal.name]

    def ideal(self, crystal: Crystal) -> Atoms:
        """The prototype before any relaxation, at the mean volume of its elements."""
        own = len(crystal.elements) == 1 and crystal == element(crystal.elements[0])
        each = [guessed_volume(z) if own else self.volume(z) for z in crystal.elements]
        return crystal.build(float(np.mean([each[s] for s in crystal.prototype.sites])))

    def volume(self, number: int) -> float:
        """Å³ per atom of the element in its natural lattice; a guess where that cannot be relaxed."""
        own = self.relaxed(element(number))
        return float(own.atoms.cell.volume / len(own.atoms)) if own.converged else guessed_volume(number)

    def element_energy(self, number: int) -> float:
        """eV per atom of the element in its natural lattice."""
        own = self.relaxed(element(number))
        return own.energy_per_atom if own.converged else NONE

    def trouble(self, crystal: Crystal) -> str:
        """What to know about the relaxed prototype: no convergence, another structure, a lower minimum; "" when all is well."""
        found = self.relaxed(crystal)
        if not found.converged:
            return f"{crystal.name} not relaxed ({found.outcome})"
        group = space_group(found.atoms)
        if group != crystal.prototype.space_group:
            return f"{crystal.name} has fallen to space group {group}"
        return self._lower_minimum(crystal)

    def _lower_minimum(self, crystal: Crystal) -> str:
        """Whether the ideal crystal relaxes to an energy below that of the minimum which the guide leads to."""
        if self.guide is None:
            return ""
        if crystal.name not in self._elsewhere:
            found = self.relax(self.ideal(crystal))
            lower = 1e3 * (self.relaxed(crystal).energy_per_atom - found.energy_per_atom)  # NaN is not larger
            text = f"the ideal {crystal.name} relaxes to another minimum, {lower:.1f} meV/atom lower"
            self._elsewhere[crystal.name] = text if lower > LOWER else ""
        return self._elsewhere[crystal.name]

    def _meshed(self, like: Atoms) -> AbstractContextManager[None]:
        return self.book.meshed(like) if self.book is not None else nullcontext()

    def _relax(
        self, ask: Evaluate, crystals: Sequence[Atoms], cell: str, fmax: float | None, inverse: Floats | None = None
    ) -> list[Relaxed]:
        made = relax(
            ask,
            Structures.from_ase(crystals),
            fmax=self.settings.fmax if fmax is None else fmax,
            smax=self.settings.smax,
            max_calls=self.settings.max_calls,
            fixed_cell=cell == "fixed",
            noise=self.settings.noise,
            inverses=None if inverse is None else [inverse],
        )
        energies = [
            e if o == "converged" else NONE for e, o in zip(made.prediction.energies, made.outcomes, strict=True)
        ]
        why = f": {self.book.failure}" if self.book is not None and self.book.failure else ""
        outcomes = [o + why if o == "not finite" else o for o in made.outcomes]
        return [
            Relaxed(made.structures.atoms(c), float(energies[c]), made.prediction.stresses[c], outcomes[c])
            for c in range(len(energies))
        ]


def at_fixed_volume(evaluate: Evaluate) -> Evaluate:
    """The same without the pressure in the stress, so that a relaxation changes the shape of a cell only."""

    def isochoric(structures: Structures) -> Prediction:
        said = evaluate(structures)
        pressures = np.trace(said.stresses, axis1=1, axis2=2) / 3
        return replace(said, stresses=said.stresses - pressures[:, None, None] * np.eye(3))

    return isochoric
