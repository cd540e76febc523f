"""Collect: labels for every structure of a file, one after the other; stopped anywhere, the same command goes on.

Beside OUT lie OUT's journal, to which every result is added as soon as it is there, and a list of failures. OUT itself is
written anew every few minutes and at the end: extxyz as potentials/dataset.py reads it, with the provenance of each label.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.stress import full_3x3_to_voigt_6_stress

from evo.candidate import Failure, atoms_from_json, atoms_to_json
from evo.reference import Label, Reference
from evo.reference.journal import Journal
from potentials.dataset import DataError

SUFFIXES = (".extxyz", ".extxyz.gz", ".extxyz.xz", ".extxyz.bz2")
WRITE_EVERY = 300.0  # s between two writings of OUT
PASSED_ON = ("family", "weight", "kind")  # of a structure's own remarks
MOST_CRASHES = 5  # in a row: then it is the engine, not the crystals
Record = dict[str, Any]


class EngineBroken(RuntimeError):
    """One crystal after the other crashes the engine; the message has the last reason."""

    exit_code = 69


class Stopped(BaseException):
    """The process was asked to stop; no engine may take it for a failure of a crystal."""


def label_file(
    file: Path, out: Path, reference: Reference, *, retry: bool, at_most: int | None, say: Callable[[str], None]
) -> bool:
    """Label what lacks a label; False when it was stopped by a signal before the end.

    `retry` tries again what failed; `at_most` ends it after so many calculations. DataError names a file that is of no use.
    """
    crystals = {key(atoms): atoms for atoms in structures(file)}
    reference.require({z for atoms in crystals.values() for z in atoms.numbers.tolist()})
    stem = _stem(out)
    journal = Journal(stem.with_name(stem.name + ".journal"))
    try:
        done = _known(out, stem, reference.method, journal)
        missing = [k for k in crystals if k not in done or (retry and "failure" in done[k])]
        say(
            f"{len(crystals)} structures, {len(crystals) - len(missing)} done, {len(missing)} to do ({reference.method})"
        )
        written, crashes = time.monotonic(), 0
        with _stoppable() as interruptible:
            try:
                for n, k in enumerate(missing[:at_most]):
                    with interruptible():
                        found = reference.evaluate(crystals[k])
                    done[k] = _record(k, crystals[k], found, reference)
                    journal.append(done[k])
                    say(f"{n + 1}/{len(missing)} {_line(crystals[k], found)}")
                    if not (isinstance(found, Failure) and found.reason == "crashed"):
                        crashes = 0
                    elif (crashes := crashes + 1) == MOST_CRASHES:
                        raise EngineBroken(
                            f"{crashes} crashes in a row, the last: {found.detail}; mend it, then --retry"
                        )
                    if time.monotonic() - written > WRITE_EVERY:
                        _write(out, stem, done)
                        written = time.monotonic()
            except Stopped:
                return False
            finally:
                _write(out, stem, done)
        return True
    finally:
        journal.close()


def structures(file: Path) -> list[Atoms]:
    """All structures of a file in any format that ASE reads; DataError in one line when it cannot."""
    if not file.exists():
        raise DataError(f"{file} is not there; name a file of structures")
    try:
        found = read(file, index=":")
    except Exception as error:  # noqa: BLE001 - readers raise whatever the first odd byte leads to
        raise DataError(f"{file} cannot be read: {type(error).__name__}: {error}".splitlines()[0]) from None
    if not found:
        raise DataError(f"{file} holds no structures")
    return list(found)


def key(atoms: Atoms) -> str:
    """16 hex digits of what a structure is, to a millionth of an Å: text files keep no more. Magnetic moments count."""
    lengths = [np.rint(np.asarray(x) * 1e6).astype(int).tolist() for x in (atoms.positions, atoms.cell)]
    identity: list[Any] = [[atoms.numbers.tolist(), atoms.pbc.tolist()], lengths]
    if atoms.has("initial_magmoms"):
        identity.append(atoms.get_initial_magnetic_moments().tolist())
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _known(out: Path, stem: Path, method: str, journal: Journal) -> dict[str, Record]:
    """What was labelled before, by key: OUT, the list of failures, and on top of them the journal."""
    known: dict[str, Record] = {}
    if out.exists():
        known = {r["key"]: r for r in map(_from_atoms, structures(out))}
    failures = stem.with_name(stem.name + ".failures.json")
    if failures.exists():
        known |= {r["key"]: r for r in json.loads(failures.read_text(encoding="utf-8"))}
    known |= {r["key"]: r for r in journal.records}
    others = {r["method"] for r in known.values()} - {method}
    if others:
        raise DataError(
            f"{out} has labels of {', '.join(sorted(others))}, these settings and programs are {method}; "
            "energies of two methods cannot be mixed: choose another OUT, or the settings of the first"
        )
    return known


def _record(k: str, atoms: Atoms, found: Label | Failure, reference: Reference) -> Record:
    record = {"key": k, "method": reference.method, "crystal": atoms_to_json(atoms)}
    record["remarks"] = {name: atoms.info[name] for name in PASSED_ON if name in atoms.info}
    if isinstance(found, Failure):
        return record | {"failure": [found.reason, found.detail]}
    return record | {
        "energy": found.energy,
        "energy_zero": found.energy_zero,
        "forces": found.forces.tolist(),
        "stress": found.stress.tolist(),
        "seconds": found.seconds,
        "provenance": {"engine": reference.engine, **found.details},
    }


def _write(out: Path, stem: Path, done: dict[str, Record]) -> None:
    """OUT and the failures as they stand, each replaced in one step."""
    labelled = [_to_atoms(r) for r in done.values() if "failure" not in r]
    if labelled:
        unfinished = stem.with_name(stem.name + ".part" + out.name.removeprefix(stem.name))
        write(unfinished, labelled, format="extxyz")
        os.replace(unfinished, out)
    failures = stem.with_name(stem.name + ".failures.json")
    failed = [r for r in done.values() if "failure" in r]
    if failed or failures.exists():
        unfinished = failures.with_suffix(".part")
        unfinished.write_text(json.dumps(failed, indent=1), encoding="utf-8")
        os.replace(unfinished, failures)


def _to_atoms(record: Record) -> Atoms:
    atoms = atoms_from_json(record["crystal"])
    known = {"energy": record["energy"], "forces": np.array(record["forces"]).reshape(-1, 3)}
    stress = np.array(record["stress"], dtype=float)
    if np.isfinite(stress).all():
        known["stress"] = full_3x3_to_voigt_6_stress(stress)
    atoms.calc = SinglePointCalculator(atoms, **known)
    atoms.info = {"key": record["key"], "method": record["method"], "seconds": record["seconds"], **record["remarks"]}
    if np.isfinite(record["energy_zero"]):
        atoms.info["energy_zero"] = record["energy_zero"]
    atoms.info["provenance"] = json.dumps(record["provenance"], sort_keys=True)
    return atoms


def _from_atoms(atoms: Atoms) -> Record:
    info = atoms.info
    try:
        stress = (
            np.asarray(atoms.get_stress(voigt=False)) if "stress" in atoms.calc.results else np.full((3, 3), np.nan)
        )
        told = info["provenance"]
        return {
            "key": str(info["key"]),
            "method": str(info["method"]),
            "crystal": atoms_to_json(atoms),
            "remarks": {name: info[name] for name in PASSED_ON if name in info},
            "energy": float(atoms.calc.results["energy"]),
            "energy_zero": float(info.get("energy_zero", np.nan)),
            "forces": np.asarray(atoms.calc.results["forces"]).tolist(),
            "stress": stress.tolist(),
            "seconds": float(info["seconds"]),
            "provenance": json.loads(told) if isinstance(told, str) else told,
        }
    except (AttributeError, KeyError, ValueError) as error:
        raise DataError(
            f"OUT is there already and was not written by this command ({type(error).__name__}: {error}); choose another"
        ) from None


def _stem(out: Path) -> Path:
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if out.name.endswith(suffix) and out.name != suffix:
            return out.with_name(out.name.removesuffix(suffix))
    raise DataError(f"OUT must end in {', '.join(SUFFIXES)}, got {out.name}")


@contextmanager
def _stoppable() -> Iterator[Callable[[], Any]]:
    """Signals to stop end a calculation at once, but wait for a result that is being written."""
    asked, running = False, False

    def stop(*_: object) -> None:
        nonlocal asked
        asked = True
        if running:
            raise Stopped

    @contextmanager
    def interruptible() -> Iterator[None]:
        nonlocal running
        if asked:
            raise Stopped
        running = True
        try:
            yield
        finally:
            running = False

    names = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {name: signal.signal(name, stop) for name in names}
    try:
        yield interruptible
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _line(atoms: Atoms, found: Label | Failure) -> str:
    name = f"{atoms.get_chemical_formula():10} {atoms.info.get('kind', '')!s:12}"
    if isinstance(found, Failure):
        return f"{name} {found.reason}: {found.detail}"
    return f"{name} {found.energy / len(atoms):9.4f} eV/atom {found.seconds:6.1f} s"
