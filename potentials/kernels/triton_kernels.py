"""The GPU kernels in Triton: those that every descriptor shares, and those written for one shape of the density. Triton's home.

A lane is a pair of atoms, a centre or a crystal; it adds in a fixed order and shares no address with another lane.
TRITON_INTERPRET=1 in the environment, set before this is imported, runs them on the processor, slowly.
"""

from __future__ import annotations

import linecache
import os
from functools import cache
from types import SimpleNamespace
from typing import Any

import triton
import triton.language as tl

from potentials.features import Shape
from potentials.kernels.triton_source import source

FLOATS = {"torch.float32": tl.float32, "torch.float64": tl.float64}
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

# of the kernels where a lane keeps the moments of an element in registers: 64 lanes of at most 255
WIDE: dict[str, Any] = {"BLOCK": 64, "num_warps": 2, "enable_fp_fusion": True}
# of the others; products and sums are not fused where two launches must decide alike
PLAIN: dict[str, Any] = {"BLOCK": 128, "num_warps": 4, "enable_fp_fusion": False}
NETWORK_TILE = 4096  # centres times lanes of one program
if INTERPRETED:  # the time goes by operations, not by lanes
    WIDE["BLOCK"], PLAIN["BLOCK"], NETWORK_TILE = 256, 1024, 2**14


@cache
def of_shape(shape: Shape) -> Any:
    """The kernels that `potentials.kernels.triton_source` writes for this shape."""
    text = source(shape)
    name = f"<density {shape.cutoff} {shape.n_max} {shape.l_max} {shape.n_pair}>"  # in ASCII: the assembler reads it
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # Triton reads the source again
    found: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, name, "exec"), found)
    return SimpleNamespace(**{k: v for k, v in found.items() if not k.startswith("_")})


