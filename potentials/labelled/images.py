"""Labelled crystals out of what ASE's readers give: what is refused, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from potentials.labelled.record import Dataset
from potentials.structures import Floats

VIRIALS = ("virial", "virials")
LEAST = 1e-6  # Å, and of a volume over that of a box with the same edges


@dataclass(frozen=True, slots=True)
class Refused:
    """A crystal of a file that brings no label, and the reason."""

    number: int  # in the file, from 1
    formula: str
    reason: str

    def __str__(self) -> str:
        return f"crystal {self.number}{f' ({self.formula})' if self.formula else ''} {self.reason}"


def fault(atoms: Atoms) -> str:
    """Why these labels cannot be used; empty when they can."""
    found = results(atoms)
    if not len(atoms):
        return "has no atoms"
    if "energy" not in found:
        return "has no finite energy"
    if found.get("forces") is None and "force" in atoms.arrays:
        return "has no column `forces`; what is there is `force`, which ASE does not know: rename it"
    for name in ("energy", "forces"):
        if found.get(name) is None or not np.isfinite(found[name]).all():
            return f"has no finite {name}"
    if found.get("stress") is not None and not np.isfinite(found["stress"]).all():
        return "has a stress that is not finite"
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell[:]).all()):
        return "has positions or a cell that are not finite"
    if not ((atoms.numbers >= 1) & (atoms.numbers < len(chemical_symbols))).all():
        return "has an atom of no element (X)"
    if flat(atoms):
        return "is periodic along axes that span nothing"
    if coincide(atoms):
        return "has two atoms in one place"
    if np.shape(found["forces"]) != (len(atoms), 3):
        return f"has forces of shape {np.shape(found['forces'])} on {len(atoms)} atoms"
    for name in ("weight", "seconds"):
        value = entry(atoms, name)
        if value is not None and not _is_amount(value):
            return f"has the {name} {' '.join(str(value).split())}; it must be a finite number, 0 or more"
    return ""


def flat(atoms: Atoms) -> bool:
    """Whether the periodic vectors have no length, or are dependent."""
    vectors = atoms.cell[:][atoms.pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    if not len(vectors):
        return False
    return bool((lengths < LEAST).any()) or bool(np.linalg.det(vectors @ vectors.T) < (LEAST * lengths.prod()) ** 2)


def coincide(atoms: Atoms) -> bool:
    """Whether two atoms, or images of them, are in one place; the periodic vectors must span something."""
    cell = np.asarray(atoms.cell.complete())
    fractions = atoms.positions @ np.linalg.inv(cell)
    for n in range(1, len(atoms)):
        apart = fractions[n:] - fractions[:-n]
        apart -= np.where(atoms.pbc, np.round(apart), 0.0)
        if (np.linalg.norm(apart @ cell, axis=1) < LEAST).any():
            return True
    return False


def _is_amount(value: Any) -> bool:
    try:
        return 0.0 <= float(value) < float("inf")
    except (TypeError, ValueError):
        return False


def results(atoms: Atoms) -> dict[str, Any]:
    """What the file says, constraints not applied; its energy is the one that the forces are the gradient of.

    A virial of extxyz (eV, as GAP and NEP write it) is -stress times volume.
    """
    found = dict(atoms.calc.results) if atoms.calc is not None else {}
    if found.get("free_energy") is not None:
        found["energy"] = found["free_energy"]
    virial = next((v for name in VIRIALS if np.size(v := atoms.info.get(name)) == 9), None)
    if found.get("stress") is None and virial is not None and atoms.pbc.all() and atoms.cell.volume > 0.0:
        found["stress"] = -np.asarray(virial, dtype=float).reshape(3, 3) / atoms.cell.volume
    return found


def entry(atoms: Atoms, name: str) -> Any:
    """An entry of the crystal: of its comment line in extxyz, of its key-value pairs in a database."""
    return atoms.info.get(name, atoms.info.get("key_value_pairs", {}).get(name))


def to_dataset(images: Sequence[Atoms], method: str) -> Dataset:
    """The labels of crystals without fault; `method` is that of the crystals that name none."""
    found = [results(a) for a in images]
    dataset = Dataset.of(
        images,
        energies=[float(r["energy"]) for r in found],
        forces=[np.asarray(r["forces"], dtype=float) for r in found],
        stresses=[_stress(a, r) for a, r in zip(images, found, strict=True)],
        method=method,
    )
    return Dataset(
        dataset.structures,
        dataset.labels,
        tuple(str(_or(entry(a, "family"), "")) for a in images),
        tuple(str(_or(entry(a, "method"), method)) for a in images),
        np.array([float(_or(entry(a, "weight"), 1.0)) for a in images]),
        np.array([float(_or(entry(a, "seconds"), 0.0)) for a in images]),
        tuple(str(_or(entry(a, "source"), "")) for a in images),
        tuple(_text(entry(a, "provenance")) for a in images),
    )


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _text(value: Any) -> str:
    """A string as it is, another value as JSON: ASE's reader turns some strings into what they spell."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str, sort_keys=True)


def _stress(atoms: Atoms, found: dict[str, Any]) -> Floats:
    """(3, 3) eV/Å³; NaN where there is none, or none that means anything."""
    if found.get("stress") is None or not atoms.pbc.all():
        return np.full((3, 3), np.nan)
    stress = np.asarray(found["stress"], dtype=float)
    return stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] if stress.shape == (6,) else stress.reshape(3, 3)
