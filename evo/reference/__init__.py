"""The reference: DFT, or its stand-in, that has the last word on every energy. One file per engine.

A Reference is a small record that travels to the ranks; each rank opens the engine once. An expected failure (no
convergence, a crash, a number that is not one) is a value with a reason, never an exception.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import ase
from ase import Atoms
from ase.data import chemical_symbols

from evo.candidate import Failure
from evo.reference import ase_calculator, emt
from evo.reference.ase_calculator import load_calculator
from evo.reference.engine import CalculatorEngine, Engine
from evo.reference.espresso import EspressoOptions, open_espresso
from evo.reference.gpaw import GpawOptions, open_gpaw
from evo.reference.job import MACHINE, JobOptions, checked_options
from evo.reference.label import Label, label
from evo.reference.unavailable import EngineAbsent, ReferenceUnavailable
from evo.reference.vasp import VaspOptions, open_vasp
from evo.settings import ReferenceSection, SettingsError, load_reference

__all__ = [
    "EngineAbsent",
    "Label",
    "Reference",
    "ReferenceUnavailable",
    "calculator",
    "calculator_method",
    "check_options",
    "label",
    "load_calculator",
    "open_reference",
    "unlike_moments",
]

# Engines that are programs, and what opens them with reference.options: the engine, and all that its labels depend on
PROGRAMS: dict[str, Callable[[dict[str, Any]], Any]] = {"gpaw": open_gpaw, "espresso": open_espresso, "vasp": open_vasp}
FOLDERS = ("pseudo_dir", "potcar_dir", "scratch")  # options that are folders
NOISE = 0.001  # eV/atom; hcp copper's energies jump by a fraction of it at 400 eV
OPTIONS: dict[str, type[JobOptions]] = {"gpaw": GpawOptions, "espresso": EspressoOptions, "vasp": VaspOptions}


@dataclass(frozen=True)
class Reference:
    """An engine with the hash of all that its energies depend on. Build it with `open_reference`."""

    engine: str  # "emt", "ase", or a name in PROGRAMS
    path: str  # import path of the calculator, empty for an engine of our own
    options: str  # keywords of the calculator or options of the program, as JSON with sorted keys
    directory: str  # where a calculator file of the campaign is looked for
    method: str  # "ref:" and 12 hex digits of `identity`
    identity: str = ""  # all that energies depend on, as JSON

    def evaluate(self, atoms: Atoms, like: Atoms | None = None) -> Label | Failure:
        """Energy, forces and stress of this crystal, or the reason why there are none; one reference call.

        With the k-points of `like`, a crystal of which this one is a deformation, where the engine has k-points.
        """
        engine = _shared(self)
        if like is not None and self.engine in PROGRAMS:
            engine = _program(self.engine, self.options).with_mesh_of(like)
        return engine.evaluate(atoms)

    @property
    def noise(self) -> float:
        """eV/atom by which energies may be off from one geometry to the next: plane waves that come and go with the cell."""
        return NOISE if self.engine in PROGRAMS else 0.0

    def calculator(self) -> Any:
        """A new ASE calculator, for instance to relax with (potentials/calculator.py, from_calculator)."""
        return _shared(self).calculator()

    def can(self, numbers: Iterable[int]) -> set[int]:
        """Of these atomic numbers the ones that it cannot do; empty is good news."""
        return _shared(self).cannot(numbers)

    def require(self, numbers: Iterable[int]) -> None:
        """ReferenceUnavailable when it cannot do one of these elements."""
        missing = self.can(numbers)
        if not missing:
            return
        names = ", ".join(chemical_symbols[z] for z in sorted(missing))
        if self.engine == "emt":
            known = ", ".join(chemical_symbols[z] for z in sorted(emt.ELEMENTS))
            raise ReferenceUnavailable(
                f"EMT cannot do {names}, only {known}; "
                'set reference.engine = "ase" and reference.calculator = "package.module:Class"'
            )
        if self.engine in PROGRAMS:
            raise ReferenceUnavailable(
                f"{self.engine} with these reference.options cannot do {names}: "
                "no PAW set or pseudopotential, or no constant in `pulay`; add what is missing"
            )
        raise ReferenceUnavailable(f"{self.path} cannot do {names}; name another reference.calculator or elements")


def open_reference(settings: ReferenceSection, directory: str = "") -> Reference | None:
    """The reference of these settings, opened once to see that it can be; None for engine "none".

    `directory` is where a calculator file of the campaign is looked for. ReferenceUnavailable says what to
    write instead.
    """
    if settings.engine == "none":
        return None
    check_options(settings)
    path = settings.calculator if settings.engine == "ase" else ""
    own = settings.engine in PROGRAMS and directory
    options = json.dumps(placed(settings.options, directory) if own else settings.options, sort_keys=True)
    if settings.engine in PROGRAMS:
        identity = _program(settings.engine, options).identity
    else:
        identity = _calculator_identity(path, settings.options, directory)
    text = json.dumps(identity, sort_keys=True)
    reference = Reference(settings.engine, path, options, directory, _hash(text), text)
    _shared(reference)
    return reference


def placed(options: Mapping[str, Any], directory: str | Path) -> dict[str, Any]:
    """A program's options with its paths, which are relative to this directory, as they are from anywhere."""
    found = dict(options)
    base = Path(directory).absolute()
    for name in (n for n in FOLDERS if found.get(n)):
        found[name] = str(base / found[name])
    command = found.get("command")
    if isinstance(command, list) and command and os.sep in str(command[0]):
        found["command"] = [str(base / command[0]), *command[1:]]
    return found


