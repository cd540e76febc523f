"""What the jobs of all DFT engines share: options, the cell of the job, the ladder, and what is checked."""

from __future__ import annotations

import difflib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evo.candidate import ENDED, Failure
from evo.reference.job_cell import least_work, reduced, repeated
from evo.reference.label import Label, absurd
from evo.reference.mesh import Mesh, mesh
from evo.reference.runner import Finished
from evo.settings import SYMBOLS, SettingsError, instead_of
from potentials.structures import Floats

STRONGEST = 60.0  # eV/Å: a force beyond is a broken calculation, or a crystal that teaches nothing
LARGEST_STRESS = 3.0  # eV/Å³, 480 GPa
NET_FORCE = 0.05  # eV/Å per atom: the forces of a converged density add up to nothing
ROOM = 1 << 20  # bytes that a disk has left, if it is not full
TELL = 400  # characters of a reason

MACHINE = ("command", "launcher", "threads", "parallel", "seconds", "scratch")

Rung = TypeVar("Rung")


class JobOptions(BaseModel):
    """Options of every DFT engine. What is in MACHINE may differ without changing a label, all else is the method."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: list[str] = Field([], description="the program; empty: the usual one of the engine")
    launcher: list[str] = Field([], description='what starts it on several cores, such as ["mpiexec", "-n", "4"]')
    threads: int = Field(1, ge=1, description="threads of each process")
    seconds: float = Field(3600.0, gt=0, description="wall time of one attempt")
    scratch: str = Field("", description="where the folders of jobs are made; empty: the system's")

    kspacing: float = Field(0.06, gt=0, description="1/Å without 2 pi, of a crystal without symmetry (mesh.py)")
    simple: bool = Field(False, description="no body-centred meshes: for tests of convergence")
    shifted: bool = Field(False, description="mesh half a step off Gamma: for tests of convergence")
    smearing: Literal["fermi-dirac", "marzari-vanderbilt"] = "fermi-dirac"
    width: float = Field(0.1, gt=0, description="eV, of the smearing")
    pulay: dict[str, float] = Field(
        {}, description="eV by symbol: what an atom adds to V trace(stress) / 3; empty: nothing"
    )
    moments: dict[str, float | Annotated[list[float], Field(min_length=1)]] = Field(
        {},
        description="Bohr magnetons to begin with, by symbol, where a crystal has none; a list: its atoms take them in turn",
    )
    hubbard: dict[str, dict[Literal["s", "p", "d", "f"], float]] = Field(
        {}, description="Hubbard U in eV by symbol and orbital: { Ni = { d = 6.0 } }"
    )

    @field_validator("pulay", "moments", "hubbard", "setups", "pseudopotentials", check_fields=False)
    @classmethod
    def _by_element(cls, value: dict[str, Any]) -> dict[str, Any]:
        for symbol in value:
            if symbol not in SYMBOLS:  # it would be left out without a word
                raise ValueError(f"`{symbol}` is not an element{instead_of(symbol)}")
        return value

    grids: ClassVar[bool] = False  # whether the program raises its grid until symmetry carries it onto itself

    def job_cell(self, atoms: Atoms, like: Atoms | None = None) -> Atoms:
        """The crystal as the program gets it, once or several times; as the crystal that it is `like` would be."""
        moments = self.first_moments(atoms)
        crystal = reduced(atoms, like)
        if any(moments):  # each copy has the same
            crystal.set_initial_magnetic_moments(moments)
        if self.grids:
            axes = least_work(crystal if like is None else reduced(like), self.kspacing, simple=self.simple)
            if axes is not None:
                return repeated(crystal, axes)
        return crystal

    def mesh(self, job: Atoms, like: Atoms | None) -> Mesh:
        """Of the job's crystal (`job_cell`), or of the one that it is `like`."""
        whose = job if like is None else self.job_cell(like)
        return mesh(whose, self.kspacing, simple=self.simple, shifted=self.shifted)

    def physics(self) -> dict[str, Any]:
        """The options that labels depend on."""
        return self.model_dump(mode="json", exclude=set(MACHINE))

    def method(self) -> dict[str, Any]:
        """The same for the hash: without what is empty, so that an option added later changes no method that lacks it."""
        return {name: value for name, value in self.physics().items() if value not in (False, "", None, {}, [])}

    def first_moments(self, atoms: Atoms) -> list[float]:
        """Bohr magnetons to begin with, one per atom: those of the crystal, or of its elements; all zero: no spin."""
        if atoms.has("initial_magmoms"):
            return [float(m) for m in atoms.get_initial_magnetic_moments()]
        turns = {s: itertools.cycle(m if isinstance(m, list) else [m]) for s, m in self.moments.items()}
        return [next(turns[s]) if s in turns else 0.0 for s in atoms.symbols]

    def lacking(self, numbers: Iterable[int], symbols: Iterable[str]) -> set[int]:
        """Elements not among `symbols`, for which there are files, or without a Pulay constant where others have one."""
        files = set(symbols)
        able = files & set(self.pulay or files)
        return {int(z) for z in numbers if chemical_symbols[z] not in able}

    def refuse(self, option: str, names: Iterable[str], ours: Mapping[str, str]) -> None:
        """ValueError where a tag of the program's own input is one that other options set: `ours`, by lower-case name."""
        for name in names:
            told = ours.get(name.split("(")[0].lower())
            if told is not None:
                raise ValueError(f"{option} has {name}, which is {told}")

    def one_orbital_with_u(self, program: str) -> None:
        """ValueError where an element has U on several orbitals, which this program does not take."""
        for symbol, us in self.hubbard.items():
            if len(us) != 1:
                raise ValueError(f"{program} takes U on one orbital of an element, got {us} for {symbol}")

    def without_pulay(self, stress: Floats, atoms: Atoms) -> Floats:
        """The stress less the Pulay term, (3, 3) eV/Å³: isotropic, a sum over the atoms divided by the volume."""
        if not self.pulay:
            return stress
        result: Floats = stress - np.eye(3) * sum(self.pulay[s] for s in atoms.symbols) / atoms.cell.volume
        return result


