"""Campaigns against the enumerated hull: every seed of the network campaign, and three baselines beside it.

Called by hull_truth.py (`run`, `table`). Each campaign is a directory in benchmarks/cache; a campaign that was cut goes on,
and a finished one is not run again. The figures go to benchmarks/hull_truth/campaigns.json.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from ase.data import atomic_numbers, chemical_symbols

from evo.candidate import formula_counts
from evo.create.prototype import prototypes
from evo.hull import Hull
from potentials.calculator import from_calculator
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Structures

HERE = Path(__file__).parent
RESULTS = HERE / "hull_truth" / "campaigns.json"
SYSTEMS = ("Cu-Pd-Ag", "Cu-Pd-Pt")
SEEDS = range(10)
BASELINE_SEEDS = range(3)
TOLERANCE = 3.0  # meV/atom
RANDOM = {
    "symmetric": 1.0,
    **dict.fromkeys(
        ("random", "heredity", "strain", "rattle", "permutation", "transmute", "add_remove", "superstructure"), 0.0
    ),
}
KINDS = {
    "network": {},
    "symmetric random": {"search.operators": RANDOM},
    "EMT relaxes": {
        "relax": {"engine": "ase", "calculator": "ase.calculators.emt:EMT"},
        "reference": {"engine": "ase", "calculator": "ase.calculators.emt:EMT"},
    },
}


def run(systems: list[str], seeds: list[int], kinds: list[str]) -> None:
    """Run what is missing, smallest seeds first, and keep the figures after each campaign."""
    for seed in seeds:
        for kind in kinds:
            if kind != "network" and seed not in BASELINE_SEEDS:
                continue
            for system in systems:
                key = f"{system}/{kind}/{seed}"
                known = _read()
                if key in known["campaigns"]:
                    continue
                figures = _campaign(system, kind, seed)
                with RESULTS.with_suffix(".lock").open("w") as lock:  # another run may be at other campaigns
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    known = _read()
                    known["campaigns"][key] = figures
                    _write(known)
                print(key, figures, flush=True)
    table()


def table() -> None:
    """Print what is known, one line per campaign, and the summary."""
    known = _read()
    truths = {s: _truth(s) for s in SYSTEMS if (HERE / "hull_truth" / f"{s}.json").exists()}
    print(f"{'system':<10} {'campaign':<18} {'seed':>4} {'relaxed':>8} {'calls':>11} {'gap meV':>8} {'wall s':>7}")
    for key, f in sorted(known["campaigns"].items()):
        system, kind, seed = key.split("/")
        calls = f"{f['bootstrap_calls']}+{f['calls']}"
        gap = "inf" if f["gap_meV"] is None else f"{f['gap_meV']:.2f}"
        print(f"{system:<10} {kind:<18} {seed:>4} {f['relaxed']:>8} {calls:>11} {gap:>8} {f['seconds']:>7.0f}")
    for system, phases in truths.items():
        gap = prototype_gap(system, phases)
        print(f"{system:<10} {'prototypes alone':<18} {'-':>4} {'-':>8} {'-':>11} {gap:>8.2f} {'-':>7}")
        found = [f for k, f in known["campaigns"].items() if k.startswith(f"{system}/network/")]
        if found:
            good = sum(f["gap_meV"] is not None and f["gap_meV"] <= TOLERANCE for f in found)
            seconds = median(f["seconds"] for f in found)
            print(
                f"{system}: no truth point more than {TOLERANCE} meV/atom below the hull in {good} of {len(found)} runs; "
                f"median {seconds:.0f} s"
            )


def gap(hull: Hull, truth: list[tuple[dict[int, int], float]]) -> float:
    """Largest distance in meV/atom by which a point of the truth lies below this hull."""
    return max(1000 * (hull.energy(counts) - energy) for counts, energy in truth)


def prototype_gap(system: str, truth: list[tuple[dict[int, int], float]]) -> float:
    """The gap of the bootstrap's prototypes, relaxed by EMT, without any search."""
    from ase.calculators.emt import EMT

    elements = tuple(atomic_numbers[s] for s in system.split("-"))
    crystals = [a for s in Stratum.of(elements).subsets() for _, a in prototypes(s.numbers)]
    result = relax(from_calculator(EMT()), Structures.from_ase(crystals))
    energies = result.prediction.energies / result.structures.sizes
    points = []
    for c, atoms in enumerate(crystals):
        if result.outcomes[c] in ("converged", "step limit"):
            points.append((_counts(atoms.numbers.tolist()), float(energies[c]), "EMT", f"{c:05d}"))
    return gap(Hull.of(points), truth)


def _campaign(system: str, kind: str, seed: int) -> dict[str, Any]:
    directory = HERE / "cache" / f"{system}-{kind.replace(' ', '-')}-{seed}"
    if not (directory / "out" / "campaign.sqlite").exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / "campaign.toml").write_text(_settings(system, kind, seed))
    clock = directory / "seconds"  # of earlier, interrupted runs
    before, start = float(clock.read_text()) if clock.exists() else 0.0, time.perf_counter()
    try:
        subprocess.run([sys.executable, "-m", "evo", "run", str(directory), "--quiet"], check=True, capture_output=True)
    finally:
        seconds = before + time.perf_counter() - start
        clock.write_text(str(seconds))
    status = _evo("status", directory)
    stable = [r for r in _evo("results", directory) if r["status"] == "stable"]
    points = [(formula_counts(r["formula"]), r["energy_reference"], "EMT", r["id"]) for r in stable]
    worst = gap(Hull.of(points), _truth(system))
    bootstrap = status["bootstrap_calls"]
    if kind == "EMT relaxes":
        calls = status["relax_calls"]
    else:
        calls = status["reference_calls"] - bootstrap
    return {
        "relaxed": status["relaxed"],
        "bootstrap_calls": bootstrap,
        "calls": calls,
        "gap_meV": worst if worst < 1e9 else None,
        "seconds": round(seconds, 1),
        "stable": [r["formula"] for r in stable],
        "machine": _machine(),
        "commit": _commit(),
    }


def _settings(system: str, kind: str, seed: int) -> str:
    elements = json.dumps(system.split("-"))
    lines = ["[campaign]", f"seed = {seed}", "[system]", f"elements = {elements}", "atoms = [1, 8]"]
    for section, values in KINDS[kind].items():
        lines += [f"[{section}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
    return "\n".join(lines) + "\n"


def _evo(command: str, directory: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "evo", command, str(directory), "--json"], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def _truth(system: str) -> list[tuple[dict[int, int], float]]:
    data = json.loads((HERE / "hull_truth" / f"{system}.json").read_text())
    return [(formula_counts(p["formula"]), p["energy"]) for p in data["hull"]]


def _counts(numbers: list[int]) -> dict[int, int]:
    return formula_counts("".join(chemical_symbols[z] for z in numbers))


def _read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"campaigns": {}}


def _write(known: dict[str, Any]) -> None:
    temporary = RESULTS.with_suffix(".part")
    temporary.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    os.replace(temporary, RESULTS)


def _machine() -> str:
    model = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), "")
    return f"{model.partition(':')[2].strip() or platform.processor()}, {os.cpu_count()} cores, {platform.system()}"


def _commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
