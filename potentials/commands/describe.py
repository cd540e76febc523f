"""potentials describe LIB"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from potentials.commands.command import Commands, add_command

if TYPE_CHECKING:
    from potentials.library import Library, Row


def register(commands: Commands) -> None:
    parser = add_command(commands, "describe", run, "List the strata of a library with their data, errors and costs.")
    parser.add_argument("--json", action="store_true", help="everything as JSON")


def run(chosen: argparse.Namespace) -> None:
    from potentials.library import Library

    library = Library.open(chosen.library)
    table = library.describe()
    if chosen.json:
        known = {"version": library.version(), "recipe": library.form.to_json(), "ledger": _ledger(table)}
        print(json.dumps(known | {"strata": [asdict(row) for row in table]}, indent=1))
        return
    print(f"{chosen.library}  {library.version()}")
    print(library.form)
    if not table:
        print(f"no strata yet; {library.n_crystals()} labelled crystals")
        return
    _strata(library, table)
    _costs(table)
    if (other := library.pretrained) is not None:
        _drawn_to(other)


def _strata(library: Library, table: Sequence[Row]) -> None:
    head = (
        "stratum",
        "version",
        "stands on",
        "own",
        "total",
        "trained",
        "kept",
        "meV/atom",
        "held out",
        "meV/Å",
        "held out",
        "crystals",
    )
    rows = []
    for row in table:
        below = " ".join(f"{name}.{v}" for name, v in row.parents.items()) or "-"
        errors = [
            _number(1e3 * row.errors[key] if key in row.errors else None)
            for key in ("energy_train", "energy_held_out", "force_train", "force_held_out")
        ]
        judged = [f"{row.errors[key]:.0f}" for key in ("crystals_train", "crystals_held_out") if key in row.errors]
        errors.append(", ".join(judged) or "-")
        counts = (row.n_parameters, row.n_total, row.n_data, library.n_crystals(row.stratum))
        rows.append((row.stratum, str(row.version), below, *map(str, counts), *errors))
    _table(head, rows)
    if (fitting := library.form.to_json().get("fitting")) is not None:
        print(
            f"errors: RMSE of crystals (trained on, held out) at most {fitting['high_energy']} eV/atom above the lowest; "
            "of all that are held out: potentials assess LIB --properties errors -o DIR"
        )


def _costs(table: Sequence[Row]) -> None:
    """The ledger: what each stratum cost, what it did not have to spend again, what from scratch would have taken."""
    print()
    head = ("CPU s", "labels", "training", "below, reused", "from scratch", "labelled by")
    costs = [
        (
            row.stratum,
            _number(row.seconds_labels),
            _number(row.seconds_training),
            _number(row.seconds_below if row.parents else None),
            _number(row.seconds_from_scratch),
            row.method or "-",
        )
        for row in table
    ]
    _table(head, costs)
    ledger = _ledger(table)
    print(
        f"spent {_number(ledger['spent'])} CPU s; every stratum by itself, with all below it made anew for it,", end=" "
    )
    print(f"{_number(ledger['alone'])}: reuse saved {_number(ledger['saved'])}")
    if "from_scratch" in ledger:
        print(
            f"training from scratch, where it was done, took {_number(ledger['from_scratch'])} CPU s; "
            f"the same strata on those below them {_number(ledger['instead'])}"
        )


def _drawn_to(other: Library) -> None:
    """What the pretrained networks learned from, and what that cost, once."""
    table = other.describe()
    labels, training = sum(row.seconds_labels for row in table), sum(row.seconds_training for row in table)
    methods = ", ".join(dict.fromkeys(row.method or "-" for row in table))
    crystals = f"{sum(row.n_data for row in table)} crystals of {methods}"
    print(f"pretrained {other.version()}: {crystals}; CPU s: labels {_number(labels)}, training {_number(training)}")


def _ledger(table: Sequence[Row]) -> dict[str, float]:
    """CPU s."""
    spent, below = sum(row.seconds for row in table), sum(row.seconds_below for row in table)
    ledger = {"spent": spent, "alone": spent + below, "saved": below}
    scratch = [row for row in table if row.seconds_from_scratch is not None]
    if scratch:
        ledger["from_scratch"] = sum(row.seconds_from_scratch or 0.0 for row in scratch)
        ledger["instead"] = sum(row.seconds_training for row in scratch)
    return ledger


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if name in ("stratum", "CPU s", "stands on", "labelled by") else cell.rjust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
