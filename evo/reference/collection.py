"""Collection: labels with the crystals they belong to, every one durable, in a file that grows.

Beside OUT lie OUT's journal, to which every result is added as soon as it is there, a list of failures, and what its method
stands for. OUT itself is written anew when asked: extxyz as potentials/dataset.py reads it, with the provenance of each label.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.io.formats import filetype
from ase.stress import full_3x3_to_voigt_6_stress

from evo.candidate import Failure, atoms_from_json, atoms_to_json
from evo.reference import Label, Reference
from evo.reference.journal import Journal
from potentials.dataset import DataError
from potentials.labelled.archives import unpacked
from potentials.labelled.identity import differences, read_identities, stem, write_identities
from potentials.occupancy import shared

WITH_MOMENTS = ("extxyz", "traj", "db", "json")  # formats in which zero moments are told, not made up
PASSED_ON = ("family", "weight", "kind")  # of a structure's own remarks
Record = dict[str, Any]


class Collection:
    """What a reference has said so far, by the key of the crystal. DataError when OUT is not of this method, or of no use."""

    def __init__(self, out: Path, reference: Reference) -> None:
        self._out, self._reference = out, reference
        try:
            self._stem = stem(out)
        except ValueError as error:
            raise DataError(f"OUT {error}") from None
        self._earlier: list[str] = []  # keys of what OUT held when it was opened
        self._journal = Journal(self._stem.with_name(self._stem.name + ".journal"))
        try:
            self.records = self._known()
        except BaseException:
            self._journal.close()
            raise

    def find(self, atoms: Atoms) -> Label | Failure | None:
        """What was said of this crystal before."""
        record = self.records.get(key(atoms))
        return None if record is None else _said(record)

    def add(self, atoms: Atoms, found: Label | Failure) -> None:
        """Keep this; on return it is on the disk."""
        record = _record(key(atoms), atoms, found, self._reference)
        self.records[record["key"]] = record
        self._journal.append(record)

    def remark(self, crystals: Iterable[Atoms]) -> None:
        """What these say of themselves now, such as another weight, in the place of what they said when they were labelled."""
        for atoms in crystals:
            if (known := self.records.get(key(atoms))) is not None:
                self.records[known["key"]] = known | {"remarks": known["remarks"] | _remarks(atoms)}

    def arrange(self, keys: Iterable[str]) -> None:
        """Records of these crystals stand last, in this order, whichever came first: files must not depend on that."""
        last = {k: self.records.pop(k) for k in keys if k in self.records}
        self.records |= last

    def write(self, chosen: list[Atoms] | None = None) -> None:
        """OUT and the failures as they stand, each replaced in one step. `chosen`: crystals with remarks, instead of all.

        What OUT held when it was opened stays in it, whoever made it.
        """
        if chosen is None:
            records = list(self.records.values())
        else:
            first = {r["key"]: r for r in map(self._remarked, chosen)}
            records = [*first.values(), *(self.records[k] for k in self._earlier if k not in first)]
        labelled = [_to_atoms(r) for r in records if "failure" not in r]
        if labelled:
            unfinished = self._stem.with_name(self._stem.name + ".part" + self._out.name.removeprefix(self._stem.name))
            write(unfinished, labelled, format="extxyz")
            os.replace(unfinished, self._out)
            write_identities(self._out, {self._reference.method: json.loads(self._reference.identity)})
        failures = self._failures
        failed = [r for r in self.records.values() if "failure" in r]
        if failed or failures.exists():
            unfinished = failures.with_suffix(".part")
            unfinished.write_text(json.dumps(failed, indent=1), encoding="utf-8")
            os.replace(unfinished, failures)

    def close(self) -> None:
        self._journal.close()

    def _difference(self) -> str:
        """In brackets, what the method of OUT and this one have different, as far as OUT's is known."""
        there = list(read_identities(self._out).values())
        if len(there) != 1:
            return ""
        told = differences(there[0], json.loads(self._reference.identity))
        return f" ({'; '.join(told[:3])}{'; ...' if len(told) > 3 else ''})" if told else ""

    @property
    def _failures(self) -> Path:
        return self._stem.with_name(self._stem.name + ".failures.json")

    def _remarked(self, atoms: Atoms) -> Record:
        return self.records[key(atoms)] | {"remarks": _remarks(atoms)}

    def _known(self) -> dict[str, Record]:
        """What was labelled before, by key: OUT, the list of failures, and on top of them the journal."""
        known: dict[str, Record] = {}
        if self._out.exists():
            known = {r["key"]: r for r in map(_from_atoms, structures(self._out))}
            self._earlier = list(known)
        if self._failures.exists():
            known |= {r["key"]: r for r in json.loads(self._failures.read_text(encoding="utf-8"))}
        known |= {r["key"]: r for r in self._journal.records}
        method = self._reference.method
        others = {r["method"] for r in known.values()} - {method}
        if others:
            raise DataError(
                f"{self._out} has labels of {', '.join(sorted(others))}, these settings and programs are {method}"
                f"{self._difference()}; "
                "energies of two methods cannot be mixed: choose another OUT, or the settings of the first"
            )
        return known


