"""The density descriptor and one hidden layer on a GPU, in Triton: energies, forces and stresses of a whole batch.

Bonds come from positions in double precision; what is made of them (features, network, slopes) is single, or double when
asked; sums of energies, forces and stresses are double. No number passes between crystals, and every sum has one order, so
that a crystal's bits do not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from potentials import memory
from potentials.kernels import triton_kernels
from potentials.kernels.embedded import LEAST_DENSITY
from potentials.kernels.formulas import smooth_step, smooth_step_slope
from potentials.kernels.gupta import GuptaModel
from potentials.kernels.neighbours import MOST_NEIGHBOURS, Candidates, candidates
from potentials.kernels.signature import ModelLike, species_indices
from potentials.kernels.triton_kernels import NETWORK_TILE, PLAIN, WIDE
from potentials.kernels.triton_model import Atoms, Lanes, Packed, SetLanes, on_device, pack, portions
from potentials.kernels.triton_products import parts
from potentials.kernels.triton_text import n_moments
from potentials.structures import Prediction, Structures

VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]  # of the components of a 3 x 3 tensor


def evaluate(structures: Structures, model: ModelLike | GuptaModel, device: str, double: bool = False) -> Prediction:
    """Energies, forces and stresses of every crystal, as many at a time as the device holds; NaN where there are none."""
    assert not isinstance(model, GuptaModel)  # refused at the door of the package
    packed = pack(model, device, torch.float64 if double else torch.float32)
    parts = [_evaluate(part, model, packed) for part in portions(structures, packed)]
    return memory.join_predictions(parts)


def _over(size: int, block: int, second: int = 1) -> tuple[int, int]:
    return (-(-size // block), second)


def _evaluate(structures: Structures, model: ModelLike, packed: Packed) -> Prediction:
    where, (n, members) = packed.device, packed.shifts.shape
    kinds = packed.places[on_device(structures.numbers, where)]
    if bool((kinds < 0).any()):
        species_indices(structures, model.species)  # names the element
    sizes, offsets = on_device(structures.sizes, where), on_device(structures.offsets, where)
    crystal = torch.repeat_interleave(torch.arange(len(sizes), device=where), sizes)
    # atoms of a crystal by element: the bonds of a centre to one element lie together
    order = torch.argsort(crystal * n + kinds, stable=True)
    kinds, n_atoms = kinds[order], len(order)
    if not n_atoms:
        return Prediction(np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, members)), np.zeros(0))
    positions, cells, periodic = (
        on_device(a, where) for a in (structures.positions, structures.cells, structures.periodic)
    )
    boxes = candidates(positions[order], cells, periodic, sizes, packed.shape.cutoff)
    own = sizes[crystal]
    columns = torch.arange(n_atoms, device=where) - offsets[crystal]
    rows = torch.cumsum(own, 0) - own  # the pair (i, 0) of every atom
    ends, bonds, places = _bonds(positions[order], boxes, rows, own, packed)

    # centres by element, so that a block of them has one set of weights
    slots = torch.argsort(kinds, stable=True)
    slot_of = torch.empty_like(slots)
    slot_of[slots] = torch.arange(n_atoms, device=where)
    counts = torch.zeros(len(sizes), n, dtype=torch.int64, device=where)
    counts.view(-1).index_add_(0, crystal * n + kinds, torch.ones_like(kinds))
    groups = torch.nn.functional.pad(torch.cumsum(counts, 1), (1, 0))  # (n_crystals, n + 1) first atom of each element
    bounds = ends[rows[slots] + groups[crystal[slots]].T].contiguous()  # (n + 1, n_atoms) first bond to each element

    features, moments = _describe(packed, bonds, bounds, n_atoms)
    energies, slopes = _network(packed, features, torch.bincount(kinds, minlength=n).tolist(), members)
    forces, virials, repelled = _pull(packed, bonds, bounds, places, moments, slopes, kinds[slots], len(boxes.first))

    felt = torch.empty(n_atoms, 3, dtype=torch.float64, device=where)
    triton_kernels.reactions[_over(n_atoms, PLAIN["BLOCK"])](forces, rows, columns, own, felt, n_atoms, **PLAIN)
    members_and_virials = _by_crystal(torch.cat([energies + repelled, virials])[:, slot_of], offsets)
    atomic = _total(energies) / members + repelled
    back = torch.empty_like(order)
    back[order] = torch.arange(n_atoms, device=where)
    return _prediction(
        members_and_virials, felt[back], atomic[slot_of][back], boxes.failed, cells, periodic, sizes, members
    )


def _total(rows: Tensor) -> Tensor:
    """The sum over the rows, one after the other whatever their length."""
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return total


def _bonds(
    positions: Tensor, boxes: Candidates, rows: Tensor, own: Tensor, packed: Packed
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the bonds of every pair begin (n_pairs + 1,), the bonds (n_bonds, 3) Å, and the pair of each.

    Marks crystals with too many neighbours, or two atoms in one place, as failed; they have no bonds.
    """
    n_pairs, where = len(boxes.first), positions.device
    precision = packed.precision
    found = torch.empty(n_pairs, dtype=torch.int64, device=where)
    nearest = torch.empty(n_pairs, dtype=torch.float64, device=where)
    nothing = torch.empty(0, 3, dtype=precision, device=where)
    boxed = (positions, boxes.vectors, boxes.first, boxes.second, boxes.crystal, boxes.low, boxes.counts)
    options: dict[str, Any] = {"CUTOFF": packed.shape.cutoff, "FLOAT": _float(precision), **PLAIN}
    grid = _over(n_pairs, PLAIN["BLOCK"])
    triton_kernels.images[grid](*boxed, found, found, nearest, nothing, found, n_pairs, FILL=False, **options)
    ends = torch.nn.functional.pad(torch.cumsum(found, 0), (1, 0))
    boxes.failed[boxes.crystal[nearest < 1e-12]] = True
    crowded = ends[rows + own] - ends[rows] > MOST_NEIGHBOURS
    boxes.failed[boxes.crystal[rows[crowded]]] = True
    found = torch.where(boxes.failed[boxes.crystal], 0, found)
    ends = torch.nn.functional.pad(torch.cumsum(found, 0), (1, 0))
    n_bonds = int(ends[-1])
    bonds = torch.empty(n_bonds, 3, dtype=precision, device=where)
    places = torch.empty(n_bonds, dtype=torch.int64, device=where)
    triton_kernels.images[grid](*boxed, ends, found, nearest, bonds, places, n_pairs, FILL=True, **options)
    return ends, bonds, places


