"""The header of a MAISE model: boxes with a title and rows of a key and a value."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ase.data import chemical_symbols

TITLES = {"neural network": "network", "Gupta": "gupta"}


class MaiseError(ValueError):
    """A file that is no MAISE model, or one that cannot be used; the message names it."""

    exit_code = 65


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A file as it was read."""

    path: Path
    kind: str  # "network" or "gupta"
    rows: Mapping[str, str]  # of the header
    lines: tuple[str, ...]
    digest: str  # SHA-256 of its bytes

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers in the file's own order, which decides where a feature stands."""
        species = tuple(self.whole(z) for z in self.row("species types").split())
        if len(species) != self.whole(self.row("number of species")) or len(set(species)) != len(species):
            raise MaiseError(f"{self.path}: expected as many `species types` as `number of species`, got {species}")
        if any(not 0 < z < len(chemical_symbols) for z in species):
            raise MaiseError(f"{self.path}: `species types` must be atomic numbers, got {species}")
        return species

    def row(self, key: str) -> str:
        if key not in self.rows:
            raise MaiseError(f"{self.path}: expected a row `{key}` in the header, got none; take the file as published")
        return self.rows[key]

    def whole(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise MaiseError(f"{self.path}: expected a whole number, got `{text.strip()[:40]}`") from None

    def numbers(self, line: int, count: int) -> list[float]:
        """The `count` finite numbers of this line (from 0), and no more."""
        text = self.lines[line] if line < len(self.lines) else None
        if text is None:
            raise MaiseError(f"{self.path} ends at line {len(self.lines)}; it is truncated, take the file as published")
        try:
            values = [float(word) for word in text.split()]
        except ValueError:
            values = []
        if len(values) != count or not all(abs(v) < float("inf") for v in values):
            raise MaiseError(f"{self.path}, line {line + 1}: expected {count} numbers, got `{text.strip()[:60]}`")
        return values

    def line_after(self, start: str, begin: int = 0) -> int:
        """The line after the first, from `begin`, that starts so (spaces aside)."""
        for number in range(begin, len(self.lines)):
            if self.lines[number].lstrip().startswith(start):
                return number + 1
        raise MaiseError(f"{self.path}: expected a line `{start} ...`, got none; it is truncated or no MAISE model")


def read_file(path: Path) -> ModelFile:
    """MaiseError when this is no model of a kind that can be imported; OSError when it cannot be read."""
    data = path.read_bytes()
    try:
        lines = tuple(data.removeprefix(codecs.BOM_UTF8).decode("ascii").splitlines())
    except UnicodeDecodeError:
        raise MaiseError(f"{path} is no MAISE model: it is not plain text") from None
    title = lines[1].strip(" |") if len(lines) > 1 and lines[1].startswith("|") else ""
    kind = next((kind for start, kind in TITLES.items() if title.startswith(start)), None)
    if kind is None:
        raise MaiseError(f"{path}: expected a neural network or a Gupta potential of MAISE, got `{title or 'neither'}`")
    rows = {}
    for line in lines:
        cells = line.split("|")
        if len(cells) == 4 and not cells[0] and cells[1].strip():
            rows[" ".join(cells[1].split())] = cells[2].strip()
    return ModelFile(path, kind, rows, lines, hashlib.sha256(data).hexdigest())
