"""Likeness: whether two crystals are the same, whatever their cells, their orientation and the order of their atoms.

All parts of a fingerprint are averages over atoms, so that supercells do not matter, and smooth, so that small
displacements do not either. Lengths are in units of the mean spacing V^(1/3) of the atoms, so that a pressure does
not either:
- distances, for every pair of elements, smeared, out to 520 neighbours (Oganov and Valle 2009,
doi:10.1063/1.3079326): they
  tell stackings apart;
- angles, for every element and pair of neighbours: the power spectrum of some 90 neighbours (Bartok 2013,
  doi:10.1103/PhysRevB.87.184115): they tell most orderings apart;
- shapes: products of three tensors of the neighbourhood, which are correlations of four atoms. Orderings exist that
have all
  distances and angles in common: CuPt (L1_1) and its cubic relative D4;
- the volume per atom.
"""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.polynomial import legendre
from numpy.typing import NDArray

from evo.cell import grid, reduce_cell
from evo.elements import atomic_volume

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

SAME = 0.01  # distance below which crystals count as one: noise of 1e-3 Å gives 0.003 at most
FAR = 5.0  # reach of the distances, in V^(1/3)
SMEARING = 0.2  # standard deviation of a smeared distance
WAVES = np.arange(1, math.ceil(2.6 * FAR / (math.pi * SMEARING)) + 1)  # beyond, the smearing leaves under 4 %
NEAR = 2.8  # reach of angles and shapes
SHELLS = np.linspace(1.1, 0.8 * NEAR, 3)  # centres of the radial functions of angles and shapes
SHELL_WIDTH = (SHELLS[1] - SHELLS[0]) / 1.2
L_MAX = 6
SHAPE_WEIGHT = 1728.0  # brings homometric orderings four times as far apart as crystals may be to count as one
VOLUME_WEIGHT = 0.5  # 2 % of volume weigh as much as SAME

# monomials x^a y^b z^c up to degree L_MAX, by degree; their sums give those of powers of a cosine
_EXPONENTS = np.array(sorted((e for e in product(range(L_MAX + 1), repeat=3) if sum(e) <= L_MAX), key=sum))
_DEGREE = _EXPONENTS.sum(axis=1)
_MULTIPLICITY = np.array([math.factorial(sum(e)) / math.prod(map(math.factorial, e)) for e in _EXPONENTS.tolist()])
# Legendre polynomials in powers of the cosine, degree 0 left out: it holds distances alone
_LEGENDRE = np.array([np.pad(legendre.leg2poly([0] * n + [1]), (0, L_MAX - n)) for n in range(1, L_MAX + 1)])


class _Neighbours(NamedTuple):
    """All pairs within FAR, those of two atoms of the cell in one direction only; species in the order of atomic numbers."""

    first: Ints  # (m,)
    second: Ints  # (m,) not before the first
    vectors: Floats  # (m, 3) in V^(1/3), from the first to the second
    lengths: Floats  # (m,)
    species: Ints  # (n_atoms,)
    n_species: int


def fingerprint(atoms: Atoms) -> Floats:
    """(k,) identity of a crystal. k depends on the number of elements alone: 79, 465, 1430, 3244 for one to four.

    The head holds the number of elements, the atomic numbers and the fractions; then come volume, distances, angles
    and shapes. Only fingerprints of one composition can be compared, see `distance`.
    """
    elements, counts = np.unique(atoms.numbers, return_counts=True)
    spacing = _spacing(atoms)
    near = _neighbours(atoms, elements, spacing)
    moments = _moments(near)
    head = [len(elements), *elements, *(counts / len(atoms))]
    volume = [VOLUME_WEIGHT * 3 * math.log(spacing)]
    return np.concatenate(
        [head, volume, _unit(_distances(near)), _unit(_angles(near, moments)), _shapes(near, moments)]
    )


def distance(a: Floats, b: Floats) -> float:
    """How unlike two crystals are: 0 for the same, about 1 for nothing in common, infinite for another composition."""
    if a.shape != b.shape or len(a) == 0:
        return math.inf
    head = 1 + 2 * int(a[0])
    if np.abs(a[:head] - b[:head]).max() > 1e-6:
        return math.inf
    return float(np.linalg.norm(a[head:] - b[head:]))


def alike(a: Floats, b: Floats, tolerance: float = SAME) -> bool:
    """Whether these are fingerprints of one crystal."""
    return distance(a, b) < tolerance


def _spacing(atoms: Atoms) -> float:
    """Å: the edge of a cube that holds one atom; from the volumes of the elements when a cell holds vacuum."""
    if np.asarray(atoms.pbc).all():
        return float((atoms.get_volume() / len(atoms)) ** (1 / 3))
    return float(np.mean([atomic_volume(int(z)) for z in atoms.numbers]) ** (1 / 3))


def _neighbours(atoms: Atoms, elements: Ints, spacing: float) -> _Neighbours:
    reduced = reduce_cell(atoms)
    pbc = np.asarray(reduced.pbc)
    cell = np.asarray(reduced.cell.complete()) / spacing
    heights = 1 / np.sqrt((np.linalg.inv(cell) ** 2).sum(axis=0))
    images = grid(tuple(int(n) for n in np.floor(FAR / heights + 1) * pbc)) @ cell
    positions = reduced.positions / spacing
    i, j = np.triu_indices(len(positions))
    apart = (positions[j] - positions[i])[:, None] + images  # pair, image, xyz
    squares = np.einsum("pmx,pmx->pm", apart, apart)
    near = (squares < FAR**2) & (squares > 1e-8)
    pair = np.nonzero(near)[0]
    species = np.searchsorted(elements, reduced.numbers)
    return _Neighbours(i[pair], j[pair], apart[near], np.sqrt(squares[near]), species, len(elements))


