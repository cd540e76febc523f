"""What there is of a training that was cut, kept beside a library until the stratum is finished.

LIB/unfinished/KEY.json is a member of a committee that is fitted, KEY.npz where the fit of one stands; KEY stands for all that
the fit depends on.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from potentials.task import FitResult, FitTask

DIRECTORY = "unfinished"


def find(library: Path, task: FitTask) -> FitResult | None:
    """The result of this very task; None where there is none that can be read."""
    from potentials.task import FitResult

    try:
        return FitResult.from_json(json.loads(_file(library, task).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(library: Path, task: FitTask, result: FitResult) -> None:
    from potentials.stratum_file import write_atomically

    path = _file(library, task)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(result.to_json()).encode())


def checkpoint(library: Path, task: FitTask) -> Path:
    """Where the fit of this task keeps how far it is."""
    path = _file(library, task).with_suffix(".npz")
    path.parent.mkdir(exist_ok=True)
    return path


def forget(library: Path, tasks: Iterable[FitTask]) -> None:
    """Those of a stratum that is finished."""
    for task in tasks:
        _file(library, task).unlink(missing_ok=True)
    with suppress(OSError):  # others are still there
        (library / DIRECTORY).rmdir()


def _file(library: Path, task: FitTask) -> Path:
    return library / DIRECTORY / f"{_key(task)}.json"


def _key(task: FitTask) -> str:
    from potentials.stratum_file import parameter_arrays

    text = [
        version("outcrop"),
        [s.name for s in task.strata],
        task.member,
        task.recipe.to_json(),
        task.dataset.content_hash(),
        task.iterations,
        task.warm,
        task.anchored,
        sorted(task.parents.items()),
        sorted(task.lowest.items()),
    ]
    digest = hashlib.sha256(json.dumps(text).encode())
    for parameters in (*(task.scalings[s] for s in task.strata), *task.like.strata):
        for name, array in sorted(parameter_arrays(parameters).items()):
            digest.update(f"{name} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:32]
