"""Crystals of a campaign in files that other programs read: ASE database, extended XYZ, CIF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import ase.db
import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from evo.candidate import atoms_from_json
from evo.report.cif import write_cif
from evo.report.phases import Phase

SUFFIXES = (".db", ".extxyz", ".xyz", ".cif")


class ExportError(ValueError):
    """The output cannot be written as asked; the message says what to write instead."""

    exit_code = 64


def crystals(rows: Sequence[Phase], pressure: float = 0.0) -> list[Atoms]:
    """ASE Atoms of these phases; the reference's energy is their energy, the network's when there is no other.

    At a `pressure` (eV/Å³) the energies of phases are enthalpies; what ASE calls the energy is that without pV.
    """
    made = []
    for p in rows:
        atoms = atoms_from_json(p.crystal)
        energy = p.energy_network if p.energy_reference is None else p.energy_reference
        if energy is not None:
            work = pressure * atoms.cell.volume if pressure and atoms.pbc.all() else 0.0
            atoms.calc = SinglePointCalculator(atoms, energy=energy * len(atoms) - work)
            if pressure:
                atoms.info["enthalpy"] = energy * len(atoms)
        atoms.info.update(
            id=p.id, formula=p.formula, status=p.status, operator=p.operator, space_group=p.space_group_number
        )
        for name in ("energy_network", "energy_reference", "above_hull_network", "above_hull_reference"):
            if (value := getattr(p, name)) is not None:
                atoms.info[name] = value
        made.append(atoms)
    return made


def write(rows: Sequence[Phase], path: Path, pressure: float = 0.0) -> list[Path]:
    """The files with these phases, by the suffix of the path: .db, .extxyz, or .cif (one per phase, named by formula and id)."""
    if path.suffix not in SUFFIXES:
        raise ExportError(f"`{path}` must end in one of {', '.join(SUFFIXES)}")
    if not rows:
        raise ExportError("there is nothing to write: no phase is on the hull yet; --within 100 takes what is near it")
    atoms = crystals(rows, pressure)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".cif":
        files = [path.with_name(f"{path.stem}-{a.info['formula']}-{a.info['id']}.cif") for a in atoms]
        for file, a in zip(files, atoms, strict=True):
            remarks = [f"{a.info['formula']}, {a.info['status']}, candidate {a.info['id']}"]
            write_cif(file, a, remarks, a.info["space_group"])
        return files
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    temporary.unlink(missing_ok=True)
    try:
        if path.suffix == ".db":
            _write_database(temporary, atoms)
        else:
            ase.io.write(temporary, atoms, format="extxyz")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return [path]


def _write_database(path: Path, crystals: Sequence[Atoms]) -> None:
    """OSError where there is no room, or no right to write."""
    try:
        with ase.db.connect(path, type="db", use_lock_file=False) as database:
            for a in crystals:
                # ASE's database refuses a key that reads as a formula or is its own column
                pairs = {k: v for k, v in a.info.items() if k not in ("id", "formula")}
                database.write(a, key_value_pairs={"candidate": a.info["id"], **pairs})
    except Exception as error:
        if type(error).__module__ == "sqlite3":  # whose home is evo.store
            raise OSError(f"{path} cannot be written: {error}; choose another place, or make room") from None
        raise