@triton.jit
def images(
    positions,  # (n_atoms, 3) float64 Å
    vectors,  # (n_crystals, 3, 3) float64 Å
    first,  # (size,) atoms of every pair, and their crystal
    second,
    which,
    low,  # (size, 3) float64, the first image of each pair along each vector
    counts,  # (size, 3) float64, images along each vector
    starts,  # (size,) where the bonds of a pair begin; not read unless FILL
    found,  # (size,) number of bonds; not written when FILL
    nearest,  # (size,) float64 Å², the shortest of them; not written when FILL
    bonds,  # (n_bonds, 3) Å
    places,  # (n_bonds,) the pair of each bond
    size,
    CUTOFF: tl.constexpr,  # Å; a plain argument would be rounded to single precision
    FILL: tl.constexpr,
    BLOCK: tl.constexpr,
    FLOAT: tl.constexpr,
):
    """Images of the second atom of every pair within the cut-off of the first; counted, then written."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = lane < size
    i = tl.load(first + lane, mask=here, other=0)
    j = tl.load(second + lane, mask=here, other=0)
    crystal = tl.load(which + lane, mask=here, other=0)
    cell = vectors + 9 * crystal
    ax, ay, az = tl.load(cell), tl.load(cell + 1), tl.load(cell + 2)
    bx, by, bz = tl.load(cell + 3), tl.load(cell + 4), tl.load(cell + 5)
    cx, cy, cz = tl.load(cell + 6), tl.load(cell + 7), tl.load(cell + 8)
    dx = tl.load(positions + 3 * j) - tl.load(positions + 3 * i)
    dy = tl.load(positions + 3 * j + 1) - tl.load(positions + 3 * i + 1)
    dz = tl.load(positions + 3 * j + 2) - tl.load(positions + 3 * i + 2)
    low_a = tl.load(low + 3 * lane, mask=here, other=0.0)
    low_b = tl.load(low + 3 * lane + 1, mask=here, other=0.0)
    low_c = tl.load(low + 3 * lane + 2, mask=here, other=0.0)
    n_a = tl.load(counts + 3 * lane, mask=here, other=0.0)
    n_b = tl.load(counts + 3 * lane + 1, mask=here, other=0.0)
    n_c = tl.load(counts + 3 * lane + 2, mask=here, other=0.0)
    last_b, last_c = low_b + (n_b - 1.0), low_c + (n_c - 1.0)
    total = (n_a * n_b * n_c).to(tl.int32)
    a, b, c = low_a, low_b, low_c
    hits = tl.zeros([BLOCK], tl.int64)
    shortest = tl.zeros([BLOCK], tl.float64) + CUTOFF * CUTOFF
    if FILL:
        begin = tl.load(starts + lane, mask=here, other=0)
        total = tl.where(tl.load(found + lane, mask=here, other=0) > 0, total, 0)
    for k in range(0, tl.max(total)):
        x = dx + (a * ax + b * bx + c * cx)
        y = dy + (a * ay + b * by + c * cy)
        z = dz + (a * az + b * bz + c * cz)
        square = x * x + y * y + z * z
        itself = (i == j) & (a == 0.0) & (b == 0.0) & (c == 0.0)
        hit = (k < total) & (square < CUTOFF * CUTOFF) & (itself == 0)
        if FILL:
            at = begin + hits
            tl.store(bonds + 3 * at, x.to(FLOAT), mask=hit)
            tl.store(bonds + 3 * at + 1, y.to(FLOAT), mask=hit)
            tl.store(bonds + 3 * at + 2, z.to(FLOAT), mask=hit)
            tl.store(places + at, lane, mask=hit)
        else:
            shortest = tl.where(hit, tl.minimum(shortest, square), shortest)
        hits += hit.to(tl.int64)
        line_ends = c == last_c  # the next image: c runs fastest, then b
        plane_ends = line_ends & (b == last_b)
        c = tl.where(line_ends, low_c, c + 1.0)
        b = tl.where(plane_ends, low_b, tl.where(line_ends, b + 1.0, b))
        a = tl.where(plane_ends, a + 1.0, a)
    if not FILL:
        tl.store(found + lane, hits, mask=here)
        tl.store(nearest + lane, shortest, mask=here)


@triton.jit
def hyperbolic_tangent(x):
    e = tl.exp(-2.0 * tl.abs(x))
    t = (1.0 - e) / (1.0 + e)
    return tl.where(x < 0.0, -t, t)


@triton.jit
def network(
    features,  # (n_features, size)
    weights,  # (n_species, n_features, LANES)
    biases,  # (n_species, LANES)
    outputs,  # (n_species, LANES) eV
    owners,  # (LANES,) the member that a lane belongs to
    shifts,  # (n_species, members) float64 eV
    slopes,  # (n_features, size) dE/d(feature) of the mean over the members
    energies,  # (members, size) float64 eV
    size,
    first,  # the centres of one element
    last,
    kind,
    n_features,
    members,
    LANES: tl.constexpr,
    ADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    FLOAT: tl.constexpr,
):
    """One hidden layer of any lanes, of all members at once: shift + sum over lanes of output tanh(a).

    ADDED: units of a widened block, the sum over lanes of output (tanh(a) - tanh(bias)), come on top of what is there.
    """
    slot = first + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = slot < last
    lane = tl.arange(0, LANES)
    bias = tl.load(biases + kind * LANES + lane)
    inputs = bias[None, :] + tl.zeros([BLOCK, LANES], FLOAT)
    own = weights + kind * n_features * LANES + lane
    for d in range(0, n_features):
        f = tl.load(features + d * size + slot, mask=here, other=0.0)
        inputs += f[:, None] * tl.load(own + d * LANES)[None, :]
    t = hyperbolic_tangent(inputs)
    output = tl.load(outputs + kind * LANES + lane)
    if ADDED:
        terms = output[None, :] * (t - hyperbolic_tangent(bias)[None, :])
    else:
        terms = output[None, :] * t
    owner = tl.load(owners + lane)
    for m in range(0, members):
        mine = tl.where((owner == m)[None, :], terms, 0.0).to(tl.float64)
        if ADDED:
            energy = tl.load(energies + m * size + slot, mask=here, other=0.0) + tl.sum(mine, axis=1)
        else:
            energy = tl.sum(mine, axis=1) + tl.load(shifts + kind * members + m)
        tl.store(energies + m * size + slot, energy, mask=here)
    back = (output / members)[None, :] * (1.0 - t * t)
    for d in range(0, n_features):
        slope = tl.sum(back * tl.load(own + d * LANES)[None, :], axis=1)
        if ADDED:
            slope += tl.load(slopes + d * size + slot, mask=here, other=0.0)
        tl.store(slopes + d * size + slot, slope.to(FLOAT), mask=here)


@triton.jit
def powers(r, knots, factors, entry, n: tl.constexpr, DEGREE: tl.constexpr):
    """Sum of factor (knot - r)^DEGREE over the knots beyond r, and its slope; `entry` of so many knots each."""
    value = r * 0.0
    slope = r * 0.0
    for k in tl.static_range(n):
        inside = tl.maximum(tl.load(knots + entry * n + k) - r, 0.0)
        lower = tl.load(factors + entry * n + k) * inside * inside
        if DEGREE == 4:
            lower = lower * inside
        value += lower * inside
        slope -= DEGREE * lower
    return value, slope


@triton.jit
def neighbours(bounds, species, size, lane, here):
    """The first bond of each centre to one element, and how many there are."""
    begin = tl.load(bounds + species * size + lane, mask=here, other=0)
    return begin, tl.load(bounds + (species + 1) * size + lane, mask=here, other=0) - begin


@triton.jit
def bond(bonds, at, real):
    """One bond of each lane and its length, Å."""
    x = tl.load(bonds + 3 * at, mask=real, other=1.0)
    y = tl.load(bonds + 3 * at + 1, mask=real, other=1.0)
    z = tl.load(bonds + 3 * at + 2, mask=real, other=1.0)
    return x, y, z, tl.sqrt(x * x + y * y + z * z)


@triton.jit
def embedded_sums(
    bonds,  # (n_bonds, 3) Å
    bounds,  # (n_species + 1, size) first bond of a centre to each element
    kinds,  # (size,) of the centres
    pair_knots,  # (n_species, n_species, N_PAIR) Å
    halves,  # the same, eV/Å^DEGREE
    density_knots,  # (n_species, n_species, N_DENSITY) Å
    densities,  # the same, 1/Å^DEGREE
    sums,  # (n_species, 2, size) float64: half of the pair energies (eV), density
    size,
    n_species,
    N_PAIR: tl.constexpr,
    N_DENSITY: tl.constexpr,
    DEGREE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """What the bonds of a centre to one element say in the embedded-atom potential under the networks."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    species = tl.program_id(1)
    here = lane < size
    begin, count = neighbours(bounds, species, size, lane, here)
    entry = tl.load(kinds + lane, mask=here, other=0) * n_species + species
    energy = tl.zeros([BLOCK], tl.float64)
    density = tl.zeros([BLOCK], tl.float64)
    for k in range(0, tl.max(count)):
        real = k < count
        _x, _y, _z, r = bond(bonds, begin + k, real)
        half, _ = powers(r, pair_knots, halves, entry, N_PAIR, DEGREE)
        rho, _ = powers(r, density_knots, densities, entry, N_DENSITY, DEGREE)
        energy += tl.where(real, half, 0.0).to(tl.float64)
        density += tl.where(real, rho, 0.0).to(tl.float64)
    tl.store(sums + 2 * species * size + lane, energy, mask=here)
    tl.store(sums + (2 * species + 1) * size + lane, density, mask=here)


