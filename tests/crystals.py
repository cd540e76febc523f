"""Crystals and models for the tests of the kernels: small, skewed, partly periodic; strata with parameters of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell

from potentials.kernels.embedded import OF_ELEMENT, OF_PAIR
from potentials.network import Descriptor, Model, OwnUnits, RefinedNetwork, StratumParameters, fold
from potentials.stratum import Stratum
from potentials.structures import Floats

CU, PD, AG, AU = 29, 46, 47, 79
BULK = (True, True, True)


def crystal(
    rng: np.random.Generator,
    n_atoms: int,
    numbers: Sequence[int] = (CU, PD, AG),
    periodic: tuple[bool, bool, bool] = BULK,
    scale: float = 1.0,
) -> Atoms:
    """A skewed cell of `n_atoms` lattice points of fcc, strained and rattled; cells down to one atom.

    Axes that are not periodic lose their vectors.
    """
    while True:  # a random cell of the right volume: the determinant decides
        steps = rng.integers(-2, 3, size=(3, 3))
        if round(abs(np.linalg.det(steps))) == n_atoms:
            break
    atoms = make_supercell(bulk("Cu", a=3.9 * scale), steps, wrap=False)
    atoms.numbers = rng.choice(numbers, size=n_atoms)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(scale=0.05, size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.15 * scale, size=(n_atoms, 3))
    atoms.pbc = periodic
    atoms.cell[[k for k in range(3) if not periodic[k]]] = 0.0
    return atoms


def mixed(rng: np.random.Generator, numbers: Sequence[int] = (CU, PD, AG)) -> list[Atoms]:
    """Crystals of 1 to 16 atoms, squeezed ones among them, layers, wires and clusters."""
    sizes = (1, 2, 3, 4, 6, 8, 12, 16)
    return [
        *(crystal(rng, n, numbers) for n in sizes),
        *(crystal(rng, n, numbers, scale=0.72) for n in (1, 4)),
        crystal(rng, 4, numbers, (True, True, False)),
        crystal(rng, 3, numbers, (True, False, False)),
        crystal(rng, 8, numbers, (False, True, True)),
        crystal(rng, 6, numbers, (False, False, False)),
        crystal(rng, 1, numbers, (False, False, False)),
    ]


def stratum_parameters(
    stratum: Stratum,
    shape: Descriptor,
    members: int,
    hidden: int,
    second: int = 0,
    own: int = 0,
    refined: bool = False,
    embedded: bool = False,
) -> StratumParameters:
    """Parameters drawn from a stream of the stratum's own: the same in every library."""
    rng = np.random.default_rng(stratum.numbers)
    size, unary = shape.block_size(stratum.order), stratum.order == 1

    def by_centre(*lengths: int) -> dict[int, Floats]:
        return {z: rng.normal(size=lengths) for z in stratum.numbers}

    return StratumParameters(
        stratum,
        scale_shift={z: v if unary else 0.0 * v for z, v in by_centre(size).items()},
        scale={z: np.abs(v) for z, v in by_centre(size).items()},
        columns={z: 0.1 * v for z, v in by_centre(members, size, hidden).items()},
        biases=rng.normal(size=(members, hidden)) if unary else None,
        outputs=rng.normal(size=(members, second or hidden)) if unary else None,
        shifts=rng.normal(size=members) if unary else None,
        second_weights=rng.normal(size=(members, hidden, second)) if unary and second else None,
        second_biases=rng.normal(size=(members, second)) if unary and second else None,
        own_units=None
        if unary or not own
        else {
            z: OwnUnits(0.1 * rng.normal(size=(members, size, own)), *rng.normal(size=(2, members, own)))
            for z in stratum.numbers
        },
        refined=None
        if unary or not refined
        else {
            z: RefinedNetwork(
                0.1 * rng.normal(size=(members, shape.n_features(stratum.order), hidden)),
                *rng.normal(size=(2, members, hidden)),
                rng.normal(size=members),
            )
            for z in stratum.numbers
        },
        embedded=0.3 * rng.normal(size=OF_ELEMENT if unary else OF_PAIR) if embedded and stratum.order < 3 else None,
    )


def library(
    species: tuple[int, ...],
    shape: Descriptor,
    members: int = 2,
    hidden: int = 5,
    repulsion: bool = True,
    second: int = 0,
    core_energy: float = 0.0,
    own: int = 0,
    refined: bool = False,
    embedded: int = 0,
) -> Model:
    """The model of `species` from such strata; embedded: degree of the potential under the networks, 0 without one."""
    strata = [s for s in Stratum(species).subsets() if s.order <= 3]
    parameters = [stratum_parameters(s, shape, members, hidden, second, own, refined, embedded > 0) for s in strata]
    return fold(shape, species, parameters, repulsion, core_energy, embedded or 3)
