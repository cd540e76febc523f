"""What relaxes candidates: the library of networks, or any ASE calculator. Candidates in, energies out.

A relaxer travels to the ranks as a small record; each rank loads what it stands for once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import chemical_symbols

from evo.reference import load_calculator
from potentials import kernels
from potentials.calculator import from_calculator
from potentials.curvature import inverse_hessian
from potentials.library import Library
from potentials.potential import Potential, resolve_device
from potentials.relax import Evaluate, Relaxed, relax
from potentials.storage.methods import comparable
from potentials.stratum import Stratum
from potentials.structures import Floats, Prediction, Structures


@dataclass(frozen=True, slots=True)
class NetworkRelaxer:
    """A library at given stratum versions."""

    directory: str
    versions: tuple[tuple[str, int], ...]  # (stratum name, version), canonical order
    elements: tuple[int, ...]
    method: str
    device: str = "auto"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class CalculatorRelaxer:
    """Any ASE calculator by import path, one crystal at a time."""

    calculator: str
    options: str  # of its constructor, as JSON
    directory: str  # where a calculator file beside campaign.toml is looked for
    method: str


Relaxer = NetworkRelaxer | CalculatorRelaxer


def evaluate(relaxer: Relaxer, structures: Structures) -> Prediction:
    """Energies, forces, stresses by this relaxer."""
    return evaluator(relaxer)(structures)


def evaluator(relaxer: Relaxer) -> Evaluate:
    if isinstance(relaxer, CalculatorRelaxer):
        return _calculator(relaxer)
    potential = load_potential(relaxer)
    return lambda structures: potential.evaluate(structures, n_threads=relaxer.threads)


def grades(relaxer: Relaxer, structures: Structures) -> Floats | None:
    """(n_crystals,) extrapolation grades, None for a relaxer that needs none."""
    return load_potential(relaxer).grades(structures) if isinstance(relaxer, NetworkRelaxer) else None


def kernel_note(device: str) -> str:
    """Which kernel networks will run on, in words; and what it costs when it is not the one for this machine."""
    if resolve_device(device) == "cuda":
        if (reason := kernels.missing_triton("cuda")) is not None:
            return f"torch on CUDA, slower than triton: {reason}"
        return "triton on CUDA where it has kernels for the model, else torch"
    if "compiled" in kernels.available():
        return "compiled"
    return f"torch on the CPU, some fifty times slower than the compiled one: {kernels.missing()}"


def library_note(name: str, beside: Path) -> str:
    """The strata of the library of this name and its method; LibraryError when there is none."""
    library = Library.open(name, beside)
    return f"{', '.join(s.name for s in library.strata())} ({library.version()})"


def labelled_otherwise(name: str, beside: Path, method: str, identity: Any, elements: Sequence[int]) -> str:
    """A remark where the library's own crystals were labelled by another method than this one; empty where they were not.

    identity: what stands behind the method's name, for these elements; None where that is not known.
    """
    methods = Library.open(name, beside).methods
    symbols, known = [chemical_symbols[z] for z in elements], list(methods)
    if not known or method in known or any(comparable(m, identity, symbols) for m in methods.values()):
        return ""
    return (
        f"{name} was labelled by {', '.join(known)}, the reference is {method}: if their energies have other zeros, nothing that "
        "the networks say will be confirmed, and nothing is learned from the library's data"
    )


def relax_all(
    relaxer: Relaxer, structures: Structures, *, pressure: float, fmax: float, smax: float, max_calls: int
) -> Relaxed:
    """Positions and cells relaxed in one batch; pressure and smax in eV/Å³, fmax in eV/Å."""
    return relax(evaluator(relaxer), structures, pressure=pressure, fmax=fmax, smax=smax, max_calls=max_calls)


def curvature(relaxer: NetworkRelaxer, atoms: Atoms, pressure: float, coupled: bool) -> list[list[float]]:
    """Where the inverse Hessian of a relaxation of this crystal by the reference begins, JSON.

    pressure: eV/Å³. coupled: whether forces may strain the cell, else the cell feels nothing but its own stress.
    """
    one = Structures.from_ase([atoms])
    inverse = inverse_hessian(evaluator(relaxer), one, fixed_cell=not coupled, pressure=pressure if coupled else 0.0)
    found: list[list[float]] = inverse.tolist()
    return found


@lru_cache(maxsize=4)
def load_potential(relaxer: NetworkRelaxer) -> Potential:
    library = Library.open(relaxer.directory)
    return library.assemble(Stratum(relaxer.elements), versions=dict(relaxer.versions), device=relaxer.device)


@lru_cache(maxsize=4)
def _calculator(relaxer: CalculatorRelaxer) -> Evaluate:
    return from_calculator(load_calculator(relaxer.calculator, json.loads(relaxer.options), relaxer.directory))
