"""Strata folded into a model: the same energies, the same bits in every library."""

from dataclasses import replace

import numpy as np
import pytest

from potentials import kernels
from potentials.network import Shape, fold
from potentials.stratum import Stratum
from potentials.structures import Structures
from tests.crystals import AG, CU, PD, library, mixed, stratum_parameters

SHAPE = Shape(5.0, 2, 3, 4)
SPECIES = (CU, PD, AG)
STRATA = Stratum(SPECIES).subsets()


def parameters(strata=STRATA, members=3, hidden=4):
    return {s: stratum_parameters(s, SHAPE, members, hidden) for s in strata}


def test_the_fold_keeps_the_energy_of_scaled_inputs():
    structures = Structures.from_ase(mixed(np.random.default_rng(0)))
    own = parameters()
    model = fold(SHAPE, SPECIES, list(own.values()), repulsion=False)
    features = np.concatenate(kernels.features(structures, SHAPE, SPECIES, kernel="torch"))
    expected = np.zeros((len(features), 3))
    for i, z in enumerate(structures.numbers.tolist()):
        unary = own[Stratum((z,))]
        inputs = unary.biases.copy()
        for b in SHAPE.blocks(z, SPECIES):
            p = own[b.stratum]
            scaled = (features[i, b.start : b.stop] - p.scale_shift[z]) * p.scale[z]
            if b.stratum.order == 1 or np.any(features[i, b.start : b.stop]):
                inputs += np.einsum("mdh,d->mh", p.columns[z], scaled)
        expected[i] = unary.shifts + (unary.outputs * np.tanh(inputs)).sum(axis=1)
    found = kernels.evaluate(structures, model, kernel="torch")
    np.testing.assert_allclose(found.atomic_energies, expected.mean(axis=1), rtol=1e-10, atol=1e-10)
    sums = np.add.reduceat(expected, structures.offsets[:-1])
    np.testing.assert_allclose(found.member_energies, sums, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.spreads, sums.std(axis=1), rtol=1e-9, atol=1e-10)


def test_a_stratum_has_the_same_bits_in_every_library():
    small, large = library((CU, AG), SHAPE), library(SPECIES, SHAPE)
    for s, centre in enumerate((CU, AG)):
        t = SPECIES.index(centre)
        places = {b.stratum: b for b in SHAPE.blocks(centre, SPECIES)}
        for block in SHAPE.blocks(centre, (CU, AG)):
            there = places[block.stratum]
            ours, theirs = small.weights[s, block.start : block.stop], large.weights[t, there.start : there.stop]
            np.testing.assert_array_equal(ours, theirs)
        for name in ("biases", "outputs", "shifts"):
            np.testing.assert_array_equal(getattr(small, name)[s], getattr(large, name)[t])


def test_a_stratum_that_is_not_trained_has_zero_columns():
    model = fold(SHAPE, SPECIES, list(parameters(STRATA[:-1]).values()), repulsion=True)
    for s, centre in enumerate(SPECIES):
        *lower, ternary = SHAPE.blocks(centre, SPECIES)
        assert not model.weights[s, ternary.start :].any()
        assert all(model.weights[s, b.start : b.stop].all() for b in lower)


def test_a_missing_unary_is_refused():
    with pytest.raises(ValueError, match="unary strata Ag; train them first"):
        fold(SHAPE, SPECIES, list(parameters(STRATA[:2]).values()), repulsion=True)


def test_wrong_parameters_are_refused():
    own = parameters()
    pair = Stratum((CU, PD))
    shifted = replace(own[pair], scale_shift={z: v + 1 for z, v in own[pair].scale_shift.items()})
    narrow = replace(own[pair], columns={z: v[:, :, 1:] for z, v in own[pair].columns.items()})
    silent = replace(own[Stratum((CU,))], outputs=None)
    for wrong, message in (
        (shifted, "`scale_shift` of CuPd must be zero"),
        (narrow, "`columns` of CuPd must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            fold(SHAPE, SPECIES, list({**own, pair: wrong}.values()), repulsion=True)
    with pytest.raises(ValueError, match="unary stratum Cu needs"):
        fold(SHAPE, SPECIES, list({**own, Stratum((CU,)): silent}.values()), repulsion=True)


def test_a_model_checks_its_arrays_and_its_cutoff():
    model = library(SPECIES, SHAPE)
    with pytest.raises(ValueError, match="`biases` must have shape"):
        replace(model, biases=model.biases[:2])
    with pytest.raises(ValueError, match=r"`cutoff` must be at least 1\.89 Å"):
        replace(model, shape=Shape(1.8, 2, 3, 4))
