"""Budget: the CPU hours of the reference, as predicted from the crystals; what was really used has no say in any choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ase import Atoms

from evo.reference.cost import predicted_seconds
from evo.settings import ReferenceSection


@dataclass
class Budget:
    """Of a campaign after its bootstrap. Without `max_hours` everything can be paid for."""

    section: ReferenceSection
    spent: float = 0.0  # predicted CPU s

    def seconds(self, atoms: Atoms) -> float:
        """Predicted CPU s of one call."""
        return predicted_seconds(self.section, atoms)

    def pays_for(self, crystals: Sequence[Atoms], kept: float, calls: int = 1) -> int:
        """How many of these, in this order and with so many calls each, when the part `kept` of the hours is kept back."""
        if not self.section.max_hours:
            return len(crystals)
        left = 3600 * self.section.max_hours * (1 - kept) - self.spent
        for n, atoms in enumerate(crystals):
            left -= calls * self.seconds(atoms)
            if left < 0:
                return n
        return len(crystals)

    def spend(self, crystals: Sequence[Atoms]) -> None:
        """One call for each of these."""
        self.spent += sum(self.seconds(atoms) for atoms in crystals)