Options = TypeVar("Options", bound=JobOptions)


def checked_options(model: type[Options], options: Mapping[str, Any]) -> Options:
    """The options as this engine understands them; SettingsError names the first that is wrong."""
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, list(model.model_fields), n=1, cutoff=0.3)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(model.model_fields)}"
            raise SettingsError(f"reference.options: unknown key `{key}`; {hint}") from None
        if not key:  # of several options together
            raise SettingsError(f"reference.options: {first['msg'].removeprefix('Value error, ')}") from None
        message = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] == "value_error" else f", got {first['input']!r}"
        raise SettingsError(f"reference.options: `{key}`: {message}{got}") from None


def no_crystal(atoms: Atoms, program: str) -> Failure | None:
    """Why a program that is used for crystals only does not take these atoms; None where it does."""
    if all(atoms.pbc):
        return None
    return Failure("no crystal", f"{program} is used for crystals only; periodic along all three axes")


def climb(
    atoms: Atoms,
    rungs: Sequence[Rung],
    attempt: Callable[[Atoms, Rung, Path], tuple[Label | Failure, float]],
    options: JobOptions,
    like: Atoms | None = None,
) -> Label | Failure:
    """The first rung on which the calculation converges, each in a folder of its own; only "unconverged" goes further.

    `attempt` labels the crystal of the job (`JobOptions.job_cell`) and says what that took, in CPU seconds; a label costs what
    all attempts at it took. OSError where a job ended badly and its disk is full: that says nothing of the crystal.
    """
    wrong = absurd(atoms)
    if wrong is not None:
        return wrong
    crystal = options.job_cell(atoms, like)
    failures: list[Failure] = []
    spent = 0.0
    for rung in rungs:
        with tempfile.TemporaryDirectory(prefix="reference-", dir=options.scratch or None) as folder:
            found, seconds = attempt(crystal, rung, Path(folder))
            if isinstance(found, Failure) and found.reason in ("crashed", "garbage"):
                _room(Path(folder))
        spent += seconds
        if isinstance(found, Label):
            found = found.of_first(len(atoms))
        if isinstance(found, Label):
            return replace(found, seconds=spent)
        failures.append(found)
        if found.reason != "unconverged":
            break
    return Failure(failures[-1].reason, f"attempt {len(failures)}: {failures[-1].detail}"[:TELL])


def _room(folder: Path) -> None:
    """OSError where a program could not have written its results here."""
    with open(folder / "room", "wb") as file:
        file.write(bytes(ROOM))
        file.flush()
        os.fsync(file.fileno())


def ended_badly(finished: Finished, seconds: float) -> Failure:
    """The failure of a program that left no result."""
    if finished.time_over:
        return Failure("timeout", f"no result after {seconds:.0f} s")
    if finished.asked_to_end:
        return Failure(ENDED, f"status {finished.status}: it was asked to end")
    return Failure("crashed", f"status {finished.status}: {finished.words}"[:TELL])


def implausible(energy: float, forces: Floats, stress: Floats, n_atoms: int) -> Failure | None:
    """What must not become a label although a program calls it a result. `stress` may be NaN altogether: there is none."""
    if forces.shape != (n_atoms, 3) or stress.shape != (3, 3):
        return Failure("garbage", f"forces of shape {forces.shape}, stress of shape {stress.shape}")
    wrong = [n for n, v in (("energy", np.array(energy)), ("forces", forces)) if not np.isfinite(v).all()]
    if not (np.isfinite(stress).all() or np.isnan(stress).all()):
        wrong.append("stress")
    if wrong:
        return Failure("not finite", " and ".join(wrong))
    if np.abs(forces.sum(axis=0)).max() > NET_FORCE * n_atoms:
        return Failure("unconverged", f"forces add up to {np.abs(forces.sum(axis=0)).max():.3g} eV/Å")
    if np.abs(forces).max() > STRONGEST or np.abs(np.nan_to_num(stress)).max() > LARGEST_STRESS:
        return Failure("garbage", f"force {np.abs(forces).max():.3g} eV/Å, stress {np.abs(stress).max():.3g} eV/Å³")
    return None
