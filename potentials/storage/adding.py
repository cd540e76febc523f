"""Crystals of files into a library: under one name per method, each once, steps of one relaxation in one family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from potentials.labelled.duplicates import first_in_each_place, first_of_each
from potentials.labelled.reading import Reading
from potentials.labelled.record import Dataset
from potentials.storage.crystals import append, stored
from potentials.storage.methods import MixedMethodsError, Shift, declare, recognised, renamed
from potentials.stratum import Stratum


@dataclass(frozen=True, slots=True)
class Added:
    """What came of it."""

    crystals: Mapping[str, int]  # new ones, by the name of the stratum
    duplicates: int  # that were there already, or twice in what was given


def add_readings(
    directory: Path, index: dict[str, Any], readings: Sequence[Reading], shift: Shift | None = None
) -> Added:
    """Append the new crystals of `readings` to the files of their strata and enter them into `index`.

    The caller writes the index. MixedMethodsError, before anything is written, where energies cannot be compared.
    """
    data = index.setdefault("data", {"method": "", "methods": {}, "files": {}, "strata": {}})
    data["method"] = data["method"] or _method(index)
    named = []
    for reading in readings:
        dataset = renamed(reading, data["methods"])
        if len(dataset):
            data["method"] = data["method"] or dataset.methods[0]
            named.append((reading, recognised(data, reading.identities, dataset)))
    others = {m for _, d in named for m in d.methods} - {data["method"]}
    if shift is not None and len(others) != 1:
        what = f"by {', '.join(sorted(others))}" if others else f"all by {data['method']}, the library's own method"
        raise MixedMethodsError(f"a shift belongs to labels of one other method; these are {what}")
    for reading, dataset in named:
        declare(data, dataset, shift if others & set(dataset.methods) else None, str(reading.path))
    crystals: dict[str, int] = {}
    new: dict[str, Dataset] = {}
    total = 0
    for reading, dataset in named:
        run = reading.run
        data["files"].setdefault(
            reading.digits,
            {"name": str(reading.path)}
            | ({"program": run.program, "k_points": run.k_points, "k_spacing": run.spacing} if run is not None else {}),
        )
        total += len(dataset)
        strata = dataset.strata()
        for stratum in sorted(set(strata), key=Stratum.sort_key):
            part = dataset.select([c for c, s in enumerate(strata) if s == stratum])
            new[stratum.name] = new[stratum.name].followed_by(part) if stratum.name in new else part
    for name, part in new.items():
        entry = data["strata"].get(name)
        fresh = _fresh(stored(directory, name, entry) if entry is not None else None, part)
        if len(fresh):
            data["strata"][name] = append(directory, name, entry, fresh)
            crystals[name] = len(fresh)
    return Added(crystals, total - sum(crystals.values()))


def _fresh(known: Dataset | None, new: Dataset) -> Dataset:
    """The crystals of `new` that are not in `known`, each once.

    Where a file holds a crystal that is known, be it with other labels, the file is the same relaxation once more, or further
    on: its other crystals join the family that is there, so that no split cuts through it.
    """
    n = 0 if known is None else len(known)
    both = new if known is None else known.followed_by(new)
    firsts = first_of_each(both)
    joins: dict[str, str] = {}
    for c, first in enumerate(first_in_each_place(both)):
        if c >= n and first != c and both.families[c] and both.families[first]:
            one, other = _joined(joins, both.families[c]), _joined(joins, both.families[first])
            if one != other and one not in (known.families if known is not None else ()):
                joins[one] = other
    fresh = both.select([c for c in range(n, len(both)) if firsts[c] == c])
    return replace(fresh, families=tuple(_joined(joins, f) for f in fresh.families))


def _joined(joins: Mapping[str, str], family: str) -> str:
    while family in joins:
        family = joins[family]
    return family


def _method(index: Mapping[str, Any]) -> str:
    """Who labelled what the strata were trained on; empty where there are none, or several."""
    methods = {
        entry["versions"][str(entry["current"])]["metadata"].get("method", "") for entry in index["strata"].values()
    }
    return str(methods.pop()) if len(methods) == 1 else ""
