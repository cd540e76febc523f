"""Files of pw.x: the input of a single point, and what its output says.

Units there are Ry and bohr, cell and positions in Å; stress is positive under compression, the other way round than here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.units import Bohr, Rydberg

from evo.candidate import Failure
from evo.reference.mesh import Mesh
from potentials.structures import Floats

SMEARING = {"fermi-dirac": "fd", "marzari-vanderbilt": "mv"}
EXTRAPOLATED = {"fermi-dirac": 0.5, "marzari-vanderbilt": 0.0}  # part of -TS that is not in the energy at zero smearing
NUMBER = r"(-?\d+\.\d+(?:[EeDd][+-]?\d+)?)"


class Garbage(ValueError):
    """An output that is not complete; the message says what is missing."""


@dataclass(frozen=True)
class Found:
    """What a complete output says."""

    energy: float  # eV per cell, free energy of the smeared electrons
    energy_zero: float  # eV per cell, extrapolated to zero smearing
    forces: Floats  # (n_atoms, 3) eV/Å
    stress: Floats  # (3, 3) eV/Å³, sign as ASE
    steps: int
    k_points: int


def pw_input(
    atoms: Atoms,
    *,
    control: Mapping[str, Any],
    cutoffs: tuple[float, float],
    smearing: tuple[str, float],
    valence: float,
    electrons: Mapping[str, Any],
    files: Mapping[str, str],
    mesh: Mesh,
) -> str:
    """The input of a self-consistent calculation with forces and stress. Energies in eV; bands: 1.1 times occupied, and 4."""
    symbols = sorted(set(atoms.symbols))
    system = {
        "ibrav": 0,
        "nat": len(atoms),
        "ntyp": len(symbols),
        "ecutwfc": cutoffs[0] / Rydberg,
        "ecutrho": cutoffs[1] / Rydberg,
        "occupations": "smearing",
        "smearing": SMEARING[smearing[0]],
        "degauss": smearing[1] / Rydberg,
        "nbnd": math.ceil(1.1 * valence / 2) + 4,
    }
    fixed = {"calculation": "scf", "tprnfor": True, "tstress": True, "outdir": "./scratch", "disk_io": "none"}
    lines = _namelist("CONTROL", {**fixed, **control}) + _namelist("SYSTEM", system) + _namelist("ELECTRONS", electrons)
    lines += ["ATOMIC_SPECIES"] + [f"{s} {atomic_masses[atomic_numbers[s]]:.3f} {files[s]}" for s in symbols]
    lines += ["CELL_PARAMETERS angstrom"] + [_row(v) for v in np.asarray(atoms.cell)]
    lines += ["ATOMIC_POSITIONS angstrom"] + [f"{a.symbol} {_row(a.position)}" for a in atoms]
    if mesh.centred:
        points, weights = mesh.halved()
        lines += ["K_POINTS crystal", str(len(points))]
        lines += [f"{_row(k)} {w:g}" for k, w in zip(points, weights, strict=True)] + [""]
    else:
        lines += ["K_POINTS automatic", " ".join(str(n) for n in (*mesh.size, *(3 * [int(mesh.shifted)]))), ""]
    return "\n".join(lines)


def read_output(text: str, n_atoms: int, smearing: str) -> Found | Failure:
    """Results, or the failure that the output tells; Garbage when it is cut short or is something else."""
    if "convergence NOT achieved" in text:
        return Failure("unconverged", _line(text, "convergence NOT achieved"))
    if "Maximum CPU time exceeded" in text:
        return Failure("timeout", "pw.x reached max_seconds")
    if "%%%%" in text:
        told = [line.strip() for line in text.split("%%%%", 1)[1].splitlines() if line.strip(" %")]
        return Failure("crashed", " ".join(told[:2]))
    if "convergence has been achieved" not in text or "JOB DONE" not in text:
        raise Garbage("the output of pw.x has no `convergence has been achieved` or no `JOB DONE`")
    free = _last(text, rf"^!\s+total energy\s+=\s+{NUMBER} Ry", "the line `!    total energy`")
    entropy = re.findall(rf"smearing contrib\. \(-TS\)\s+=\s+{NUMBER} Ry", text)
    zero = free - EXTRAPOLATED[smearing] * (float(entropy[-1]) if entropy else 0.0)
    forces = re.findall(rf"^\s+atom\s+\d+ type\s+\d+\s+force =\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}", text, re.MULTILINE)
    if len(forces) != n_atoms:
        raise Garbage(f"forces of {len(forces)} atoms, not {n_atoms}")
    rows = re.search(r"total\s+stress\s+\(Ry/bohr\*\*3\).*\n" + 3 * rf"\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}.*\n", text)
    if rows is None:
        raise Garbage("no stress")
    stress = -np.array([float(x) for x in rows.groups()]).reshape(3, 3) * Rydberg / Bohr**3
    return Found(
        free * Rydberg,
        zero * Rydberg,
        np.array(forces, dtype=float) * Rydberg / Bohr,
        stress,
        int(_last(text, r"convergence has been achieved in\s+(\d+) iterations", "the number of iterations")),
        int(_last(text, r"number of k points=\s*(\d+)", "the number of k-points")),
    )


def _last(text: str, pattern: str, what: str) -> float:
    found = re.findall(pattern, text, re.MULTILINE)
    if not found:
        raise Garbage(f"the output of pw.x lacks {what}")
    return float(found[-1])


def _line(text: str, part: str) -> str:
    return next(line.strip() for line in text.splitlines() if part in line)


def _row(vector: Floats) -> str:
    return " ".join(f"{x:.12f}" for x in vector)


def _namelist(name: str, values: Mapping[str, Any]) -> list[str]:
    return [f"&{name}", *(f"  {key} = {_fortran(value)}" for key, value in values.items()), "/"]


def _fortran(value: Any) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    return f"'{value}'" if isinstance(value, str) else repr(value)
