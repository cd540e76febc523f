"""Any ASE calculator by import path: "package.module:Class", or "name:Class" for name.py of the campaign.

What follows the colon may be any callable that returns a calculator, for instance
"ase.calculators.tersoff:Tersoff.from_lammps" with options = { potential_file = "..." }.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols, covalent_radii

from evo.candidate import Failure
from evo.reference.label import label
from evo.reference.unavailable import ReferenceUnavailable

EXAMPLE = 'write calculator = "package.module:Class", for instance "ase.calculators.lj:LennardJones"'


def load_calculator(path: str, options: dict[str, Any], directory: str = "") -> Any:
    """The calculator that `path` names, built with these options.

    `directory` is where a file of that name is looked for before the installed packages.
    ReferenceUnavailable says what to write instead.
    """
    found = _find(path, directory)
    try:
        calculator = found(**options)
    except (Exception, SystemExit) as error:
        raise ReferenceUnavailable(
            f"{path} cannot be built with options {options}: {type(error).__name__}: {error}; "
            f"it takes {_signature(found)}"
        ) from error
    if not (hasattr(calculator, "get_potential_energy") and hasattr(calculator, "get_forces")):
        raise ReferenceUnavailable(f"{path} is no ASE calculator (a {type(calculator).__name__}); {EXAMPLE}")
    return calculator


class Folder:
    """A new folder, which is gone when this is: with the calculator that works there, or with the process."""

    def __init__(self, inside: Path | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="reference-", dir=inside))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def work_apart(calculator: Any) -> Folder | None:
    """Let it, and what it is made of, write files in a folder of its own, which is gone with what this returns.

    Processes that share a folder would read each other's results. None where it has nothing to do with folders.
    """
    own = getattr(calculator, "directory", None)
    if not isinstance(own, str | Path):
        return None
    here = Path(own).absolute()
    inside = None if here == Path.cwd() else here
    if inside is not None:
        inside.mkdir(parents=True, exist_ok=True)
    folder = Folder(inside)
    _send(calculator, folder.path)
    return folder


def _send(calculator: Any, folder: Path) -> None:
    if isinstance(getattr(calculator, "directory", None), str | Path):
        folder.mkdir(exist_ok=True)
        calculator.directory = str(folder)
    mixer = getattr(calculator, "mixer", None)
    parts = [*(getattr(mixer, "calcs", None) or ()), getattr(calculator, "dft", None)]
    for n, part in enumerate(p for p in parts if p is not None):
        _send(part, folder / str(n))


def package_version(path: str, directory: str = "") -> str:
    """What identifies the software: "package version", or the hash of a module outside any package."""
    name = path.partition(":")[0]
    file = _beside(name, directory)
    if file is None:
        top = name.split(".")[0]
        distributions = importlib.metadata.packages_distributions().get(top)
        if distributions:
            return " ".join(f"{d} {importlib.metadata.version(d)}" for d in sorted(set(distributions)))
        origin = getattr(_module(path, name, directory), "__file__", None)
        if origin is None:
            return top
        file = Path(origin)
    return f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


def cannot(calculator: Any, numbers: Iterable[int]) -> set[int]:
    """The elements of which it can label neither a one-atom crystal nor a dimer."""
    return {int(z) for z in numbers if all(isinstance(label(calculator, a), Failure) for a in _probes(int(z)))}


def _probes(number: int) -> list[Atoms]:
    symbol, bond = chemical_symbols[number], 2 * float(covalent_radii[number])
    dimer = Atoms([symbol, symbol], positions=[[0, 0, 0], [bond, 0, 0]], cell=[12.0, 12.5, 13.0], pbc=True)
    return [bulk(symbol, "fcc", a=bond * 2**0.5), dimer]


def _find(path: str, directory: str) -> Any:
    name, colon, attribute = path.partition(":")
    if not (name and colon and attribute):
        raise ReferenceUnavailable(f"`{path}` is no import path; {EXAMPLE}")
    found: Any = _module(path, name, directory)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ReferenceUnavailable(f"{name} has no `{part}`; {_callables(found)}")
        found = getattr(found, part)
    if not callable(found):
        raise ReferenceUnavailable(f"`{path}` is not a class or function; {EXAMPLE}")
    return found


def _module(path: str, name: str, directory: str) -> ModuleType:
    file = _beside(name, directory)
    try:
        if file is None:
            return importlib.import_module(name)
        known = f"_campaign_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
        if known not in sys.modules:
            spec = importlib.util.spec_from_file_location(known, file)
            assert spec is not None and spec.loader is not None  # the file is there and ends in .py
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules[known] = module
        return sys.modules[known]
    except ModuleNotFoundError as error:
        missing = (error.name or name).split(".")[0]
        if missing == name.split(".")[0] and importlib.util.find_spec(missing) is not None:
            raise ReferenceUnavailable(f"`{path}`: package {missing} has no module {error.name}; {EXAMPLE}") from None
        raise ReferenceUnavailable(
            f"`{path}` needs the package {missing}, which is not installed here; "
            f"install it (perhaps `pip install {missing}`), or put {missing}.py beside campaign.toml"
        ) from None
    except (Exception, SystemExit) as error:
        raise ReferenceUnavailable(f"`{path}` cannot be imported: {type(error).__name__}: {error}") from error


def _beside(name: str, directory: str) -> Path | None:
    if not directory or not name.isidentifier():
        return None
    file = (Path(directory) / f"{name}.py").resolve()
    return file if file.is_file() else None


def _callables(found: Any) -> str:
    names = [n for n in dir(found) if n[:1].isupper() and callable(getattr(found, n, None))]
    return f"it has {', '.join(names[:12])}" if names else EXAMPLE


def _signature(found: Any) -> str:
    try:
        return str(inspect.signature(found))
    except (TypeError, ValueError):
        return "what its documentation says"
