"""VASP: plane waves and PAW, for those who have a licence; its files are written and read by ASE, the program is run by us.

Kresse and Furthmüller, Phys. Rev. B 54, 11169 (1996), doi:10.1103/PhysRevB.54.11169. Tested against recorded results; the program
itself has not been run with this engine. It may say that EDIFF is reached when its steps were spent, so these are counted.
"""

from __future__ import annotations

import hashlib
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import read
from pydantic import Field, model_validator

from evo.candidate import Failure
from evo.reference import runner
from evo.reference.engine import EngineCalculator
from evo.reference.job import JobOptions, checked_options, climb, ended_badly, implausible, no_crystal
from evo.reference.label import Label
from evo.reference.mesh import RULE, SYMPREC, Mesh
from evo.reference.unavailable import EngineAbsent, ReferenceUnavailable
from potentials.labelled.vasp import CUT_OFF, vasprun

VARIABLE = "VASP_PP_PATH"  # ASE's: its folder potpaw_PBE holds the POTCAR files where `potcar_dir` does not
TOLERANCE = 1e-6  # eV per cell
MOST_STEPS = 60
FERMI_DIRAC = -1  # ISMEAR
# added to INCAR, tried in order; none changes what is converged to
LADDER: tuple[dict[str, Any], ...] = (
    {"algo": "Normal"},
    {"algo": "Normal", "amix": 0.1, "bmix": 0.01},
    {"algo": "All"},
)


_FIXED = "fixed, because it belongs to what a label is"
# tags of INCAR that are not the user's, and what sets them
OURS = {
    **dict.fromkeys(("encut", "enmax"), "reference.options.cutoff"),
    **dict.fromkeys(("ismear", "sigma"), "reference.options.smearing and width"),
    **dict.fromkeys(("kspacing", "kgamma"), "reference.options.kspacing"),
    **dict.fromkeys(("ispin", "magmom", "lorbit"), "reference.options.moments"),
    **dict.fromkeys(("ldau", "ldautype", "ldaul", "ldauu", "ldauj", "lmaxmix"), "reference.options.hubbard"),
    **dict.fromkeys(("algo", "ialgo", "amix", "bmix", "nelm"), "that of the attempts at convergence"),
    **dict.fromkeys(("ediff", "ediffg", "prec", "lreal", "symprec", "isym"), _FIXED),
    **dict.fromkeys(("nsw", "ibrion", "isif", "potim", "pstress", "istart", "icharg", "lwave", "lcharg"), _FIXED),
    **dict.fromkeys(
        ("gga", "metagga", "luse_vdw", "lhfcalc", "aexx", "aggac", "aldac", "hfscreen"), "reference.options.xc"
    ),
    **dict.fromkeys(("param1", "param2", "zab_vdw"), "reference.options.xc"),
    **dict.fromkeys(("lsorbit", "lnoncollinear", "saxis"), "not there: moments are collinear"),
    **dict.fromkeys(("npar", "ncore", "kpar", "nsim", "lplane", "lscalu"), "reference.options.parallel"),
}


class VaspOptions(JobOptions):
    """`reference.options` of engine "vasp"."""

    version: str = Field(description="such as 6.4.2; a result of another version is refused")
    cutoff: float = Field(400.0, gt=0, description="eV")
    xc: str = Field("PBE", description="exchange and correlation, by ASE's name")
    setups: dict[str, str] = Field({}, description='suffix of the POTCAR folder by symbol: { Pd = "_pv" }')
    potcar_dir: str = Field("", description=f"holds Cu/POTCAR, Pd_pv/POTCAR, ...; empty: potpaw_PBE in {VARIABLE}")

    incar: dict[str, bool | int | float | str] = Field(
        {}, description="further tags of INCAR, part of the method: { IVDW = 12 }"
    )
    parallel: dict[Literal["KPAR", "NCORE", "NPAR", "NSIM", "LPLANE", "LSCALU"], bool | int] = Field(
        {}, description="how it uses the cores: { KPAR = 2, NCORE = 8 }"
    )

    @model_validator(mode="after")
    def _what_vasp_can(self) -> VaspOptions:
        if self.smearing != "fermi-dirac":
            raise ValueError(f'the smearing of engine "vasp" is fermi-dirac, got {self.smearing}')
        self.one_orbital_with_u("VASP")
        self.refuse("incar", self.incar, OURS)
        return self


