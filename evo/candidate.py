"""Candidate: a crystal with its ancestry, its energies, and, when it failed, the reason."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.formula import Formula
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Origin:
    """How a candidate came about: the operator and the ids of its parents (none for random or seed)."""

    operator: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Energy:
    """One energy with the method that gave it. A hull never mixes methods."""

    method: str  # hash of the library version or of the reference settings
    value: float  # eV per cell; enthalpy E + pV when the campaign has a pressure
    sigma: float = 0.0  # eV per cell, one standard deviation, 0 when the method claims to be exact


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a candidate stays out of the population."""

    reason: str  # one word of the list in evo/gate.py or potentials/relax.py
    detail: str = ""


ENDED = "ended"  # reason of a calculation that was asked to end before it had


@dataclass(frozen=True)
class Candidate:
    """A crystal on its way through the campaign. Immutable: every step gives a new one."""

    id: str  # c<chunk>-<slot>, for instance c00012-07
    atoms: Atoms
    origin: Origin
    energies: dict[str, Energy] = field(default_factory=dict)  # by method
    failure: Failure | None = None
    fingerprint: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    grade: float = 0.0  # extrapolation grade of its worst atom, 1 = edge of the training set
    calls: int = 0  # energy+forces+stress evaluations its relaxation took

    @cached_property
    def formula(self) -> str:
        """Reduced formula, elements in the order of atomic numbers, for instance CuPd3."""
        return formula_of(self.reduced_counts)

    @cached_property
    def reduced_counts(self) -> dict[int, int]:
        """Atomic number -> count in the reduced formula, ascending atomic numbers."""
        numbers = self.atoms.numbers.tolist()
        return reduced({z: numbers.count(z) for z in sorted(set(numbers))})

    @cached_property
    def n_atoms(self) -> int:
        return len(self.atoms)

    def per_atom(self, method: str) -> float:
        """Energy in eV per atom by this method."""
        return self.energies[method].value / self.n_atoms

    def with_energy(self, energy: Energy) -> Candidate:
        return replace(self, energies={**self.energies, energy.method: energy})


def formula_counts(text: str) -> dict[int, int]:
    """Atomic number -> count of a formula such as Cu4Pd4, ascending atomic numbers."""
    counts = {int(atomic_numbers[s]): int(n) for s, n in Formula(text).count().items()}
    return dict(sorted(counts.items()))


def reduced(counts: Mapping[int, int]) -> dict[int, int]:
    """The counts of the reduced formula."""
    divisor = math.gcd(*counts.values())
    return {z: n // divisor for z, n in counts.items()}


def formula_of(counts: dict[int, int]) -> str:
    """Formula of these counts as they stand, for instance {29: 1, 46: 3} -> CuPd3."""
    return "".join(f"{chemical_symbols[z]}{n if n > 1 else ''}" for z, n in counts.items())


def atoms_to_json(atoms: Atoms) -> dict[str, Any]:
    """Plain lists that keep every bit of the crystal (JSON writes the shortest text that reads back equal)."""
    own = {"moments": atoms.get_initial_magnetic_moments().tolist()} if atoms.has("initial_magmoms") else {}
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": np.asarray(atoms.cell).tolist(),
        "pbc": atoms.pbc.tolist(),
        **own,
    }


def atoms_from_json(data: dict[str, Any]) -> Atoms:
    return Atoms(
        numbers=data["numbers"],
        positions=data["positions"],
        cell=data["cell"],
        pbc=data["pbc"],
        magmoms=data.get("moments"),
    )


def to_json(candidate: Candidate) -> dict[str, Any]:
    """The candidate as a JSON value, exact to the bit."""
    return {
        "id": candidate.id,
        "atoms": atoms_to_json(candidate.atoms),
        "operator": candidate.origin.operator,
        "parents": list(candidate.origin.parents),
        "energies": [[e.method, e.value, e.sigma] for e in candidate.energies.values()],
        "failure": None if candidate.failure is None else [candidate.failure.reason, candidate.failure.detail],
        "fingerprint": base64.b64encode(candidate.fingerprint.astype("<f8").tobytes()).decode(),
        "grade": candidate.grade,
        "calls": candidate.calls,
    }


def from_json(data: dict[str, Any]) -> Candidate:
    return Candidate(
        id=data["id"],
        atoms=atoms_from_json(data["atoms"]),
        origin=Origin(data["operator"], tuple(data["parents"])),
        energies={m: Energy(m, value, sigma) for m, value, sigma in data["energies"]},
        failure=None if data["failure"] is None else Failure(*data["failure"]),
        fingerprint=np.frombuffer(base64.b64decode(data["fingerprint"]), dtype="<f8"),
        grade=data["grade"],
        calls=data["calls"],
    )
