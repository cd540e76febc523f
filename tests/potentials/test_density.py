"""The descriptor: layout of its blocks, and its numbers against the definition written out by pairs and angles."""

from itertools import combinations

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from scipy.special import eval_legendre

from potentials import kernels
from potentials.features.density import Shape
from potentials.stratum import Stratum
from potentials.structures import Structures
from tests.crystals import AG, AU, CU, PD, crystal

SHAPE = Shape(cutoff=5.0, n_max=3, l_max=4, n_pair=5)


def by_definition(atoms, shape, species):
    """Features by pairs of neighbours: sum over m of harmonics is a Legendre polynomial of the angle between them."""
    i, j, d, r = neighbor_list("ijdD", atoms, shape.cutoff)
    k = np.arange(1, max(shape.n_max, shape.n_pair) + 1)
    fade = (1 + np.cos(np.pi * d / shape.cutoff)) / 2
    radial = np.sqrt(2 / shape.cutoff) * np.sin(np.pi * np.outer(d, k) / shape.cutoff) / d[:, None] * fade[:, None]
    rows = []
    for centre, x in enumerate(atoms.numbers):
        own = {z: np.flatnonzero((i == centre) & (atoms.numbers[j] == z)) for z in species}

        def sums(z, own=own):
            return radial[own[z], : shape.n_pair].sum(axis=0)

        def products(y, z, own=own):
            a, b = own[y], own[z]
            cosine = (r[a] / d[a][:, None]) @ (r[b] / d[b][:, None]).T
            values = []
            for n in range(shape.n_max):
                for m in range(n, shape.n_max):
                    pairs = (np.outer(radial[a, n], radial[b, m]) + np.outer(radial[a, m], radial[b, n])) / 2
                    values += [(pairs * eval_legendre(l, cosine)).sum() for l in range(1, shape.l_max + 1)]
            return np.array(values)

        others = [z for z in species if z != x]
        row = [sums(x), products(x, x)]
        for y in others:
            row += [sums(y), products(x, y), products(y, y)]
        rows.append(np.concatenate(row + [products(y, z) for y, z in combinations(others, 2)]))
    return np.array(rows)


@pytest.mark.parametrize("kernel", kernels.available())
@pytest.mark.parametrize("periodic", [(True, True, True), (True, True, False), (False, False, False)])
@pytest.mark.parametrize("n_atoms", [1, 2, 5, 9])
def test_features_equal_their_definition(kernel, periodic, n_atoms):
    atoms = crystal(np.random.default_rng(n_atoms), n_atoms, periodic=periodic)
    species = (CU, PD, AG)
    (found,) = kernels.features(Structures.from_ase([atoms]), SHAPE, species, kernel=kernel)
    np.testing.assert_allclose(found, by_definition(atoms, SHAPE, species), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("species", [(CU,), (CU, AG), (CU, PD, AG), (CU, PD, AG, AU)])
def test_blocks_cover_the_features_in_canonical_order(species):
    for centre in species:
        blocks = SHAPE.blocks(centre, species)
        strata = [b.stratum for b in blocks]
        assert strata == [s for s in Stratum(species).subsets() if centre in s.numbers and s.order <= 3]
        assert [b.start for b in blocks] == [0, *(b.stop for b in blocks[:-1])]
        assert blocks[-1].stop == SHAPE.n_features(len(species))
        assert all(b.size == SHAPE.block_size(b.stratum.order) == len(SHAPE.smoothness(b)) for b in blocks)


def test_sizes_of_the_default_descriptor():
    shape = Shape(6.0, n_max=5, l_max=4, n_pair=8)
    assert [shape.block_size(k) for k in (1, 2, 3, 4)] == [68, 128, 60, 0]
    assert [shape.n_features(n) for n in (1, 2, 3)] == [68, 196, 384]


def test_smoothness_falls_with_every_index():
    unary, pair, triple = (SHAPE.smoothness(SHAPE.blocks(CU, (CU, PD, AG))[k]) for k in (0, 1, 3))
    np.testing.assert_allclose(unary[:3], [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(triple[:5], [1 / 1.5, 1 / 2, 1 / 2.5, 1 / 3, 1 / (2 * 1.5)])  # (n, n') = (0, 0), (0, 1)
    np.testing.assert_array_equal(pair, np.concatenate([unary, triple]))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0.0, 3, 2, 4), "`cutoff`"),
        ((6.0, 9, 2, 4), "`n_max`"),
        ((6.0, 3, 0, 4), "`l_max`"),
        ((6.0, 3, 2, 0), "`n_pair`"),
    ],
)
def test_a_shape_beyond_the_kernels_is_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        Shape(*numbers)


def test_blocks_want_ascending_species():
    with pytest.raises(ValueError, match="ascending"):
        SHAPE.blocks(CU, (PD, CU))
    with pytest.raises(ValueError, match="contain 79"):
        SHAPE.blocks(AU, (CU, PD))