def _float(precision: torch.dtype) -> Any:
    return triton_kernels.FLOATS[str(precision)]


def _describe(packed: Packed, bonds: Tensor, bounds: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Features (n_features, size) and moments (n_species * n_moments, size) of every centre."""
    n, shape = packed.n_species, packed.shape
    precision, where = packed.precision, packed.device
    kernels = triton_kernels.of_shape(shape)
    features = torch.empty(packed.n_features, size, dtype=precision, device=where)
    moments = torch.empty(n * n_moments(shape), size, dtype=precision, device=where)
    grid = _over(size, WIDE["BLOCK"], n)
    kernels.moments[grid](bonds, bounds, features, moments, size, FLOAT=_float(precision), **WIDE)
    grid = _over(size, WIDE["BLOCK"], len(packed.pairs))
    kernels.products[grid](moments, packed.pairs, features, size, n * shape.n_pair, **WIDE)
    return features, moments


def _network(packed: Packed, features: Tensor, counts: list[int], members: int) -> tuple[Tensor, Tensor]:
    """Energies (members, size) eV and slopes (n_features, size) of centres that are sorted by element."""
    slopes = torch.empty_like(features)
    energies = torch.empty(members, features.shape[1], dtype=torch.float64, device=features.device)
    ends = np.cumsum([0, *counts]).tolist()
    runs = [(kind, first, end) for kind, (first, end) in enumerate(pairwise(ends)) if end > first]
    for run in runs:
        _layer(packed.lanes, packed.shifts, features, slopes, energies, run)
        nets = [net for net in packed.refined if net.kind == run[0]]
        if nets:
            _blend(packed, nets, features, slopes, energies, run)
    for lanes in packed.added:
        for run in runs:
            _layer(lanes, packed.shifts, features, slopes, energies, run, added=True)
    return energies, slopes


def _layer(
    lanes: Lanes,
    shifts: Tensor,
    features: Tensor,
    slopes: Tensor,
    energies: Tensor,
    run: tuple[int, int, int],
    added: bool = False,
) -> None:
    """Writes, or adds, what these units say of the centres of one element: its place, the first centre, the end."""
    kind, first, end = run
    width, (n_features, size) = lanes.biases.shape[1], features.shape
    model = (lanes.weights, lanes.biases, lanes.outputs, lanes.owners, shifts)
    options: dict[str, Any] = {**PLAIN, "enable_fp_fusion": True, "BLOCK": max(1, NETWORK_TILE // width)}
    options |= {"LANES": width, "ADDED": added, "FLOAT": _float(features.dtype)}
    where = (size, first, end, kind, n_features, len(energies))
    triton_kernels.network[_over(end - first, options["BLOCK"])](features, *model, slopes, energies, *where, **options)


def _blend(
    packed: Packed,
    nets: Sequence[SetLanes],
    features: Tensor,
    slopes: Tensor,
    energies: Tensor,
    run: tuple[int, int, int],
) -> None:
    """The networks of sets of elements take their shares of the centres of one element (see `potentials.network`)."""
    kind, first, end = run
    part = slice(first, end)
    rows = {y: y * packed.shape.n_pair for y in range(packed.n_species) if y != kind}
    inside = {y: torch.clamp(features[row, part].double() / packed.shape.sight, max=1.0) for y, row in rows.items()}
    seen = {y: smooth_step(u) for y, u in inside.items()}
    changing = torch.stack([(u > 0) & (u < 1) for u in inside.values()]).any(0)
    shared, shared_slopes = energies[:, part].clone(), slopes[:, part].clone()
    total, by_feature = torch.zeros_like(shared), torch.zeros_like(shared_slopes)
    rest = torch.ones_like(shared[0])
    pulls = {y: torch.zeros_like(rest) for y in rows}
    said, said_slopes = torch.empty_like(energies), torch.empty_like(slopes)
    for net in nets:
        factors = {y: view if y in net.others else 1.0 - view for y, view in seen.items()}
        share = _product(factors.values(), rest)
        if not bool(((share > 0) | changing).any()):
            continue  # it adds zero to every centre
        _layer(net.lanes, net.shifts, features, said_slopes, said, (0, first, end))
        total += share * said[:, part]
        by_feature += (share * said_slopes[:, part]).to(by_feature.dtype)
        rest = rest - share
        gain = (_total(said[:, part]) - _total(shared)) / len(energies)
        for y in rows:
            without = _product((f for x, f in factors.items() if x != y), rest)
            pulls[y] += (gain if y in net.others else -gain) * without
    energies[:, part] = total + rest * shared
    slopes[:, part] = by_feature + (rest * shared_slopes).to(by_feature.dtype)
    for y, row in rows.items():
        slopes[row, part] += (pulls[y] * smooth_step_slope(inside[y]) / packed.shape.sight).to(slopes.dtype)


def _product(factors: Iterable[Tensor], like: Tensor) -> Tensor:
    """One after the other: a factor of one, of an element that is not there, changes no bit."""
    result = torch.ones_like(like)
    for factor in factors:
        result = result * factor
    return result


def _pull(
    packed: Packed,
    bonds: Tensor,
    bounds: Tensor,
    places: Tensor,
    moments: Tensor,
    slopes: Tensor,
    kinds: Tensor,
    n_pairs: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """dE_i/d(bond) of every pair (n_pairs, 3), virials (6, size) and baseline (size,) of every centre; eV, eV/Å."""
    n, size = packed.n_species, len(kinds)
    where, precision = moments.device, moments.dtype
    kernels, grid = triton_kernels.of_shape(packed.shape), _over(size, WIDE["BLOCK"], n)
    options: dict[str, Any] = {"FLOAT": _float(precision), **WIDE}
    back = torch.empty_like(moments)
    for part in range(len(parts(packed.shape))):
        kernels.moment_slopes[grid](moments, slopes, back, size, n * packed.shape.n_pair, n, PART=part, **options)
    forces = torch.zeros(n_pairs, 3, dtype=torch.float64, device=where)
    virials = torch.empty(n, 6, size, dtype=torch.float64, device=where)
    repelled = torch.empty(n, size, dtype=torch.float64, device=where)
    arrays = (bonds, bounds, places, back, slopes, kinds, packed.screening, forces, virials, repelled)
    kernels.bond_slopes[grid](*arrays, size, n, REPULSION=packed.repulsion, **options)
    below = _total(repelled)
    if packed.embedded is not None:
        below = below + _embed(packed.embedded, bonds, bounds, places, kinds, forces, virials)
    return forces, _total(virials), below


def _embed(
    atoms: Atoms, bonds: Tensor, bounds: Tensor, places: Tensor, kinds: Tensor, forces: Tensor, virials: Tensor
) -> Tensor:
    """(size,) eV of every centre in the embedded-atom potential; its slopes come on top of `forces` and `virials`."""
    n, size = len(atoms.embedding), len(kinds)
    grid, where = _over(size, PLAIN["BLOCK"], n), (size, n)
    options: dict[str, Any] = {"N_PAIR": atoms.tables[0].shape[2], "N_DENSITY": atoms.tables[2].shape[2]}
    options |= {"DEGREE": atoms.degree, **PLAIN}
    sums = torch.empty(n, 2, size, dtype=torch.float64, device=bonds.device)
    triton_kernels.embedded_sums[grid](bonds, bounds, kinds, *atoms.tables, sums, *where, **options)
    halves, rho = _total(sums)
    strength, linear, square, free = atoms.embedding[kinds].T
    root = torch.sqrt(rho + LEAST_DENSITY)
    first = (-0.5 * strength / root + linear + 2 * square * rho).to(bonds.dtype)
    arrays = (*atoms.tables, first, places, forces, virials)
    triton_kernels.embedded_slopes[grid](bonds, bounds, kinds, *arrays, *where, **options)
    return halves + free - strength * root + linear * rho + square * rho**2


def _by_crystal(values: Tensor, offsets: Tensor) -> Tensor:
    """(n_crystals, rows) sums of (rows, n_atoms)."""
    rows, n_atoms = values.shape
    n_crystals = len(offsets) - 1
    sums = torch.empty(n_crystals, rows, dtype=torch.float64, device=values.device)
    grid = _over(n_crystals, PLAIN["BLOCK"], rows)
    triton_kernels.crystal_sums[grid](values.contiguous(), offsets, sums, n_atoms, n_crystals, rows, **PLAIN)
    return sums


def _prediction(
    sums: Tensor,
    forces: Tensor,
    atomic: Tensor,
    failed: Tensor,
    cells: Tensor,
    periodic: Tensor,
    sizes: Tensor,
    members: int,
) -> Prediction:
    a, b, c = torch.nan_to_num(cells).unbind(1)
    volumes = (a * torch.linalg.cross(b, c)).sum(1).abs()
    strained = periodic.any(1) & (volumes > 0.0)
    volumes = torch.where(strained & ~failed, volumes, 1.0)
    stresses = torch.where(strained[:, None], sums[:, members:] / volumes[:, None], 0.0)[:, VOIGT].reshape(-1, 3, 3)
    energies = sums[:, :members].clone()
    lost = torch.repeat_interleave(failed, sizes)
    energies[failed], stresses[failed], forces[lost], atomic[lost] = torch.nan, torch.nan, torch.nan, torch.nan
    by_member, felt, stress, by_atom = (x.cpu().numpy() for x in (energies, forces, stresses, atomic))
    return Prediction(by_member.mean(axis=1), felt, stress, by_member, by_atom)
