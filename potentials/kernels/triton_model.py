"""A model as the GPU kernels take it, and how many crystals at a time fit into the device's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from potentials import memory
from potentials.features import Shape
from potentials.kernels import repulsion
from potentials.kernels.signature import ModelLike, whole_weights
from potentials.kernels.triton_text import n_moments
from potentials.structures import Floats, Structures

CROWD = 100  # neighbours, for the estimate of memory


@dataclass(frozen=True)
class Lanes:
    """Hidden units: features in the list that suits any centre, lanes padded to a power of two."""

    weights: Tensor  # (n_species, n_features, lanes)
    biases: Tensor  # (n_species, lanes)
    outputs: Tensor  # (n_species, lanes) eV
    owners: Tensor  # (lanes,) the member of each lane


@dataclass(frozen=True)
class SetLanes:
    """The network for centres of one element that see exactly some others."""

    kind: int  # place of the centre in the library
    others: tuple[int, ...]  # of the others
    lanes: Lanes  # of one species
    shifts: Tensor  # (1, members) float64 eV


@dataclass(frozen=True)
class Atoms:
    """The embedded-atom potential under the networks; knots and factors in the precision of the features."""

    tables: tuple[Tensor, ...]  # (n_species, n_species, knots): knots and halves of phi, knots and factors of rho
    embedding: Tensor  # (n_species, 4) float64
    degree: int


@dataclass(frozen=True)
class Packed:
    """A model on a device."""

    shape: Shape
    lanes: Lanes
    added: tuple[Lanes, ...]  # the own units of each block, apart: their sums must not depend on what else there is
    refined: tuple[SetLanes, ...]
    shifts: Tensor  # (n_species, members) float64 eV
    screening: Tensor  # (n_species, n_species, 4) 1/a, half of Zi Zj e²/(4 pi eps0), r1, 1/(r2 - r1)
    pairs: Tensor  # (n_pairs, 2) of elements
    places: Tensor  # (119,) of every element by its atomic number in the library, -1 for others
    repulsion: bool
    embedded: Atoms | None

    @property
    def device(self) -> torch.device:
        return self.lanes.weights.device

    @property
    def precision(self) -> torch.dtype:
        return self.lanes.weights.dtype

    @property
    def n_species(self) -> int:
        return len(self.lanes.weights)

    @property
    def n_features(self) -> int:
        return self.lanes.weights.shape[1]

    @property
    def bytes_per_atom(self) -> int:
        n, moments = self.n_species, n_moments(self.shape)
        rows = 2 * n * moments + 2 * self.n_features + 4 * CROWD
        return rows * self.lanes.weights.element_size() + 8 * (CROWD + 8 * n + 4 * self.shifts.shape[1] + 50)

    @property
    def bytes_per_pair(self) -> int:
        return 8 * 40  # indices, boxes, counts, forces, and what stands beside them for a moment


_packed: WeakKeyDictionary[ModelLike, dict[Any, Packed]] = WeakKeyDictionary()


def pack(model: ModelLike, device: str, precision: torch.dtype) -> Packed:
    """The same record at every call with the same model."""
    known = _packed.setdefault(model, {})
    key = (device, precision)
    if key not in known:
        known[key] = _anew(model, torch.device(device), precision)
    return known[key]


def _anew(model: ModelLike, where: torch.device, precision: torch.dtype) -> Packed:
    assert isinstance(model.shape, Shape)  # others are refused at the door of the package
    n = len(model.species)

    def lanes(weights: Floats, biases: Floats, outputs: Floats, units: int, kinds: Sequence[int] = range(n)) -> Lanes:
        used = biases.shape[1]
        padded = max(16, 1 << (used - 1).bit_length())
        wide = np.zeros((len(kinds), weights.shape[1], padded))
        for x, centre in enumerate(model.species[k] for k in kinds):
            wide[x, model.shape.sizes.places(centre, model.species), :used] = weights[x]
        more = ((0, 0), (0, padded - used))
        return Lanes(
            on_device(wide, where, precision),
            on_device(np.pad(biases, more), where, precision),
            on_device(np.pad(outputs, more), where, precision),
            on_device(np.minimum(np.arange(padded) // units, model.members - 1), where),
        )

    added = []
    if (own := model.added) is not None:
        for place in range(1, own.biases.shape[1]):  # an element adds none to itself
            weights = np.zeros_like(own.weights)
            for x, centre in enumerate(model.species):
                block = model.shape.blocks(centre, model.species)[place]
                weights[x, block.start : block.stop] = own.weights[x, block.start : block.stop]
            added.append(lanes(weights, own.biases[:, place], own.outputs[:, place], own.units))
    refined = []
    for net in model.refined:
        weights = whole_weights(model, net)[None]
        shifts = on_device(net.shifts[None], where, torch.float64)
        refined.append(
            SetLanes(
                net.centre,
                net.others,
                lanes(weights, net.biases[None], net.outputs[None], model.hidden, [net.centre]),
                shifts,
            )
        )
    under = None
    if (atoms := model.embedded) is not None:
        tables = (atoms.pair_knots, 0.5 * atoms.pairs, atoms.density_knots, atoms.densities)
        under = Atoms(
            tuple(on_device(t, where, precision) for t in tables),
            on_device(atoms.embedding, where, torch.float64),
            atoms.degree,
        )
    places = np.full(119, -1)
    places[list(model.species)] = np.arange(n)
    charges = np.array(model.species, dtype=float)
    reach = repulsion.radii(model.species)[:, None] + repulsion.radii(model.species)
    inner, outer = repulsion.INNER * reach, repulsion.OUTER * reach
    rates = (charges[:, None] ** repulsion.POWER + charges**repulsion.POWER) / repulsion.LENGTH
    strengths = 0.5 * repulsion.COULOMB * charges[:, None] * charges
    return Packed(
        shape=model.shape,
        lanes=lanes(model.weights, model.biases, model.outputs, model.hidden),
        added=tuple(added),
        refined=tuple(refined),
        shifts=on_device(model.shifts, where, torch.float64),
        screening=on_device(np.stack([rates, strengths, inner, 1 / (outer - inner)], -1), where, precision),
        pairs=on_device(np.array([(y, z) for y in range(n) for z in range(y, n)]), where),
        places=on_device(places, where),
        repulsion=model.repulsion,
        embedded=under,
    )


def on_device(array: Any, where: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype, device=where)


def portions(structures: Structures, packed: Packed) -> list[Structures]:
    """The structures cut into runs that fit into the memory to be planned for; at least one run."""
    if not len(structures):
        return [structures]
    room = memory.room(str(packed.device))
    sizes = structures.sizes
    needed = np.cumsum(sizes * packed.bytes_per_atom + sizes**2 * packed.bytes_per_pair)
    # row times column of the largest array stays below 2^31
    atoms = np.cumsum(sizes) * max(packed.n_features, packed.n_species * n_moments(packed.shape))
    run = np.maximum((needed - 1) // room, (atoms - 1) // 2**31)
    cuts = [0, *(np.flatnonzero(np.diff(run)) + 1).tolist(), len(structures)]
    return [_run(structures, a, b) for a, b in pairwise(cuts)]


def _run(structures: Structures, a: int, b: int) -> Structures:
    """Crystals a to b; at a million of them `select` takes longer than the device."""
    atoms = slice(structures.offsets[a], structures.offsets[b])
    return Structures(
        structures.numbers[atoms],
        structures.positions[atoms],
        structures.cells[a:b],
        structures.periodic[a:b],
        structures.offsets[a : b + 1] - structures.offsets[a],
    )
