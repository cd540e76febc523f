"""Reference: any ASE calculator by import path, asked once about each crystal; its answers stay on disk.

An answer is appended to the file and flushed to the disk before the next question, so a run that was killed goes on
where it stood. A question is a crystal, rounded, and the calculator with its arguments; an argument that names a file
stands for that file's content. Failures are not kept: the next run asks again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

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


def identity(path: str, arguments: Mapping[str, Any]) -> str:
    """What answers depend on: 16 hex digits of the import path and the arguments, files among them by content."""

    def content(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: content(v) for k, v in sorted(value.items())}
        if isinstance(value, list):
            return [content(v) for v in value]
        if isinstance(value, str) and value and Path(value).is_file():
            return {"sha256": hashlib.sha256(Path(value).read_bytes()).hexdigest()}
        return value

    return hashlib.sha256(json.dumps([path, content(arguments)], sort_keys=True).encode()).hexdigest()[:16]


class Reference:
    """An Evaluate that asks the calculator only what is not in the file yet."""

    def __init__(self, calculator: Any, name: str, key: str = "", cache: Path | None = None) -> None:
        """`key` stands for calculator and arguments beside the crystal; without a file answers are kept in memory."""
        self._calculator, self.name, self._key_of_all, self._cache = calculator, name, key or name, cache
        self._answers: dict[str, Answer] = {}
        self.calls = 0  # of the calculator, by this object
        self.seconds = 0.0  # CPU of this process and its children, for `calls`
        self.seconds_in_all = 0.0  # CPU of all answers, those found in the file included
        self.failure = ""  # why the last crystal without an answer has none
        if cache is not None:
            self._read(cache)

    @classmethod
    def load(cls, path: str, arguments: Mapping[str, Any], cache: Path | None = None) -> Reference:
        """Of the calculator with this import path and these keyword arguments; UsageError where there is none."""
        return cls(load_calculator(path, arguments), path, identity(path, arguments), cache)

    @property
    def answers(self) -> int:
        """Crystals whose answer is known."""
        return len(self._answers)

    def evaluate(self, structures: Structures) -> Prediction:
        """Answers about every crystal; NaN where the calculator failed, `failure` then says why."""
        n, n_atoms = len(structures), len(structures.numbers)
        energies, forces, stresses = np.full(n, np.nan), np.full((n_atoms, 3), np.nan), np.full((n, 3, 3), np.nan)
        for c in range(n):
            answer = self._answer(structures.atoms(c))
            if answer is not None:
                energies[c], forces[structures.offsets[c] : structures.offsets[c + 1]], stresses[c] = answer
        return Prediction(energies, forces, stresses, energies[:, None], np.full(n_atoms, np.nan))

    def _answer(self, atoms: Atoms) -> Answer | None:
        rounded = Atoms(
            atoms.numbers,
            positions=np.round(atoms.positions, DIGITS) + 0.0,  # + 0: no negative zeros
            cell=np.round(atoms.cell[:], DIGITS) + 0.0,
            pbc=atoms.pbc,
        )
        key = self._key(rounded)
        if key in self._answers:
            return self._answers[key]
        started = os.times()
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = _ask(self._calculator, rounded)
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
        self._answers[key] = answer
        self.seconds_in_all += seconds
        self._write(key, rounded, answer, seconds)
        return answer

    def _key(self, atoms: Atoms) -> str:
        digest = hashlib.sha256(self._key_of_all.encode())
        for array in (atoms.numbers.astype(np.int64), atoms.positions, atoms.cell[:], atoms.pbc.astype(np.int64)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _write(self, key: str, atoms: Atoms, answer: Answer, seconds: float) -> None:
        if self._cache is None:
            return
        energy, forces, stress = answer
        record = {
            "key": key,
            "formula": atoms.get_chemical_formula(),
            "energy": energy,
            "forces": forces.tolist(),
            "stress": stress.tolist() if np.isfinite(stress).all() else None,
            "seconds": seconds,
        }
        with open(self._cache, "ab") as stream:
            # a line of its own even where a kill has left half a line before it
            stream.write(b"\n" + json.dumps(record).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
                stress = (
                    np.full((3, 3), np.nan) if record["stress"] is None else np.array(record["stress"], dtype=float)
                )
                answer = float(record["energy"]), np.array(record["forces"], dtype=float).reshape(-1, 3), stress
                self._answers[str(record["key"])] = answer
                self.seconds_in_all += float(record["seconds"])
            except (ValueError, KeyError, TypeError):
                continue  # an empty line, or half of one


def _ask(calculator: Any, atoms: Atoms) -> Answer:
    if hasattr(calculator, "reset"):
        calculator.reset()  # what it remembers of the last crystal must not show in this one's digits
    atoms.calc = calculator
    forces = np.array(atoms.get_forces(), dtype=float)
    try:  # with smeared occupations the forces belong to the free energy
        energy = float(atoms.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:
        energy = float(atoms.get_potential_energy())
    try:
        stress = np.array(atoms.get_stress(voigt=False), dtype=float)
    except (PropertyNotImplementedError, NotImplementedError):
        stress = np.full((3, 3), np.nan)
    return energy, forces, stress
