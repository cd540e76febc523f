"""Pieces of the text of GPU kernels: a lane is a centre, a row of an array is a quantity, a column a centre."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import indent

from potentials.features import Shape

LANES = """
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    species = tl.program_id(1)
    here = lane < size
"""


def n_moments(shape: Shape) -> int:
    """Moments of one neighbour element."""
    return shape.n_max * ((shape.l_max + 1) ** 2 - 1)


def loads(names: Sequence[str], array: str, row: str) -> dict[str, str]:
    """By name, the line that reads it from the row `row` and those that follow."""
    return {
        name: f"{name} = tl.load({array} + ({row} + {q}) * size + lane, mask=here, other=0.0)"
        for q, name in enumerate(names)
    }


def stores(values: Mapping[str, str], array: str, row: str) -> dict[str, str]:
    """By name, the line that writes its value to the row `row` and those that follow."""
    return {
        name: f"tl.store({array} + ({row} + {q}) * size + lane, {value}, mask=here)"
        for q, (name, value) in enumerate(values.items())
    }


def block(lines: Iterable[str], depth: int = 1) -> str:
    return indent("\n".join(lines), depth * "    ") + "\n"


def grid(names: Sequence[str], shape: Shape) -> list[list[str]]:
    """Names of one element's moments as (n, lm)."""
    width = len(names) // shape.n_max
    return [list(names[n * width : (n + 1) * width]) for n in range(shape.n_max)]
