"""Text of the GPU kernels between moments and features: `products`, and `moment_slopes` on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from potentials.features import Shape
from potentials.kernels import formulas
from potentials.kernels.tape import Tape
from potentials.kernels.triton_text import LANES, block, grid, loads, n_moments, stores


def parts(shape: Shape) -> list[list[int]]:
    """The orders l that `moment_slopes` takes at a time: with more harmonics its sums do not fit into registers."""
    found: list[list[int]] = []
    for l in range(1, shape.l_max + 1):
        if found and (l + 1) ** 2 - found[-1][0] ** 2 <= 15:
            found[-1].append(l)
        else:
            found.append([l])
    return found


def _moments_by_order(names: Sequence[str], shape: Shape) -> list[list[str]]:
    """Names (n, lm) by l. Orders do not mix, and one at a time spares registers."""
    rows = grid(names, shape)
    return [[name for row in rows for name in row[l * l - 1 : (l + 1) ** 2 - 1]] for l in range(1, shape.l_max + 1)]


def _products_by_order(names: Sequence[str], shape: Shape) -> list[list[str]]:
    """Names (n n', l) by l."""
    return [list(names[l :: shape.l_max]) for l in range(shape.l_max)]


def products(shape: Shape) -> str:
    """One program per pair of elements, which `pairs` (n, 2) lists."""
    tape = Tape()
    one, other = ([f"{side}{q}" for q in range(n_moments(shape))] for side in "ab")
    a, b = ([tape.inputs(row) for row in grid(names, shape)] for names in (one, other))
    found = {f.name: f for f in formulas.products(a, b, shape.l_max)}
    reads = loads(one, "moments", f"left * {len(one)}") | loads(other, "moments", f"right * {len(other)}")
    writes = stores({name: name for name in found}, "features", f"n_sums + species * {len(found)}")
    by_order = (_moments_by_order(one, shape), _moments_by_order(other, shape), _products_by_order(list(found), shape))
    body: list[str] = []
    for left, right, results in zip(*by_order, strict=True):
        body += [reads[name] for name in (*left, *right)]
        body += tape.lines([found[name] for name in results])
        body += [writes[name] for name in results]
    return (
        "\n@triton.jit\ndef products(moments, pairs, features, size, n_sums, BLOCK: tl.constexpr):"
        + LANES
        + block(["left = tl.load(pairs + 2 * species)", "right = tl.load(pairs + 2 * species + 1)"])
        + block(body)
    )


def moment_slopes(shape: Shape) -> str:
    """dE/d(moments) of one element, normed once more, so that they multiply the bare harmonics."""
    tape = Tape()
    one, other = ([f"{side}{q}" for q in range(n_moments(shape))] for side in "ab")
    a, b = ([tape.inputs(row) for row in grid(names, shape)] for names in (one, other))
    weights = [f"w{q}" for q in range(shape.n_products)]
    found = formulas.products(a, b, shape.l_max)
    energy: Any = sum(w * p for w, p in zip(tape.inputs(weights), found, strict=True))
    totals = [f"m{q}" for q in range(n_moments(shape))]
    slopes: dict[str, Any] = dict(zip(totals, tape.gradient(energy, [s for row in a for s in row]), strict=True))
    reads = loads(other, "moments", f"other * {len(other)}")
    reads |= loads(weights, "slopes", f"n_sums + pair * {len(weights)}")
    norms = zip(totals, formulas.norms(shape.l_max) * shape.n_max, strict=True)
    writes = stores({m: f"{m} * {norm!r}" for m, norm in norms}, "out", f"species * {len(totals)}")
    pair = [
        "low = tl.minimum(species, other)",
        "pair = low * n_species - low * (low - 1) // 2 + tl.maximum(species, other) - low",
        # a square holds the moments twice
        "factor = tl.where(species == other, 2.0, 1.0).to(FLOAT)",
    ]
    text = ""
    own, right = _products_by_order(weights, shape), _moments_by_order(other, shape)
    by_order = _moments_by_order(totals, shape)
    for part, orders in enumerate(parts(shape)):
        body = pair.copy()
        for l in orders:
            body += [f"{reads[name]} * factor" for name in own[l - 1]] + [reads[name] for name in right[l - 1]]
            body += tape.lines([slopes[m] for m in by_order[l - 1]])
            body += [f"{m} += {slopes[m].name}" for m in by_order[l - 1]]
        chosen = [m for l in orders for m in by_order[l - 1]]
        text += f"    if PART == {part}:\n" + block([f"{m} = tl.zeros([BLOCK], FLOAT)" for m in chosen], 2)
        text += "        for other in range(0, n_species):\n" + block(body, 3) + block([writes[m] for m in chosen], 2)
    return (
        "\n@triton.jit\ndef moment_slopes(moments, slopes, out, size, n_sums, n_species, PART: tl.constexpr, "
        "BLOCK: tl.constexpr, FLOAT: tl.constexpr):" + LANES + text
    )