@dataclass(frozen=True)
class Vasp:
    """The engine with its options. Build it with `open_vasp`."""

    options: VaspOptions
    command: tuple[str, ...]
    folder: Path  # of the POTCAR files
    files: dict[str, str]  # SHA-256 of the POTCAR, by symbol
    like: Atoms | None = None  # whose k-points all have; None: each its own

    @property
    def identity(self) -> dict[str, Any]:
        """All that labels depend on: physics, version and the content of the POTCAR files."""
        physics = {k: v for k, v in self.options.method().items() if k not in ("potcar_dir", "setups")}
        fixed = {"tolerance": TOLERANCE, "symprec": SYMPREC, "mesh": RULE, "precision": "accurate"}
        return {"engine": "vasp", **physics, **fixed, "files": self.files}

    def cannot(self, numbers: Iterable[int]) -> set[int]:
        """Elements without a POTCAR, or without a Pulay constant where others have one."""
        return self.options.lacking(numbers, self.files)

    def with_mesh_of(self, like: Atoms | None) -> Self:
        """The same engine, whose crystals all have the k-points that this one would have."""
        return replace(self, like=like)

    def calculator(self) -> EngineCalculator:
        """An ASE calculator that runs one program after the other."""
        return EngineCalculator(self)

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        """Energy (free energy of the smeared electrons), forces, stress; or why not, after the whole ladder."""
        rungs = list(enumerate(LADDER, start=1))
        return no_crystal(atoms, "VASP") or climb(atoms, rungs, self._attempt, self.options, self.like)

    def _attempt(self, atoms: Atoms, rung: tuple[int, dict[str, Any]], folder: Path) -> tuple[Label | Failure, float]:
        from ase.calculators.vasp import Vasp as VaspFiles  # slow to import, and not needed otherwise

        attempt, further = rung
        options = self.options
        points = options.mesh(atoms, self.like)
        files = VaspFiles(
            directory=str(folder),
            xc=options.xc,
            pp=str(self.folder),
            setups={s: options.setups.get(s, "") for s in set(atoms.symbols)},
            **_k_points(points),
            encut=options.cutoff,
            ediff=TOLERANCE,
            prec="Accurate",
            lreal=False,
            ismear=FERMI_DIRAC,
            sigma=options.width,
            symprec=SYMPREC,
            nelm=MOST_STEPS,
            nsw=0,
            isif=2,
            lwave=False,
            lcharg=False,
            custom=_tags(options.incar) | _tags(options.parallel),
            **further,
            **self._electrons(atoms),
        )
        job = atoms.copy()
        moments = options.first_moments(atoms)
        if any(moments):
            job.set_initial_magnetic_moments(moments)
        files.write_input(job)
        finished = runner.run(
            [*options.launcher, *self.command], folder, seconds=options.seconds, threads=options.threads
        )
        details = {"attempt": attempt, "mesh": points.size, "centred": points.centred}
        return _read(folder, atoms, list(files.resort), finished, options, details), finished.seconds

    def _electrons(self, atoms: Atoms) -> dict[str, Any]:
        """Spin and U as ASE takes them."""
        found: dict[str, Any] = {}
        if any(self.options.first_moments(atoms)):
            found |= {"ispin": 2, "lorbit": 10}
        us = {s: next(iter(self.options.hubbard[s].items())) for s in set(atoms.symbols) & set(self.options.hubbard)}
        if us:
            none = {"L": -1, "U": 0.0, "J": 0.0}
            corrected = {s: {"L": "spdf".index(orbital), "U": u, "J": 0.0} for s, (orbital, u) in us.items()}
            largest = max(c["L"] for c in corrected.values())
            found |= {
                "ldau": True,
                "ldautype": 2,
                "ldau_luj": {s: corrected.get(s, none) for s in set(atoms.symbols)},
                "lmaxmix": 6 if largest == 3 else 4,
            }
        return found


