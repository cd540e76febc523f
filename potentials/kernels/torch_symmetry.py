"""Symmetry functions in torch; the formulas are stated in `potentials.features.symmetry_functions`."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from potentials.features import SymmetryFunctions


def sums_and_products(
    bonds: Tensor, chosen: Tensor, shape: SymmetryFunctions
) -> tuple[Tensor, dict[tuple[int, int], Tensor]]:
    """(n_atoms, element, n_pair) radial functions; for elements y <= z (n_atoms, n_products) angular ones.

    `bonds` (n_atoms, width, 3) Å; `chosen` (n_atoms, width, element) 1 for a neighbour's element, 0 where there is none.
    """
    square = (bonds**2).sum(2)
    distance = torch.sqrt(square)
    fade = _cutoff(distance, shape.cutoff)
    radial = torch.stack([torch.exp(-g.eta * (distance - g.centre) ** 2) * fade for g in shape.radial], 2)
    sums = torch.einsum("ajk,ajy->ayk", radial, chosen)

    width = bonds.shape[1]
    one, other = torch.triu_indices(width, width, 1, device=bonds.device)  # pairs j < k
    between = ((bonds[:, one] - bonds[:, other]) ** 2).sum(2)
    apart = torch.sqrt(torch.where(between > 1e-12, between, 1e-12))  # two places without neighbours have no distance
    fades = fade[:, one] * fade[:, other] * _cutoff(apart, shape.cutoff)
    cosine = (bonds[:, one] * bonds[:, other]).sum(2) / (distance[:, one] * distance[:, other])
    total = square[:, one] + square[:, other] + between
    exponentials = {eta: torch.exp(-eta * total) * fades for eta in {g.eta for g in shape.angular}}
    angular = [
        2.0 ** (2 - g.zeta) * (1 + g.sign * cosine) ** g.zeta * exponentials[g.eta] for g in shape.angular
    ]  # (atom, pair) each
    products: dict[tuple[int, int], Tensor] = {}
    for y in range(chosen.shape[2]):
        for z in range(y, chosen.shape[2]):
            kinds = chosen[:, one, y] * chosen[:, other, z]
            if y != z:
                kinds = kinds + chosen[:, one, z] * chosen[:, other, y]
            products[y, z] = torch.stack([(a * kinds).sum(1) for a in angular], 1)
    return sums, products


def _cutoff(distance: Tensor, cutoff: float) -> Tensor:
    return torch.where(distance < cutoff, (1 + torch.cos(pi * distance / cutoff)) / 2, 0.0)
