"""Source of the GPU kernels of one shape of the density descriptor, written from the shared formulas and their gradients.

Every lane of a kernel is one centre, so that its sums run in one order whatever else is in the batch, and no number passes
between lanes. Arrays hold one row per quantity and one column per centre. Moments are stored normed: rows (element, n, lm).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from textwrap import indent
from typing import Any

from potentials.features import Shape
from potentials.kernels import formulas, repulsion
from potentials.kernels.tape import Tape

HEADER = '''"""Kernels for {shape}."""
import triton
import triton.language as tl
'''
LANES = """
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    species = tl.program_id(1)
    here = lane < size
"""
NEIGHBOURS = """
    begin = tl.load(bounds + species * size + lane, mask=here, other=0)
    count = tl.load(bounds + (species + 1) * size + lane, mask=here, other=0) - begin
"""
BOND = """
        real = k < count
        x = tl.load(bonds + 3 * (begin + k), mask=real, other=1.0)
        y = tl.load(bonds + 3 * (begin + k) + 1, mask=real, other=1.0)
        z = tl.load(bonds + 3 * (begin + k) + 2, mask=real, other=1.0)
"""


@cache
def source(shape: Shape) -> str:
    """The module's text: kernels `moments`, `products`, `moment_slopes`, `bond_slopes`."""
    parts = [HEADER.format(shape=shape), _moments(shape), _products(shape), _moment_slopes(shape), _bond_slopes(shape)]
    return "\n".join(parts)


def n_moments(shape: Shape) -> int:
    """Moments of one neighbour element."""
    return shape.n_max * ((shape.l_max + 1) ** 2 - 1)


def _bond(tape: Tape, shape: Shape) -> tuple[Any, list[Any], list[Any]]:
    """Distance, radial functions and bare harmonics of a bond x, y, z (Å)."""
    x, y, z = tape.inputs(["x", "y", "z"])
    distance = tape.step("sqrt", x * x + y * y + z * z)
    inverse = tape.step("reciprocal", distance)
    angle = distance * (3.141592653589793 / shape.cutoff)
    sine, cosine = tape.step("sin", angle), tape.step("cos", angle)
    functions = formulas.radial(distance, sine, cosine, shape.cutoff, max(shape.n_max, shape.n_pair))
    angular = formulas.harmonics(x * inverse, y * inverse, z * inverse, shape.l_max)
    return distance, functions, angular


def _loads(names: Sequence[str], array: str, row: str) -> list[str]:
    return [
        f"{name} = tl.load({array} + ({row} + {q}) * size + lane, mask=here, other=0.0)" for q, name in enumerate(names)
    ]


def _stores(values: Sequence[str], array: str, row: str) -> list[str]:
    return [f"tl.store({array} + ({row} + {q}) * size + lane, {v}, mask=here)" for q, v in enumerate(values)]


def _block(lines: Sequence[str], depth: int = 1) -> str:
    return indent("\n".join(lines), depth * "    ") + "\n"


def _grid(names: Sequence[str], shape: Shape) -> list[list[str]]:
    """Names of one element's moments as (n, lm)."""
    width = len(names) // shape.n_max
    return [list(names[n * width : (n + 1) * width]) for n in range(shape.n_max)]


def _moments(shape: Shape) -> str:
    tape = Tape()
    _, functions, angular = _bond(tape, shape)
    sums = [f"s{k}" for k in range(shape.n_pair)]
    moments = [f"m{q}" for q in range(n_moments(shape))]
    chosen = [f"g{n}" for n in range(shape.n_max)]
    norms = formulas.norms(shape.l_max)
    body = tape.lines([*functions, *angular])
    # bonds beyond the end of a centre's list count for nothing
    body += [f"{g} = tl.where(real, {f.name}, 0.0)" for g, f in zip(chosen, functions, strict=False)]
    for k, s in enumerate(sums):
        body.append(f"{s} += " + (chosen[k] if k < shape.n_max else f"tl.where(real, {functions[k].name}, 0.0)"))
    for n, row in enumerate(_grid(moments, shape)):
        body += [f"{m} += {chosen[n]} * {y.name}" for m, y in zip(row, angular, strict=True)]
    normed = [f"{m} * {c!r}" for row in _grid(moments, shape) for m, c in zip(row, norms, strict=True)]
    return (
        "\n@triton.jit\ndef moments(bonds, bounds, features, out, size, BLOCK: tl.constexpr, FLOAT: tl.constexpr):"
        + LANES
        + NEIGHBOURS
        + _block([f"{name} = tl.zeros([BLOCK], FLOAT)" for name in [*sums, *moments]])
        + "    for k in range(0, tl.max(count)):"
        + BOND
        + _block(body, 2)
        + _block(_stores(sums, "features", f"species * {len(sums)}"))
        + _block(_stores(normed, "out", f"species * {len(moments)}"))
    )


