"""Orders: tasks of the reference as records of plain JSON, for workers that share nothing with the campaign but a directory.

What was asked by a function and its arguments (evo/labels.py) becomes a record; a worker performs it; and what is said where it
cannot be done by anybody.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evo import labels
from evo.bootstrap import BootstrapTask
from evo.candidate import Failure
from evo.cell import Space
from evo.labels import ReferenceSpec
from evo.queue.directory import MOST_LOST
from potentials.stratum import Stratum

Record = dict[str, Any]


class UnknownOrder(ValueError):
    """A task of a campaign that another version of the program began."""

    exit_code = 65


class ReferenceBroken(RuntimeError):
    """No worker survives the reference."""

    exit_code = 69


KINDS: dict[str, Callable[..., Any]] = {
    "about": labels.about,
    "single point": labels.single_point,
    "relaxation": labels.relaxed,
    "bootstrap": labels.run_bootstrap,
}


def describe(place: Path, function: Callable[..., Any], *arguments: Any) -> Record | None:
    """The record of this task, None when it is none of the reference. `place`: the queue, to which paths are relative.

    So a worker may see the directories under another name than the campaign does.
    """
    kind = next((k for k, f in KINDS.items() if f is function), None)
    if kind is None:
        return None
    spec, *rest = arguments
    return {
        "kind": kind,
        "reference": spec.section,
        "directory": os.path.relpath(spec.directory, place),
        "method": spec.method,
        "arguments": [_bootstrap_to_json(a) if isinstance(a, BootstrapTask) else a for a in rest],
    }


def perform(record: Record, place: Path, adapt: Callable[[ReferenceSpec], ReferenceSpec]) -> Any:
    """The result of the task, a JSON value. `adapt` puts in what differs on this machine."""
    if record["kind"] not in KINDS:
        raise UnknownOrder(
            f"a task of kind {record['kind']!r} is not known here: the campaign has another version of this program; use the same"
        )
    directory = os.path.normpath(place / record["directory"])
    spec = adapt(ReferenceSpec(record["reference"], directory, record["method"]))
    arguments = record["arguments"]
    if record["kind"] == "bootstrap":
        arguments = [_bootstrap_from_json(arguments[0])]
    return KINDS[record["kind"]](spec, *arguments)


def give_up(record: Record) -> Any:
    """The result of a task that brought down every worker that took it: a failure, nothing learned, all calls spent."""
    arguments = record["arguments"]
    if record["kind"] == "bootstrap":
        calls = arguments[0]["calls"]
        return {
            "calls": calls,
            "labels": [],
            "failures": calls * [["crashed", f"{MOST_LOST} workers were lost with it"]],
        }
    if record["kind"] == "about":
        raise ReferenceBroken(
            f"{MOST_LOST} workers were lost when they opened the reference; look at what they said before they ended"
        )
    crystal, family = arguments[:2]
    failed = labels.labelled(crystal, Failure("crashed", f"{MOST_LOST} workers were lost with it"), family)
    return failed if record["kind"] == "single point" else [failed]


def _bootstrap_to_json(task: BootstrapTask) -> Record:
    space = task.space
    return {
        "index": task.index,
        "stratum": list(task.stratum.numbers),
        "calls": task.calls,
        "seed": task.seed,
        "elements": list(space.elements),
        "n_atoms": list(space.n_atoms),
        "formula": None if space.formula is None else _pairs(space.formula),
        "min_distance": space.min_distance,
        "volumes": _pairs(space.volumes),
    }


def _bootstrap_from_json(data: Record) -> BootstrapTask:
    space = Space(
        elements=tuple(data["elements"]),
        n_atoms=(data["n_atoms"][0], data["n_atoms"][1]),
        formula=None if data["formula"] is None else dict(data["formula"]),
        min_distance=data["min_distance"],
        volumes=dict(data["volumes"]),
    )
    return BootstrapTask(data["index"], Stratum.of(data["stratum"]), data["calls"], data["seed"], space)


def _pairs(values: Any) -> list[list[Any]]:
    """A mapping as JSON that keeps its keys numbers."""
    return [[int(z), v] for z, v in values.items()]
