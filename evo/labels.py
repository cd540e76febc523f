"""Work for the reference, as tasks for any rank or worker: single points, relaxations, the bootstrap. JSON in and out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from evo import answers, bootstrap
from evo.bootstrap.ledger import prediction
from evo.candidate import ENDED, Failure, atoms_from_json, atoms_to_json
from evo.reference import Label, Reference, open_reference
from evo.settings import ReferenceSection
from potentials.dataset import Dataset
from potentials.labelled.identity import of_elements
from potentials.relax import relax
from potentials.structures import Prediction, Structures


class MethodDiffers(ValueError):
    """The engine here gives other energies than those of the campaign."""

    exit_code = 65


@dataclass(frozen=True, slots=True)
class ReferenceSpec:
    """What opens the same reference on every rank and worker."""

    section: str  # engine, calculator and options of a ReferenceSection, as JSON
    directory: str  # where a calculator file beside campaign.toml is looked for
    method: str = ""  # that its energies must have; empty: it is not known yet


def spec_of(section: ReferenceSection, directory: str) -> ReferenceSpec:
    """The spec of these settings. What says how often and where the reference is asked is no part of it."""
    kept = section.model_dump(mode="json", include={"engine", "calculator", "options"})
    return ReferenceSpec(json.dumps(kept, sort_keys=True), directory)


@lru_cache(maxsize=2)
def opened(spec: ReferenceSpec) -> Reference:
    reference = open_reference(ReferenceSection.model_validate_json(spec.section), spec.directory)
    assert reference is not None, "no task for the reference without one"
    if spec.method and reference.method != spec.method:
        raise MethodDiffers(
            f"the reference `{reference.engine}` of this machine is {reference.method}, the campaign began with {spec.method}; "
            "energies of two methods cannot be mixed: use the same versions and files of the program"
        )
    return reference


def about(spec: ReferenceSpec, numbers: Sequence[int]) -> dict[str, Any]:
    """The method of this reference, what stands behind its name, and which of these atomic numbers it cannot do."""
    reference = opened(spec)
    identity = of_elements(json.loads(reference.identity), [chemical_symbols[z] for z in numbers])
    return {"method": reference.method, "identity": identity, "cannot": sorted(reference.can(numbers))}


def single_point(spec: ReferenceSpec, crystal: dict[str, Any], family: str) -> dict[str, Any]:
    """The label of this crystal, or its failure."""
    return labelled(crystal, opened(spec).evaluate(atoms_from_json(crystal)), family)


def relaxed(
    spec: ReferenceSpec,
    crystal: dict[str, Any],
    family: str,
    pressure: float,
    fmax: float,
    smax: float,
    max_calls: int,
    told: dict[str, Any] | None = None,
    inverse: list[list[float]] | None = None,
) -> list[dict[str, Any]]:
    """Labels along a relaxation by the reference itself, failures included; every call counted.

    Units: eV/Å³, eV/Å. A step limit is no failure here: every step is a label, and the lowest counts. Where the engine gives no
    stress, or fails, the relaxation keeps the cell, or ends. All steps have the k-points of the first.
    told: the label of this very crystal where it is known; it is neither asked for again nor among the labels. inverse:
    Å²/eV, where the inverse Hessian begins (`potentials.curvature`).
    """
    steps: list[dict[str, Any]] = []
    reference, first = opened(spec), atoms_from_json(crystal)
    known = [] if told is None else [_label(told)]

    def evaluate(structures: Structures) -> Prediction:
        atoms = structures.atoms(0)
        if known:
            return prediction(known.pop(), len(atoms), pressure)
        found = reference.evaluate(atoms, like=first)
        steps.append(labelled(atoms_to_json(atoms), found, family))
        return prediction(found, len(atoms), pressure)

    relax(
        evaluate,
        Structures.from_ase([first]),
        pressure=pressure,
        fmax=fmax,
        smax=smax,
        max_calls=max_calls + (told is not None),
        noise=reference.noise,
        inverses=None if inverse is None else [np.array(inverse)],
    )
    return steps


def unfinished(value: Any) -> bool:
    """Whether this result of a task comes from a program that was asked to end: then it says nothing of its crystal.

    What a bootstrap has labelled before is kept: its task is many calls.
    """
    if isinstance(value, list):
        return any(unfinished(part) for part in value)
    if not isinstance(value, dict):
        return False
    failures = [value.get("failure"), *([] if value.get("labels") else value.get("failures") or [])]
    return any(failure[0] == ENDED for failure in failures if failure)


def run_bootstrap(spec: ReferenceSpec, task: bootstrap.BootstrapTask) -> dict[str, Any]:
    """The labels of one bootstrap task, the calls it took, and [reason, detail] of those that failed.

    What a slow reference has answered when a process is killed is not asked again (evo/answers.py).
    """
    reference = opened(spec)
    name = f"{task.stratum.name}-{task.index}-{task.calls}-{task.seed}-{reference.method.replace(':', '-')}"
    with answers.kept(reference, Path(spec.directory), name) as asked:
        made = bootstrap.run_task(task, asked)
    return {
        "calls": int(made.calls),
        "labels": [labelled(atoms_to_json(m.atoms), m.label, m.family) for m in made.labelled],
        "failures": [[f.reason, f.detail] for f in made.failures],
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


def of_dataset(data: Dataset) -> list[dict[str, Any]]:
    """The reverse of `dataset`, for crystals that were labelled before the campaign."""
    found = []
    for c, atoms in enumerate(data.structures.to_ase()):
        rows = slice(data.structures.offsets[c], data.structures.offsets[c + 1])
        label = Label(
            energy=float(data.labels.energies[c]),
            forces=data.labels.forces[rows],
            stress=data.labels.stresses[c],
            seconds=float(data.seconds[c]),
        )
        found.append(labelled(atoms_to_json(atoms), label, data.families[c]))
    return found


def _label(told: dict[str, Any]) -> Label:
    """The label in a JSON value that is no failure."""
    return Label(
        energy=told["energy"],
        forces=np.array(told["forces"], dtype=float).reshape(-1, 3),
        stress=np.array(told["stress"], dtype=float).reshape(3, 3),
        seconds=told["seconds"],
    )


def labelled(crystal: dict[str, Any], label: Label | Failure, family: str) -> dict[str, Any]:
    """What the reference says of this crystal as a JSON value."""
    if isinstance(label, Failure):
        return {"crystal": crystal, "failure": [label.reason, label.detail], "family": family}
    return {
        "crystal": crystal,
        "energy": label.energy,
        "energy_zero": label.energy_zero,
        "forces": label.forces.tolist(),
        "stress": label.stress.tolist(),
        "seconds": label.seconds,
        "family": family,
        "failure": None,
        "details": dict(label.details),
    }
