"""Text of the GPU kernels that go over the bonds of a centre: `moments`, and `bond_slopes` on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any

from potentials.features import Shape
from potentials.kernels import formulas, repulsion
from potentials.kernels.tape import Tape
from potentials.kernels.triton_text import LANES, block, grid, loads, n_moments, stores

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


def _bond(tape: Tape, shape: Shape) -> tuple[Any, list[Any], list[Any]]:
    """Distance, radial functions and bare harmonics of a bond x, y, z (Å)."""
    x, y, z = tape.inputs(["x", "y", "z"])
    distance = tape.step("sqrt", x * x + y * y + z * z)
    inverse = tape.step("reciprocal", distance)
    angle = distance * (pi / shape.cutoff)
    sine, cosine = tape.step("sin", angle), tape.step("cos", angle)
    functions = formulas.radial(distance, sine, cosine, shape.cutoff, max(shape.n_max, shape.n_pair))
    angular = formulas.harmonics(x * inverse, y * inverse, z * inverse, shape.l_max)
    return distance, functions, angular


def moments(shape: Shape) -> str:
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
    for n, row in enumerate(grid(moments, shape)):
        body += [f"{m} += {chosen[n]} * {y.name}" for m, y in zip(row, angular, strict=True)]
    normed = {m: f"{m} * {c!r}" for m, c in zip(moments, norms * shape.n_max, strict=True)}
    return (
        "\n@triton.jit\ndef moments(bonds, bounds, features, out, size, BLOCK: tl.constexpr, FLOAT: tl.constexpr):"
        + LANES
        + NEIGHBOURS
        + block([f"{name} = tl.zeros([BLOCK], FLOAT)" for name in [*sums, *moments]])
        + "    for k in range(0, tl.max(count)):"
        + BOND
        + block(body, 2)
        + block(stores({s: s for s in sums}, "features", f"species * {len(sums)}").values())
        + block(stores(normed, "out", f"species * {len(moments)}").values())
    )


def bond_slopes(shape: Shape) -> str:
    """dE/d(bond), summed in double precision: over the images of one neighbour, and into the virial of the centre."""
    tape = Tape()
    distance, functions, angular = _bond(tape, shape)
    back = [f"b{q}" for q in range(n_moments(shape))]
    sums = [f"s{k}" for k in range(shape.n_pair)]
    weights = [tape.inputs(row) for row in grid(back, shape)]
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
        + block(loads(back, "back", f"species * {len(back)}").values())
        + block(loads(sums, "slopes", f"species * {len(sums)}").values())
        + block(["entry = screening + 4 * (tl.load(kinds + lane, mask=here, other=0) * n_species + species)"])
        + block([f"{name} = tl.load(entry + {q})" for q, name in enumerate(table)])
        + block([f"r{d} = tl.zeros([BLOCK], tl.float64)" for d in "xyz"])
        + block([f"v{d} = tl.zeros([BLOCK], tl.float64)" for d in range(6)])
        + block(["baseline = tl.zeros([BLOCK], tl.float64)"])
        + block(["place = tl.load(places + begin, mask=count > 0, other=-1)"])
        + "    for k in range(0, tl.max(count)):"
        + BOND
        + "        if REPULSION:\n"
        + block(results(both, close.name), 3)
        + "        else:\n"
        + block(results(alone, ""), 3)
        + block([f"v{v} += ({p} * f{q}).to(tl.float64)" for v, (p, q) in enumerate(voigt)], 2)
        + block([f"r{d} += f{d}.to(tl.float64)" for d in "xyz"], 2)
        # the bonds to the images of one neighbour follow each other; the last of them stores their sum
        + block(["following = tl.load(places + begin + k + 1, mask=k + 1 < count, other=-1)"], 2)
        + block(["ends = real & (following != place)"], 2)
        + block([f"tl.store(forces + 3 * place + {c}, r{d}, mask=ends)" for c, d in enumerate("xyz")], 2)
        + block([f"r{d} = tl.where(ends, 0.0, r{d})" for d in "xyz"], 2)
        + block(["place = following"], 2)
        + block(stores({f"v{v}": f"v{v}" for v in range(6)}, "virials", "species * 6").values())
        + block(stores({"baseline": "baseline"}, "repelled", "species").values())
    )
