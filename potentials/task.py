"""What goes to a fit of one committee member and what comes back: plain records that travel between processes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from potentials.dataset import Dataset
from potentials.environments import Environments
from potentials.heads import Head
from potentials.likeness import NONE, Likeness
from potentials.network import OwnUnits, StratumParameters
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.structures import Floats


@dataclass(frozen=True, eq=False)
class FitTask:
    """All that one member's fit depends on."""

    strata: tuple[Stratum, ...]  # that are fitted, canonical order: one on top of those below it, or all together
    member: int
    recipe: Recipe
    dataset: Dataset  # crystals of these strata, held-out ones included
    iterations: int
    scalings: Mapping[
        Stratum, StratumParameters
    ]  # of their inputs; their columns are where a warm start begins, else zero
    warm: bool
    frozen: tuple[StratumParameters, ...]  # every stratum below that is not fitted, all members, canonical order
    known: Mapping[Stratum, Environments]  # surroundings of the frozen strata
    parents: Mapping[str, str]  # their content hashes, by name
    lowest: Mapping[int, float]  # eV/atom of each element at its most stable
    anchored: bool = (
        False  # atoms of crystals of subsets keep the energies that `scalings` give them (potentials.anchors)
    )

    like: Likeness = NONE  # what new elements are drawn to
    seconds: float = 0.0  # CPU, that the potential under the networks of these strata has taken

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of all crystals, ascending."""
        return tuple(sorted({z for s in self.strata for z in s.numbers}))

    def own_units(self, stratum: Stratum) -> int:
        """Units that the fit gives to each centre of this stratum: those it has, else what the recipe says."""
        if stratum.order == 1 or not self.recipe.shape.block_size(stratum.order):
            return 0
        return self.scalings[stratum].n_own if self.warm else self.recipe.widened


@dataclass(frozen=True, eq=False)
class FitResult:
    """One member of the fitted strata."""

    member: int
    columns: Mapping[Stratum, Mapping[int, Floats]]  # by centre (n_block, hidden)
    heads: Mapping[int, Head]  # of the elements among the strata
    iterations: int
    seconds: float  # CPU
    own_units: Mapping[Stratum, Mapping[int, OwnUnits]] = field(default_factory=dict)  # of widened strata, one member

    def to_json(self) -> dict[str, Any]:
        """A JSON value that keeps every bit."""
        return {
            "member": self.member,
            "columns": {s.name: {str(z): _encode(c) for z, c in own.items()} for s, own in self.columns.items()},
            "heads": {
                str(z): {k: v if isinstance(v, float) else _encode(v) for k, v in _known(h).items()}
                for z, h in self.heads.items()
            },
            "iterations": self.iterations,
            "seconds": self.seconds,
            "own_units": {
                s.name: {str(z): [_encode(a) for a in (u.weights, u.biases, u.outputs)] for z, u in own.items()}
                for s, own in self.own_units.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FitResult:
        columns = {
            Stratum.parse(name): {int(z): _decode(c) for z, c in own.items()} for name, own in data["columns"].items()
        }
        heads = {int(z): _head(own) for z, own in data["heads"].items()}
        own_units = {
            Stratum.parse(name): {int(z): OwnUnits(*(_decode(a) for a in u)) for z, u in own.items()}
            for name, own in data.get("own_units", {}).items()
        }
        return cls(data["member"], columns, heads, data["iterations"], data["seconds"], own_units)


def _head(data: Mapping[str, Any]) -> Head:
    values: dict[str, Any] = {k: v if isinstance(v, float) else _decode(v) for k, v in data.items()}
    return Head(**values)


def _known(head: Head) -> dict[str, Any]:
    """What is there of a head, by name."""
    return {f.name: v for f in fields(head) if (v := getattr(head, f.name)) is not None}


def _encode(array: Floats) -> list[Any]:
    return [list(array.shape), base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode()]


def _decode(data: Sequence[Any]) -> Floats:
    shape, text = data
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(float).reshape(shape)
