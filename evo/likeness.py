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
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.polynomial import legendre
from numpy.typing import NDArray

from evo.cell import counts_of, grid, reduce_cell
from evo.elements import atomic_volume

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

SAME = 0.01  # distance below which crystals count as one: noise of 1e-3 Å gives 0.003 at most
FAR = 5.0  # reach of the distances, in V^(1/3)
SMEARING = 0.2  # standard deviation of a smeared distance
WAVES = np.arange(1, math.ceil(2.6 * FAR / (math.pi * SMEARING)) + 1)  # beyond, the smearing leaves under 4 %
STRIDE = 7  # waves k q of a stride q and the first k; products of both give all the others
NEAR = 2.8  # reach of angles and shapes
SHELLS = np.linspace(1.1, 0.8 * NEAR, 3)  # centres of the radial functions of angles and shapes
SHELL_WIDTH = (SHELLS[1] - SHELLS[0]) / 1.2
L_MAX = 6
SHAPE_WEIGHT = 1728.0  # brings homometric orderings four times as far apart as crystals may be to count as one
VOLUME_WEIGHT = 0.5  # 2 % of volume weigh as much as SAME
MOST_IMAGES = 4000  # a cell that needs more to reach FAR is reduced first; the smallest, of fcc, needs 1,331

# monomials x^a y^b z^c up to degree L_MAX, by degree; their sums give those of powers of a cosine
_EXPONENTS = np.array(sorted((e for e in product(range(L_MAX + 1), repeat=3) if sum(e) <= L_MAX), key=sum))
_DEGREE = _EXPONENTS.sum(axis=1)
_OF_DEGREE = [slice(math.comb(d + 2, 3), math.comb(d + 3, 3)) for d in range(L_MAX + 1)]  # columns of each degree
_VECTOR, _TENSOR = (  # columns of x, y, z, and of xx, xy, xz, yx, ... zz
    [int(np.flatnonzero((np.sum(axes, axis=0) == _EXPONENTS).all(axis=1))[0]) for axes in product(np.eye(3), repeat=n)]
    for n in (1, 2)
)
_MULTIPLICITY = np.array([math.factorial(sum(e)) / math.prod(map(math.factorial, e)) for e in _EXPONENTS.tolist()])
# Legendre polynomials in powers of the cosine, degree 0 left out: it holds distances alone
_LEGENDRE = np.array([np.pad(legendre.leg2poly([0] * n + [1]), (0, L_MAX - n)) for n in range(1, L_MAX + 1)])


class _Pairs(NamedTuple):
    """The pairs of different atoms of a cell whose atoms are in the order of their species, by species and then by atom."""

    first: Ints  # (n_pairs,)
    second: Ints  # (n_pairs,) after the first
    starts: Ints  # (pairs of species,) the first of every pair of species, in the order of `_upper`


class _Neighbours(NamedTuple):
    """All neighbours within FAR, those of two atoms of the cell in one direction only.

    An atom with its own images comes once for all atoms, and before the others: all of them see the same lattice.
    """

    pair: Ints  # (m,) ascending; 0: an atom with itself, 1 and on: `pairs`
    lengths: Floats  # (m,) in V^(1/3)
    close: Ints  # (n,) which of the m are within NEAR
    vectors: Floats  # (n, 3) of these, from the first to the second
    pairs: _Pairs
    counts: tuple[int, ...]  # atoms of each species, in the order of atomic numbers
    species: Ints  # (n_atoms,) ascending


def fingerprint(atoms: Atoms) -> Floats:
    """(k,) identity of a crystal. k depends on the number of elements alone: 79, 465, 1430, 3244 for one to four.

    The head holds the number of elements, the atomic numbers and the fractions; then come volume, distances, angles
    and shapes. Only fingerprints of one composition can be compared, see `distance`.
    """
    composition = counts_of(atoms.numbers)
    elements, counts = list(composition), tuple(composition.values())
    spacing = _spacing(atoms)
    near = _neighbours(atoms, counts, spacing)
    moments = _moments(near)
    head = [len(elements), *elements, *(n / len(atoms) for n in counts)]
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


