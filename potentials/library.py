"""Library: a directory with one file per stratum version and an index; strata are added, never changed.

library.json         recipe, current version of each stratum, every version with its hashes
CuPd.v0002.npz       parameters of the stratum {Cu, Pd}, second version
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potentials.network import fold
from potentials.potential import Potential, resolve_device
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.stratum_file import FORMAT, LibraryError, TrainedStratum, pack, unpack, write_atomically

__all__ = ["Library", "LibraryError", "Recipe", "TrainedStratum"]

INDEX = "library.json"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of `Library.describe()`."""

    stratum: str
    version: int
    n_parameters: int  # that belong to it, of one member
    n_total: int  # with those of all its subsets
    n_data: int
    errors: Mapping[str, float]  # eV/atom and eV/Å, RMSE in training and held out
    seconds: float  # CPU, labels and training


class Library:
    """The strata trained so far. Files are read when asked for, and verified each time."""

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        self.path = path
        self._index = index
        self.recipe = Recipe.from_json(index["recipe"])

    @classmethod
    def create(cls, path: str | Path, recipe: Recipe) -> Library:
        """A new, empty library in this directory, which is made if need be."""
        path = Path(path)
        if (path / INDEX).exists():
            raise LibraryError(f"{path} holds a library already; open it, or choose another directory")
        path.mkdir(parents=True, exist_ok=True)
        library = cls(path, {"format": FORMAT, "recipe": recipe.to_json(), "strata": {}})
        library._write_index()
        return library

    @classmethod
    def open(cls, path: str | Path) -> Library:
        """The library in this directory; LibraryError when there is none that can be read."""
        index = Path(path) / INDEX
        try:
            content = json.loads(index.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise LibraryError(f"{index} has format {content['format']}, this version reads {FORMAT}")
            _check_index(content)
            return cls(Path(path), content)
        except FileNotFoundError:
            raise LibraryError(f"{index} is not there; {path} holds no library") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, LibraryError):
                raise
            raise LibraryError(f"{index} is damaged ({type(error).__name__}); restore it from a copy") from None

    def copy(self, path: str | Path) -> Library:
        """The same library in another directory, which must not hold one."""
        target = Path(path)
        if (target / INDEX).exists():
            raise LibraryError(f"{target} holds a library already; choose another directory")
        target.mkdir(parents=True, exist_ok=True)
        for name, entry in self._index["strata"].items():
            for version in entry["versions"]:
                shutil.copyfile(self.path / _file(name, int(version)), target / _file(name, int(version)))
        copied = Library(target, json.loads(json.dumps(self._index)))
        copied._write_index()
        return copied

    def strata(self) -> list[Stratum]:
        """Those that have a version, canonical order."""
        return sorted((Stratum.parse(name) for name in self._index["strata"]), key=Stratum.sort_key)

    def versions(self) -> dict[str, int]:
        """The current version of each stratum, canonical order."""
        return {s.name: int(self._index["strata"][s.name]["current"]) for s in self.strata()}

    def content(self, name: str, version: int) -> str:
        """The content hash of a stratum version."""
        return str(self._entry(name, version)["content"])

    def version(self, versions: Mapping[str, int] | None = None) -> str:
        """ "nn:" and 12 hex digits that stand for these strata (the current ones) and the recipe."""
        chosen = self.versions() if versions is None else versions
        hashes = [[name, self.content(name, v)] for name, v in sorted(chosen.items())]
        recipe = {k: v for k, v in self.recipe.to_json().items() if k != "fitting"}
        text = json.dumps([FORMAT, recipe, hashes], sort_keys=True)
        return "nn:" + hashlib.sha256(text.encode()).hexdigest()[:12]

    def stratum(self, stratum: Stratum, version: int | None = None) -> TrainedStratum:
        """A stratum as it was added; the current version unless another is named."""
        name = stratum.name
        number = self.versions().get(name, 0) if version is None else version
        entry, path = self._entry(name, number), self.path / _file(name, number)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LibraryError(f"{path} cannot be read: {error.strerror}; restore it from a copy") from None
        if hashlib.sha256(data).hexdigest() != entry["file"]:
            raise LibraryError(f"{path} is damaged (its bytes have another hash); restore it from a copy")
        trained = unpack(data, str(path))
        if trained.stratum != stratum or trained.content_hash() != entry["content"]:
            raise LibraryError(f"{path} is not the file that {INDEX} lists; restore both from one copy")
        return trained

    def add(self, trained: TrainedStratum) -> int:
        """Make this the current version of its stratum and return its number; one that is there already is not made twice."""
        name, content = trained.stratum.name, trained.content_hash()
        for parent, parent_hash in trained.parents.items():
            known = self._index["strata"].get(parent, {"versions": {}})["versions"].values()
            if parent_hash not in {v["content"] for v in known}:
                raise LibraryError(f"{name} was trained on a {parent} that {self.path} does not hold; train it again")
        self._check_shape(trained)
        entry = self._index["strata"].setdefault(name, {"current": 0, "versions": {}})
        same = [int(v) for v, e in entry["versions"].items() if e["content"] == content]
        number = same[0] if same else 1 + max((int(v) for v in entry["versions"]), default=0)
        if not same:
            data = pack(trained, self.recipe.to_json())
            write_atomically(self.path / _file(name, number), data)
            entry["versions"][str(number)] = {
                "content": content,
                "file": hashlib.sha256(data).hexdigest(),
                "parents": dict(trained.parents),
                "n_parameters": trained.n_parameters,
                "metadata": dict(trained.metadata),
            }
        entry["current"] = number
        self._write_index()
        return number

    def use(self, versions: Mapping[str, int]) -> None:
        """Make these versions the current ones, for instance after newer ones have proved worse."""
        for name, number in versions.items():
            self._entry(name, number)
        changed = {n: v for n, v in versions.items() if self._index["strata"][n]["current"] != v}
        if changed:
            for name, number in changed.items():
                self._index["strata"][name]["current"] = number
            self._write_index()

    def assemble(
        self, stratum: Stratum, *, versions: Mapping[str, int] | None = None, device: str = "auto"
    ) -> Potential:
        """The Potential of these elements from every subset that exists, at these versions (default: the current ones).

        Missing pairs and triples contribute nothing; a missing element is an error, and so is a stratum that was
        trained on another version of one below it.
        """
        chosen = self.versions() if versions is None else dict(versions)
        names = [s.name for s in stratum.subsets() if s.name in chosen]
        missing = [s for s in stratum.symbols if s not in names]
        if missing:
            raise LibraryError(f"{self.path} has no stratum {', '.join(missing)}; train it first")
        used = {name: chosen[name] for name in names}
        self._check_parents(used)
        loaded = [self.stratum(Stratum.parse(name), number) for name, number in used.items()]
        return Potential(
            model=fold(self.recipe.shape, stratum.numbers, [t.parameters for t in loaded], self.recipe.repulsion),
            stratum=stratum,
            method=self.version(used),
            environments={t.stratum: t.environments for t in loaded},
            device=resolve_device(device),
        )

    def describe(self) -> list[Row]:
        """The current version of each stratum, canonical order."""
        rows, counts = [], {n: int(self._entry(n, v)["n_parameters"]) for n, v in self.versions().items()}
        for stratum in self.strata():
            number = self.versions()[stratum.name]
            entry = self._entry(stratum.name, number)
            data = entry["metadata"]
            rows.append(
                Row(
                    stratum=stratum.name,
                    version=number,
                    n_parameters=int(entry["n_parameters"]),
                    n_total=sum(counts.get(s.name, 0) for s in stratum.subsets()),
                    n_data=int(data.get("n_data", 0)),
                    errors=dict(data.get("errors", {})),
                    seconds=float(data.get("seconds_labels", 0.0)) + float(data.get("seconds_training", 0.0)),
                )
            )
        return rows

    def _entry(self, name: str, version: int) -> dict[str, Any]:
        versions = self._index["strata"].get(name, {"versions": {}})["versions"]
        if str(version) not in versions:
            have = ", ".join(versions) or "none"
            raise LibraryError(f"{self.path} has no version {version} of {name} (there are: {have})")
        return dict(versions[str(version)])

    def _check_parents(self, used: Mapping[str, int]) -> None:
        for name, number in used.items():
            for parent, content in self._entry(name, number)["parents"].items():
                if parent not in used or self.content(parent, used[parent]) != content:
                    raise LibraryError(
                        f"{name} version {number} in {self.path} was trained on another version of {parent}; train {name} again"
                    )

    def _check_shape(self, trained: TrainedStratum) -> None:
        shape, order = self.recipe.shape, trained.stratum.order
        expected = (self.recipe.members, shape.block_size(order), self.recipe.hidden)
        for z, columns in trained.parameters.columns.items():
            if columns.shape != expected:
                raise LibraryError(
                    f"`columns` of {trained.stratum.name} for centre {z} must have shape {expected} by the recipe of "
                    f"{self.path}, got {columns.shape}"
                )

    def _write_index(self) -> None:
        text = json.dumps(self._index, indent=1, sort_keys=True, allow_nan=False)
        write_atomically(self.path / INDEX, text.encode())


def _file(name: str, version: int) -> str:
    return f"{name}.v{version:04d}.npz"


def _check_index(content: dict[str, Any]) -> None:
    """KeyError, TypeError or ValueError where the index is not one."""
    Recipe.from_json(content["recipe"])
    for name, entry in content["strata"].items():
        Stratum.parse(name)
        if str(entry["current"]) not in entry["versions"]:
            raise ValueError(name)
        for version in entry["versions"].values():
            for key in ("content", "file", "parents", "n_parameters", "metadata"):
                version[key]
