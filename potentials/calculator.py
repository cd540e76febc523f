"""Both ways between ASE and this package: a Potential as an ASE Calculator, any ASE Calculator as an Evaluate."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, PropertyNotImplementedError, all_changes

from potentials.relax import Evaluate
from potentials.structures import VOIGT, Floats, Prediction, Structures

if TYPE_CHECKING:
    from potentials.potential import Potential


class StratifiedCalculator(Calculator):
    """A Potential as an ASE calculator, on one core.

    ASE's CalculationFailed where there is no finite energy: dynamics would go on with it.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, potential: Potential, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.potential = potential
        self.energy_spread = (
            np.nan
        )  # eV per cell, deviation over the committee, of what was calculated last; none of ASE's results

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """All properties at once; stress is missing from the results where the cell has no volume or no axis is periodic."""
        super().calculate(atoms, properties, system_changes)
        prediction = self.potential.evaluate(Structures.from_ase([self.atoms]))
        energy, stress = float(prediction.energies[0]), prediction.stresses[0]
        if not np.isfinite(energy):
            raise CalculationFailed(
                f"no finite energy of {self.atoms.get_chemical_formula()}: "
                "atoms in one place, too many neighbours of one, or periodic along axes that span nothing"
            )
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": prediction.atomic_energies,
            "forces": prediction.forces,
        }
        self.energy_spread = float(prediction.spreads[0])
        if self.atoms.pbc.any() and self.atoms.cell.rank == 3:
            self.results["stress"] = stress[VOIGT]


def from_calculator(calculator: Any) -> Evaluate:
    """An Evaluate that asks this ASE calculator about one crystal after the other.

    A crystal at which the calculator raises gets NaN everywhere. A calculator without stress gives NaN where an axis is
    periodic, zero elsewhere. The calculator is reset before every crystal: what it remembers of the last one
    (neighbour lists, wave functions) would show in the last bits.
    """

    def evaluate(structures: Structures) -> Prediction:
        n, n_atoms = len(structures), len(structures.numbers)
        energies, forces, stresses = np.full(n, np.nan), np.full((n_atoms, 3), np.nan), np.full((n, 3, 3), np.nan)
        for c, atoms in enumerate(structures.to_ase()):
            part = slice(structures.offsets[c], structures.offsets[c + 1])
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    energies[c], forces[part], stresses[c] = ask(calculator, atoms)
            except Exception:  # noqa: BLE001 - a calculator of somebody else may raise anything; NaN says so
                energies[c], forces[part], stresses[c] = np.nan, np.nan, np.nan
        return Prediction(energies, forces, stresses, energies[:, None], np.full(n_atoms, np.nan))

    return evaluate


def ask(calculator: Any, atoms: Atoms) -> tuple[float, Floats, Floats]:
    """Energy (eV, the one that the forces belong to), forces (N, 3) in eV/Å, stress (3, 3) in eV/Å³, NaN where it has none."""
    if hasattr(calculator, "reset"):
        calculator.reset()  # what it remembers of the last crystal must not show in this one's digits
    atoms.calc = calculator
    forces = np.array(atoms.get_forces(), dtype=float)
    try:  # with smeared occupations the forces belong to the free energy
        energy = float(atoms.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:  # there is but one energy
        energy = float(atoms.get_potential_energy())
    if not atoms.pbc.any():
        return energy, forces, np.zeros((3, 3))
    try:
        return energy, forces, np.array(atoms.get_stress(voigt=False), dtype=float)
    except (PropertyNotImplementedError, NotImplementedError):  # ASE's calculators say it either way: no stress, NaN
        return energy, forces, np.full((3, 3), np.nan)
