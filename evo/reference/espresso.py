"""Quantum ESPRESSO: plane waves and pseudopotentials, one pw.x per single point.

Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017), doi:10.1088/1361-648X/aa8f79. Its exit status is not looked at:
only a result that says of itself that it converged, and that is complete, counts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ase import Atoms
from pydantic import Field, model_validator

from evo.candidate import Failure
from evo.reference import runner
from evo.reference.engine import EngineCalculator
from evo.reference.job import JobOptions, checked_options, climb, ended_badly, implausible, no_crystal
from evo.reference.label import Label
from evo.reference.mesh import RULE
from evo.reference.pw_files import Garbage, pw_input, read_output
from evo.reference.pw_hubbard import Hubbard, version_numbers
from evo.reference.unavailable import EngineAbsent, ReferenceUnavailable
from evo.settings import SettingsError

VARIABLE = "ESPRESSO_PSEUDO"  # names the folder of pseudopotentials where `pseudo_dir` does not
TOLERANCE = 1e-6  # Ry per atom, estimated accuracy of the energy
MOST_STEPS = 60
MOST_SECONDS = 600.0  # to tell its version
DEAR = 0.95  # of the time limit is told to pw.x, which then stops by itself
# mixing_beta, mixing_mode, diagonalization, tried in order; none changes what is converged to
LADDER = ((0.5, "plain", "david"), (0.2, "plain", "david"), (0.1, "local-TF", "cg"))


# keys of &SYSTEM that are not the user's, and what sets them
OURS = {
    **dict.fromkeys(("ecutwfc", "ecutrho"), "reference.options.cutoff and density_cutoff"),
    **dict.fromkeys(("occupations", "smearing", "degauss"), "reference.options.smearing and width"),
    **dict.fromkeys(("nspin", "starting_magnetization", "noncolin", "lspinorb"), "reference.options.moments"),
    **dict.fromkeys(("lda_plus_u", "lda_plus_u_kind", "hubbard_u", "u_projection_type"), "reference.options.hubbard"),
    **dict.fromkeys(("ibrav", "celldm", "a", "b", "c", "nat", "ntyp", "nbnd", "nosym"), "that of the crystal"),
}


class EspressoOptions(JobOptions):
    """`reference.options` of engine "espresso"."""

    cutoff: float = Field(680.0, gt=0, description="eV, of the wave functions")
    density_cutoff: float = Field(5440.0, gt=0, description="eV, of the density; 8 to 12 times the cut-off")
    pseudopotentials: dict[str, str] = Field(description="UPF file by symbol")
    pseudo_dir: str = Field("", description=f"folder of the UPF files; empty: what {VARIABLE} names")

    system: dict[str, bool | int | float | str] = Field(
        {}, description='further keys of &SYSTEM, part of the method: { vdw_corr = "grimme-d3" }'
    )
    parallel: list[str] = Field([], description='how pw.x uses the cores: ["-nk", "4"]')

    @model_validator(mode="after")
    def _what_pw_can(self) -> EspressoOptions:
        self.one_orbital_with_u("pw.x")
        self.refuse("system", self.system, OURS)
        return self


@dataclass(frozen=True)
class Espresso:
    """The engine with its options. Build it with `open_espresso`."""

    options: EspressoOptions
    command: tuple[str, ...]
    version: str
    folder: Path  # of the pseudopotentials
    files: dict[str, tuple[str, float]]  # SHA-256 and valence electrons of the pseudopotential, by symbol
    like: Atoms | None = None  # whose k-points all have; None: each its own

    @property
    def identity(self) -> dict[str, Any]:
        """All that labels depend on: physics, version and the content of the pseudopotentials."""
        physics = {k: v for k, v in self.options.method().items() if k not in ("pseudo_dir", "pseudopotentials")}
        files = {symbol: digest for symbol, (digest, _) in self.files.items()}
        fixed = {"tolerance": TOLERANCE, "mesh": RULE, "version": self.version}
        return {"engine": "espresso", **physics, **fixed, "files": files}

    def cannot(self, numbers: Iterable[int]) -> set[int]:
        """Elements without a pseudopotential, or without a Pulay constant where others have one."""
        return self.options.lacking(numbers, self.files)

    def with_mesh_of(self, like: Atoms | None) -> Self:
        """The same engine, whose crystals all have the k-points that this one would have."""
        return replace(self, like=like)

    def calculator(self) -> EngineCalculator:
        """An ASE calculator that runs one pw.x after the other."""
        return EngineCalculator(self)

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        """Energy (free energy of the smeared electrons), forces, stress; or why not, after the whole ladder."""
        rungs = list(enumerate(LADDER, start=1))
        return no_crystal(atoms, "Quantum ESPRESSO") or climb(atoms, rungs, self._attempt, self.options, self.like)

    def _hubbard(self) -> Hubbard:
        energies = {s: next(iter(us.items())) for s, us in self.options.hubbard.items()}
        return Hubbard(energies, version_numbers(self.version))

    def _attempt(
        self, atoms: Atoms, rung: tuple[int, tuple[float, str, str]], folder: Path
    ) -> tuple[Label | Failure, float]:
        attempt, (beta, mode, diagonalization) = rung
        options = self.options
        points = options.mesh(atoms, self.like)
        text = pw_input(
            atoms,
            control={"pseudo_dir": str(self.folder), "max_seconds": DEAR * options.seconds},
            cutoffs=(options.cutoff, options.density_cutoff),
            smearing=(options.smearing, options.width),
            valences={s: valence for s, (_, valence) in self.files.items()},
            moments=options.first_moments(atoms),
            hubbard=self._hubbard(),
            system=options.system,
            electrons={
                "conv_thr": TOLERANCE * len(atoms),
                "electron_maxstep": MOST_STEPS,
                "mixing_beta": beta,
                "mixing_mode": mode,
                "diagonalization": diagonalization,
            },
            files=options.pseudopotentials,
            mesh=points,
        )
        (folder / "pw.in").write_text(text, encoding="utf-8")
        command = [*options.launcher, *self.command, *options.parallel, "-in", "pw.in"]
        finished = runner.run(command, folder, seconds=options.seconds, threads=options.threads)
        details = {"attempt": attempt, "mesh": points.size, "centred": points.centred}
        return self._read(folder, atoms, finished, details), finished.seconds

    def _read(self, folder: Path, atoms: Atoms, finished: runner.Finished, details: dict[str, Any]) -> Label | Failure:
        """The label in the output of pw.x, checked as if a stranger had written it."""
        options = self.options
        try:
            output = (folder / "stdout").read_text(encoding="utf-8", errors="replace")
            found = read_output(output, len(atoms), options.smearing, stress_may_lack=bool(options.hubbard))
        except Garbage as error:
            bad = ended_badly(finished, options.seconds)
            return bad if bad.reason == "timeout" or finished.status else Failure("garbage", str(error))
        if isinstance(found, Failure):
            return found
        misplaced = self._hubbard().misplaced(output)
        if misplaced:
            return Failure("crashed", misplaced)
        wrong = implausible(found.energy, found.forces, found.stress, len(atoms))
        if wrong is not None:
            return wrong
        stress = options.without_pulay(found.stress, atoms)
        details |= {"steps": found.steps, "k_points": found.k_points}
        told = {"moments": found.moments, "occupations": found.occupations}
        details |= {name: values for name, values in told.items() if values}
        return Label(found.energy, found.forces, stress, finished.seconds, found.energy_zero, details)


def open_espresso(options: dict[str, Any]) -> Espresso:
    """The engine, after pw.x has told its version; EngineAbsent says what to install or write."""
    checked = checked_options(EspressoOptions, options)
    command = checked.command or ["pw.x"]
    if runner.absent(command):
        raise EngineAbsent(f"{command[0]} is not here; install Quantum ESPRESSO or set reference.options.command")
    folder = Path(checked.pseudo_dir or os.environ.get(VARIABLE, "."))
    files = {symbol: _pseudopotential(folder / name) for symbol, name in checked.pseudopotentials.items()}
    return Espresso(checked, tuple(command), _version(command, checked.launcher), folder.resolve(), files)


def _pseudopotential(file: Path) -> tuple[str, float]:
    """SHA-256 and valence electrons of a UPF file."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ReferenceUnavailable(
            f"{file} cannot be read: {error.strerror}; name the folder in {VARIABLE} or reference.options.pseudo_dir"
        ) from None
    valence = re.search(rb'z_valence\s*=\s*"\s*([0-9.Ee+]+)"|([0-9.Ee+]+)\s+Z valence', content)
    if valence is None:
        raise SettingsError(f"{file} is no pseudopotential in UPF: it has no z_valence")
    return hashlib.sha256(content).hexdigest(), float(valence.group(1) or valence.group(2))


def _version(command: list[str], launcher: list[str]) -> str:
    """What pw.x calls itself, from the first lines it prints before it misses its input. Some start by their launcher alone."""
    for words in [command, [*launcher, *command]] if launcher else [command]:
        finished, told = runner.ask(words, seconds=MOST_SECONDS)
        if found := re.search(r"Program PWSCF (v\.\S+)", told):
            return found.group(1)
    said = finished.words or f"status {finished.status}"
    raise EngineAbsent(
        f"{command[0]} is no pw.x of Quantum ESPRESSO that starts, it does not call itself PWSCF: {said}"
    )
