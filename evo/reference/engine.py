"""Engine: what every reference engine offers, and how an ASE calculator becomes one and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
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


class CalculatorEngine:
    """An ASE calculator as an engine; it is built again after a failure, when nobody knows what state it is in."""

    def __init__(self, build: Callable[[], Any], cannot: Callable[[Any, Iterable[int]], set[int]]) -> None:
        self._build, self._cannot = build, cannot
        self._calculator: Any = build()

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        if self._calculator is None:
            self._calculator = self._build()
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

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        found = self._engine.evaluate(self.atoms)
        if isinstance(found, Failure):
            raise CalculationFailed(f"{found.reason}: {found.detail}")
        energy = found.energy if np.isnan(found.energy_zero) else found.energy_zero
        self.results = {"energy": energy, "free_energy": found.energy, "forces": found.forces.copy()}
        if np.isfinite(found.stress).all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(found.stress)
