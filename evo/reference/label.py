"""Label: what a reference says of one crystal, or the reason why it says nothing."""

from __future__ import annotations

import math
import resource
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import voigt_6_to_full_3x3_stress

from evo.candidate import Failure
from evo.cell import reduce_cell
from potentials.structures import Floats

UNLIKE_FORCES, UNLIKE_MOMENTS = 0.05, 0.1  # eV/Å, Bohr magnetons: by which copies of a crystal must not differ
SMALLEST_VOLUME = 0.3  # Å³ per atom, far below hydrogen at the highest pressures reached
SMALLEST_HEIGHT = 0.3  # Å between two faces of a periodic cell


@dataclass(frozen=True)
class Label:
    """One energy+forces+stress evaluation. Energy and forces are finite."""

    energy: float  # eV per cell, consistent with the forces (a free energy where occupations are smeared)
    forces: Floats  # (n_atoms, 3) eV/Å
    stress: Floats  # (3, 3) eV/Å³, sign as ASE; NaN when there is none: not periodic, or not implemented
    seconds: float  # CPU time of this process and of the programs it waited for
    energy_zero: float = math.nan  # eV per cell, extrapolated to no smearing; NaN when the engine does not say
    details: Mapping[str, Any] = field(default_factory=dict)  # how it came about: mesh, bands, steps, attempt

    def of_first(self, n_atoms: int) -> Label | Failure:
        """Of a crystal that has these atoms several times in its cell: the label of the cell with them once.

        Means over the copies; "unconverged" where they differ, in another magnetic state for instance.
        """
        copies = len(self.forces) // n_atoms
        if copies == 1:
            return self
        details = dict(self.details) | {"copies": copies}
        forces = self.forces.reshape(copies, n_atoms, 3)
        apart = [np.abs(forces - forces.mean(axis=0)).max() / UNLIKE_FORCES]
        if details.get("moments") is not None:
            moments = np.array(details["moments"]).reshape(copies, n_atoms)
            apart.append(np.abs(moments - moments.mean(axis=0)).max() / UNLIKE_MOMENTS)
            details["moments"] = moments.mean(axis=0).tolist()
        if max(apart) > 1:
            return Failure("unconverged", f"{copies} copies of the crystal in one cell differ in forces or moments")
        return replace(
            self,
            energy=self.energy / copies,
            forces=forces.mean(axis=0),
            energy_zero=self.energy_zero / copies,
            details=details,
        )


def label(calculator: Any, atoms: Atoms) -> Label | Failure:
    """What this ASE calculator says of the crystal, which is left as it was.

    Failures: "not finite", "collapsed", "unconverged", and "crashed" with what was raised. The calculator is
    reset first: what it remembers of the last crystal (neighbour lists, wave functions) would show in the last
    bits of this one.
    """
    wrong = absurd(atoms)
    if wrong is not None:
        return wrong
    moments = atoms.get_initial_magnetic_moments() if atoms.has("initial_magmoms") else None
    crystal = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc, magmoms=moments)
    start = _cpu_seconds()
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            energy, forces, stress = _ask(calculator, crystal)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a calculator of somebody else may raise anything
        text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        unconverged = "converge" in text.lower() or "scferror" in text.lower()
        return Failure("unconverged" if unconverged else "crashed", text)
    seconds = _cpu_seconds() - start
    if _says_unconverged(calculator):
        return Failure("unconverged", "the calculator says converged = False")
    broken = [
        name
        for name, value, shape in (("energy", energy, ()), ("forces", forces, (len(atoms), 3)))
        if value.shape != shape or not np.isfinite(value).all()
    ]
    if stress is None:
        stress = np.full((3, 3), np.nan)
    elif stress.shape != (3, 3) or not np.isfinite(stress).all():
        broken.append("stress")
    if broken:
        return Failure("not finite", " and ".join(broken))
    return Label(float(energy), forces, stress, seconds)


def absurd(atoms: Atoms) -> Failure | None:
    """What no calculator can answer; some would search neighbours for hours before they fail."""
    if not (np.isfinite(atoms.positions).all() and np.isfinite(np.asarray(atoms.cell)).all()):
        return Failure("not finite", "positions or cell before the calculation")
    if len(atoms) == 0:
        return Failure("collapsed", "no atoms")
    if all(atoms.pbc):
        volume = atoms.cell.volume
        if volume < SMALLEST_VOLUME * len(atoms):
            return Failure("collapsed", f"{volume / len(atoms):.3g} Å³ per atom")
        short = np.asarray(reduce_cell(atoms).cell)  # a skewed cell may be flat, and the crystal sound
        height = 1.0 / np.linalg.norm(np.linalg.inv(short), axis=0).max()
        if height < SMALLEST_HEIGHT:
            return Failure("collapsed", f"cell of height {height:.3g} Å")
    return None


def _ask(calculator: Any, crystal: Atoms) -> tuple[Floats, Floats, Floats | None]:
    """Energy, forces and stress, in one calculation where the calculator can do that."""
    if hasattr(calculator, "reset"):
        calculator.reset()
    crystal.calc = calculator
    offered = set(getattr(calculator, "implemented_properties", ()))
    wants_stress = bool(all(crystal.pbc))
    if isinstance(calculator, Calculator) and {"energy", "forces"} <= offered:
        names = [n for n in ("energy", "forces", "stress") if n in offered and (n != "stress" or wants_stress)]
        calculator.calculate(crystal, names, list(all_changes))
        found = dict(calculator.results)
        energy, forces = found.get("free_energy", found["energy"]), found["forces"]
        stress = found.get("stress") if wants_stress else None
    else:
        forces, stress = crystal.get_forces(), None
        try:
            energy = crystal.get_potential_energy(force_consistent=True)
        except PropertyNotImplementedError:  # without smeared occupations there is but one energy
            energy = crystal.get_potential_energy()
        if wants_stress:
            try:
                stress = crystal.get_stress()
            except PropertyNotImplementedError:  # a label may go without stress
                stress = None
    return _copy(energy), _copy(forces), None if stress is None else _matrix(_copy(stress))


def _says_unconverged(calculator: Any) -> bool:
    flags = (
        getattr(calculator, "converged", None),
        (getattr(calculator, "results", None) or {}).get("converged"),
    )
    return any(isinstance(flag, bool | np.bool_) and not flag for flag in flags)


def _copy(value: Any) -> Floats:
    return np.array(value, dtype=float)


def _matrix(stress: Floats) -> Floats:
    return np.asarray(voigt_6_to_full_3x3_stress(stress), dtype=float) if stress.shape == (6,) else stress


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
