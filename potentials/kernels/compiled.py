"""The compiled kernel behind the common signature: checks and arrays here, numbers in the C++ files."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from potentials.features import Descriptor, Shape
from potentials.kernels import repulsion
from potentials.kernels.embedded import LEAST_DENSITY
from potentials.kernels.gupta import GuptaModel
from potentials.kernels.signature import ModelLike, species_indices
from potentials.structures import Floats, Prediction, Structures

_kernel: Any = None
with suppress(ImportError):  # it is built only where a C++ compiler was found; `missing` says so
    _kernel = import_module("potentials.kernels._kernel")

# Packing a model's weights costs as much as evaluating some ten atoms.
_packed: WeakKeyDictionary[ModelLike | GuptaModel, Any] = WeakKeyDictionary()


def missing() -> str | None:
    """Why this installation cannot run the compiled kernel; None when it can."""
    if _kernel is None:
        return "it was not built (install a C++ compiler, then the package again)"
    if not _kernel.supported():
        return "this processor lacks instructions it was built for (set OUTCROP_MARCH and build again)"
    return None


def evaluate(structures: Structures, model: ModelLike | GuptaModel, n_threads: int) -> Prediction:
    kinds = species_indices(structures, model.species)
    n_crystals, n_atoms = len(structures), len(kinds)
    members = np.empty((n_crystals, model.members))
    forces, stresses, atomic = np.empty((n_atoms, 3)), np.empty((n_crystals, 3, 3)), np.empty(n_atoms)
    packed = _packed.get(model)
    if packed is None:
        packed = _packed[model] = _pack(model)
    enter = _kernel.evaluate_gupta if isinstance(model, GuptaModel) else _kernel.evaluate
    enter(packed, *_arrays(structures, kinds), members, forces, stresses, atomic, n_threads)
    return Prediction(members.mean(axis=1), forces, stresses, members, atomic)


def features(structures: Structures, shape: Descriptor, species: tuple[int, ...], n_threads: int) -> list[Floats]:
    arrays = _arrays(structures, species_indices(structures, species))
    table = np.zeros((len(structures.numbers), shape.n_features(len(species))))
    _kernel.features(_descriptor(shape), len(species), *arrays, table, np.zeros(0), n_threads)
    return [table[a:b] for a, b in pairwise(structures.offsets.tolist())]


def jacobians(
    structures: Structures, shape: Descriptor, species: tuple[int, ...], n_threads: int
) -> list[tuple[Floats, Floats]]:
    arrays = _arrays(structures, species_indices(structures, species))
    n_features, sizes = shape.n_features(len(species)), structures.sizes
    table = np.zeros((len(structures.numbers), n_features))
    ends = np.concatenate([[0], np.cumsum(sizes * n_features * (3 * sizes + 9))]).tolist()
    slopes = np.zeros(ends[-1])
    _kernel.features(_descriptor(shape), len(species), *arrays, table, slopes, n_threads)
    rows = list(pairwise(structures.offsets.tolist()))
    return [
        (table[a:b], slopes[p:q].reshape(b - a, n_features, 3 * (b - a) + 9))
        for (a, b), (p, q) in zip(rows, pairwise(ends), strict=True)
    ]


def _descriptor(shape: Descriptor) -> Any:
    """The descriptor as the compiled kernel takes it."""
    if isinstance(shape, Shape):
        return _kernel.Density(shape.cutoff, shape.n_max, shape.l_max, shape.n_pair)
    etas = sorted({g.eta for g in shape.angular})
    angular = [(etas.index(g.eta), g.zeta.bit_length() - 1, g.sign) for g in shape.angular]
    return _kernel.SymmetryFunctions(shape.cutoff, [tuple(g) for g in shape.radial], etas, angular)


def _pack(model: ModelLike | GuptaModel) -> Any:
    """The model in the memory layout of the compiled kernel."""
    if isinstance(model, GuptaModel):
        return _kernel.Gupta(len(model.species), np.ascontiguousarray(model.pairs))
    between = _kernel.repulsion(
        model.repulsion,
        model.core_energy,
        np.array(model.species, dtype=float),
        repulsion.radii(model.species),
        repulsion.cores(model.species) if model.core_energy else np.zeros(len(model.species)),
        np.array(repulsion.AMPLITUDES),
        np.array(repulsion.RATES),
        (repulsion.LENGTH, repulsion.POWER, repulsion.INNER, repulsion.OUTER, repulsion.COULOMB),
    )
    second = (model.second_weights, model.second_biases)
    second_weights, second_biases = (np.zeros(0) if a is None else a for a in second)
    added = [np.zeros(0)] * 3 if model.added is None else [model.added.weights, model.added.biases, model.added.outputs]
    arrays = (model.weights, model.biases, second_weights, second_biases, model.outputs, model.shifts, *added)
    units = 0 if model.second_biases is None else model.second_biases.shape[2]
    numbers = (model.members, model.hidden, units, 0 if model.added is None else model.added.units)
    sight = model.shape.sight if isinstance(model.shape, Shape) else 0.0
    refined = []
    for own in model.refined:
        y, z = own.others if len(own.others) > 1 else (own.others[0], -1)
        parts = (np.ascontiguousarray(a) for a in (own.weights, own.biases, own.outputs, own.shifts))
        refined.append((own.centre, y, z, *parts))
    flat = (np.ascontiguousarray(a) for a in arrays)
    under, degree = [np.zeros(0)] * 5, 0
    if (atoms := model.embedded) is not None:
        under = [atoms.pair_knots, atoms.pairs, atoms.density_knots, atoms.densities, atoms.embedding]
        degree = atoms.degree
    below = (*(np.ascontiguousarray(a) for a in under), degree)
    return _kernel.Network(_descriptor(model.shape), between, *numbers, *flat, sight, refined, below, LEAST_DENSITY)


def _arrays(structures: Structures, kinds: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    return (
        np.ascontiguousarray(kinds, dtype=np.int64),
        np.ascontiguousarray(structures.positions, dtype=np.float64),
        np.ascontiguousarray(structures.cells, dtype=np.float64),
        np.ascontiguousarray(structures.periodic, dtype=np.uint8),
        np.ascontiguousarray(structures.offsets, dtype=np.int64),
    )
