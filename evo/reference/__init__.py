"""The reference: DFT, or its stand-in, that has the last word on every energy. One file per engine.

A Reference is a small record that travels to the ranks; each rank builds the calculator once. An expected
failure (no convergence, a crash, a number that is not one) is a value with a reason, never an exception.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ase
from ase import Atoms
from ase.data import chemical_symbols

from evo.candidate import Failure
from evo.reference import ase_calculator, emt
from evo.reference.ase_calculator import load_calculator
from evo.reference.label import Label, label
from evo.reference.unavailable import ReferenceUnavailable
from evo.settings import ReferenceSection

__all__ = [
    "Label",
    "Reference",
    "ReferenceUnavailable",
    "calculator_method",
    "load_calculator",
    "open_reference",
]


@dataclass(frozen=True)
class Reference:
    """A calculator with the hash of all that its energies depend on. Build it with `open_reference`."""

    engine: str  # name in ENGINES
    path: str  # import path of the calculator, empty for an engine of our own
    options: str  # keywords of the calculator as JSON with sorted keys
    directory: str  # where a calculator file of the campaign is looked for
    method: str  # "ref:" and 12 hex digits, see calculator_method

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        """Energy, forces and stress of this crystal, or the reason why there are none; one reference call."""
        result = label(_shared_calculator(self), atoms)
        if isinstance(result, Failure):
            _shared_calculator.cache_clear()  # after a crash nobody knows what state it is in
        return result

    def calculator(self) -> Any:
        """A new ASE calculator, for instance to relax with (potentials/calculator.py, from_calculator)."""
        return ENGINES[self.engine](self)

    def can(self, numbers: Iterable[int]) -> set[int]:
        """Of these atomic numbers the ones that it cannot do; empty is good news."""
        if self.engine == "emt":
            return emt.cannot(numbers)
        return ase_calculator.cannot(_shared_calculator(self), numbers)

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
        raise ReferenceUnavailable(f"{self.path} cannot do {names}; name another reference.calculator or elements")


def _emt(reference: Reference) -> Any:
    return emt.build(json.loads(reference.options))


def _ase(reference: Reference) -> Any:
    return load_calculator(reference.path, json.loads(reference.options), reference.directory)


ENGINES = {"emt": _emt, "ase": _ase}


def open_reference(settings: ReferenceSection, directory: str = "") -> Reference | None:
    """The reference of these settings, built once to see that it can be; None for engine "none".

    `directory` is where a calculator file of the campaign is looked for. ReferenceUnavailable says what to
    write instead.
    """
    if settings.engine == "none":
        return None
    path = settings.calculator if settings.engine == "ase" else ""
    options = json.dumps(settings.options, sort_keys=True)
    method = calculator_method(path, settings.options, directory)
    reference = Reference(settings.engine, path, options, directory, method)
    _shared_calculator(reference)
    return reference


def calculator_method(path: str, options: Mapping[str, Any], directory: str = "") -> str:
    """ "ref:" and 12 hex digits of import path (empty: EMT), options and versions of the software."""
    software = [f"ase {ase.__version__}"]
    if path:
        load_calculator(path, dict(options), directory)
        software.append(ase_calculator.package_version(path, directory))
    identity = json.dumps([path or "emt", dict(options), software], sort_keys=True)
    return "ref:" + hashlib.sha256(identity.encode()).hexdigest()[:12]


@lru_cache(maxsize=2)
def _shared_calculator(reference: Reference) -> Any:
    """One calculator per process: building one may load a model of a hundred megabytes."""
    return reference.calculator()
