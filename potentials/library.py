"""Library: a directory of strata and of the labelled crystals they come from; both are added, never changed.

library.json            recipe, current version of each stratum, every version with its hashes, methods of the crystals
CuPd.v0002.npz          parameters of the stratum {Cu, Pd}, second version
data/CuPd.extxyz.gz     labelled crystals of Cu and Pd
pretrained/             networks of another library that those of this one are drawn to, where there are any
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from potentials.calibration import Calibration
from potentials.dataset import Dataset
from potentials.environments import Environments
from potentials.kernels import GuptaModel
from potentials.labelled.reading import Reading
from potentials.network import Model, StratumParameters, fold, fold_gupta
from potentials.potential import Potential, resolve_device
from potentials.recipe import Fitting, GuptaRecipe, Recipe, recipe_from_json
from potentials.storage.adding import Added, add_readings
from potentials.storage.crystals import data_file, stored, stored_bytes
from potentials.storage.index import NAME as INDEX
from potentials.storage.index import read_index, write_index
from potentials.storage.ledger import Row, rows
from potentials.storage.lock import LibraryLockedError, locked
from potentials.storage.methods import Shift, on_one_scale
from potentials.storage.shipped import place, refuse_changes
from potentials.storage.strata import load_stratum, store_stratum, stratum_bytes, stratum_file
from potentials.stratum import Stratum
from potentials.stratum_file import FORMAT, LibraryError, TrainedStratum, write_atomically

__all__ = [
    "Added",
    "Library",
    "LibraryError",
    "LibraryLockedError",
    "LibraryThereError",
    "Recipe",
    "Row",
    "TrainedStratum",
]

PRETRAINED = "pretrained"


class LibraryThereError(LibraryError):
    """A library cannot be made where there is one."""


class Library:
    """The strata trained so far. Files are read when asked for, and verified each time."""

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        self.path = path
        self._index = index
        self.form = recipe_from_json(index["recipe"])

    @property
    def recipe(self) -> Recipe:
        """LibraryError where there is none, because the library holds Gupta potentials."""
        if isinstance(self.form, GuptaRecipe):
            raise LibraryError(f"{self.path} holds Gupta potentials, which have no networks to train or to take apart")
        return self.form

    @classmethod
    def create(cls, path: str | Path, recipe: Recipe | GuptaRecipe, pretrained: Library | None = None) -> Library:
        """A new, empty library in this directory, which is made if need be; drawn to `pretrained` where that is given."""
        path = Path(path)
        if pretrained is not None:
            _check_form(path, recipe, pretrained)
        path.mkdir(parents=True, exist_ok=True)
        index = {"format": FORMAT, "recipe": recipe.to_json(), "strata": {}}
        with locked(path):  # another process may be about to
            if (path / INDEX).exists():
                raise LibraryThereError(f"{path} holds a library already; open it, or choose another directory")
            write_index(path, index)
        library = cls(path, index)
        if pretrained is not None:
            library.draw_to(pretrained)
        return library

    @classmethod
    def open(cls, path: str | Path, beside: Path = Path()) -> Library:
        """The library in this directory, relative to `beside`, or the one of this name that comes with the package.

        LibraryError when there is none that can be read.
        """
        found = place(path, beside)
        return cls(found, read_index(found))

    def begin_with(self, recipe: Recipe) -> None:
        """Another recipe for a library that has no strata yet; LibraryError for one that has."""
        with self._change() as index:
            if index["strata"] or self.pretrained is not None:
                raise LibraryError(f"{self.path} has strata of its recipe already; make another library")
            index["recipe"] = recipe.to_json()
        self.form = recipe

    @classmethod
    def open_to_change(cls, path: str | Path) -> Library:
        """The same, and LibraryError for one that comes with the package."""
        library = cls.open(path)
        refuse_changes(library.path)
        return library

    def copy(self, path: str | Path) -> Library:
        """The same library in another directory, which must not hold one."""
        target = Path(path)
        if (target / INDEX).exists():
            raise LibraryError(f"{target} holds a library already; choose another directory")
        files = {}
        for name, entry in self._index["strata"].items():
            for version, own in entry["versions"].items():
                here, there = (stratum_file(d, name, int(version)) for d in (self.path, target))
                files[there] = stratum_bytes(here, own)
        data_files = {n: stored_bytes(self.path, n, entry) for n, entry in self._data["strata"].items()}
        target.mkdir(parents=True, exist_ok=True)
        for path, data in files.items():
            write_atomically(path, data)
        for name, data in data_files.items():
            data_file(target, name).parent.mkdir(exist_ok=True)
            write_atomically(data_file(target, name), data)
        if (other := self.pretrained) is not None:
            other.copy(target / PRETRAINED)
        write_index(target, self._index)
        return Library(target, copy.deepcopy(self._index))

    @property
    def pretrained(self) -> Library | None:
        """The networks that those of this library are drawn to, as a library without crystals; None where there are none."""
        path = self.path / PRETRAINED
        return Library.open(path) if (path / INDEX).exists() else None

    def draw_to(self, other: Library) -> None:
        """From now on train every new stratum on top of what `other` has of it, which is copied.

        Strata that are there already must have been drawn to the same, so `other` may grow by an element when this library does.
        LibraryError where that is not so, or where the networks of the two have another form.
        """
        _check_form(self.path, self.form, other)
        if not other.strata():
            raise LibraryError(f"{other.path} has no strata to draw {self.path} to; train it first")
        there = self.pretrained
        taken = {} if there is None else {n: there.content(n, v) for n, v in there.versions().items()}
        new, same = [], 0
        for trained in map(other.stratum, other.strata()):
            parameters = replace(trained.parameters, own_units=None, refined=None)
            bare = replace(trained, parameters=parameters, environments=Environments({}, {}, {}), parents={})
            if bare.content_hash() == taken.get(bare.stratum.name):
                same += 1
            else:
                new.append(bare)
        if same < len(taken) or {t.stratum for t in new} & set(self.strata()):
            raise LibraryError(f"{self.path} has strata that were trained without {other.path}; make a new library")
        if new:
            refuse_changes(self.path)
            (there or Library.create(self.path / PRETRAINED, other.recipe)).add_all(new)

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
        recipe = {k: v for k, v in self.form.to_json().items() if k != "fitting"}
        text = json.dumps([FORMAT, recipe, hashes], sort_keys=True)
        return "nn:" + hashlib.sha256(text.encode()).hexdigest()[:12]

    def stratum(self, stratum: Stratum, version: int | None = None) -> TrainedStratum:
        """A stratum as it was added; the current version unless another is named."""
        name = stratum.name
        number = self.versions().get(name, 0) if version is None else version
        file = stratum_file(self.path, name, number)
        return load_stratum(file, stratum, self._entry(name, number), self.form.to_json())

    def add(self, trained: TrainedStratum) -> int:
        """Make this the current version of its stratum and return its number; one that is there already is not made twice."""
        return self.add_all([trained])[0]

    def add_all(self, strata: Sequence[TrainedStratum]) -> list[int]:
        """The same for strata that were trained together, canonical order: all become current, or none."""
        for trained in strata:
            self._check_shape(trained)
        with self._change() as index:
            return [store_stratum(self.path, index, trained) for trained in strata]

    def use(self, versions: Mapping[str, int]) -> None:
        """Make these versions the current ones, for instance after newer ones have proved worse."""
        for name, number in versions.items():
            self._entry(name, number)
        changed = {n: v for n, v in versions.items() if self._index["strata"][n]["current"] != v}
        if changed:
            with self._change() as index:
                for name, number in changed.items():
                    index["strata"][name]["current"] = number

    def note_from_scratch(self, stratum: Stratum, seconds: float) -> None:
        """Keep for the ledger what training this stratum and all below it at once took, in CPU s."""
        number = str(self.versions()[stratum.name])
        with self._change() as index:
            index["strata"][stratum.name]["versions"][number]["metadata"]["seconds_from_scratch"] = seconds

    def add_data(self, readings: Sequence[Reading], shift: Shift | None = None) -> Added:
        """Keep the labelled crystals of these files, each once; what was there stays as it is.

        Where they were labelled by another method than those that are there, `shift` brings their energies to the
        library's scale: eV per atom, by symbol, added. MixedMethodsError without it.
        """
        with self._change() as index:
            return add_readings(self.path, index, readings, shift)

    def data(self, stratum: Stratum | None = None) -> Dataset:
        """The labelled crystals of a stratum, or all, with energies on one scale and under one method's name."""
        return on_one_scale(self._data, self.data_as_labelled(stratum))

    def data_as_labelled(self, stratum: Stratum | None = None) -> Dataset:
        """The same with the energies and the names of the methods that gave them."""
        joined = Dataset.of([], energies=[], forces=[], stresses=[], method="")
        for name in sorted(self._data["strata"], key=lambda n: Stratum.parse(n).sort_key()):
            if stratum is None or name == stratum.name:
                joined = joined.followed_by(stored(self.path, name, self._data["strata"][name]))
        return joined

    def n_crystals(self, name: str | None = None) -> int:
        """How many labelled crystals there are, of the stratum of this name or of all."""
        strata = self._data["strata"]
        return sum(int(entry["crystals"]) for n, entry in strata.items() if name in (None, n))

    @property
    def methods(self) -> dict[str, dict[str, Any]]:
        """What is known of every method of the crystals: engine, settings, elements, shift. The first is the library's own."""
        own, known = self._data["method"], self._data["methods"]
        return {name: dict(known[name]) for name in sorted(known, key=lambda n: (n != own, n))}

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """The files that crystals came from, by the first twelve digits of their SHA-256."""
        return copy.deepcopy(self._data["files"])

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
            model=self._model(stratum, [t.parameters for t in loaded]),
            stratum=stratum,
            method=self.version(used),
            environments={t.stratum: t.environments for t in loaded if t.environments.factors},
            device=resolve_device(device),
            calibrations={
                t.stratum: Calibration.from_json(t.metadata["calibration"])
                for t in loaded
                if t.metadata.get("calibration")
            },
        )

    def _model(self, stratum: Stratum, parameters: list[StratumParameters]) -> Model | GuptaModel:
        if isinstance(self.form, Recipe):
            form = self.form
            return fold(form.shape, stratum.numbers, parameters, form.repulsion, form.core_energy, form.degree)
        try:
            return fold_gupta(stratum.numbers, parameters)
        except ValueError as error:
            raise LibraryError(f"{self.path}: {error}") from None

    def describe(self) -> list[Row]:
        """The current version of each stratum, canonical order."""
        return rows(self._index["strata"])

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
        if isinstance(self.form, GuptaRecipe) != (trained.parameters.gupta is not None):
            raise LibraryError(
                f"{trained.stratum.name} is of another kind than {self.path}; give it a library of its own"
            )
        if isinstance(self.form, GuptaRecipe):
            return
        shape, order = self.recipe.shape, trained.stratum.order
        expected = (self.recipe.members, shape.block_size(order), self.recipe.hidden)
        for z, columns in trained.parameters.columns.items():
            if columns.shape != expected:
                raise LibraryError(
                    f"`columns` of {trained.stratum.name} for centre {z} must have shape {expected} by the recipe of "
                    f"{self.path}, got {columns.shape}"
                )
        if (trained.parameters.embedded is not None) != (self.recipe.embedded and order <= 2):
            wanted = "an embedded-atom potential" if self.recipe.embedded else "no embedded-atom potential"
            raise LibraryError(
                f"{trained.stratum.name} must stand on {wanted} by the recipe of {self.path}; train it with that recipe"
            )
        if order == 1 and trained.parameters.n_second != self.recipe.second:
            raise LibraryError(
                f"{trained.stratum.name} must have a second layer of {self.recipe.second} units by the recipe of "
                f"{self.path}, got {trained.parameters.n_second}"
            )

    @property
    def _data(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"method": "", "methods": {}, "files": {}, "strata": {}}
        return self._index.get("data", empty)

    @contextmanager
    def _change(self) -> Iterator[dict[str, Any]]:
        """The index as it is on disk now, alone; what is done to it is written at the end, or not at all."""
        refuse_changes(self.path)
        with locked(self.path):
            index = read_index(self.path)
            yield index
            write_index(self.path, index)
            self._index = index


def _check_form(path: Path, recipe: Recipe | GuptaRecipe, other: Library) -> None:
    """LibraryError where the weights of `other` cannot be taken for those of a library of this recipe."""
    alike = [
        replace(r, fitting=Fitting(), refined=False, widened=0) for r in (recipe, other.form) if isinstance(r, Recipe)
    ]
    if len(alike) < 2 or alike[0] != alike[1]:
        raise LibraryError(
            f"{other.path} has networks of another form ({other.form}) than {path} ({recipe}); train one by the same recipe"
        )
