"""What a campaign says while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One step: how far, and what is known."""

    stage: str  # "bootstrap", "train", "search", "confirm", "done"
    done: int
    total: int
    relaxed: int = 0  # candidates relaxed so far
    distinct: int = 0  # distinct crystals
    hull_phases: int = 0  # on the hull by the network
    confirmed: int = 0  # on the hull by the reference
    reference_calls: int = 0  # all, bootstrap included
    bootstrap_calls: int = 0  # of these, before the search
    relax_calls: int = 0  # evaluations by the relaxer
    method: str = ""  # method of the relaxer

    def line(self) -> str:
        text = f"{self.stage} {self.done}/{self.total}"
        if self.relaxed:
            text += f"  relaxed {self.relaxed}  distinct {self.distinct}  on the hull {self.hull_phases}"
            text += f"  confirmed {self.confirmed}"
        return text + f"  reference calls {self.reference_calls}" + (f"  {self.method}" if self.method else "")