def _orders(names: Sequence[str], shape: Shape) -> list[list[str]]:
    """The same names by l: moments (n, lm), or products (n n', l). Orders do not mix, and one at a time spares registers."""
    if len(names) == shape.n_products:
        return [list(names[l :: shape.l_max]) for l in range(shape.l_max)]
    return [
        [name for row in _grid(names, shape) for name in row[l * l - 1 : (l + 1) ** 2 - 1]]
        for l in range(1, shape.l_max + 1)
    ]


def _products(shape: Shape) -> str:
    """One program per pair of elements, which `pairs` (n, 2) lists."""
    tape = Tape()
    names = [[f"{side}{q}" for q in range(n_moments(shape))] for side in "ab"]
    a, b = ([tape.inputs(row) for row in _grid(side, shape)] for side in names)
    found = formulas.products(a, b, shape.l_max)
    loads = dict(zip(names[0], _loads(names[0], "moments", f"left * {len(names[0])}"), strict=True))
    loads |= dict(zip(names[1], _loads(names[1], "moments", f"right * {len(names[1])}"), strict=True))
    results = {f.name: f for f in found}
    stores = _stores(list(results), "features", f"n_sums + species * {len(found)}")
    body: list[str] = []
    by_order = (_orders(side, shape) for side in (*names, list(results)))
    for left, right, chosen in zip(*by_order, strict=True):
        body += [loads[name] for name in (*left, *right)]
        body += tape.lines([results[name] for name in chosen])
        body += [stores[list(results).index(name)] for name in chosen]
    return (
        "\n@triton.jit\ndef products(moments, pairs, features, size, n_sums, BLOCK: tl.constexpr):"
        + LANES
        + _block(["left = tl.load(pairs + 2 * species)", "right = tl.load(pairs + 2 * species + 1)"])
        + _block(body)
    )


def _moment_slopes(shape: Shape) -> str:
    """dE/d(moments) of one element, normed once more, so that they multiply the bare harmonics."""
    tape = Tape()
    names = [[f"{side}{q}" for q in range(n_moments(shape))] for side in "ab"]
    a, b = ([tape.inputs(row) for row in _grid(side, shape)] for side in names)
    weights = [f"w{q}" for q in range(shape.n_products)]
    found = formulas.products(a, b, shape.l_max)
    energy: Any = sum(w * p for w, p in zip(tape.inputs(weights), found, strict=True))
    slopes: list[Any] = tape.gradient(energy, [symbol for row in a for symbol in row])
    totals = [f"m{q}" for q in range(n_moments(shape))]
    by_total = dict(zip(totals, slopes, strict=True))
    loads = dict(zip(names[1], _loads(names[1], "moments", f"other * {len(names[1])}"), strict=True))
    loads |= dict(zip(weights, _loads(weights, "slopes", f"n_sums + pair * {len(weights)}"), strict=True))
    body = [
        "low = tl.minimum(species, other)",
        "pair = low * n_species - low * (low - 1) // 2 + tl.maximum(species, other) - low",
        # a square holds the moments twice
        "factor = tl.where(species == other, 2.0, 1.0).to(FLOAT)",
    ]
    for own, right, chosen in zip(*(_orders(x, shape) for x in (weights, names[1], totals)), strict=True):
        body += [f"{loads[name]} * factor" for name in own] + [loads[name] for name in right]
        body += tape.lines([by_total[m] for m in chosen])
        body += [f"{m} += {by_total[m].name}" for m in chosen]
    norms = formulas.norms(shape.l_max) * shape.n_max
    normed = [f"{m} * {c!r}" for m, c in zip(totals, norms, strict=True)]
    return (
        "\n@triton.jit\ndef moment_slopes(moments, slopes, out, size, n_sums, n_species, BLOCK: tl.constexpr, "
        "FLOAT: tl.constexpr):"
        + LANES
        + _block([f"{m} = tl.zeros([BLOCK], FLOAT)" for m in totals])
        + "    for other in range(0, n_species):\n"
        + _block(body, 2)
        + _block(_stores(normed, "out", f"species * {len(totals)}"))
    )


