"""One chunk of candidates, from parents to analysed crystals. Runs on any rank; a pure function of its arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms

from evo import candidate as records
from evo import gate
from evo.candidate import Candidate, Energy, Failure, Origin
from evo.cell import Space, reduce_cell
from evo.likeness import fingerprint
from evo.relaxers import Relaxer, evaluate, grades, relax_all
from evo.settings import GateSection, OperatorWeights
from evo.tools import Parent, breed, toolbox
from potentials.structures import Structures

SEED = "seed file"  # the operator of the user's own crystals


@dataclass(frozen=True, slots=True)
class Breeding:
    """What a chunk is bred with: the same for all chunks of a campaign."""

    seed: int
    space: Space
    weights: OperatorWeights
    tournament: int
    gate: GateSection
    fmax: float  # eV/Å
    smax: float  # eV/Å³
    pressure: float  # eV/Å³
    max_calls: int


def bred(
    breeding: Breeding, relaxer: Relaxer, chunk: int, n_slots: int, parents: list[Parent], given: list[Any]
) -> list[dict[str, Any]]:
    """Chunk `chunk`: first the given crystals (seed files; JSON values of Atoms), then children of the parents."""
    box = toolbox(breeding.weights, breeding.space, tournament=breeding.tournament)
    children: list[tuple[Atoms, Origin]] = [(records.atoms_from_json(a), Origin(SEED)) for a in given]
    for slot in range(len(children), n_slots):
        rng = np.random.default_rng([breeding.seed, chunk, slot])
        atoms, operator, ancestors = breed(rng, parents, box, first=chunk == 0, slot=slot)
        children.append((atoms, Origin(operator, tuple(ancestors))))
    named = [(f"c{chunk:05d}-{slot:02d}", atoms, origin) for slot, (atoms, origin) in enumerate(children)]
    return [records.to_json(c) for c in _relaxed(breeding, relaxer, named)]


def again(breeding: Breeding, relaxer: Relaxer, round_: int, old: list[Any]) -> list[dict[str, Any]]:
    """Relax these candidates (JSON values) again with a new library; each gets a new id and its old self as parent."""
    former = [records.from_json(c) for c in old]
    named = [(f"v{round_:05d}-{slot:02d}", c.atoms, Origin("relaxed again", (c.id,))) for slot, c in enumerate(former)]
    return [records.to_json(c) for c in _relaxed(breeding, relaxer, named)]


def single_points(breeding: Breeding, relaxer: Relaxer, crystals: list[Any]) -> list[tuple[float, float, float]]:
    """(enthalpy, spread, grade) of each crystal (JSON values of Atoms) as it stands: eV per cell, eV per cell, 1 = edge."""
    structures = Structures.from_ase([records.atoms_from_json(a) for a in crystals])
    prediction = evaluate(relaxer, structures)
    grade = grades(relaxer, structures)
    enthalpies = prediction.energies + breeding.pressure * structures.volumes * structures.periodic.all(axis=1)
    return [
        (float(e), float(s), 0.0 if grade is None else float(grade[c]))
        for c, (e, s) in enumerate(zip(enthalpies, prediction.spreads, strict=True))
    ]


def _relaxed(breeding: Breeding, relaxer: Relaxer, named: list[tuple[str, Atoms, Origin]]) -> list[Candidate]:
    result = relax_all(
        relaxer,
        Structures.from_ase([atoms for _, atoms, _ in named]),
        pressure=breeding.pressure,
        fmax=breeding.fmax,
        smax=breeding.smax,
        max_calls=breeding.max_calls,
    )
    finished = [
        Candidate(
            id=name,
            atoms=result.structures.atoms(c),
            origin=origin,
            failure=None if result.outcomes[c] == "converged" else Failure(result.outcomes[c]),
            calls=int(result.calls[c]),
        )
        for c, (name, _, origin) in enumerate(named)
    ]
    sound = [c for c, candidate in enumerate(finished) if candidate.failure is None]
    if sound:
        kept = result.structures.select(sound)
        grade = grades(relaxer, kept)
        volumes = kept.volumes * kept.periodic.all(axis=1)
        for k, c in enumerate(sound):
            energy = Energy(
                relaxer.method,
                float(result.prediction.energies[c] + breeding.pressure * volumes[k]),
                float(result.prediction.spreads[c]),
            )
            graded = replace(finished[c], grade=0.0 if grade is None else float(grade[k]))
            finished[c] = _analysed(graded.with_energy(energy), breeding)
    return finished


def _analysed(candidate: Candidate, breeding: Breeding) -> Candidate:
    """Reduced cell and fingerprint, or the reason why this is no crystal to keep."""
    atoms = reduce_cell(candidate.atoms)
    candidate = replace(candidate, atoms=atoms, failure=gate.geometry(candidate, breeding.space, breeding.gate))
    if candidate.failure is not None and candidate.failure.reason != "extrapolation":
        return candidate
    return replace(candidate, fingerprint=fingerprint(atoms))
