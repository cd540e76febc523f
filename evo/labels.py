"""Work for the reference, as tasks that any rank can run: single points, relaxations, the bootstrap. JSON in and out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from evo import bootstrap
from evo.candidate import Failure, atoms_from_json, atoms_to_json
from evo.reference import Label, Reference, open_reference
from evo.settings import ReferenceSection
from potentials.calculator import from_calculator
from potentials.dataset import Dataset
from potentials.relax import relax
from potentials.structures import Prediction, Structures


@dataclass(frozen=True, slots=True)
class ReferenceSpec:
    """What opens the same reference on every rank."""

    section: str  # ReferenceSection as JSON
    directory: str  # where a calculator file beside campaign.toml is looked for


@lru_cache(maxsize=2)
def opened(spec: ReferenceSpec) -> Reference:
    reference = open_reference(ReferenceSection.model_validate_json(spec.section), spec.directory)
    assert reference is not None, "no task for the reference without one"
    return reference


def single_point(spec: ReferenceSpec, crystal: dict[str, Any], family: str) -> dict[str, Any]:
    """The label of this crystal, or its failure."""
    return _labelled(crystal, opened(spec).evaluate(atoms_from_json(crystal)), family)


def relaxed(
    spec: ReferenceSpec, crystal: dict[str, Any], family: str, pressure: float, fmax: float, smax: float, max_calls: int
) -> list[dict[str, Any]]:
    """Labels along a relaxation by the reference itself, the last one is the end; every call counted.

    Units: eV/Å³, eV/Å. A step limit is no failure here: every step is a label, and the lowest counts.
    """
    steps: list[dict[str, Any]] = []
    reference = opened(spec)

    def keep(_: Any, structures: Structures, prediction: Prediction) -> None:
        label = Label(
            float(prediction.energies[0]), prediction.forces.copy(), prediction.stresses[0].copy(), seconds=0.0
        )
        steps.append(_labelled(atoms_to_json(structures.atoms(0)), label, family))

    relax(
        from_calculator(reference.calculator()),
        Structures.from_ase([atoms_from_json(crystal)]),
        pressure=pressure,
        fmax=fmax,
        smax=smax,
        max_calls=max_calls,
        on_call=keep,
    )
    return [s for s in steps if s["failure"] is not None or np.isfinite(s["energy"])]


def run_bootstrap(spec: ReferenceSpec, task: bootstrap.BootstrapTask) -> dict[str, Any]:
    """The labels of one bootstrap task and the calls it took."""
    made = bootstrap.run_task(task, opened(spec))
    return {
        "calls": int(made.calls),
        "labels": [_labelled(atoms_to_json(m.atoms), m.label, m.family) for m in made.labelled],
    }


def dataset(labels: list[dict[str, Any]], method: str) -> Dataset:
    """Training data of these labels (JSON values); failures are left out."""
    sound = [x for x in labels if x["failure"] is None]
    return Dataset.of(
        [atoms_from_json(x["crystal"]) for x in sound],
        energies=[x["energy"] for x in sound],
        forces=[np.array(x["forces"]).reshape(-1, 3) for x in sound],
        stresses=[np.array(x["stress"], dtype=float).reshape(3, 3) for x in sound],
        families=[x["family"] for x in sound],
        method=method,
        seconds=[x["seconds"] for x in sound],
    )


def _labelled(crystal: dict[str, Any], label: Label | Failure, family: str) -> dict[str, Any]:
    if isinstance(label, Failure):
        return {"crystal": crystal, "failure": [label.reason, label.detail], "family": family}
    return {
        "crystal": crystal,
        "energy": label.energy,
        "forces": label.forces.tolist(),
        "stress": label.stress.tolist(),
        "seconds": label.seconds,
        "family": family,
        "failure": None,
    }
