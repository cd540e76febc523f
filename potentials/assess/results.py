"""What an assessment finds: numbers of one side, the two sides beside each other, and curves for the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NONE = math.nan  # the value of what could not be computed; the note says why


class AssessmentError(ValueError):
    """What cannot be assessed; the message is one line."""

    exit_code = 65


@dataclass(frozen=True, slots=True)
class Value:
    """One number by one side."""

    subject: str  # what it is of, for instance "CuPd3 L1_2"
    quantity: str  # for instance "C11"
    unit: str  # "" for a pure number
    value: float  # in `unit`; NaN where there is none
    note: str = ""  # why there is none, or what to know about it


@dataclass(frozen=True, slots=True)
class Curve:
    """A line by one side, for a figure. Axes say their units."""

    subject: str
    x: Sequence[float]
    y: Sequence[Sequence[float]]  # lines over x
    x_label: str
    y_label: str
    ticks: Mapping[str, float] = field(default_factory=dict)  # positions on x that have names


@dataclass(frozen=True, slots=True)
class Measured:
    """What one side says of one property."""

    values: list[Value]
    curves: list[Curve] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Compared:
    """One number by both sides; NaN where a side has none."""

    topic: str  # the property, for instance "eos"
    subject: str
    quantity: str
    unit: str
    network: float
    reference: float
    note: str = ""

    @property
    def difference(self) -> float:
        """Network minus reference, in the same unit."""
        return self.network - self.reference


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far the network is from the reference in many numbers at once."""

    topic: str  # the property, for instance "eos"
    subject: str  # a crystal, or a quantity of many
    quantity: str
    unit: str
    value: float


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Errors against labels, of one kind ("energy", "force" or "stress") for the crystals of one stratum.

    Energies are per atom; forces and stresses count every component. `trimmed` is the RMSE without the twentieth of the
    crystals with the largest errors of this kind.
    """

    stratum: str  # "all" for all crystals together
    kind: str
    unit: str
    n_crystals: int
    rmse: float
    mae: float
    median: float
    trimmed: float
    n_failed: int = 0  # crystals that the network gives no finite number for; in none of the figures


@dataclass(frozen=True, slots=True)
class Parity:
    """Labels and predictions of one stratum, crystal by crystal or component by component."""

    stratum: str
    kind: str
    unit: str
    labels: Sequence[float]
    predictions: Sequence[float]


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything that was found."""

    network: str  # name of the side that is assessed
    reference: str  # "" where there is none
    settings: Mapping[str, Any]
    compared: list[Compared]
    deviations: list[Deviation]
    errors: list[ErrorSummary]
    network_curves: Mapping[str, list[Curve]]  # by property
    reference_curves: Mapping[str, list[Curve]]
    parity: list[Parity]
    cost: Mapping[str, float]  # reference: calls, of which from the cache, CPU seconds; network: CPU seconds

    def of(self, topic: str) -> list[Compared]:
        """The numbers of one property."""
        return [c for c in self.compared if c.topic == topic]


def beside(topic: str, network: Measured, reference: Measured | None) -> list[Compared]:
    """The values of both sides, paired by subject and quantity, in the order of the network's."""
    other = {(v.subject, v.quantity): v for v in reference.values} if reference is not None else {}
    rows = []
    for mine in network.values:
        theirs = other.pop((mine.subject, mine.quantity), None)
        value, note = (theirs.value, _notes(mine.note, theirs.note)) if theirs else (NONE, _notes(mine.note, ""))
        rows.append(Compared(topic, mine.subject, mine.quantity, mine.unit, mine.value, value, note))
    for theirs in other.values():
        note = _notes("", theirs.note)
        rows.append(Compared(topic, theirs.subject, theirs.quantity, theirs.unit, NONE, theirs.value, note))
    return rows


def _notes(network: str, reference: str) -> str:
    if network and network == reference:
        return f"both: {network}"
    named = (("network", network), ("reference", reference))
    return "; ".join(f"{name}: {note}" for name, note in named if note)


def overall(rows: Sequence[Compared]) -> list[Deviation]:
    """Of every quantity with numbers by both sides for two subjects or more: RMS and largest difference."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if math.isfinite(row.difference):
            groups.setdefault((row.topic, row.quantity, row.unit), []).append(row.difference)
    found = []
    for (topic, quantity, unit), differences in groups.items():
        if len(differences) > 1:
            rms = float(np.sqrt(np.mean(np.square(differences))))
            found.append(Deviation(topic, quantity, "RMS", unit, rms))
            found.append(Deviation(topic, quantity, "largest", unit, float(np.abs(differences).max())))
    return found
