"""potentials data add LIB FILES... | data list LIB"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from potentials.commands.command import Commands, Misused, Unusable, add_command
from potentials.commands.make import add_recipe, open_or_make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from potentials.labelled.reading import Reading
    from potentials.library import Library
    from potentials.storage.methods import Shift


def register(commands: Commands) -> None:
    text = "The labelled crystals that a library keeps."
    parser = commands.add_parser("data", help=text, description=text)
    below = parser.add_subparsers(required=True, metavar="add | list")
    add = add_command(below, "add", run_add, "Add crystals with energies, forces and stresses, each once.")
    add.add_argument("files", metavar="FILE", nargs="+", type=Path, help=FILES)
    add_labels(add)
    add_recipe(add)
    add_command(below, "list", run_list, "Count the crystals by stratum and method.")


FILES = "vasprun.xml, OUTCAR, output of pw.x, extxyz, ASE database, or another file of ASE's with energies and forces"


def add_labels(parser: argparse.ArgumentParser) -> None:
    """The arguments --method, --shift, --skip-refused."""
    parser.add_argument("--method", metavar="NAME", default="", help="who labelled crystals that do not say it")
    parser.add_argument(
        "--shift", metavar="Cu=E,...", help="eV per atom to add to these energies, which are by another method"
    )
    parser.add_argument("--skip-refused", action="store_true", help="add the others where crystals are refused")


def run_add(chosen: argparse.Namespace) -> None:
    shift = parse_shift(chosen.shift)
    readings = read_all(chosen.files, chosen.method, chosen.skip_refused)
    library = open_or_make(chosen)
    add_all(library, readings, shift)


def parse_shift(text: str | None) -> Shift | None:
    """From "Cu=0.1,Pd=-0.2"."""
    from math import isfinite

    from potentials.stratum import Stratum

    if text is None:
        return None
    shift: dict[str, float] = {}
    for part in text.split(","):
        symbol, _, value = part.strip().partition("=")
        try:
            Stratum.of([symbol])
            shift[symbol] = float(value)
            if not isfinite(shift[symbol]):
                raise ValueError
        except ValueError:
            raise Misused(f"--shift must be like Cu=0.12,Pd=-0.3 (eV per atom), got {text}") from None
    return shift


def read_all(files: Sequence[Path], method: str, skip: bool) -> list[Reading]:
    """What the files bring. A crystal that is refused is an error, or with `skip` a line on stderr."""
    from potentials.labelled.reading import read_labels

    readings = [read_labels(path, method) for path in files]
    refused = [f"{r.path}: {one}" for r in readings for one in r.refused]
    if refused and not skip:
        rest = f" ({len(refused) - 1} more are refused)" if len(refused) > 1 else ""
        raise Unusable(f"{refused[0]}{rest}; nothing was added, --skip-refused adds the others")
    for line in refused:
        print(line, file=sys.stderr)
    return readings


def add_all(library: Library, readings: Sequence[Reading], shift: Shift | None) -> None:
    """Add them and say what came of it."""
    added = library.add_data(readings, shift)
    counts = ", ".join(f"{name} {n}" for name, n in added.crystals.items())
    print(f"added {sum(added.crystals.values())} crystals{f' ({counts})' if counts else ''}", end="")
    print(f", {added.duplicates} were there already" if added.duplicates else "")


def run_list(chosen: argparse.Namespace) -> None:
    import numpy as np

    from potentials.library import Library

    library = Library.open(chosen.library)
    data, raw = library.data(), library.data_as_labelled()
    if not len(data):
        print(f"{library.path} holds no labelled crystals")
        return
    names, held_out = np.array([s.name for s in data.strata()]), data.is_held_out()
    methods = np.array(raw.methods)
    print(f"{'stratum':<10}{'crystals':>9}{'atoms':>8}{'families':>9}{'held out':>9}{'CPU s':>11}  method")
    for name in dict.fromkeys(names):
        for method in dict.fromkeys(methods[names == name]):
            rows = np.flatnonzero((names == name) & (methods == method))
            named = [data.families[c] for c in rows]
            families = len({f for f in named if f}) + named.count("")
            print(f"{name:<10}{len(rows):>9}{data.structures.sizes[rows].sum():>8}{families:>9}", end="")
            print(f"{held_out[rows].mean():>9.1%}{data.seconds[rows].sum():>11.1f}  {method}")
    for method, known in library.methods.items():
        print(f"{method}: {_settings(known)}")
    spacings = [f["k_spacing"] for f in library.files.values() if f.get("k_spacing")]
    if spacings:
        print(f"k-points {min(spacings):.3f} to {max(spacings):.3f} 1/Å apart (without 2 pi)")


def _settings(known: dict[str, dict[str, object]]) -> str:
    parts = [f"{name} {value}" for name, value in known.get("settings", {}).items()]
    for symbol, own in known.get("elements", {}).items():
        if isinstance(own, dict):
            parts.append(f"{symbol} {' '.join(str(v) for v in own.values())}")
    if shift := known.get("shift"):
        parts.append("shifted by " + ", ".join(f"{s} {v} eV" for s, v in shift.items()))
    return ", ".join(parts) or "no settings known"
