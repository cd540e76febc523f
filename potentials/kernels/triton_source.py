"""Source of the GPU kernels of one shape of the density descriptor, written from the shared formulas and their gradients.

Every lane of a kernel is one centre, so that its sums run in one order whatever else is in the batch, and no number passes
between lanes. Arrays hold one row per quantity and one column per centre. Moments are stored normed: rows (element, n, lm).
"""

from __future__ import annotations

from functools import cache

from potentials.features import Shape
from potentials.kernels.triton_bonds import bond_slopes, moments
from potentials.kernels.triton_products import moment_slopes, products

HEADER = '''"""Kernels for {shape}."""
import triton
import triton.language as tl
'''


@cache
def source(shape: Shape) -> str:
    """The module's text: kernels `moments`, `products`, `moment_slopes`, `bond_slopes`."""
    parts = [HEADER.format(shape=shape), moments(shape), products(shape), moment_slopes(shape), bond_slopes(shape)]
    return "\n".join(parts)
