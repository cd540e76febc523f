"""GPAW: plane waves and PAW, each single point a program of its own (gpaw_program.py).

Mortensen et al., J. Chem. Phys. 160, 092503 (2024), doi:10.1063/5.0182685. GPAW is not a dependency: `command` names a
Python that has it, and that may be another than ours.

At a cut-off of 400 eV energies and forces are good and cheap but the stress carries a Pulay term, because the number of plane
waves, not the cut-off, stays fixed under strain (Francis and Payne, J. Phys.: Condens. Matter 2, 4395 (1990),
doi:10.1088/0953-8984/2/19/007). It is isotropic, and to 0.1 GPa a sum over the atoms: `pulay` holds the constants.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import Field, model_validator

from evo.candidate import Failure
from evo.reference import gpaw_program, runner
from evo.reference.engine import EngineCalculator
from evo.reference.job import JobOptions, checked_options, climb, ended_badly, implausible
from evo.reference.label import Label
from evo.reference.mesh import RULE, SYMPREC
from evo.reference.unavailable import EngineAbsent
from evo.symmetry import is_exact

VARIABLE = "EVO_GPAW_PYTHON"  # names the Python that has GPAW where `command` does not
LAST_DIGITS = 1e-8  # of lattice coordinates and of Å
TOLERANCE = 1e-4  # GPAW's: eV per valence electron, electrons per valence electron
MOST_STEPS = 60
MOST_SECONDS = 900.0  # to tell versions and PAW sets: seconds of CPU, minutes on a machine that is busy
# mixers (empty: GPAW's own) and bands over occupied bands, tried in order; none changes what is converged to
LADDER: tuple[tuple[dict[str, Any], float], ...] = (
    ({}, 1.1),
    ({"backend": "pulay", "beta": 0.1, "nmaxold": 8, "weight": 1}, 1.1),
    ({"backend": "pulay", "beta": 0.03, "nmaxold": 8, "weight": 50}, 1.3),
)


class GpawOptions(JobOptions):
    """`reference.options` of engine "gpaw"."""

    grids: ClassVar[bool] = True

    cutoff: float = Field(400.0, gt=0, description="eV")
    xc: str = Field("PBE", description="exchange and correlation")
    setups: dict[str, str] = Field({}, description='PAW sets by symbol, where not the default: { Pd = "10" }')

    @model_validator(mode="after")
    def _one_place_for_u(self) -> GpawOptions:
        for symbol, name in self.setups.items():
            if ":" in name:
                raise ValueError(f'write U as hubbard = {{ {symbol} = {{ d = 6.0 }} }}, not in setups, got "{name}"')
        return self

    def setups_with_u(self) -> dict[str, str]:
        """PAW sets as GPAW takes them, U behind a colon: "10:d,6.0", normalised projections."""
        corrections = {s: ";".join(f"{orbital},{u}" for orbital, u in us.items()) for s, us in self.hubbard.items()}
        return self.setups | {s: f"{self.setups.get(s, '')}:{text}" for s, text in corrections.items() if text}


@dataclass(frozen=True)
class Gpaw:
    """The engine with its options. Build it with `open_gpaw`."""

    options: GpawOptions
    python: tuple[str, ...]
    about: dict[str, Any]  # versions, and the PAW set of every element that has one
    like: Atoms | None = None  # whose k-points all have; None: each its own

    @property
    def identity(self) -> dict[str, Any]:
        """All that labels depend on: physics, versions and the files of the PAW sets."""
        fixed = {"tolerance": TOLERANCE, "symprec": SYMPREC, "mesh": RULE}
        return {"engine": "gpaw", **self.options.method(), **fixed, "files": self.about}

    def cannot(self, numbers: Iterable[int]) -> set[int]:
        """Elements without a PAW set, or without a Pulay constant where others have one."""
        return self.options.lacking(numbers, (s for s, paw in self.about["setups"].items() if paw is not None))

    def with_mesh_of(self, like: Atoms | None) -> Self:
        """The same engine, whose crystals all have the k-points that this one would have."""
        return replace(self, like=like)

    def calculator(self) -> EngineCalculator:
        """An ASE calculator that runs one program after the other."""
        return EngineCalculator(self)

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        """Energy (free energy of the smeared electrons), forces, stress; or why not, after the whole ladder."""
        return climb(atoms, list(enumerate(LADDER, start=1)), self._attempt, self.options, self.like)

    def _attempt(
        self, atoms: Atoms, rung: tuple[int, tuple[dict[str, Any], float]], folder: Path
    ) -> tuple[Label | Failure, float]:
        attempt, (mixer, bands) = rung
        options = self.options
        points = options.mesh(atoms, self.like)
        job = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": np.asarray(atoms.cell).tolist(),
            "pbc": atoms.pbc.tolist(),
            "k_points": points.points().tolist(),
            "mixer": mixer,
            "bands": bands,
            "tolerance": TOLERANCE,
            "symmetry": _symmetry(atoms),
            "most_steps": MOST_STEPS,
            **options.physics(),
            "setups": options.setups_with_u(),
            "moments": options.first_moments(atoms),
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        command = [*options.launcher, *self.python, gpaw_program.__file__, "run", "job.json", "result.json"]
        # a serial GPAW is parallel over k-points by mpi4py, and refuses to be a rank without being told so
        variables = {"GPAW_MPI_BACKEND": "mpi4py"} if options.launcher else {}
        finished = runner.run(command, folder, seconds=options.seconds, threads=options.threads, variables=variables)
        details = {"attempt": attempt, "mesh": points.size, "centred": points.centred}
        return _read(folder / "result.json", atoms, finished, options, details), finished.seconds


def _symmetry(job: Atoms) -> dict[str, Any]:
    """How GPAW looks for symmetry. Where it is exact, with translations and to the last digits, else as it always did.

    Translations that are not exact, or those along axes that are not periodic, it takes for odd fractions, of which its grids
    must have multiples, or for no group.
    """
    if all(job.pbc) and is_exact(job, SYMPREC):
        return {"tolerance": LAST_DIGITS, "symmorphic": False}
    return {"tolerance": SYMPREC}


def open_gpaw(options: dict[str, Any]) -> Gpaw:
    """The engine, after its Python has told its versions; EngineAbsent says what to install or write."""
    checked = checked_options(GpawOptions, options)
    python = checked.command or [os.environ.get(VARIABLE) or sys.executable]
    about = _about(tuple(python), json.dumps({"xc": checked.xc, "setups": checked.setups}))
    return Gpaw(checked, tuple(python), about)


@lru_cache(maxsize=8)
def _about(python: tuple[str, ...], wanted: str) -> dict[str, Any]:
    """Versions and PAW sets, asked once in each process: it takes seconds."""
    how = f"install GPAW (docs/dft.md) and name its Python in {VARIABLE} or reference.options.command"
    if runner.absent(python):
        raise EngineAbsent(f"{python[0]} is not here; {how}")
    ask = [*python, gpaw_program.__file__, "about", wanted, *chemical_symbols[1:104]]
    finished, told = runner.ask(ask, seconds=MOST_SECONDS)
    try:
        found: dict[str, Any] = json.loads(told)
    except ValueError:
        reason = (
            f"no answer in {MOST_SECONDS:.0f} s"
            if finished.time_over
            else f"status {finished.status}: {finished.words[-120:]}"
        )
        raise EngineAbsent(f"{python[0]} has no GPAW that works: {reason}; {how}") from None
    return found


def _read(
    file: Path, atoms: Atoms, finished: runner.Finished, options: GpawOptions, details: dict[str, Any]
) -> Label | Failure:
    """The label in a result file, checked as if a stranger had written it."""
    if not file.exists():
        return ended_badly(finished, options.seconds)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if "failure" in found:
            return Failure(*found["failure"])
        energy, forces = float(found["free_energy"]), np.array(found["forces"], dtype=float)
        stress = np.full((3, 3), np.nan) if found["stress"] is None else np.array(found["stress"], dtype=float)
        details |= {name: found[name] for name in ("steps", "k_points", "bands")}
        details |= {name: found[name] for name in ("moments", "gap") if found.get(name)}
        zero = float(found["energy_zero"])
    except (ValueError, KeyError, TypeError) as error:
        return Failure("garbage", f"result.json: {type(error).__name__}: {error}")
    wrong = implausible(energy, forces, stress, len(atoms))
    if wrong is not None:
        return wrong
    if details["steps"] >= MOST_STEPS:
        return Failure("unconverged", f"{details['steps']} SCF steps")
    return Label(energy, forces, options.without_pulay(stress, atoms), finished.seconds, zero, details)
