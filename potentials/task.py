"""What goes to a fit of one committee member and what comes back: plain records that travel between processes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from potentials.dataset import Dataset
from potentials.environments import Environments
from potentials.network import StratumParameters
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.structures import Floats


@dataclass(frozen=True, eq=False)
class FitTask:
    """All that one member's fit depends on."""

    stratum: Stratum
    member: int
    recipe: Recipe
    dataset: Dataset  # crystals of exactly this stratum, held-out ones included
    iterations: int
    scaling: StratumParameters  # of the stratum's inputs; its columns are where a warm start begins, else zero
    warm: bool
    frozen: tuple[StratumParameters, ...]  # every stratum below, all members, canonical order
    known: Mapping[Stratum, Environments]  # surroundings of the frozen strata
    parents: Mapping[str, str]  # their content hashes, by name
    lowest: Mapping[int, float]  # eV/atom of each element at its most stable


@dataclass(frozen=True, eq=False)
class FitResult:
    """One member of one stratum. Arrays by atomic number of the centre."""

    stratum: Stratum
    member: int
    columns: Mapping[int, Floats]  # (n_block, hidden)
    biases: Floats | None  # (hidden,), unary only
    outputs: Floats | None  # (units of the last layer,) eV, unary only
    shift: float | None  # eV per atom, unary only
    iterations: int
    seconds: float  # CPU
    second_weights: Floats | None = None  # (hidden, second), unary only
    second_biases: Floats | None = None  # (second,), unary only

    def to_json(self) -> dict[str, Any]:
        """A JSON value that keeps every bit."""
        second = {"second_weights": self.second_weights, "second_biases": self.second_biases}
        return {
            "stratum": self.stratum.name,
            "member": self.member,
            "columns": {str(z): _encode(c) for z, c in self.columns.items()},
            "biases": None if self.biases is None else _encode(self.biases),
            "outputs": None if self.outputs is None else _encode(self.outputs),
            "shift": self.shift,
            "iterations": self.iterations,
            "seconds": self.seconds,
            **{name: _encode(array) for name, array in second.items() if array is not None},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FitResult:
        return cls(
            stratum=Stratum.parse(data["stratum"]),
            member=data["member"],
            columns={int(z): _decode(c) for z, c in data["columns"].items()},
            biases=None if data["biases"] is None else _decode(data["biases"]),
            outputs=None if data["outputs"] is None else _decode(data["outputs"]),
            shift=data["shift"],
            iterations=data["iterations"],
            seconds=data["seconds"],
            **{k: _decode(data[k]) for k in ("second_weights", "second_biases") if k in data},
        )


def _encode(array: Floats) -> list[Any]:
    return [list(array.shape), base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode()]


def _decode(data: Sequence[Any]) -> Floats:
    shape, text = data
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(float).reshape(shape)