def _k_points(points: Mesh) -> dict[str, Any]:
    """As ASE takes them: a simple mesh by its numbers, so that VASP leaves out what symmetry makes equal; of others a list."""
    if not (points.centred or points.shifted):
        return {"kpts": points.size, "gamma": True}
    places, weights = points.halved()
    return {"kpts": np.column_stack([places, weights]), "reciprocal": True}


def _tags(values: Mapping[Any, bool | float | str]) -> dict[str, str]:
    """As they stand in INCAR."""
    return {
        name.upper(): {True: ".TRUE.", False: ".FALSE."}[value] if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }


def open_vasp(options: dict[str, Any]) -> Vasp:
    """The engine; EngineAbsent and ReferenceUnavailable say what to install or write."""
    checked = checked_options(VaspOptions, options)
    command = checked.command or ["vasp_std"]
    if runner.absent(command):
        raise EngineAbsent(f"{command[0]} is not here; install VASP or set reference.options.command")
    folder = Path(checked.potcar_dir or Path(os.environ.get(VARIABLE, "")) / "potpaw_PBE").absolute()
    if not folder.is_dir():
        raise ReferenceUnavailable(
            f"{folder} is no folder of POTCAR files; name it in reference.options.potcar_dir or {VARIABLE}"
        )
    files = {}
    for symbol in chemical_symbols[1:]:
        file = folder / f"{symbol}{checked.setups.get(symbol, '')}" / "POTCAR"
        if file.is_file():
            files[symbol] = hashlib.sha256(file.read_bytes()).hexdigest()
    return Vasp(checked, tuple(command), folder, files)


def _read(
    folder: Path,
    atoms: Atoms,
    resort: list[int],
    finished: runner.Finished,
    options: VaspOptions,
    details: dict[str, Any],
) -> Label | Failure:
    """The label in vasprun.xml, checked as if a stranger had written it. `resort`: from VASP's order of atoms to ours."""
    file = folder / "vasprun.xml"
    if finished.time_over or not file.exists() or not file.stat().st_size:
        return ended_badly(finished, options.seconds)
    try:
        run = vasprun(file.read_bytes())
        if not run.steps or run.steps[-1].fault == CUT_OFF:
            return (
                ended_badly(finished, options.seconds)
                if finished.status
                else Failure("garbage", "vasprun.xml is cut off")
            )
        if run.steps[-1].fault:
            return Failure("unconverged", run.steps[-1].fault)
        told = (run.program, run.method.settings["cutoff_eV"], len(run.steps))
        if told != (f"vasp {options.version}", round(options.cutoff, 1), 1):
            return Failure(
                "crashed",
                f"it is {told[0]} at {told[1]} eV, {told[2]} steps; expected vasp {options.version} at {options.cutoff} eV",
            )
        found = read(file, format="vasp-xml")
        results = found.calc.results
        energy, zero = float(results["free_energy"]), float(results["energy"])
        forces = np.array(results["forces"])
        stress = np.full((3, 3), np.nan) if "stress" not in results else np.array(found.get_stress(voigt=False))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, ElementTree.ParseError) as error:
        return Failure("garbage", f"vasprun.xml: {type(error).__name__}: {error}"[:200])
    if sorted(found.numbers) != sorted(atoms.numbers) or found.numbers[resort].tolist() != atoms.numbers.tolist():
        return Failure("garbage", "vasprun.xml has other atoms")
    if not np.allclose(found.cell, atoms.cell, atol=1e-4):
        return Failure("garbage", "vasprun.xml has another cell")
    forces = forces[resort]
    wrong = implausible(energy, forces, stress, len(atoms))
    if wrong is not None:
        return wrong
    details |= _moments(folder, resort, options.first_moments(atoms))
    return Label(energy, forces, options.without_pulay(stress, atoms), finished.seconds, zero, details)


def _moments(folder: Path, resort: list[int], first: list[float]) -> dict[str, Any]:
    """The moments at the end, which are in OUTCAR alone; nothing where there are none to be read."""
    if not any(first):
        return {}
    try:
        found = read(folder / "OUTCAR", format="vasp-out").get_magnetic_moments()[resort]
    except Exception:  # noqa: BLE001 - the reader raises whatever an odd line leads to; the label stands without them
        return {}
    return {"moments": [float(m) for m in found]}
