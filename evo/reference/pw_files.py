"""Files of pw.x: the input of a single point, and what its output says.

Units there are Ry and bohr, cell and positions in Å; stress is positive under compression, the other way round than here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.units import Bohr, Rydberg

from evo.candidate import Failure
from evo.reference.mesh import Mesh
from evo.reference.pw_hubbard import Hubbard
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
    moments: list[float] = field(
        default_factory=list
    )  # Bohr magnetons in a sphere around each atom; empty without spin
    occupations: list[float] = field(default_factory=list)  # electrons in the orbitals with U, by atom that has them


MOST_SPECIES = 10  # ntypx of pw.x


def few(symbols: Sequence[str], moments: Sequence[float]) -> list[float]:
    """These moments to begin with, rounded as far as it takes for pw.x to have no more species than it can."""
    result = list(moments)
    for digits in (3, 2, 1, 0):
        if len(set(zip(symbols, result, strict=True))) <= MOST_SPECIES:
            break
        result = [round(m, digits) for m in moments]
    return result


@dataclass(frozen=True)
class Species:
    """Atoms of one element that begin with one moment: pw.x knows no moment of a single atom."""

    label: str
    symbol: str
    magnetization: float  # part of its valence electrons, -1 to 1


def species(symbols: Sequence[str], moments: Sequence[float], valences: Mapping[str, float]) -> list[Species]:
    """The species of each atom. A label is the symbol, and a number where atoms of the element differ."""
    kinds = sorted(set(zip(symbols, moments, strict=True)))
    found: dict[tuple[str, float], Species] = {}
    for symbol, moment in kinds:
        same = [k for k in kinds if k[0] == symbol]
        label = symbol if len(same) == 1 else f"{symbol}{same.index((symbol, moment)) + 1}"
        found[symbol, moment] = Species(label, symbol, max(-1.0, min(1.0, moment / valences[symbol])))
    return [found[key] for key in zip(symbols, moments, strict=True)]


def pw_input(
    atoms: Atoms,
    *,
    control: Mapping[str, Any],
    cutoffs: tuple[float, float],
    smearing: tuple[str, float],
    valences: Mapping[str, float],
    electrons: Mapping[str, Any],
    files: Mapping[str, str],
    mesh: Mesh,
    moments: Sequence[float] = (),
    hubbard: Hubbard | None = None,
    system: Mapping[str, Any] | None = None,
) -> str:
    """The input of a self-consistent calculation with forces and stress.

    Energies in eV. Bands of each spin: 1.1 times those that the first moments occupy, and 4. `system`: further keys of &SYSTEM.
    """
    moments = few(list(atoms.symbols), moments) if len(moments) else len(atoms) * [0.0]
    each = species(list(atoms.symbols), moments, valences)
    kinds = sorted(set(each), key=lambda s: s.label)
    occupied = (sum(valences[s] for s in atoms.symbols) + sum(abs(m) for m in moments)) / 2
    keys: dict[str, Any] = {
        "ibrav": 0,
        "nat": len(atoms),
        "ntyp": len(kinds),
        "ecutwfc": cutoffs[0] / Rydberg,
        "ecutrho": cutoffs[1] / Rydberg,
        "occupations": "smearing",
        "smearing": SMEARING[smearing[0]],
        "degauss": smearing[1] / Rydberg,
        "nbnd": math.ceil(1.1 * occupied) + 4,
    }
    if mesh.centred:  # else pw.x takes the list for a part that the lattice, which may have more symmetry, completes
        keys["nosym"] = True
    if any(moments):
        keys["nspin"] = 2
        keys |= {f"starting_magnetization({n})": s.magnetization for n, s in enumerate(kinds, 1) if s.magnetization}
    card: list[str] = []
    if hubbard is not None:
        values, card = hubbard.lines(kinds)
        keys |= values
    keys |= system or {}
    fixed = {"calculation": "scf", "tprnfor": True, "tstress": True, "outdir": "./scratch", "disk_io": "none"}
    lines = _namelist("CONTROL", {**fixed, **control}) + _namelist("SYSTEM", keys) + _namelist("ELECTRONS", electrons)
    lines += ["ATOMIC_SPECIES"]
    lines += [f"{s.label} {atomic_masses[atomic_numbers[s.symbol]]:.3f} {files[s.symbol]}" for s in kinds]
    lines += ["CELL_PARAMETERS angstrom"] + [_row(v) for v in np.asarray(atoms.cell)]
    lines += ["ATOMIC_POSITIONS angstrom"]
    lines += [f"{s.label} {_row(p)}" for s, p in zip(each, atoms.positions, strict=True)]
    if mesh.centred:
        points, weights = mesh.halved()
        lines += ["K_POINTS crystal", str(len(points))]
        lines += [f"{_row(k)} {w:g}" for k, w in zip(points, weights, strict=True)] + [""]
    else:
        lines += ["K_POINTS automatic", " ".join(str(n) for n in (*mesh.size, *(3 * [int(mesh.shifted)]))), ""]
    return "\n".join([*lines[:-1], *card, ""])


def read_output(text: str, n_atoms: int, smearing: str, *, stress_may_lack: bool = False) -> Found | Failure:
    """Results, or the failure that the output tells; Garbage when it is cut short or is something else.

    `stress_may_lack`: with U some versions give none; it is NaN then.
    """
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
    if rows is not None:
        stress = -np.array([float(x) for x in rows.groups()]).reshape(3, 3) * Rydberg / Bohr**3
    elif stress_may_lack and "total   stress" not in text:
        stress = np.full((3, 3), np.nan)
    else:
        raise Garbage("no stress")
    spheres = re.findall(rf"atom:?\s+\d+[^\n]*charge[:=]\s*{NUMBER}\s+magn[:=]\s*{NUMBER}", text)
    traces = re.findall(rf"atom\s+\d+\s+Tr\[ns\(na\)\][^=\n]*=((?:[ ]+{NUMBER})+)", text)
    with_u = len(set(re.findall(r"atom\s+(\d+)\s+Tr\[ns", text)))
    return Found(
        free * Rydberg,
        zero * Rydberg,
        np.array(forces, dtype=float) * Rydberg / Bohr,
        stress,
        int(_last(text, r"convergence has been achieved in\s+(\d+) iterations", "the number of iterations")),
        int(_last(text, r"number of k points=\s*(\d+)", "the number of k-points")),
        [float(m) for _, m in spheres[-n_atoms:]],
        [float(t[0].split()[-1]) for t in traces[len(traces) - with_u :]],
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