def _distances(near: _Neighbours) -> Floats:
    """(pairs of species x waves) cosine transform of the smeared, tapered density of distances."""
    angle = math.pi * near.lengths / FAR
    taper = 0.5 * (1 + np.cos(angle))
    n = near.n_species
    one, other = near.species[near.first], near.species[near.second]
    pair = np.minimum(one, other) * n + np.maximum(one, other)
    taper = np.where((one == other) & (near.first != near.second), 2 * taper, taper)  # the other direction
    sums = np.zeros((len(WAVES), n * n))
    # cos(k x) from the two before it
    before, wave, step = taper, taper * np.cos(angle), 2 * np.cos(angle)
    for k in WAVES:
        sums[k - 1] = np.bincount(pair, wave, minlength=n * n)
        before, wave = wave, step * wave - before
    sums *= np.exp(-0.5 * (WAVES * math.pi * SMEARING / FAR) ** 2)[:, None]
    first, second = np.triu_indices(n)
    twice = np.where(first == second, 1.0, math.sqrt(2))  # a pair of unlike species stands for both orders
    return (sums[:, first * n + second] * twice).T.ravel()


def _moments(near: _Neighbours) -> Floats:
    """(n_atoms, channels, monomials) of the unit vectors to the neighbours; a channel is a species and a shell."""
    there = near.lengths < NEAR
    back = there & (near.first != near.second)
    first = np.concatenate([near.first[there], near.second[back]])
    second = np.concatenate([near.second[there], near.first[back]])
    place = first * near.n_species + near.species[second]
    order = np.argsort(place, kind="stable")
    lengths = np.concatenate([near.lengths[there], near.lengths[back]])[order]
    unit = np.concatenate([near.vectors[there], -near.vectors[back]])[order] / lengths[:, None]
    taper = 0.5 * (1 + np.cos(math.pi * lengths / NEAR))
    radial = np.exp(-((lengths - SHELLS[:, None]) ** 2) / (2 * SHELL_WIDTH**2)) * taper
    powers = np.ones((L_MAX + 1, 3, len(lengths)))
    for p in range(1, L_MAX + 1):
        powers[p] = powers[p - 1] * unit.T
    a, b, c = _EXPONENTS.T
    monomials = powers[a, 0] * powers[b, 1] * powers[c, 2]
    n_places = len(near.species) * near.n_species
    edges = np.searchsorted(place[order], np.arange(n_places + 1)).tolist()
    sums = np.zeros((n_places, len(SHELLS), len(_EXPONENTS)))
    for k, (start, stop) in enumerate(pairwise(edges)):
        if stop > start:
            sums[k] = radial[:, start:stop] @ monomials[:, start:stop].T
    return sums.reshape(len(near.species), near.n_species * len(SHELLS), -1)


def _angles(near: _Neighbours, moments: Floats) -> Floats:
    """(species x L_MAX x pairs of channels) power spectra: sums of Legendre polynomials over pairs of neighbours."""
    weighted = moments * _MULTIPLICITY
    cosines = np.stack(
        [
            weighted[:, :, degree == _DEGREE] @ moments[:, :, degree == _DEGREE].transpose(0, 2, 1)
            for degree in range(L_MAX + 1)
        ]
    )  # degree, atom, channel, channel
    spectra = np.tensordot(_LEGENDRE, _by_species(cosines, near, axis=1), axes=(1, 0))
    first, second = np.triu_indices(spectra.shape[-1])
    twice = np.where(first == second, 1.0, math.sqrt(2))
    return (spectra[..., first, second] * twice).ravel()


def _shapes(near: _Neighbours, moments: Floats) -> Floats:
    """(2 x species x channels x channels) of tr(M_a M_a M_b) and D_a.M_b.D_a, averaged over atoms.

    D is the sum of unit vectors and M that of their traceless squares, over the mean number of neighbours.
    """
    n_atoms, n_channels, _ = moments.shape
    second = np.zeros((n_atoms, n_channels, 3, 3))
    for column in np.flatnonzero(_DEGREE == 2):
        i, j = np.repeat(range(3), _EXPONENTS[column])
        second[:, :, i, j] = second[:, :, j, i] = moments[:, :, column]
    vector = moments[:, :, [int(np.flatnonzero((row == _EXPONENTS).all(axis=1))[0]) for row in np.eye(3, dtype=int)]]
    size = moments[:, :, 0].sum() / n_atoms
    if size <= 0:
        return np.zeros(2 * near.n_species * n_channels**2)
    trace = np.trace(second, axis1=2, axis2=3)
    tensor = (second - trace[:, :, None, None] * np.eye(3) / 3) / size
    vector = vector / size
    squared = tensor @ tensor
    cubes = np.einsum("cayx,cbxy->cab", squared, tensor)
    skews = np.einsum("caxy,cbxy->cab", vector[..., :, None] * vector[..., None, :], tensor)
    return SHAPE_WEIGHT * _by_species(np.stack([cubes, skews]), near, axis=1).ravel() / n_atoms


def _by_species(values: Floats, near: _Neighbours, axis: int) -> Floats:
    """Sums over the atoms of each species; `axis` is that of the atoms and becomes that of the species."""
    return np.stack([values.compress(near.species == s, axis=axis).sum(axis=axis) for s in range(near.n_species)], axis)


def _unit(vector: Floats) -> Floats:
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector
