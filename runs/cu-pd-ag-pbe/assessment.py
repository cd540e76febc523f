"""The library beside DFT of its own method, as a table in Markdown, from what `make pbe-assess` has left.

    python runs/cu-pd-ag-pbe/assessment.py [--published DIR]

--published: what `make pbe-assess ASSESSED=LIB ASSESSMENT=DIR` has left of the published library of 2017
(`potentials import-maise`), compared with the same DFT. Its labels were PBE of another code, so its differences are not all
errors. A difference larger than the goal is marked with *.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

PARTS = ("phases", "phonons", "moduli")
GOALS: dict[str, tuple[float, bool]] = {  # by quantity: largest difference, of the reference (True) or absolute
    "a0": (0.003, True),
    "relaxed": (0.1, False),
    "unrelaxed": (0.1, False),
    "formation energy": (5.0, False),
    "C11": (0.1, True),
    "C12": (0.1, True),
    "C44": (0.1, True),
    "frequency": (0.1, True),
}
SHOWN = ("hcp - fcc", "bcc - fcc", *GOALS)
SAME = 0.005  # THz
BOUNDARY = ("X", "L", "M", "R")  # points of the zone boundary of fcc and of B2

Row = tuple[str, str, str]  # what, quantity, unit
Pair = tuple[float, float]  # network, reference


def rows(folder: Path) -> dict[Row, Pair]:
    """What the table shows of the assessments in this folder."""
    found: dict[Row, Pair] = {}
    for part in PARTS:
        file = folder / part / "assessment.json"
        if file.exists():
            for one in json.loads(file.read_text(encoding="utf-8"))["compared"]:
                if (row := shown(one)) is not None:
                    found[row[0]] = row[1]
    return without_repeats(found)


def without_repeats(found: dict[Row, Pair]) -> dict[Row, Pair]:
    """Degenerate modes once."""
    kept: dict[Row, Pair] = {}
    last: tuple[str, Pair] = "", (math.nan, math.nan)
    for row, pair in found.items():
        place = row[0].rsplit(" ", 1)[0] if row[1] == "frequency" else ""
        if place and last[0] == place and all(abs(a - b) < SAME for a, b in zip(pair, last[1], strict=True)):
            continue
        kept[row], last = pair, (place, pair)
    return kept


def shown(one: dict[str, Any]) -> tuple[Row, Pair] | None:
    """A line of an assessment as the table has it; None where it is not for the table."""
    name, quantity, unit = one["subject"], one["quantity"], one["unit"]
    pair = tuple(math.nan if one[side] is None else float(one[side]) for side in ("network", "reference"))
    if one["topic"] == "lattice" and quantity == "volume":
        if not name.endswith("fcc"):
            return None
        return (name, "a0", "Å"), ((4 * pair[0]) ** (1 / 3), (4 * pair[1]) ** (1 / 3))
    if one["topic"] == "phonons":
        point, _, mode = quantity.partition(" ")
        if point not in BOUNDARY:
            return None
        return (f"{name}, {point} {mode}", "frequency", unit), (pair[0], pair[1])
    return ((name, quantity, unit), (pair[0], pair[1])) if quantity in SHOWN else None


def beyond(quantity: str, network: float, reference: float) -> bool:
    """Whether the difference is larger than the goal, where there is one; a missing number is."""
    largest, relative = GOALS.get(quantity, (math.inf, False))
    return quantity in GOALS and not abs(network - reference) <= largest * (abs(reference) if relative else 1.0)


def table(ours: dict[Row, Pair], published: dict[Row, Pair]) -> str:
    """Markdown."""
    heads = ["", "", "DFT", "cu-pd-ag-pbe", "difference", *(["2017"] if published else [])]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for (name, quantity, unit), (network, reference) in ours.items():
        digits = 3 if unit in ("Å", "eV") else 1 if unit != "THz" else 2
        mark = " *" if beyond(quantity, network, reference) else ""
        cells = [name, f"{quantity}, {unit}", *(f"{x:.{digits}f}" for x in (reference, network))]
        cells.append(f"{network - reference:+.{digits}f}{mark}")
        if published:
            other = published.get((name, quantity, unit), (math.nan, math.nan))[0]
            cells.append("" if math.isnan(other) else f"{other:.{digits}f}")
        lines.append("| " + " | ".join(cells) + " |")
    missed = {q: [beyond(q, *pair) for (_, quantity, _), pair in ours.items() if quantity == q] for q in GOALS}
    told = ", ".join(f"{q} {len(m) - sum(m)} of {len(m)}" for q, m in missed.items() if m)
    return "\n".join([*lines, "", f"Within the goals: {told}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assessment", type=Path, default=Path(__file__).with_name("assessment"))
    parser.add_argument("--published", type=Path)
    asked = parser.parse_args()
    ours = rows(asked.assessment)
    if not ours:
        raise SystemExit(f"{asked.assessment} holds no assessment yet; make one with `make pbe-assess`")
    print(table(ours, rows(asked.published) if asked.published else {}))


if __name__ == "__main__":
    main()
