"""Extended XYZ that keeps every bit: a float is written with as many digits as it takes to read the same float back.

ASE reads what is written here; ASE's own writer keeps eight decimals. `frames` reads only what `frame` writes: a file
from elsewhere goes through ASE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from potentials.structures import Floats, Ints

Entry = str | float | bool | Floats
PAIR = re.compile(r'([\w.]+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')


@dataclass(frozen=True, slots=True)
class Frame:
    """One crystal of a file."""

    numbers: Ints  # (n,)
    positions: Floats  # (n, 3) Å
    cell: Floats  # (3, 3) Å, rows are the vectors
    periodic: NDArray[np.bool_]  # (3,)
    columns: Mapping[str, Floats]  # (n,) or (n, 3) by name
    entries: Mapping[str, str]  # as they stand in the comment line

    def floats(self, name: str) -> Floats:
        """The numbers of an entry."""
        return np.array(self.entries[name].split(), dtype=float)


def frame(
    numbers: Ints,
    positions: Floats,
    cell: Floats,
    periodic: NDArray[np.bool_],
    columns: Mapping[str, Floats | Ints],
    entries: Mapping[str, Entry],
) -> str:
    """The lines of one crystal. Columns have shape (n,) or (n, k); a matrix among the entries goes row by row.

    An entry that is an empty text is left out: ASE's reader takes what follows it for its value. Line breaks become spaces.
    """
    tables: dict[str, Floats | Ints] = {"pos": positions, **columns}
    kinds = "".join(f":{name}:{_kind(t)}:{1 if t.ndim == 1 else t.shape[1]}" for name, t in tables.items())
    pbc = " ".join("FT"[p] for p in periodic.tolist())
    lined = {name: " ".join(v.splitlines()) if isinstance(v, str) else v for name, v in entries.items()}
    told = {name: value for name, value in lined.items() if not (isinstance(value, str) and not value)}
    head = {"Lattice": cell, "Properties": f"species:S:1{kinds}", **told, "pbc": pbc}
    lines = [str(len(numbers)), " ".join(f"{name}={_quoted(value)}" for name, value in head.items())]
    rows = zip(*(t.reshape(len(numbers), -1).tolist() for t in tables.values()), strict=True)
    for z, parts in zip(numbers.tolist(), rows, strict=True):
        lines.append(f"{chemical_symbols[z]} {' '.join(repr(x) for part in parts for x in part)}")
    return "\n".join(lines) + "\n"


def _kind(table: Floats | Ints) -> str:
    return "I" if table.dtype.kind in "iu" else "R"


def frames(text: str) -> Iterator[Frame]:
    """The crystals of a text made of `frame`s; ValueError or KeyError where it is not."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        n, comment = int(lines[at]), lines[at + 1]
        rows = [line.split() for line in lines[at + 2 : at + 2 + n]]
        if len(rows) != n:
            raise ValueError("a crystal is cut off")
        at += 2 + n
        entries = {m[1]: _unquoted(m[2]) if m[2] is not None else m[3] for m in PAIR.finditer(comment)}
        cell = np.array(entries.pop("Lattice").split(), dtype=float).reshape(3, 3)
        periodic = np.array([p == "T" for p in entries.pop("pbc").split()])
        values = np.array([row[1:] for row in rows], dtype=float)
        columns: dict[str, Floats] = {}
        start, described = 0, entries.pop("Properties").split(":")[3:]
        for name, width in zip(described[::3], map(int, described[2::3]), strict=True):
            part = values[:, start : start + width]
            columns[name] = part[:, 0] if width == 1 else part
            start += width
        numbers = np.array([atomic_numbers[row[0]] for row in rows], dtype=np.int64)
        yield Frame(numbers, columns.pop("pos"), cell, periodic, columns, entries)


def _quoted(value: Entry) -> str:
    if isinstance(value, np.ndarray):
        return '"' + " ".join(map(repr, value.ravel().tolist())) + '"'
    if isinstance(value, bool):
        return "FT"[value]
    if isinstance(value, float):
        return repr(float(value))
    plain = re.fullmatch(r"[\w.:+/#-]+", value)
    return value if plain else '"' + value.replace("\\", r"\\").replace('"', r"\"") + '"'


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)
