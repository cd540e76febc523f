"""The density descriptor in torch; the formulas are stated in `potentials.features.density`."""

from __future__ import annotations

from math import factorial, pi, sqrt

import torch
from torch import Tensor

from potentials.features import Shape


def sums_and_products(bonds: Tensor, chosen: Tensor, shape: Shape) -> tuple[Tensor, dict[tuple[int, int], Tensor]]:
    """(n_atoms, element, n_pair) two-body sums; for elements y <= z (n_atoms, n_products).

    `bonds` (n_atoms, width, 3) Å; `chosen` (n_atoms, width, element) 1 for a neighbour's element, 0 where there is none.
    """
    distance = bonds.norm(dim=2)
    angle = pi * distance / shape.cutoff
    orders = torch.arange(1, max(shape.n_max, shape.n_pair) + 1, dtype=bonds.dtype, device=bonds.device)
    fade = sqrt(2 / shape.cutoff) * (1 + torch.cos(angle)) / 2 / distance
    radial = torch.sin(angle[:, :, None] * orders) * fade[:, :, None]  # (atom, neighbour, k)
    sums = torch.einsum("ajk,ajy->ayk", radial[:, :, : shape.n_pair], chosen)
    harmonics = _harmonics(bonds / distance[:, :, None], shape.l_max)
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


def _harmonics(directions: Tensor, l_max: int) -> Tensor:
    """(..., (l_max + 1)² - 1) real harmonics of unit vectors times sqrt(4 pi/(2l + 1)), l from 1, m from -l.

    sqrt((2 - [m = 0]) (l - m)!/(l + m)!) d^m P_l/dz^m Re (x + iy)^m, and Im (x + iy)^|m| where m < 0.
    """
    x, y, z = directions.unbind(-1)
    cosines, sines = [torch.ones_like(x)], [torch.zeros_like(x)]
    for m in range(l_max):
        cosines.append(x * cosines[m] - y * sines[m])
        sines.append(x * sines[m] + y * cosines[m])
    # monic multiples of d^m P_l/dz^m, by the three-term recursion in l
    monic: dict[tuple[int, int], Tensor] = {}
    for m in range(l_max + 1):
        monic[m, m] = torch.ones_like(z)
        for l in range(m, l_max):
            lower = monic[l - 1, m] * ((l * l - m * m) / (4 * l * l - 1)) if l > m else torch.zeros_like(z)
            monic[l + 1, m] = z * monic[l, m] - lower
    columns = []
    for l in range(1, l_max + 1):
        for m in range(-l, l + 1):
            k = abs(m)
            leading = factorial(2 * l) / (2**l * factorial(l) * factorial(l - k))
            norm = leading * sqrt((2 if k else 1) * factorial(l - k) / factorial(l + k))
            columns.append(norm * monic[l, k] * (cosines[k] if m >= 0 else sines[k]))
    return torch.stack(columns, -1)
