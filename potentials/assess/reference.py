"""Reference: any ASE calculator by import path, asked once about each crystal; its answers stay on disk.

An answer is appended to the file and flushed to the disk before the next question, so a run that was killed goes on
where it stood. A question is a crystal, rounded, and the calculator with its arguments and, where that is the user's own,
its file (`identity`). Failures are not kept:
the next run asks again.

DFT answers hang on k-points as well, whose number jumps where a cell grows: a calculator that has `keep_mesh_of` is told of what
crystal the ones to come are deformations, and keeps that one's; what it was told belongs to the question. One that has `identity`
says itself what else its answers hang on.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from potentials.assess.identity import Identity
from potentials.calculator import ask
from potentials.structures import Floats, Prediction, Structures

DIGITS = 10  # decimals of Å that a question keeps: rounding errors of another machine must not ask anew
EXAMPLE = "write package.module:Calculator, for instance ase.calculators.emt:EMT"

Answer = tuple[float, Floats, Floats]  # eV, eV/Å (n, 3), eV/Å³ (3, 3)


class UsageError(ValueError):
    """An import path or argument that means nothing."""

    exit_code = 64


def load_calculator(path: str, arguments: Mapping[str, Any]) -> Any:
    """The calculator that `package.module:factory` makes of these keyword arguments; UsageError says what is wrong."""
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise UsageError(f"`{path}` is no import path of a calculator; {EXAMPLE}")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # a console script does not look there, `python` does
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"`{path}` cannot be imported: {error}; {EXAMPLE}") from None
    try:
        calculator = factory(**arguments)
    except Exception as error:  # noqa: BLE001 - the factory is somebody else's
        text = f"`{path}` cannot be made with {json.dumps(dict(arguments))}: {type(error).__name__}: {error}"
        raise UsageError(text.splitlines()[0]) from None
    if not (hasattr(calculator, "get_potential_energy") and hasattr(calculator, "get_forces")):
        raise UsageError(f"`{path}` makes a {type(calculator).__name__}, which is no ASE calculator; {EXAMPLE}")
    return calculator


def _own_file(path: str) -> Path | None:
    """The file of the module in this import path, where that is no installed package."""
    file = getattr(sys.modules.get(path.partition(":")[0]), "__file__", None)
    installed = {Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "platlib", "purelib")}
    if file is None or any(parent in installed for parent in Path(file).resolve().parents):
        return None
    return Path(file)


class Reference:
    """An Evaluate that asks the calculator only what is not in the file yet."""

    def __init__(self, calculator: Any, name: str, identity: Identity | None = None, cache: Path | None = None) -> None:
        """`identity` is by default the name; without a file answers are kept in memory."""
        self._calculator, self.name, self._cache = calculator, name, cache
        self._identity = identity or Identity(name, {})
        self._answers: dict[str, Answer] = {}
        self.calls = 0  # of the calculator, by this object
        self.seconds = 0.0  # CPU of this process and its children, for `calls`
        self.seconds_in_all = 0.0  # CPU of all answers, those found in the file included
        self.failure = ""  # why the last crystal without an answer has none
        self._like = b""  # the crystal whose k-points are kept, as part of a question
        self._minima: dict[str, Atoms] = {}  # where relaxations have ended
        for record in _records(cache):
            self._remember(record)

    @classmethod
    def load(cls, path: str, arguments: Mapping[str, Any], cache: Path | None = None) -> Reference:
        """Of the calculator with this import path and these keyword arguments; UsageError where there is none."""
        written = [str(text) for record in _records(cache) for text in record.get("written", ())]
        calculator = load_calculator(path, arguments)
        known = getattr(calculator, "identity", None)  # it says itself what its answers hang on
        identity = Identity(
            path, arguments if known is None else known, written, _own_file(path) if known is None else None
        )
        return cls(calculator, path, identity, cache)

    @property
    def answers(self) -> int:
        """Crystals whose answer is known."""
        return len(self._answers)

    @contextmanager
    def meshed(self, like: Atoms) -> Iterator[None]:
        """Meanwhile all crystals have the k-points of this one; nothing changes with a calculator that has none."""
        if not hasattr(self._calculator, "keep_mesh_of"):
            yield
            return
        rounded = _rounded(like)
        self._calculator.keep_mesh_of(rounded)
        self._like = b"".join(_bytes(rounded))
        try:
            yield
        finally:
            self._calculator.keep_mesh_of(None)
            self._like = b""

    def evaluate(self, structures: Structures) -> Prediction:
        """Answers about every crystal; NaN where the calculator failed, `failure` then says why."""
        n, n_atoms = len(structures), len(structures.numbers)
        energies, forces, stresses = np.full(n, np.nan), np.full((n_atoms, 3), np.nan), np.full((n, 3, 3), np.nan)
        for c in range(n):
            answer = self._answer(structures.atoms(c))
            if answer is not None:
                energies[c], forces[structures.offsets[c] : structures.offsets[c + 1]], stresses[c] = answer
        return Prediction(energies, forces, stresses, energies[:, None], np.full(n_atoms, np.nan))

    def knows(self, atoms: Atoms) -> bool:
        """Whether the answer about this crystal, with the k-points as they are now, is there."""
        return self._key(_rounded(atoms)) in self._answers

    def minimum(self, atoms: Atoms, cell: str) -> Atoms | None:
        """Where a relaxation of this crystal has ended, with the k-points as they are now; `cell` is what could move of it."""
        return self._minima.get(self._key(_rounded(atoms)) + cell)

    def keep_minimum(self, atoms: Atoms, cell: str, minimum: Atoms) -> Atoms:
        """Remember, on disk too, where the relaxation of this crystal has ended; the end as it will be found again."""
        key, end = self._key(_rounded(atoms)) + cell, _rounded(minimum)
        if key not in self._minima:
            self._minima[key] = end
            record = {"minimum_of": key, "numbers": end.numbers.tolist(), "pbc": end.pbc.tolist()}
            self._append({**record, "positions": end.positions.tolist(), "cell": end.cell[:].tolist()})
        return end

    def _answer(self, atoms: Atoms) -> Answer | None:
        rounded = _rounded(atoms)
        if (key := self._key(rounded)) in self._answers:
            return self._answers[key]
        started = os.times()
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = ask(self._calculator, rounded)
        except Exception as error:  # noqa: BLE001 - a calculator of somebody else may raise anything
            self.failure = f"{type(error).__name__}: {error}".splitlines()[0]
            return None
        finally:
            self.calls += 1
            seconds = sum(os.times()[:4]) - sum(started[:4])
            self.seconds += seconds
        if not (np.isfinite(answer[0]) and np.isfinite(answer[1]).all()):
            self.failure = "energy or forces are not finite"
            return None
        if not np.isfinite(answer[2]).all():
            self.failure = "it gives no stress"
        if written := self._identity.notice():
            self._append({"written": written})
            key = self._key(rounded)
        self._answers[key] = answer
        self.seconds_in_all += seconds
        energy, forces, stress = answer
        self._append(
            {
                "key": key,
                "formula": rounded.get_chemical_formula(),
                "energy": energy,
                "forces": forces.tolist(),
                "stress": stress.tolist() if np.isfinite(stress).all() else None,
                "seconds": seconds,
            }
        )
        return answer

    def _key(self, atoms: Atoms) -> str:
        digest = hashlib.sha256(self._identity.key.encode())
        for part in _bytes(atoms):
            digest.update(part)
        if self._like != b"".join(_bytes(atoms)):  # its own mesh is what it has without being told
            digest.update(self._like)
        return digest.hexdigest()

    def _append(self, record: Mapping[str, Any]) -> None:
        if self._cache is None:
            return
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        with open(self._cache, "ab") as stream:
            # a line of its own even where a kill has left half a line before it
            stream.write(b"\n" + json.dumps(record).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _remember(self, record: Mapping[str, Any]) -> None:
        """Take an answer or a minimum from the file; anything else in it is passed over."""
        try:
            if "minimum_of" in record:
                end = Atoms(record["numbers"], positions=record["positions"], cell=record["cell"], pbc=record["pbc"])
                self._minima[str(record["minimum_of"])] = end
                return
            stress = np.full((3, 3), np.nan) if record["stress"] is None else np.array(record["stress"], dtype=float)
            answer = float(record["energy"]), np.array(record["forces"], dtype=float).reshape(-1, 3), stress
            self._answers[str(record["key"])] = answer
            self.seconds_in_all += float(record["seconds"])
        except (ValueError, KeyError, TypeError):
            return


def _rounded(atoms: Atoms) -> Atoms:
    """As a question has it."""
    return Atoms(
        atoms.numbers,
        positions=np.round(atoms.positions, DIGITS) + 0.0,  # + 0: no negative zeros
        cell=np.round(atoms.cell[:], DIGITS) + 0.0,
        pbc=atoms.pbc,
    )


def _bytes(atoms: Atoms) -> Iterator[bytes]:
    for array in (atoms.numbers.astype(np.int64), atoms.positions, atoms.cell[:], atoms.pbc.astype(np.int64)):
        yield np.ascontiguousarray(array).tobytes()


def _records(path: Path | None) -> Iterator[dict[str, Any]]:
    """The lines of the file that are records."""
    if path is None or not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # an empty line, or half of one
        if isinstance(record, dict):
            yield record