def for_worker(settings: ReferenceSection, directory: str | Path) -> ReferenceSection:
    """The options that another machine may have of its own; SettingsError where they would make other labels."""
    allowed = {*MACHINE, *FOLDERS}
    if unknown := sorted(set(settings.options) - allowed):
        raise SettingsError(
            f"reference.options: `{unknown[0]}` is the campaign's; a worker's own are {', '.join(sorted(allowed))}"
        )
    return settings.model_copy(update={"options": placed(settings.options, directory)})


def calculator(settings: str | Path) -> Any:
    """The ASE calculator of a settings file with [reference], such as a campaign.toml; ReferenceUnavailable, SettingsError.

    For what takes import paths: `potentials assess LIB --against evo.reference:calculator --arguments '{"settings": "FILE"}'`.
    """
    reference = open_reference(load_reference(Path(settings)), str(Path(settings).parent))
    if reference is None:
        raise ReferenceUnavailable(f'{settings}: reference.engine is "none"; name one, such as "gpaw"')
    return reference.calculator()


def check_options(settings: ReferenceSection) -> None:
    """SettingsError when a program would refuse these options; the program need not be here."""
    if settings.engine in OPTIONS:
        checked_options(OPTIONS[settings.engine], settings.options)
    if settings.engine == "emt" and (unknown := sorted(set(settings.options) - {"asap_cutoff"})):
        raise SettingsError(f"reference.options: unknown key `{unknown[0]}`; EMT has `asap_cutoff` alone")


def unlike_moments(settings: ReferenceSection) -> set[str]:
    """Symbols of the elements whose atoms a program gives different moments to begin with.

    One moment for all atoms of an element fits any cell, a list of them needs the crystal's own.
    """
    if settings.engine not in OPTIONS:  # a calculator's options are its own, whatever their names
        return set()
    moments = settings.options.get("moments", {})
    return {symbol for symbol, moment in moments.items() if not isinstance(moment, int | float)}


def calculator_method(path: str, options: Mapping[str, Any], directory: str = "") -> str:
    """ "ref:" and 12 hex digits of import path (empty: EMT), options and versions of the software."""
    return _hash(json.dumps(_calculator_identity(path, options, directory), sort_keys=True))


def _calculator_identity(path: str, options: Mapping[str, Any], directory: str) -> list[Any]:
    software = [f"ase {ase.__version__}"]
    if path:
        load_calculator(path, dict(options), directory)
        software.append(ase_calculator.package_version(path, directory))
    return [path or "emt", dict(options), software]  # a list, not names: hashes of what there is were made so


def _hash(text: str) -> str:
    return "ref:" + hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache(maxsize=2)
def _shared(reference: Reference) -> Engine:
    """One engine per process: a calculator may load a model of a hundred megabytes."""
    if reference.engine in PROGRAMS:
        engine: Engine = _program(reference.engine, reference.options)
        return engine
    options = json.loads(reference.options)
    if reference.engine == "emt":
        return CalculatorEngine(lambda: emt.build(options), lambda _, numbers: emt.cannot(numbers))
    return CalculatorEngine(
        lambda: load_calculator(reference.path, options, reference.directory),
        ase_calculator.cannot,
        ase_calculator.work_apart,
    )


@lru_cache(maxsize=2)
def _program(engine: str, options: str) -> Any:
    """A program is asked for its version once in each process."""
    return PROGRAMS[engine](json.loads(options))
