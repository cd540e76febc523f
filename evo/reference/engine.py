"""Engine: what every reference engine offers, and how an ASE calculator becomes one and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from evo.candidate import Failure
from evo.reference.label import Label, label


class Engine(Protocol):
    """Structure in; energy, forces, stress out, or a failure with its reason. Never an exception for a crystal."""

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        """One single point."""

    def cannot(self, numbers: Iterable[int]) -> set[int]:
        """Of these atomic numbers the ones that it cannot do."""

    def calculator(self) -> Any:
        """A new ASE calculator that gives the same numbers, for instance to relax with."""


class Program(Engine, Protocol):
    """An engine that is a program, with k-points."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that labels depend on."""

    def with_mesh_of(self, like: Atoms | None) -> Program:
        """The same engine, whose crystals all have the k-points that this one would have."""


class CalculatorEngine:
    """An ASE calculator as an engine; it is built again after a failure, when nobody knows what state it is in."""

    def __init__(
        self,
        build: Callable[[], Any],
        cannot: Callable[[Any, Iterable[int]], set[int]],
        settle: Callable[[Any], Any] = lambda _: None,
    ) -> None:
        """settle: gives a new calculator what it needs for itself, which is kept as long as the calculator is."""
        self._build, self._cannot, self._settle = build, cannot, settle
        self._calculator: Any = build()
        self._own = settle(self._calculator)

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        if self._calculator is None:
            self._calculator = self._build()
            self._own = self._settle(self._calculator)
        found = label(self._calculator, atoms)
        if isinstance(found, Failure):
            self._calculator = None
        return found

    def cannot(self, numbers: Iterable[int]) -> set[int]:
        return self._cannot(self._calculator or self._build(), numbers)

    def calculator(self) -> Any:
        return self._build()


class EngineCalculator(Calculator):
    """An engine as an ASE calculator: what fails raises CalculationFailed with the reason."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, engine: Program) -> None:
        super().__init__()
        self._engine = engine

    @property
    def identity(self) -> dict[str, Any]:
        """All that its energies depend on."""
        return self._engine.identity

    def keep_mesh_of(self, like: Atoms | None) -> None:
        """From now on k-points are those of this crystal, which the ones to come are deformations of; None: of each its own.

        A mesh that changes under way leaves a step in the energy, of the size of its error, where a relaxation cannot pass.
        """
        self._engine = self._engine.with_mesh_of(like)
        self.reset()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        if lacking := self._engine.cannot(set(self.atoms.numbers.tolist())):
            names = ", ".join(chemical_symbols[z] for z in sorted(lacking))
            raise CalculationFailed(f"no PAW set or pseudopotential of {names}, or no constant in `pulay`")
        found = self._engine.evaluate(self.atoms)
        if isinstance(found, Failure):
            raise CalculationFailed(f"{found.reason}: {found.detail}")
        energy = found.energy if np.isnan(found.energy_zero) else found.energy_zero
        self.results = {"energy": energy, "free_energy": found.energy, "forces": found.forces.copy()}
        if np.isfinite(found.stress).all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(found.stress)
