"""Ledger: the reference calls of one bootstrap task, and which of their labels are worth training on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms

from evo.candidate import Failure
from evo.reference import Label
from potentials.relax import relax
from potentials.structures import Prediction, Structures
from potentials.units import EV_PER_A3_PER_GPA

HIGHEST = 5.0  # eV/atom above the lowest label of the task: no crystal of a search goes beyond
STRONGEST = 30.0  # eV/Å: stronger forces would outweigh all others in training
SAME_PART = 0.1  # a step is kept when it changed the energy by this part of the way that was left to the end
SAME_ENERGY = 0.001  # eV/atom, and by at least this


class Asked(Protocol):
    """What is asked for labels: a Reference, or one that remembers."""

    def evaluate(self, atoms: Atoms) -> Label | Failure:
        """One single point."""


@dataclass(frozen=True)
class Labelled:
    """A crystal with what the reference says of it."""

    atoms: Atoms
    label: Label
    family: str  # labels of one family stay together when data are held out; "" for a family of its own
    kind: str = ""  # how the crystal was made


class Ledger:
    """Asks the reference, never more often than agreed, and keeps the labels."""

    def __init__(self, reference: Asked, calls: int) -> None:
        self._reference = reference
        self._labelled: list[Labelled] = []
        self.calls = 0  # spent, failures included
        self.failures: list[Failure] = []
        self.left = calls

    def point(self, atoms: Atoms, kind: str = "") -> None:
        """One label; nothing when the calls are spent or the reference fails."""
        label = self._ask(atoms)
        if label is not None:
            self._labelled.append(Labelled(_bare(atoms), label, "", kind))

    def lowest(self, n: int) -> list[Atoms]:
        """The n crystals of the lowest energy per atom so far, at most one of each family."""
        best: dict[str, Labelled] = {}
        for i, x in enumerate(self._labelled):
            name = x.family or f"#{i}"
            if name not in best or _per_atom(x) < _per_atom(best[name]):
                best[name] = x
        return [x.atoms for x in sorted(best.values(), key=_per_atom)[:n]]

    def relax(self, atoms: Atoms, calls: int, family: str, kind: str = "", pressure: float = 0.0) -> Atoms:
        """The lowest crystal of at most so many steps of relaxation; the steps that differ are kept as labels.

        `pressure` in eV/Å³.
        """
        calls = min(calls, self.left)
        if calls < 1:
            return atoms
        steps: list[Labelled] = []

        def evaluate(structures: Structures) -> Prediction:
            crystal = structures.atoms(0)
            label = self._ask(crystal)
            if label is not None:
                told = f"{kind} relaxed at {pressure / EV_PER_A3_PER_GPA:.0f} GPa, step {len(steps)}"
                steps.append(Labelled(crystal, label, family, told))
            return prediction(label, len(crystal), pressure)

        relax(
            evaluate,
            Structures.from_ase([atoms]),
            pressure=pressure,
            fmax=0.02,
            smax=0.2 * EV_PER_A3_PER_GPA,
            max_calls=calls,
        )
        self._labelled += distinct(steps)
        return min(steps, key=lambda s: s.label.energy).atoms if steps else atoms

    def kept(self) -> list[Labelled]:
        """The labels within reach of a search: neither absurdly high nor with absurd forces."""
        lowest = min((x.label.energy / len(x.atoms) for x in self._labelled), default=0.0)
        return [
            x
            for x in self._labelled
            if x.label.energy / len(x.atoms) - lowest <= HIGHEST and np.abs(x.label.forces).max() <= STRONGEST
        ]

    def _ask(self, atoms: Atoms) -> Label | None:
        if self.left < 1:
            return None
        self.left -= 1
        self.calls += 1
        label = self._reference.evaluate(atoms)
        if isinstance(label, Failure):
            self.failures.append(label)
            return None
        return label


def distinct(steps: list[Labelled]) -> list[Labelled]:
    """The steps of one relaxation that differ in energy: far apart at first, ever closer to its end, both ends included."""
    if not steps:
        return []
    energies = np.array([s.label.energy / len(s.atoms) for s in steps])
    lowest = energies.min()
    kept = [0]
    for i in range(1, len(steps)):
        if abs(energies[i] - energies[kept[-1]]) > max(SAME_ENERGY, SAME_PART * (energies[kept[-1]] - lowest)):
            kept.append(i)
    end = int(energies.argmin())
    return [steps[i] for i in sorted({*kept, end})]


def prediction(label: Label | Failure | None, n_atoms: int, pressure: float = 0.0) -> Prediction:
    """A label as a potential would say it; not finite when there is none, and then the relaxation ends.

    Without a stress the cell is told that it balances the pressure (eV/Å³) and stays; the atoms still relax.
    """
    energy, forces, stress = np.nan, np.full((n_atoms, 3), np.nan), np.full((3, 3), np.nan)
    if isinstance(label, Label):
        energy, forces, stress = label.energy, label.forces, label.stress
    if not np.isfinite(stress).all():
        stress = -pressure * np.eye(3)
    return Prediction(
        energies=np.array([energy]),
        forces=forces,
        stresses=stress[None],
        member_energies=np.array([[energy]]),
        atomic_energies=np.full(n_atoms, energy / n_atoms),
    )


def _per_atom(x: Labelled) -> float:
    return x.label.energy / len(x.atoms)


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
