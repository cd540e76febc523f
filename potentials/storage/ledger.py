"""What each stratum is, how good, and what it cost; what standing on others saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from potentials.stratum import Stratum


@dataclass(frozen=True, slots=True)
class Row:
    """A line of `Library.describe()`: one stratum at its current version."""

    stratum: str
    version: int
    n_parameters: int  # that belong to it, of one member
    n_total: int  # with those of all its subsets
    n_data: int  # crystals it was trained on, held-out ones included
    errors: Mapping[str, float]  # eV/atom and eV/Å, RMSE in training and held out
    seconds: float  # CPU, labels and training
    method: str = ""  # of the labels
    parents: Mapping[str, int] = field(default_factory=dict)  # version of each stratum it was trained on
    seconds_labels: float = 0.0  # CPU
    seconds_training: float = 0.0  # CPU
    seconds_below: float = 0.0  # CPU, labels and training of all strata below, which it did not spend again
    seconds_from_scratch: float | None = None  # CPU of training all its parameters at once, where that was done


def rows(strata: Mapping[str, Any]) -> list[Row]:
    """From the strata of an index, canonical order."""
    current = {name: entry["versions"][str(entry["current"])] for name, entry in strata.items()}
    result = []
    for stratum in sorted(map(Stratum.parse, strata), key=Stratum.sort_key):
        entry = current[stratum.name]
        data = entry["metadata"]
        parents = sorted(map(Stratum.parse, entry["parents"]), key=Stratum.sort_key)
        below = {s.name: _version(strata[s.name], entry["parents"][s.name]) for s in parents}
        labels, training = float(data.get("seconds_labels", 0.0)), float(data.get("seconds_training", 0.0))
        scratch = data.get("seconds_from_scratch")
        result.append(
            Row(
                stratum=stratum.name,
                version=int(strata[stratum.name]["current"]),
                n_parameters=int(entry["n_parameters"]),
                n_total=sum(int(current[s.name]["n_parameters"]) for s in stratum.subsets() if s.name in current),
                n_data=int(data.get("n_data", 0)),
                errors=dict(data.get("errors", {})),
                seconds=labels + training,
                method=str(data.get("method", "")),
                parents=below,
                seconds_labels=labels,
                seconds_training=training,
                seconds_below=sum(_seconds(strata[n]["versions"][str(v)]) for n, v in below.items()),
                seconds_from_scratch=None if scratch is None else float(scratch),
            )
        )
    return result


def _version(stratum: Mapping[str, Any], content: str) -> int:
    """The version that has this content; `Library.add` has seen to it that there is one."""
    return next(int(v) for v, entry in stratum["versions"].items() if entry["content"] == content)


def _seconds(entry: Mapping[str, Any]) -> float:
    data = entry["metadata"]
    return float(data.get("seconds_labels", 0.0)) + float(data.get("seconds_training", 0.0))
