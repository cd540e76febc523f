"""The density descriptor in torch; the formulas are stated in `potentials.features.density`."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from potentials.features import Shape
from potentials.kernels import formulas


def sums_and_products(bonds: Tensor, chosen: Tensor, shape: Shape) -> tuple[Tensor, dict[tuple[int, int], Tensor]]:
    """(n_atoms, element, n_pair) two-body sums; for elements y <= z (n_atoms, n_products).

    `bonds` (n_atoms, width, 3) Å; `chosen` (n_atoms, width, element) 1 for a neighbour's element, 0 where there is none.
    """
    distance = bonds.norm(dim=2)
    angle = pi * distance / shape.cutoff
    most = max(shape.n_max, shape.n_pair)
    functions = formulas.radial(distance, torch.sin(angle), torch.cos(angle), shape.cutoff, most)
    radial = torch.stack(functions, -1)  # (atom, neighbour, k)
    sums = torch.einsum("ajk,ajy->ayk", radial[:, :, : shape.n_pair], chosen)
    unit = bonds / distance[:, :, None]
    bare = formulas.harmonics(unit[..., 0], unit[..., 1], unit[..., 2], shape.l_max)
    harmonics = torch.stack([norm * h for norm, h in zip(formulas.norms(shape.l_max), bare, strict=True)], -1)
    weights = chosen[:, :, :, None] * radial[:, :, None, : shape.n_max]
    moments = torch.einsum("ajyn,ajm->aynm", weights, harmonics)  # (atom, element, n, lm)

    first, second = torch.triu_indices(shape.n_max, shape.n_max, device=bonds.device)
    products: dict[tuple[int, int], Tensor] = {}
    for y in range(chosen.shape[2]):
        for z in range(y, chosen.shape[2]):
            by_l = []
            for l in range(1, shape.l_max + 1):
                part = slice(l * l - 1, (l + 1) ** 2 - 1)
                full = torch.einsum("anm,apm->anp", moments[:, y, :, part], moments[:, z, :, part])
                by_l.append(((full + full.transpose(1, 2)) / 2)[:, first, second])
            products[y, z] = torch.stack(by_l, 2).flatten(1)
    return sums, products
