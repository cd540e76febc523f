"""Neighbours of every atom within a cut-off, in torch: exact for small, skewed and partly periodic cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from potentials.structures import Floats, Ints, Structures

MOST_NEIGHBOURS = 3000  # of one atom; more means a collapsed cell
MOST_IN_PAIRS = 1000  # the same where pairs of neighbours are formed
MOST_IMAGES = 4_000_000  # candidates of one pair of atoms; more means a cell without extent
MOST_WORK = 200_000_000  # candidates of one crystal
SLICE = 4_000_000  # candidates examined at a time, bounds the memory


@dataclass(frozen=True)
class Neighbours:
    """Pairs i -> j, i ascending, in a padded table; d = x_j - x_i + shift."""

    others: Tensor  # (n_atoms, width) index of j; i itself where there is no neighbour
    shifts: Tensor  # (n_atoms, width, 3) Å
    real: Tensor  # (n_atoms, width) False where there is no neighbour
    incoming: Tensor  # (n_atoms, width) places in the flattened table where this atom is j
    incoming_real: Tensor  # (n_atoms, width)
    failed: Tensor  # (n_crystals,) True where the crystal cannot be evaluated


@dataclass(frozen=True)
class Candidates:
    """Every ordered pair i, j of atoms of one crystal (i, i included), i ascending, then j; its images form a box."""

    first: Tensor  # (n_pairs,) i
    second: Tensor  # (n_pairs,) j
    crystal: Tensor  # (n_pairs,)
    low: Tensor  # (n_pairs, 3) float64, the first image along each vector
    counts: Tensor  # (n_pairs, 3) images along each vector; none in crystals that failed
    vectors: Tensor  # (n_crystals, 3, 3) Å, zero where the axis is not periodic
    failed: Tensor  # (n_crystals,) True where the crystal cannot be evaluated


def candidates(positions: Tensor, cells: Tensor, periodic: Tensor, sizes: Tensor, cutoff: float) -> Candidates:
    """All pairs with every image that may be closer than `cutoff` (Å); absurd crystals are marked and have none.

    positions (n_atoms, 3) Å, cells (n_crystals, 3, 3) Å, periodic (n_crystals, 3), sizes (n_crystals,) atoms of each.
    """
    device = positions.device
    crystal = torch.repeat_interleave(torch.arange(len(sizes), device=device), sizes)
    vectors = torch.where(periodic[:, :, None], cells, 0.0)
    failed = ~torch.isfinite(vectors).all(2).all(1)
    failed[crystal[~torch.isfinite(positions).all(1)]] = True
    vectors = torch.where(failed[:, None, None], 0.0, vectors)
    duals, collapsed = _duals(vectors, periodic)
    failed |= collapsed

    first, second, which = _pairs(sizes)
    fraction = ((positions[second] - positions[first])[:, None, :] * duals[which]).sum(2)
    reach = cutoff * duals.norm(dim=2)[which] + 1e-9
    low = torch.where(reach > 1e-9, torch.ceil(-fraction - reach), 0.0)
    high = torch.where(reach > 1e-9, torch.floor(-fraction + reach), 0.0)
    counts = (high - low + 1).clamp(min=0.0)
    images = counts.prod(1)
    failed[which[~(images <= MOST_IMAGES)]] = True
    # whole numbers: their sum is exact in any order
    failed |= images.new_zeros(len(failed)).index_add_(0, which, images.nan_to_num(0.0)) > MOST_WORK
    return Candidates(first, second, which, low, torch.where(failed[which][:, None], 0.0, counts), vectors, failed)


def neighbours(structures: Structures, cutoff: float, device: torch.device, most: int = MOST_NEIGHBOURS) -> Neighbours:
    """All pairs closer than `cutoff` (Å), images included; absurd crystals are marked, not searched."""
    positions, cells, periodic, sizes = (
        torch.as_tensor(a, device=device)
        for a in (structures.positions, structures.cells, structures.periodic, structures.sizes)
    )
    boxes = candidates(positions, cells, periodic, sizes, cutoff)
    failed, images = boxes.failed, boxes.counts.prod(1)
    crystal = torch.repeat_interleave(torch.arange(len(sizes), device=device), sizes)
    keep = images > 0
    first, second, which, low, counts = (
        x[keep] for x in (boxes.first, boxes.second, boxes.crystal, boxes.low, boxes.counts)
    )
    found = [
        _within(positions, boxes.vectors, cutoff, *(x[s] for x in (first, second, which, low, counts)))
        for s in _slices(counts.prod(1))
    ]
    first, second, shifts, touching = (torch.cat([f[k] for f in found]) for k in range(4))
    failed[crystal[first[touching]]] = True
    crowded = torch.bincount(first, minlength=len(positions)) > most
    failed[crystal[crowded]] = True
    keep = ~failed[crystal[first]]
    return _table(first[keep], second[keep], shifts[keep], failed, len(positions))


def bonds(structures: Structures, cutoff: float) -> tuple[Ints, Ints, Floats, NDArray[np.bool_]]:
    """Places i, ascending, and j of every pair i -> j closer than `cutoff` (Å), x_j - x_i (n_bonds, 3) Å, and which crystals
    (n_crystals,) cannot be evaluated; these have no pairs.
    """
    table = neighbours(structures, cutoff, torch.device("cpu"))
    first, place = torch.nonzero(table.real, as_tuple=True)
    second = table.others[first, place]
    positions = torch.as_tensor(structures.positions)
    vectors = positions[second] - positions[first] + table.shifts[first, place]
    return first.numpy(), second.numpy(), vectors.numpy(), table.failed.numpy()


def _duals(vectors: Tensor, periodic: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 3, 3) rows dual to the periodic vectors, zero for other axes; (n,) where the vectors are dependent."""
    gram = vectors @ vectors.transpose(1, 2) + torch.diag_embed((~periodic).to(vectors.dtype))
    lengths = torch.where(periodic, vectors.norm(dim=2), 1.0)
    scale = lengths[:, :, None] * lengths[:, None, :]
    regular = torch.linalg.det(gram / scale.clamp(min=1e-200)) > 1e-14
    regular &= (lengths > 1e-6).all(1) & torch.isfinite(gram).all(2).all(1)
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    safe = torch.where(regular[:, None, None], gram, eye)
    return torch.linalg.solve(safe, vectors) * regular[:, None, None], ~regular


