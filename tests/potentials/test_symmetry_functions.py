"""Symmetry functions: their numbers against the definition written out, and the set of the published models."""

from itertools import combinations

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from potentials import features, kernels
from potentials.features import SymmetryFunctions
from potentials.features.symmetry_functions import VP2017
from potentials.structures import Structures
from tests.crystals import AG, CU, PD, crystal

SMALL = SymmetryFunctions(4.5, ((0.1, 0.0), (1.0, 2.0)), ((0.02, 1, -1), (0.2, 2, 1), (0.02, 16, 1), (0.0, 4, -1)))
SPECIES = (CU, PD, AG)


def by_definition(atoms, shape, species):
    i, j, d, r = neighbor_list("ijdD", atoms, shape.cutoff)

    def fade(x):
        return np.where(x < shape.cutoff, (1 + np.cos(np.pi * x / shape.cutoff)) / 2, 0)

    rows = []
    for centre, x in enumerate(atoms.numbers):
        own = {z: np.flatnonzero((i == centre) & (atoms.numbers[j] == z)) for z in species}

        def g2(z, own=own):
            return [(np.exp(-g.eta * (d[own[z]] - g.centre) ** 2) * fade(d[own[z]])).sum() for g in shape.radial]

        def g4(y, z, own=own):
            pairs = list(combinations(own[y], 2)) if y == z else [(a, b) for a in own[y] for b in own[z]]
            total = np.zeros(len(shape.angular))
            for a, b in pairs:
                apart = np.linalg.norm(r[a] - r[b])
                cosine = r[a] @ r[b] / (d[a] * d[b])
                squares = d[a] ** 2 + d[b] ** 2 + apart**2
                fades = fade(d[a]) * fade(d[b]) * fade(apart)
                for q, g in enumerate(shape.angular):
                    angle = 2 * 2 ** (1 - g.zeta) * (1 + g.sign * cosine) ** g.zeta
                    total[q] += angle * np.exp(-g.eta * squares) * fades
            return total

        others = [z for z in species if z != x]
        row = [g2(x), g4(x, x)]
        for y in others:
            row += [g2(y), g4(x, y), g4(y, y)]
        rows.append(np.concatenate(row + [g4(y, z) for y, z in combinations(others, 2)]))
    return np.array(rows)


@pytest.mark.parametrize("kernel", kernels.available())
@pytest.mark.parametrize("periodic", [(True, True, True), (True, True, False), (False, False, False)])
@pytest.mark.parametrize("n_atoms", [1, 2, 5])
@pytest.mark.parametrize("shape", [SMALL, VP2017], ids=["small", "vp2017"])
def test_features_equal_their_definition(kernel, periodic, n_atoms, shape):
    atoms = crystal(np.random.default_rng(n_atoms), n_atoms, periodic=periodic)
    (found,) = kernels.features(Structures.from_ase([atoms]), shape, SPECIES, kernel=kernel)
    np.testing.assert_allclose(found, by_definition(atoms, shape, SPECIES), rtol=1e-11, atol=1e-12)


def test_the_published_set():
    """30 inputs of an element, 82 of a pair, 156 of three."""
    assert [VP2017.n_features(n) for n in (1, 2, 3)] == [30, 82, 156]
    assert [VP2017.block_size(k) for k in (1, 2, 3, 4)] == [30, 52, 22, 0]
    np.testing.assert_allclose(VP2017.radial[0].eta, 0.00357106, rtol=1e-5)
    np.testing.assert_allclose(VP2017.angular[-1].eta, 0.16069789, rtol=1e-6)


@pytest.mark.parametrize("shape", [SMALL, VP2017, features.Shape(5.0, 3, 2, 4)], ids=str)
def test_json_keeps_every_bit(shape):
    assert features.from_json(features.to_json(shape)) == shape


def test_the_density_is_stored_as_it_always_was():
    assert features.to_json(features.Shape(5.0, 3, 2, 4)) == {"cutoff": 5.0, "n_max": 3, "l_max": 2, "n_pair": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cutoff": 0.0}, "`cutoff` must be a positive length"),
        ({"radial": ()}, "must each hold a function"),
        ({"radial": ((-0.1, 0.0),)}, "`eta` must be zero or positive"),
        ({"angular": ((0.1, 3, 1),)}, "`zeta` must be one of"),
        ({"angular": ((0.1, 2, 0),)}, "`sign` \\+1 or -1"),
    ],
)
def test_functions_beyond_the_kernels_are_refused(change, message):
    known = {"cutoff": 5.0, "radial": SMALL.radial, "angular": SMALL.angular}
    with pytest.raises(ValueError, match=message):
        SymmetryFunctions(**known | change)
