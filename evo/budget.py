"""Budget: calls of the reference and their CPU hours, as predicted from the crystals; what was really used has no say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ase import Atoms

from evo.reference.cost import predicted_seconds
from evo.settings import ReferenceSection

FINAL_RELAXATIONS = 12  # phases for whose relaxation by the reference calls are kept back, up to a sixth of the budget


@dataclass
class Budget:
    """Of a campaign after its bootstrap. Without `max_hours` everything can be paid for."""

    section: ReferenceSection
    spent: float = 0.0  # predicted CPU s

    @property
    def single_calls(self) -> int:
        """Calls that are not for the relaxations at the end alone."""
        return self.section.max_calls - self.section.final_calls

    @property
    def reserve(self) -> int:
        """Of the single calls, those kept back for relaxations at the end that have none of their own."""
        section = self.section
        return 0 if section.final_calls else min(section.max_calls // 6, FINAL_RELAXATIONS * section.final_steps)

    def steps(self, calls: int, final: int) -> int:
        """Steps of the relaxations at the end that may still be had after so many calls, `final` of them such steps."""
        return self.section.final_calls - final if self.section.final_calls else self.section.max_calls - calls

    def unspent(self, calls: int, final: int) -> int:
        """Single points that may still be had after so many calls, `final` of them steps of the relaxations at the end."""
        return self.section.max_calls - calls - max(0, self.section.final_calls - final)

    def kept(self, usually: float) -> float:
        """The part of the hours that is not for single points: at least what it is of the calls."""
        return max(usually, self.section.final_calls / max(1, self.section.max_calls))

    def seconds(self, atoms: Atoms) -> float:
        """Predicted CPU s of one call."""
        return predicted_seconds(self.section, atoms)

    def paid(self, crystals: Sequence[Atoms], kept: float, calls: int = 1) -> list[int]:
        """Indices of those that can be paid for, first come, first served, with so many calls each.

        The part `kept` of the hours is kept back. What is too dear is passed over: it must not hold up the others.
        """
        if not self.section.max_hours:
            return list(range(len(crystals)))
        left, found = 3600 * self.section.max_hours * (1 - kept) - self.spent, []
        for n, atoms in enumerate(crystals):
            if (price := calls * self.seconds(atoms)) <= left:
                left -= price
                found.append(n)
        return found

    def spend(self, crystals: Sequence[Atoms]) -> None:
        """One call for each of these."""
        self.spent += sum(self.seconds(atoms) for atoms in crystals)
