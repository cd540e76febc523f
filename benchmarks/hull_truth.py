"""Does the search find the hull? The truth is every fcc, bcc and hcp superstructure up to 6 atoms, relaxed with EMT.

    python benchmarks/hull_truth.py truth --system Cu-Pd-Ag     # two minutes; resumes where it was cut
    python benchmarks/hull_truth.py run                         # campaigns against it (hull_campaigns.py); an hour
    python benchmarks/hull_truth.py table                       # what is known so far

Every superstructure keeps the symmetry it starts with, so some are saddle points: the truth is an upper bound, and a
search may go below it. Its cache is benchmarks/cache/ (not in git), its result benchmarks/hull_truth/<system>.json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import hull_campaigns
import icet
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.data import chemical_symbols
from icet.tools import enumerate_structures

from evo.hull import Hull, Point
from evo.symmetry import space_group
from potentials.calculator import from_calculator
from potentials.relax import relax
from potentials.structures import Structures
from potentials.units import EV_PER_A3_PER_GPA

HERE = Path(__file__).parent
LARGEST = 6  # atoms per cell
FMAX = 0.01  # eV/Å
SMAX_GPA = 0.1
MAX_CALLS = 500
# lattice and its primitive cell, of one Å³ per atom
LATTICES = (
    ("fcc", bulk("Cu", "fcc", a=4.0 ** (1 / 3))),
    ("bcc", bulk("Cu", "bcc", a=2.0 ** (1 / 3))),
    ("hcp", bulk("Cu", "hcp", a=2.0 ** (1 / 6), c=2.0 ** (1 / 6) * (8 / 3) ** 0.5)),
)


def truth(system: str) -> None:
    """Enumerate, relax what the cache lacks, write the hull, print a summary."""
    elements = system.split("-")
    known = _read_cache(_cache_file(system))
    crystals = list(superstructures(elements))
    with _cache_file(system).open("a") as cache:
        for i, (name, atoms) in enumerate(crystals):
            if name not in known:
                known[name] = _record(name, atoms)
                cache.write(json.dumps(known[name]) + "\n")
                cache.flush()
            if i % 100 == 0:
                print(f"{system} {i}/{len(crystals)}", flush=True)
    records = [known[name] for name, _ in crystals]
    result = summary(system, records)
    path = HERE / "hull_truth" / f"{system}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(_compact(result))
    print_summary(result)


def superstructures(elements: list[str]) -> Iterator[tuple[str, Atoms]]:
    """(name, crystal) of every superstructure, at the volume that its elements have together."""
    volumes = {e: relaxed(bulk(e, "fcc", a=4.0))[0].cell.volume for e in elements}
    for lattice, primitive in LATTICES:
        sizes = range(1, LARGEST // len(primitive) + 1)
        for i, atoms in enumerate(enumerate_structures(primitive, sizes, elements)):
            volume = sum(volumes[s] for s in atoms.symbols)
            atoms.set_cell(atoms.cell * (volume / atoms.cell.volume) ** (1 / 3), scale_atoms=True)
            yield f"{lattice}-{i:04d}", atoms


def relaxed(atoms: Atoms) -> tuple[Atoms, float, int, str]:
    """The relaxed crystal, its energy in eV, the EMT calls it took, and the outcome."""
    end = relax(
        from_calculator(EMT()),
        Structures.from_ase([atoms]),
        fmax=FMAX,
        smax=SMAX_GPA * EV_PER_A3_PER_GPA,
        max_calls=MAX_CALLS,
    )
    return end.structures.atoms(0), float(end.prediction.energies[0]), int(end.calls[0]), end.outcomes[0]


def summary(system: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """What is committed: the energy of every structure, the phases of the hull, how crowded it is above them."""
    by_name = {r["name"]: r for r in records}
    points = [Point(_counts(r), r["energy"], "emt", r["name"]) for r in records if r["outcome"] == "converged"]
    hull = Hull.of(points)
    above = hull.above_many([p.counts for p in points], [p.energy for p in points])
    # two superstructures that relax into one crystal count once
    levels: dict[tuple[str, float], float] = {}
    for point, height in zip(points, above, strict=True):
        key = (_reduced(by_name[point.id]["symbols"]), round(point.energy, 4))
        levels[key] = min(float(height), levels.get(key, np.inf))
    return {
        "system": system,
        "calculator": "ase.calculators.emt:EMT, default parameters",
        "relaxation": f"potentials.relax, positions and cell, {FMAX} eV/Å, {SMAX_GPA} GPa",
        "software": {"ase": ase.__version__, "icet": icet.__version__, "numpy": np.__version__},
        "structures": len(records),
        "unconverged": [r["name"] for r in records if r["outcome"] != "converged"],
        "calls": sum(r["calls"] for r in records),
        "within_meV": {str(m): sum(h < m * 1e-3 for h in levels.values()) for m in (1, 3, 10, 30)},
        "hull": [_phase(by_name[name], hull, points, levels) for name in hull.vertices],
        "columns": ["name", "formula", "energy eV/atom", "above hull eV/atom"],
        "rows": [
            [p.id, _reduced(by_name[p.id]["symbols"]), round(p.energy, 6), round(float(a), 6)]
            for p, a in zip(points, above, strict=True)
        ],
    }


def _phase(
    record: dict[str, Any], hull: Hull, points: list[Point], levels: dict[tuple[str, float], float]
) -> dict[str, Any]:
    """A phase of the hull; `next` is the gap to the second best of its composition, `depth` to the hull without it."""
    atoms = Atoms(record["symbols"], scaled_positions=record["scaled_positions"], cell=record["cell"], pbc=True)
    formula = _reduced(record["symbols"])
    without = Hull.of([p for p in points if p.id != record["name"]])
    return {
        "name": record["name"],
        "formula": formula,
        "space_group": space_group(atoms, 1e-2),
        "energy": record["energy"],
        "formation": hull.formation(_counts(record), record["energy"]),
        "next": min((h for (f, _), h in levels.items() if f == formula and h > 0), default=None),
        "depth": -without.above(_counts(record), record["energy"]),
        "symbols": record["symbols"],
        "cell": record["cell"],
        "scaled_positions": record["scaled_positions"],
    }


def print_summary(result: dict[str, Any]) -> None:
    print(
        f"{result['system']}: {result['structures']} structures, {result['calls']} EMT calls, "
        f"{len(result['unconverged'])} unconverged; distinct within meV/atom: {result['within_meV']}"
    )
    print(f"{'formula':12s} {'from':10s} {'group':>5s} {'formation':>10s} {'next':>8s} {'depth':>8s}  meV/atom")
    for phase in result["hull"]:
        numbers = [phase["formation"], phase["next"], phase["depth"]]
        texts = ["-" if x is None else f"{1e3 * x:.2f}" for x in numbers]
        print(
            f"{phase['formula']:12s} {phase['name']:10s} {phase['space_group']:5d} "
            f"{texts[0]:>10s} {texts[1]:>8s} {texts[2]:>8s}"
        )


def _record(name: str, atoms: Atoms) -> dict[str, Any]:
    crystal, energy, calls, outcome = relaxed(atoms)
    return {
        "name": name,
        "symbols": crystal.get_chemical_formula("reduce"),
        "energy": energy / len(crystal),
        "outcome": outcome,
        "calls": calls,
        "cell": np.round(np.asarray(crystal.cell), 8).tolist(),
        "scaled_positions": np.round(crystal.get_scaled_positions(wrap=False), 8).tolist(),
    }


def _counts(record: dict[str, Any]) -> dict[int, int]:
    counts = Counter(Atoms(record["symbols"]).numbers.tolist())
    return {int(z): int(n) for z, n in counts.items()}


def _reduced(symbols: str) -> str:
    """Reduced formula, elements by atomic number."""
    counts = sorted(Counter(Atoms(symbols).numbers.tolist()).items())
    divisor = int(np.gcd.reduce([n for _, n in counts]))
    return "".join(f"{chemical_symbols[z]}{n // divisor if n > divisor else ''}" for z, n in counts)


def _cache_file(system: str) -> Path:
    path = HERE / "cache" / f"hull_truth_{system}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def _read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """Records by name. A last line without its end was cut while it was written, and goes."""
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return {r["name"]: r for r in map(json.loads, whole.splitlines())}


def _compact(result: dict[str, Any]) -> str:
    """JSON with one structure per line, so that a change shows as one."""
    head = json.dumps({k: v for k, v in result.items() if k not in ("hull", "rows")}, indent=1)[:-2]
    hull = ",\n  ".join(json.dumps(phase) for phase in result["hull"])
    rows = ",\n  ".join(json.dumps(row) for row in result["rows"])
    return f'{head},\n "hull": [\n  {hull}\n ],\n "rows": [\n  {rows}\n ]\n}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("truth", help="enumerate and relax, resumably")
    make.add_argument("--system", default="Cu-Pd-Ag", help="elements that EMT knows, for instance Cu-Pd-Ag")
    campaigns = commands.add_parser("run", help="campaigns over seeds and their baselines, resumably")
    campaigns.add_argument("--systems", nargs="+", default=list(hull_campaigns.SYSTEMS))
    campaigns.add_argument("--seeds", nargs="+", type=int, default=list(hull_campaigns.SEEDS))
    campaigns.add_argument("--kinds", nargs="+", default=list(hull_campaigns.KINDS), choices=hull_campaigns.KINDS)
    commands.add_parser("table", help="print the figures of the campaigns")
    given = parser.parse_args()
    if given.command == "truth":
        truth(given.system)
    elif given.command == "run":
        hull_campaigns.run(given.systems, given.seeds, given.kinds)
    else:
        hull_campaigns.table()


if __name__ == "__main__":
    main()