def _pairs(sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every ordered pair of atoms (an atom with itself included) of every crystal, and its crystal."""
    starts = torch.cumsum(sizes, 0) - sizes
    which = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes**2)
    place = torch.arange(len(which), device=sizes.device) - (torch.cumsum(sizes**2, 0) - sizes**2)[which]
    return starts[which] + place // sizes[which], starts[which] + place % sizes[which], which


def _slices(images: Tensor) -> list[slice]:
    """Runs of pairs with at most about SLICE images together."""
    if len(images) == 0:
        return [slice(0, 0)]
    run = torch.div(torch.cumsum(images, 0), SLICE, rounding_mode="floor")
    _, lengths = torch.unique_consecutive(run, return_counts=True)
    ends = torch.cumsum(lengths, 0).tolist()
    return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _within(
    positions: Tensor,
    vectors: Tensor,
    cutoff: float,
    first: Tensor,
    second: Tensor,
    which: Tensor,
    low: Tensor,
    counts: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The images of these pairs inside the cut-off: first, second, shift (Å), whether the atoms coincide."""
    total = counts.prod(1).long()
    pair = torch.repeat_interleave(torch.arange(len(total), device=total.device), total)
    place = torch.arange(len(pair), device=total.device) - (torch.cumsum(total, 0) - total)[pair]
    n = counts.long()[pair]
    steps = torch.stack([place // (n[:, 1] * n[:, 2]), place // n[:, 2] % n[:, 1], place % n[:, 2]], 1)
    shifts = torch.einsum("pk,pka->pa", low[pair] + steps, vectors[which[pair]])
    d = positions[second[pair]] - positions[first[pair]] + shifts
    itself = (first == second)[pair] & (shifts == 0.0).all(1)
    distance = d.norm(dim=1)
    chosen = (distance < cutoff) & ~itself
    pair = pair[chosen]
    return first[pair], second[pair], shifts[chosen], distance[chosen] < 1e-6


def _table(first: Tensor, second: Tensor, shifts: Tensor, failed: Tensor, n_atoms: int) -> Neighbours:
    # padded rows instead of scattered sums: sums in a fixed order on every device
    degree = torch.bincount(first, minlength=n_atoms)
    width = max(1, int(degree.max())) if n_atoms else 1
    column = torch.arange(len(first), device=first.device) - (torch.cumsum(degree, 0) - degree)[first]
    others = torch.arange(n_atoms, device=first.device)[:, None].repeat(1, width)
    table = torch.zeros(n_atoms, width, 3, dtype=shifts.dtype, device=first.device)
    real = torch.zeros(n_atoms, width, dtype=torch.bool, device=first.device)
    others[first, column], table[first, column], real[first, column] = second, shifts, True

    order = torch.argsort(second, stable=True)
    into = torch.bincount(second, minlength=n_atoms)
    row = second[order]
    place = torch.arange(len(row), device=first.device) - (torch.cumsum(into, 0) - into)[row]
    deep = max(1, int(into.max())) if n_atoms else 1
    incoming = torch.zeros(n_atoms, deep, dtype=torch.long, device=first.device)
    incoming_real = torch.zeros(n_atoms, deep, dtype=torch.bool, device=first.device)
    incoming[row, place] = (first * width + column)[order]
    incoming_real[row, place] = True
    return Neighbours(others, table, real, incoming, incoming_real, failed)