def structures(file: Path) -> list[Atoms]:
    """All structures of a file in any format that ASE reads; DataError in one line when it cannot."""
    if not file.exists():
        raise DataError(f"{file} is not there; name a file of structures")
    try:
        with unpacked(file) as plain:
            found = read(plain, index=":", do_not_split_by_at_sign=True)
            own = filetype(str(plain)) in WITH_MOMENTS
    except Exception as error:  # noqa: BLE001 - readers raise whatever the first odd byte leads to
        raise DataError(f"{file} cannot be read: {type(error).__name__}: {error}".splitlines()[0]) from None
    if not found:
        raise DataError(f"{file} holds no structures")
    for n, atoms in enumerate(found, 1):
        if sites := shared(atoms):
            raise DataError(f"{file}: structure {n} has sites that are shared ({sites}); give an ordered model of it")
        moments = atoms.get_initial_magnetic_moments()
        if moments.ndim > 1:
            raise DataError(
                f"{file}: structure {n} has moments of three components; give one for each atom, along one axis"
            )
        if not own and not moments.any():  # ASE's readers of inputs put zeros where a file says nothing
            atoms.arrays.pop("initial_magmoms", None)
    return list(found)


def key(atoms: Atoms) -> str:
    """16 hex digits of what a structure is, to a millionth of an Å: text files keep no more. Magnetic moments count."""
    lengths = [np.rint(np.asarray(x) * 1e6).astype(int).tolist() for x in (atoms.positions, atoms.cell)]
    identity: list[Any] = [[atoms.numbers.tolist(), atoms.pbc.tolist()], lengths]
    if atoms.has("initial_magmoms"):
        identity.append(atoms.get_initial_magnetic_moments().tolist())
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _remarks(atoms: Atoms) -> dict[str, Any]:
    """JSON values: ASE's readers make numbers of numpy out of what looks like one."""
    found = {name: atoms.info[name] for name in PASSED_ON if name in atoms.info}
    plain = {
        name: value.tolist() if isinstance(value, np.generic | np.ndarray) else value for name, value in found.items()
    }
    return plain | {name: str(plain[name]) for name in ("family",) if name in plain}


def _record(k: str, atoms: Atoms, found: Label | Failure, reference: Reference) -> Record:
    record = {"key": k, "method": reference.method, "crystal": atoms_to_json(atoms), "remarks": _remarks(atoms)}
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


def _said(record: Record) -> Label | Failure:
    """The label or failure in a record."""
    if "failure" in record:
        return Failure(*record["failure"])
    return Label(
        record["energy"],
        np.array(record["forces"], dtype=float).reshape(-1, 3),
        np.array(record["stress"], dtype=float),
        record["seconds"],
        record["energy_zero"],
        {name: value for name, value in record["provenance"].items() if name != "engine"},
    )


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
            "key": key(atoms) if _like_a_number(info["key"]) else str(info["key"]),
            "method": str(info["method"]),
            "crystal": atoms_to_json(atoms),
            "remarks": _remarks(atoms),
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


def _like_a_number(text: Any) -> bool:
    """Whether ASE took a key for a number when it read it: 0123..., or 74230e1156399850, which is infinite."""
    return not isinstance(text, str)
