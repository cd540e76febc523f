"""Library: strata on disk, one file per version, each with its hash, what it stands on, and what it cost.

A directory with library.json (recipe, versions, which are current) and NAME.vNNNN.npz for every version of every stratum:
arrays without pickle, and a JSON text of everything else. A file that exists is never written again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potentials.environments import Environments
from potentials.network import StratumParameters, fold
from potentials.potential import Potential
from potentials.recipe import Recipe
from potentials.stratum import Stratum

FORMAT = 1
Arrays = dict[str, NDArray[Any]]


class LibraryError(ValueError):
    """A library that cannot be read, or is not what it was; the message names the file."""

    exit_code = 65


@dataclass(frozen=True, eq=False)
class TrainedStratum:
    """One stratum as training made it."""

    parameters: StratumParameters
    environments: Mapping[int, Environments]  # by atomic number
    parents: Mapping[str, str]  # name -> content hash of every stratum below that it was trained on
    about: Mapping[str, Any]  # data hash, method of the labels, errors, counts, CPU seconds: not part of the hash

    @property
    def stratum(self) -> Stratum:
        return self.parameters.stratum

    def arrays(self) -> Arrays:
        """Everything that its energies depend on, and the environments."""
        p = self.parameters
        found: Arrays = {}
        for z in p.stratum.numbers:
            found |= {f"columns.{z}": p.columns[z], f"scale.{z}": p.scale[z], f"scale_shift.{z}": p.scale_shift[z]}
            found |= {
                f"environments.{z}": self.environments[z].points,
                f"distance.{z}": np.array(self.environments[z].distance),
            }
        if p.stratum.order == 1:
            assert p.biases is not None and p.outputs is not None and p.shifts is not None
            found |= {"biases": p.biases, "outputs": p.outputs, "shifts": p.shifts}
        return found

    def content_hash(self) -> str:
        """64 hex digits of the arrays and of the parents; CPU seconds and remarks do not count."""
        return _content_hash(self.stratum, self.arrays(), self.parents)


class Library:
    """A directory of strata. Open it with `open` or `create`."""

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        self.path = path
        self.recipe = Recipe.from_json(index["recipe"])
        self._index = index
        self._loaded: dict[tuple[str, int], TrainedStratum] = {}

    @classmethod
    def create(cls, path: str | Path, recipe: Recipe) -> Library:
        """A new, empty library."""
        path = Path(path)
        if (path / "library.json").exists():
            raise LibraryError(f"{path} is a library already; open it, or choose another directory")
        library = cls(path, {"format": FORMAT, "recipe": recipe.to_json(), "strata": {}, "current": {}})
        path.mkdir(parents=True, exist_ok=True)
        library._write_index()
        return library

    @classmethod
    def open(cls, path: str | Path) -> Library:
        """The library in this directory."""
        file = Path(path) / "library.json"
        try:
            index = json.loads(file.read_text(encoding="utf-8"))
            if index["format"] != FORMAT:
                raise LibraryError(f"{file} has format {index['format']}, this version reads {FORMAT}")
            return cls(Path(path), index)
        except FileNotFoundError:
            raise LibraryError(f"{path} is no library: it has no library.json") from None
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, LibraryError):
                raise
            raise LibraryError(f"{file} cannot be read: {error}") from None

    def copy(self, path: str | Path) -> Library:
        """The same library in another directory, which must not be one yet."""
        if (Path(path) / "library.json").exists():
            raise LibraryError(f"{path} is a library already; choose another directory")
        shutil.copytree(self.path, path, dirs_exist_ok=True)
        return Library.open(path)

    def strata(self) -> list[Stratum]:
        """Those that have a current version, in canonical order."""
        return sorted((Stratum.parse(name) for name in self._index["current"]), key=Stratum.sort_key)

    def versions(self) -> dict[str, int]:
        """Name -> current version."""
        return {s.name: int(self._index["current"][s.name]) for s in self.strata()}

    def content_hash(self, name: str, version: int) -> str:
        try:
            return str(self._index["strata"][name][str(version)])
        except KeyError:
            raise LibraryError(f"{self.path} has no version {version} of {name}") from None

    def version(self, versions: Mapping[str, int] | None = None) -> str:
        """The method of a potential with these versions (the current ones if None): "nn:" and 12 hex digits."""
        chosen = self.versions() if versions is None else versions
        hashes = [f"{name} {self.content_hash(name, v)}" for name, v in sorted(chosen.items())]
        text = json.dumps([self.recipe.to_json(), hashes], sort_keys=True)
        return "nn:" + hashlib.sha256(text.encode()).hexdigest()[:12]

    def add(self, trained: TrainedStratum) -> int:
        """Keep this stratum as a new version, and return its number; the same content keeps its number.

        The first version of a stratum becomes current by itself, later ones by `adopt`.
        """
        name, content = trained.stratum.name, trained.content_hash()
        known = self._index["strata"].setdefault(name, {})
        for version, there in known.items():
            if there == content:
                return int(version)
        for parent, parent_hash in trained.parents.items():
            if parent_hash not in self._index["strata"].get(parent, {}).values():
                raise LibraryError(f"{name} was trained on a {parent} that {self.path} does not have; add that first")
        number = max(map(int, known), default=0) + 1
        _write_atomically(self._file(name, number), _packed(trained))
        known[str(number)] = content
        self._index["current"].setdefault(name, number)
        self._write_index()
        return number

    def adopt(self, versions: Mapping[str, int]) -> None:
        """Make these versions the current ones."""
        for name, number in versions.items():
            self.content_hash(name, number)
        current = {**self._index["current"], **versions}
        if current != self._index["current"]:
            self._index["current"] = current
            self._write_index()

    def stratum(self, name: str, version: int | None = None) -> TrainedStratum:
        """This stratum as it is on disk, checked against its hash."""
        number = self.versions().get(name, 0) if version is None else version
        expected = self.content_hash(name, number)
        if (name, number) not in self._loaded:
            self._loaded[name, number] = _unpacked(self._file(name, number), Stratum.parse(name), expected)
        return self._loaded[name, number]

    def assemble(self, stratum: Stratum, versions: Mapping[str, int] | None = None, device: str = "cpu") -> Potential:
        """The potential of these elements: every subset that exists; elements themselves must."""
        chosen = self.versions() if versions is None else dict(versions)
        parts = {s: self.stratum(s.name, chosen[s.name]) for s in stratum.subsets() if s.name in chosen}
        lacking = [s.name for s in stratum.subsets() if s.order == 1 and s not in parts]
        if lacking:
            raise LibraryError(f"{self.path} has no {', '.join(lacking)}; train them first: potentials train")
        parameters = {s: t.parameters for s, t in parts.items()}
        return Potential(
            model=fold(self.recipe.shape, stratum.numbers, list(parameters.values()), self.recipe.repulsion),
            stratum=stratum,
            method=self.version({s.name: chosen[s.name] for s in parts}),
            parameters=parameters,
            environments={s: t.environments for s, t in parts.items()},
            device=_device(device),
        )

    def describe(self) -> list[dict[str, Any]]:
        """One row per current stratum: name, version, parameters (own and of all it needs), and what is known about it."""
        sizes = {s: _n_parameters(self.stratum(s.name)) for s in self.strata()}
        return [
            {
                "stratum": s.name,
                "version": self.versions()[s.name],
                "hash": self.content_hash(s.name, self.versions()[s.name])[:12],
                "own_parameters": sizes[s],
                "all_parameters": sum(sizes.get(t, 0) for t in s.subsets()),
                **self.stratum(s.name).about,
            }
            for s in self.strata()
        ]

    def _file(self, name: str, version: int) -> Path:
        return self.path / f"{name}.v{version:04d}.npz"

    def _write_index(self) -> None:
        _write_atomically(self.path / "library.json", (json.dumps(self._index, indent=1) + "\n").encode())


def _n_parameters(trained: TrainedStratum) -> int:
    """Adjustable parameters of one committee member."""
    p = trained.parameters
    count = sum(int(np.prod(c.shape[1:])) for c in p.columns.values())
    if p.biases is not None and p.outputs is not None:
        count += p.biases.shape[1] + p.outputs.shape[1] + 1
    return count


def _content_hash(stratum: Stratum, arrays: Arrays, parents: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, stratum.name, sorted(parents.items())]).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f8")
        digest.update(f"{name} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _packed(trained: TrainedStratum) -> bytes:
    text = json.dumps({"format": FORMAT, "parents": dict(trained.parents), "about": dict(trained.about)})
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, metadata=np.array(text), **trained.arrays())
    return buffer.getvalue()


def _unpacked(file: Path, stratum: Stratum, expected: str) -> TrainedStratum:
    try:
        with np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        metadata = json.loads(str(arrays.pop("metadata")))
        found = _content_hash(stratum, arrays, metadata["parents"])
    except FileNotFoundError:
        raise LibraryError(f"{file} is missing; put it back from a copy") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise LibraryError(f"{file} is damaged ({error}); put it back from a copy") from None
    if found != expected:
        raise LibraryError(f"{file} is not what library.json says (hash {found[:12]}, expected {expected[:12]})")
    by_centre = {z: str(z) for z in stratum.numbers}
    parameters = StratumParameters(
        stratum,
        scale_shift={z: arrays[f"scale_shift.{k}"] for z, k in by_centre.items()},
        scale={z: arrays[f"scale.{k}"] for z, k in by_centre.items()},
        columns={z: arrays[f"columns.{k}"] for z, k in by_centre.items()},
        biases=arrays.get("biases"),
        outputs=arrays.get("outputs"),
        shifts=arrays.get("shifts"),
    )
    environments = {
        z: Environments(arrays[f"environments.{k}"], float(arrays[f"distance.{k}"])) for z, k in by_centre.items()
    }
    return TrainedStratum(parameters, environments, metadata["parents"], metadata["about"])


def _write_atomically(path: Path, data: bytes) -> None:
    """The whole file or nothing, also when the power fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _device(wanted: str) -> str:
    """ "cuda" or "cpu"; "auto" is CUDA where there is a driver and torch can use it."""
    if wanted != "auto":
        return wanted
    if not Path("/dev/nvidiactl").exists():  # torch takes seconds to import, so look first
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