def _bond_slopes(shape: Shape) -> str:
    """dE/d(bond), summed in double precision: over the images of one neighbour, and into the virial of the centre."""
    tape = Tape()
    distance, functions, angular = _bond(tape, shape)
    back = [f"b{q}" for q in range(n_moments(shape))]
    sums = [f"s{k}" for k in range(shape.n_pair)]
    weights = [tape.inputs(row) for row in _grid(back, shape)]
    energy: Any = sum(s * f for s, f in zip(tape.inputs(sums), functions, strict=False))
    for lm, harmonic in enumerate(angular):
        energy += harmonic * sum(weights[n][lm] * functions[n] for n in range(shape.n_max))
    rate, strength, inner, width = tape.inputs(["rate", "strength", "inner", "width"])
    within = tape.step("clamp", (distance - inner) * width)
    close = repulsion.screened(distance, rate, strength, within, lambda x: tape.step("exp", x))
    bond = tape.inputs(["x", "y", "z"])
    alone: list[Any] = tape.gradient(energy, bond)
    both: list[Any] = tape.gradient(energy + close, bond)
    voigt = [("x", "x"), ("y", "y"), ("z", "z"), ("y", "z"), ("x", "z"), ("x", "y")]

    def results(slopes: Sequence[Any], repelled: str) -> list[str]:
        return [
            *tape.lines([*slopes, close] if repelled else slopes),
            *(f"f{d} = tl.where(real, {s.name}, 0.0)" for d, s in zip("xyz", slopes, strict=True)),
            *([f"baseline += tl.where(real, {repelled}, 0.0).to(tl.float64)"] if repelled else []),
        ]

    table = ["rate", "strength", "inner", "width"]
    return (
        "\n@triton.jit\ndef bond_slopes(bonds, bounds, places, back, slopes, kinds, screening, forces, virials, repelled, "
        "size, n_species, REPULSION: tl.constexpr, BLOCK: tl.constexpr, FLOAT: tl.constexpr):"
        + LANES
        + NEIGHBOURS
        + _block(_loads(back, "back", f"species * {len(back)}"))
        + _block(_loads(sums, "slopes", f"species * {len(sums)}"))
        + _block(["entry = screening + 4 * (tl.load(kinds + lane, mask=here, other=0) * n_species + species)"])
        + _block([f"{name} = tl.load(entry + {q})" for q, name in enumerate(table)])
        + _block([f"r{d} = tl.zeros([BLOCK], tl.float64)" for d in "xyz"])
        + _block([f"v{d} = tl.zeros([BLOCK], tl.float64)" for d in range(6)])
        + _block(["baseline = tl.zeros([BLOCK], tl.float64)"])
        + _block(["place = tl.load(places + begin, mask=count > 0, other=-1)"])
        + "    for k in range(0, tl.max(count)):"
        + BOND
        + "        if REPULSION:\n"
        + _block(results(both, close.name), 3)
        + "        else:\n"
        + _block(results(alone, ""), 3)
        + _block([f"v{v} += ({p} * f{q}).to(tl.float64)" for v, (p, q) in enumerate(voigt)], 2)
        + _block([f"r{d} += f{d}.to(tl.float64)" for d in "xyz"], 2)
        # the bonds to the images of one neighbour follow each other; the last of them stores their sum
        + _block(["following = tl.load(places + begin + k + 1, mask=k + 1 < count, other=-1)"], 2)
        + _block(["ends = real & (following != place)"], 2)
        + _block([f"tl.store(forces + 3 * place + {c}, r{d}, mask=ends)" for c, d in enumerate("xyz")], 2)
        + _block([f"r{d} = tl.where(ends, 0.0, r{d})" for d in "xyz"], 2)
        + _block(["place = following"], 2)
        + _block(_stores([f"v{v}" for v in range(6)], "virials", "species * 6"))
        + _block(_stores(["baseline"], "repelled", "species"))
    )