def _neighbours(atoms: Atoms, counts: tuple[int, ...], spacing: float) -> _Neighbours:
    """`counts`: atoms of each species, in the order of atomic numbers."""
    cell, inverse, reach = _images(atoms, spacing)
    if math.prod(2 * n + 1 for n in reach) > MOST_IMAGES:
        atoms = reduce_cell(atoms)
        cell, inverse, reach = _images(atoms, spacing)
    fractional = (atoms.positions / spacing @ inverse)[np.argsort(atoms.numbers, kind="stable")]
    pairs = _pairs(counts)
    between = fractional[pairs.second] - fractional[pairs.first]
    between -= np.rint(between) * atoms.pbc
    apart = np.concatenate([np.zeros((1, 3)), between @ cell])
    shifts = grid(reach) @ cell
    apart_squared, shifts_squared = np.einsum("px,px->p", apart, apart), np.einsum("mx,mx->m", shifts, shifts)
    reached = shifts_squared < (FAR + math.sqrt(float(apart_squared.max()))) ** 2
    shifts, shifts_squared = shifts[reached], shifts_squared[reached]
    squares = 2 * apart @ shifts.T + shifts_squared + apart_squared[:, None]
    pair, image = np.nonzero((squares < FAR**2) & (squares > 1e-8))
    lengths = np.sqrt(squares[pair, image])
    close = np.flatnonzero(lengths < NEAR)
    vectors = apart[pair[close]] + shifts[image[close]]
    return _Neighbours(pair, lengths, close, vectors, pairs, counts, np.repeat(np.arange(len(counts)), counts))


def _images(atoms: Atoms, spacing: float) -> tuple[Floats, Floats, tuple[int, ...]]:
    """Cell in V^(1/3), its inverse, and how many images along each axis reach FAR from an atom within half a cell."""
    cell = np.asarray(atoms.cell.complete()) / spacing
    inverse = np.asarray(np.linalg.inv(cell), dtype=float)
    reach = np.floor(FAR * np.sqrt((inverse**2).sum(axis=0)) + 0.5) * atoms.pbc
    return cell, inverse, tuple(int(n) for n in reach)


@lru_cache(maxsize=256)
def _pairs(counts: tuple[int, ...]) -> _Pairs:
    species = np.repeat(np.arange(len(counts)), counts)
    first, second = np.triu_indices(len(species), k=1)
    kinds = _upper(len(counts))
    kind = np.searchsorted(kinds.first * len(counts) + kinds.second, species[first] * len(counts) + species[second])
    order = np.argsort(kind, kind="stable")
    return _Pairs(first[order], second[order], np.searchsorted(kind[order], np.arange(len(kinds.first))))


class _Upper(NamedTuple):
    """The upper triangle of a symmetric matrix, row by row, laid out so that its norm is that of the whole matrix."""

    first: Ints
    second: Ints
    weights: Floats  # 1 on the diagonal, sqrt(2) beside it


@lru_cache(maxsize=64)
def _upper(n: int) -> _Upper:
    first, second = np.triu_indices(n)
    return _Upper(first, second, np.where(first == second, 1.0, math.sqrt(2)))


def _distances(near: _Neighbours) -> Floats:
    """(pairs of species x waves) cosine transform of the smeared, tapered density of distances.

    2 cos(px) cos(qx) = cos((q + p)x) + cos((q - p)x), so that sums of a few products hold those of all waves.
    """
    cosines = np.empty((STRIDE + 1, len(near.lengths)))
    cosines[0], cosines[1] = 1.0, np.cos(math.pi / FAR * near.lengths)
    taper, step = 0.5 * (1 + cosines[1]), 2 * cosines[1]
    for p in range(2, STRIDE + 1):
        cosines[p] = step * cosines[p - 1] - cosines[p - 2]
    strides = [taper, taper * cosines[STRIDE]]  # tapered cosines of q = 0, STRIDE, 2 STRIDE ...
    while STRIDE * len(strides) < len(WAVES):
        strides.append(2 * cosines[STRIDE] * strides[-1] - strides[-2])
    tapered = np.stack(strides)
    edges = np.searchsorted(near.pair, [0, *(near.pairs.starts + 1), len(near.pairs.first) + 1]).tolist()
    products = np.stack([tapered[:, a:b] @ cosines[:, a:b].T for a, b in pairwise(edges)])  # pair of species, q, p
    sums = np.empty((len(products), STRIDE * len(strides) + 1))
    sums[:, : STRIDE + 1] = products[:, 0]
    for q in range(1, len(strides)):
        middle = q * STRIDE
        below = sums[:, middle - STRIDE : middle + 1][:, ::-1]
        sums[:, middle : middle + STRIDE + 1] = 2 * products[:, q] - below
    upper = _upper(len(near.counts))
    # atoms of one species: the other direction too, and every atom with its own images
    like = upper.first == upper.second
    total = sums[1:] * np.where(like, 2.0, upper.weights)[:, None]
    total[like] += np.outer(near.counts, sums[0])
    smeared = np.exp(-0.5 * (WAVES * math.pi * SMEARING / FAR) ** 2)
    return np.asarray(total[:, WAVES] * smeared).ravel()


