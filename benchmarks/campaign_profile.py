"""Where the CPU time of a campaign goes, by share.

    python benchmarks/campaign_profile.py [DIRECTORY] [--chunks N] [-o FILE]
    python benchmarks/campaign_profile.py --show FILE

Runs the campaign of DIRECTORY (runs/cu-pd-ag-emt) from the start, in one process and a directory of its own, with a clock of
CPU time around what is named below. What runs inside something else named is counted once, under its own name.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one core

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from speed_timing import RESULTS, here
from strata import save

HERE = Path(__file__).resolve().parent
REST = "all else"
# what is clocked: the name under which the caller looks it up
CLOCKED = {
    "relaxation by the network": ["evo.chunk:relax_all"],
    "single points and grades of the network": ["evo.chunk:evaluate", "evo.chunk:grades"],
    "training": ["evo.learn:plan", "evo.learn:fit_member", "evo.learn:finish"],
    "reference": ["evo.labels:single_point", "evo.labels:relaxed", "evo.labels:run_bootstrap"],
    "breeding": ["evo.chunk:breed"],
    "fingerprints": ["evo.chunk:fingerprint"],
    "symmetry": ["evo.report.phases:space_group"],
    "reduced cells and gate": ["evo.chunk:reduce_cell", "evo.gate:geometry"],
    "archive": [
        "evo.archive:Archive.absorb",
        "evo.archive:Archive.admit",
        "evo.archive:Archive.parents",
        "evo.archive:Archive.hull",
        "evo.archive:Archive.change_method",
        "evo.archive:Archive.add_energy",
    ],
    "choice for the reference": ["evo.choice:choose", "evo.choice:probes", "evo.learn:erred", "evo.learn:no_worse"],
    "store": ["evo.store.sqlite:Store.put", "evo.store.sqlite:Store.get"],
    "hulls of the reference": ["evo.campaign:Campaign.reference_hull", "evo.known:Known.hull"],
    "table of phases, at every step": ["evo.report.phases:phases"],
    "libraries from disk": ["evo.relaxers:load_potential", "evo.campaign:load_potential"],
    "records to and from JSON": [
        "evo.candidate:to_json",
        "evo.campaign:to_json",
        "evo.candidate:from_json",
        "evo.campaign:from_json",
        "evo.labels:dataset",
    ],
}
MAIN = ("relaxation by the network", "training", "reference")
LARGEST_REST = 0.25


class Clock:
    """CPU seconds by name; a name's own time is without that of names inside it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._inside: list[float] = []  # time of clocked calls inside each open one

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def clocked(*arguments: Any, **keywords: Any) -> Any:
            self._inside.append(0.0)
            start = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                spent = time.process_time() - start
                self.seconds[name] += spent - self._inside.pop()
                self.calls[name] += 1
                if self._inside:
                    self._inside[-1] += spent

        return clocked

    def put_in_place(self) -> None:
        for name, places in CLOCKED.items():
            for place in places:
                module, _, path = place.partition(":")
                *owners, attribute = path.split(".")
                owner = importlib.import_module(module)
                for step in owners:
                    owner = getattr(owner, step)
                setattr(owner, attribute, self.around(name, getattr(owner, attribute)))


def profile(campaign: Path, chunks: int | None) -> dict[str, Any]:
    """Seconds, shares and calls of everything named, of this campaign run from the start."""
    from evo import job
    from evo.parallel import SerialPool

    clock = Clock()
    clock.put_in_place()
    with tempfile.TemporaryDirectory() as directory:
        text = (campaign / "campaign.toml").read_text()
        if chunks is not None:
            text += f"\n[search]\nchunks = {chunks}\n"
        (Path(directory) / "campaign.toml").write_text(text)
        start = time.process_time()
        code = job.run(Path(directory), SerialPool(), walltime=None, accept_library=False, quiet=True)
        total = time.process_time() - start
    if code:
        sys.exit(f"the campaign ended with exit code {code}, expected 0")
    seconds = {name: clock.seconds[name] for name in CLOCKED}
    seconds[REST] = total - sum(seconds.values())
    return {"campaign": campaign.name, "seconds": seconds, "calls": dict(clock.calls)}


def show(found: dict[str, Any]) -> None:
    seconds, total = found["seconds"], sum(found["seconds"].values())
    print(f"{found['campaign']}: {total:.1f} CPU s, one process; {found['processor']}, commit {found['commit']}")
    for name, s in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {name:<42} {s:8.2f} s {s / total:6.1%}  {found['calls'].get(name, '')}")
    rest = 1 - sum(seconds[name] for name in MAIN) / total
    verdict = "met" if rest <= LARGEST_REST else "MISSED"
    print(f"everything but {', '.join(MAIN)}: {rest:.1%}, at most {LARGEST_REST:.0%} wanted: {verdict}")
    # at full speed a given library needs neither training nor reference
    searching = total - seconds["training"] - seconds["reference"]
    share = seconds["relaxation by the network"] / searching
    print(f"without training and reference: relaxation {share:.1%}, the others {1 - share:.1%}")
    largest = max(seconds, key=lambda name: seconds[name])
    print(f"largest: {largest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, default=HERE.parent / "runs" / "cu-pd-ag-emt")
    parser.add_argument("--chunks", type=int, help="in place of what campaign.toml says")
    parser.add_argument("--show", type=Path, help="print a profile that was written before")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "campaign.json")
    asked = parser.parse_args()
    if asked.show:
        show(json.loads(asked.show.read_text()))
        return
    found = {**here(), **profile(asked.directory, asked.chunks)}
    save(asked.output, found)
    show(found)


if __name__ == "__main__":
    main()
