"""Pair and embedded-pair terms in torch: repulsion of close pairs, embedded-atom and Gupta potentials.

The formulas are stated in `potentials.kernels.repulsion`, `potentials.kernels.embedded` and `potentials.kernels.gupta`.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from potentials.kernels import repulsion
from potentials.kernels.embedded import LEAST_DENSITY, EmbeddedAtoms
from potentials.kernels.gupta import GuptaModel
from potentials.kernels.neighbours import Neighbours
from potentials.structures import Floats


def screened(bonds: Tensor, near: Neighbours, kinds: Tensor, species: tuple[int, ...]) -> Tensor:
    """(n_atoms,) eV: half of every pair's energy."""
    distance = bonds.norm(dim=2)
    charge = torch.tensor(species, dtype=bonds.dtype, device=bonds.device)[kinds]
    radius = torch.as_tensor(repulsion.radii(species), device=bonds.device)[kinds]
    theirs = charge[near.others]
    rate = (charge[:, None] ** repulsion.POWER + theirs**repulsion.POWER) / repulsion.LENGTH
    reach = radius[:, None] + radius[near.others]
    inner, outer = repulsion.INNER * reach, repulsion.OUTER * reach
    u = ((distance - inner) / (outer - inner)).clamp(0.0, 1.0)
    energy = repulsion.screened(distance, rate, repulsion.COULOMB * charge[:, None] * theirs, u, torch.exp)
    return 0.5 * (energy * near.real).sum(1)


def hard_cores(bonds: Tensor, near: Neighbours, kinds: Tensor, species: tuple[int, ...], energy: float) -> Tensor:
    """(n_atoms,) eV: every pair's term of this atom."""
    distance = bonds.norm(dim=2)
    core = torch.as_tensor(repulsion.cores(species), device=bonds.device)[kinds]
    reach = core[:, None] + core[near.others]
    inside = near.real & (distance < reach)
    term = energy * (1 + torch.cos(pi * distance / reach)) / 2 * reach / distance
    return torch.where(inside, term, 0.0).sum(1)


def embedded(bonds: Tensor, near: Neighbours, kinds: Tensor, model: EmbeddedAtoms) -> Tensor:
    """(n_atoms,) eV."""
    distance = bonds.norm(dim=2)
    theirs = kinds[near.others]

    def powers(knots: Floats, factors: Floats) -> Tensor:
        """(n_atoms,) sums over neighbours and knots."""
        x, c = (torch.as_tensor(a, device=bonds.device)[kinds[:, None], theirs] for a in (knots, factors))
        inside = (x - distance[:, :, None]).clamp(min=0.0)
        return ((c * inside**model.degree).sum(2) * near.real).sum(1)

    rho = powers(model.density_knots, model.densities)
    strength, linear, square, free = torch.as_tensor(model.embedding, device=bonds.device)[kinds].unbind(1)
    bound = free - strength * torch.sqrt(rho + LEAST_DENSITY) + linear * rho + square * rho**2
    return bound + 0.5 * powers(model.pair_knots, model.pairs)


def gupta(bonds: Tensor, near: Neighbours, kinds: Tensor, model: GuptaModel) -> Tensor:
    """(n_atoms,) eV."""
    pairs = torch.as_tensor(model.pairs, device=bonds.device)[kinds[:, None], kinds[near.others]]
    amplitude, p, strength, q, r0, inner, outer = pairs.unbind(2)
    distance = bonds.norm(dim=2)
    t = ((distance - inner) / (outer - inner)).clamp(0.0, 1.0)
    fade = (1 + torch.cos(pi * t)) / 2 * near.real
    off = distance / r0 - 1
    square = (strength**2 * fade * torch.exp(-2 * q * off)).sum(1)
    bound = square > 0  # an atom alone has no root to take the slope of
    attraction = torch.sqrt(torch.where(bound, square, 1.0)) * bound
    return (amplitude * fade * torch.exp(-p * off)).sum(1) - attraction
