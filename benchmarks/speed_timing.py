"""What the speed benchmarks share: CPU time of peers in turn, a table with targets, the record of a run."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from strata import machine, save

from evo.software import versions

RESULTS = Path(__file__).resolve().parent / "speed"


def in_turn(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each, all of them once per round, so that what else the machine does meets all alike."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        for name, work in works.items():
            start = time.process_time()
            work()
            spent[name].append(time.process_time() - start)
    return {name: float(np.median(seconds)) for name, seconds in spent.items()}


def per_round(work: Callable[[], object], rounds: int) -> Callable[[], None]:
    """The same work so often that the clock can tell it from nothing."""

    def repeated() -> None:
        for _ in range(rounds):
            work()

    return repeated


@dataclass(frozen=True)
class Row:
    """One figure; met is None where nothing was asked for or nothing could be measured."""

    line: str  # of the acceptance in the design
    what: str
    value: float | None
    unit: str
    target: str = ""
    met: bool | None = None
    note: str = ""

    def __str__(self) -> str:
        value = "-" if self.value is None else f"{self.value:.4g}"
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        return f"{self.line:>2}  {self.what:<66} {value:>9} {self.unit:<16} {self.target:<10} {verdict:<7} {self.note}"


class Report:
    """Rows as they come; written and summed up at the end."""

    def __init__(self, quick: bool) -> None:
        self.rows: list[Row] = []
        self.more: dict[str, Any] = {}
        self.quick = quick
        self._started = time.perf_counter()

    def add(
        self,
        line: str,
        what: str,
        value: float | None,
        unit: str,
        *,
        most: float | None = None,
        least: float | None = None,
        note: str = "",
    ) -> None:
        """A figure, and the target: at most `most`, or at least `least`."""
        target = f"<= {most:g}" if most is not None else f">= {least:g}" if least is not None else ""
        value = None if value is None else float(value)
        met = None
        if value is not None and target:
            met = value <= most if most is not None else value >= (least or 0.0)
        self.rows.append(Row(line, what, value, unit, target, met, note))
        print(self.rows[-1], flush=True)

    def absent(self, line: str, peer: str, reason: str) -> None:
        """A peer that cannot be measured here, by name."""
        self.add(line, f"{peer}: absent", None, "", note=reason)

    def summary(self) -> str:
        judged = [r for r in self.rows if r.met is not None]
        missed = [r for r in judged if not r.met]
        names = "; missed: " + ", ".join(f"{r.what} {r.value:.3g} {r.unit}" for r in missed) if missed else ""
        return (
            f"{len(judged) - len(missed)} of {len(judged)} targets met in {time.perf_counter() - self._started:.0f} s"
            f"{names}"
        )

    def write(self, path: Path) -> None:
        save(path, {**here(), "quick": self.quick, "rows": [asdict(r) for r in self.rows], **self.more})


def here() -> dict[str, Any]:
    """Machine, commit, versions, and how busy the machine was."""
    return {
        **machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": versions(("numpy", "ase", "torch", "calorine")),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def show(path: Path) -> None:
    """A run that was written before."""
    found = json.loads(path.read_text())
    print(f"{found['processor']}, {found['date']}, commit {found['commit']}, load {found['load']}, {found['versions']}")
    for row in found["rows"]:
        print(Row(**row))