def _moments(near: _Neighbours) -> Floats:
    """(n_atoms, channels, monomials) of the unit vectors to the neighbours; a channel is a species and a shell."""
    pair, lengths = near.pair[near.close], near.lengths[near.close]
    n_own = int(np.searchsorted(pair, 1))
    n_species, species = len(near.counts), near.species
    first, second = near.pairs.first[pair[n_own:] - 1], near.pairs.second[pair[n_own:] - 1]
    place = np.concatenate([first * n_species + species[second], second * n_species + species[first]])
    order = np.argsort(place, kind="stable")
    n_places = len(species) * n_species
    edges = (n_own + np.searchsorted(place[order], np.arange(n_places + 1))).tolist()
    unit = near.vectors / lengths[:, None]
    unit = np.concatenate([unit[:n_own], np.concatenate([unit[n_own:], -unit[n_own:]])[order]])
    lengths = np.concatenate([lengths[:n_own], lengths[n_own + order % (len(pair) - n_own)]])
    taper = 0.5 * (1 + np.cos(math.pi / NEAR * lengths))
    radial = np.exp(-((lengths - SHELLS[:, None]) ** 2) / (2 * SHELL_WIDTH**2)) * taper
    monomials = _monomials(unit)
    sums = np.zeros((n_places, len(SHELLS), len(_EXPONENTS)))
    for k, (start, stop) in enumerate(pairwise(edges)):
        if stop > start:
            np.matmul(radial[:, start:stop], monomials[:, start:stop].T, out=sums[k])
    own = np.arange(len(species)) * n_species + species
    sums[own] += radial[:, :n_own] @ monomials[:, :n_own].T
    return sums.reshape(len(species), n_species * len(SHELLS), -1)


def _monomials(vectors: Floats) -> Floats:
    """(monomials, n) in the order of `_EXPONENTS`; every degree from the one before it."""
    x, y, z = vectors.T.copy()
    result = np.empty((len(_EXPONENTS), len(vectors)))
    result[0] = 1.0
    for d in range(1, L_MAX + 1):
        below, here = result[_OF_DEGREE[d - 1]], result[_OF_DEGREE[d]]
        np.multiply(z, below[0], out=here[0])
        np.multiply(y, below[:d], out=here[1 : d + 1])  # those without x come first
        np.multiply(x, below, out=here[d + 1 :])
    return result


def _angles(near: _Neighbours, moments: Floats) -> Floats:
    """(L_MAX x species x pairs of channels) power spectra: sums of Legendre polynomials over pairs of neighbours."""
    n_atoms, n_channels, _ = moments.shape
    weighted = moments * _MULTIPLICITY
    cosines = np.empty((n_atoms, L_MAX + 1, n_channels, n_channels))  # sums of powers of the cosine
    for degree, columns in enumerate(_OF_DEGREE):
        np.matmul(weighted[:, :, columns], moments[:, :, columns].transpose(0, 2, 1), out=cosines[:, degree])
    powers = _by_species(cosines, near).reshape(len(near.counts), L_MAX + 1, -1)
    spectra = (_LEGENDRE @ powers).transpose(1, 0, 2)
    upper = _upper(n_channels)
    return (spectra[..., upper.first * n_channels + upper.second] * upper.weights).ravel()


def _shapes(near: _Neighbours, moments: Floats) -> Floats:
    """(2 x species x channels x channels) of tr(M_a M_a M_b) and D_a.M_b.D_a, averaged over atoms.

    D is the sum of unit vectors and M that of their traceless squares, over the mean number of neighbours.
    """
    n_atoms, n_channels, _ = moments.shape
    size = moments[:, :, 0].sum() / n_atoms
    if size <= 0:
        return np.zeros(2 * len(near.counts) * n_channels**2)
    vector, tensor = moments[:, :, _VECTOR] / size, moments[:, :, _TENSOR] / size
    diagonal = tensor[:, :, ::4]
    diagonal -= diagonal.sum(axis=2, keepdims=True) / 3
    square = tensor.reshape(n_atoms, n_channels, 3, 3)
    left = np.empty((n_atoms, 2, n_channels, 3, 3))
    np.matmul(square, square, out=left[:, 0])
    np.multiply(vector[:, :, :, None], vector[:, :, None, :], out=left[:, 1])
    # all of these matrices are symmetric: the trace of a product is the sum of products of their elements
    shapes = left.reshape(n_atoms, 2 * n_channels, 9) @ tensor.transpose(0, 2, 1)
    summed = _by_species(shapes.reshape(n_atoms, 2, -1), near)
    return SHAPE_WEIGHT * summed.transpose(1, 0, 2).ravel() / n_atoms


def _by_species(values: Floats, near: _Neighbours) -> Floats:
    """(n_species, ...) sums over the atoms of each species; the first axis is that of the atoms."""
    return np.add.reduceat(values, np.searchsorted(near.species, np.arange(len(near.counts))), axis=0)


def _unit(vector: Floats) -> Floats:
    length = math.sqrt(float(vector @ vector))
    return vector / length if length > 0 else vector