@triton.jit
def embedded_slopes(
    bonds,  # as above, to `densities`
    bounds,
    kinds,
    pair_knots,
    halves,
    density_knots,
    densities,
    first,  # (size,) derivative of the embedding by the density, eV
    places,  # (n_bonds,) the pair of each bond
    forces,  # (n_pairs, 3) float64 eV/Å, dE_i/d(bond) summed over the images of j; comes on top
    virials,  # (n_species, 6, size) float64 eV, xx, yy, zz, yz, xz, xy; comes on top
    size,
    n_species,
    N_PAIR: tl.constexpr,
    N_DENSITY: tl.constexpr,
    DEGREE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The way back from there to the bonds."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    species = tl.program_id(1)
    here = lane < size
    begin, count = neighbours(bounds, species, size, lane, here)
    entry = tl.load(kinds + lane, mask=here, other=0) * n_species + species
    bent = tl.load(first + lane, mask=here, other=0.0)
    for k in range(0, tl.max(count)):
        real = k < count
        x, y, z, r = bond(bonds, begin + k, real)
        _, half = powers(r, pair_knots, halves, entry, N_PAIR, DEGREE)
        _, rho = powers(r, density_knots, densities, entry, N_DENSITY, DEGREE)
        push = tl.where(real, (half + bent * rho) / r, 0.0).to(tl.float64)
        fx = push * x
        fy = push * y
        fz = push * z
        # one lane alone has this pair, and takes its bonds one after the other
        at = forces + 3 * tl.load(places + begin + k, mask=real, other=0)
        tl.store(at, tl.load(at, mask=real, other=0.0) + fx, mask=real)
        tl.store(at + 1, tl.load(at + 1, mask=real, other=0.0) + fy, mask=real)
        tl.store(at + 2, tl.load(at + 2, mask=real, other=0.0) + fz, mask=real)
        own = virials + 6 * species * size + lane
        tl.store(own, tl.load(own, mask=real, other=0.0) + x * fx, mask=real)
        tl.store(own + size, tl.load(own + size, mask=real, other=0.0) + y * fy, mask=real)
        tl.store(own + 2 * size, tl.load(own + 2 * size, mask=real, other=0.0) + z * fz, mask=real)
        tl.store(own + 3 * size, tl.load(own + 3 * size, mask=real, other=0.0) + y * fz, mask=real)
        tl.store(own + 4 * size, tl.load(own + 4 * size, mask=real, other=0.0) + x * fz, mask=real)
        tl.store(own + 5 * size, tl.load(own + 5 * size, mask=real, other=0.0) + x * fy, mask=real)


@triton.jit
def reactions(
    pairs,  # (n_pairs, 3) float64 eV/Å, dE_i/d(bond) summed over the images of j
    starts,  # (size,) the pair (i, 0) of each atom
    columns,  # (size,) the place of each atom in its crystal
    sizes,  # (size,) atoms of its crystal
    forces,  # (size, 3) float64 eV/Å
    size,
    BLOCK: tl.constexpr,
):
    """What every atom feels: the slopes of its own energy less those of its neighbours' energies."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = lane < size
    start = tl.load(starts + lane, mask=here, other=0)
    column = tl.load(columns + lane, mask=here, other=0)
    n = tl.load(sizes + lane, mask=here, other=0)
    corner = start - column * n  # the pair (0, 0) of the crystal
    fx = tl.zeros([BLOCK], tl.float64)
    fy = tl.zeros([BLOCK], tl.float64)
    fz = tl.zeros([BLOCK], tl.float64)
    for k in range(0, tl.max(n)):
        real = k < n
        own = pairs + 3 * (start + k)
        other = pairs + 3 * (corner + k * n + column)
        fx += tl.load(own, mask=real, other=0.0) - tl.load(other, mask=real, other=0.0)
        fy += tl.load(own + 1, mask=real, other=0.0) - tl.load(other + 1, mask=real, other=0.0)
        fz += tl.load(own + 2, mask=real, other=0.0) - tl.load(other + 2, mask=real, other=0.0)
    tl.store(forces + 3 * lane, fx, mask=here)
    tl.store(forces + 3 * lane + 1, fy, mask=here)
    tl.store(forces + 3 * lane + 2, fz, mask=here)


@triton.jit
def crystal_sums(
    values,  # (rows, n_atoms) float64
    offsets,  # (size + 1,)
    out,  # (size, rows) float64
    n_atoms,
    size,
    rows,
    BLOCK: tl.constexpr,
):
    """Sums over the atoms of every crystal, one atom after the other."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.program_id(1)
    here = lane < size
    begin = tl.load(offsets + lane, mask=here, other=0)
    count = tl.load(offsets + lane + 1, mask=here, other=0) - begin
    total = tl.zeros([BLOCK], tl.float64)
    for k in range(0, tl.max(count)):
        total += tl.load(values + row * n_atoms + begin + k, mask=k < count, other=0.0)
    tl.store(out + lane * rows + row, total, mask=here)
