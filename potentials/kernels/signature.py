"""What the kernels ask of a model, and the check at their door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from ase.data import chemical_symbols

from potentials.features import Descriptor
from potentials.kernels.embedded import EmbeddedAtoms
from potentials.structures import Floats, Ints, Structures


class LayerLike(Protocol):
    """One hidden layer and what stands on it."""

    @property
    def weights(self) -> Floats: ...
    @property
    def biases(self) -> Floats: ...
    @property
    def outputs(self) -> Floats: ...


class AddedLike(LayerLike, Protocol):
    """Units that see one block of features each; see `potentials.network.AddedUnits`."""

    @property
    def units(self) -> int: ...


class SetNetworkLike(LayerLike, Protocol):
    """The network for centres that see exactly some elements; see `potentials.network.SetNetwork`."""

    @property
    def centre(self) -> int: ...
    @property
    def others(self) -> tuple[int, ...]: ...
    @property
    def shifts(self) -> Floats: ...


class ModelLike(Protocol):
    """Folded networks of a library; see `potentials.network.Model`."""

    @property
    def shape(self) -> Descriptor: ...
    @property
    def species(self) -> tuple[int, ...]: ...
    @property
    def members(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def weights(self) -> Floats: ...
    @property
    def biases(self) -> Floats: ...
    @property
    def second_weights(self) -> Floats | None: ...
    @property
    def second_biases(self) -> Floats | None: ...
    @property
    def outputs(self) -> Floats: ...
    @property
    def shifts(self) -> Floats: ...
    @property
    def repulsion(self) -> bool: ...
    @property
    def core_energy(self) -> float: ...
    @property
    def added(self) -> AddedLike | None: ...
    @property
    def refined(self) -> Sequence[SetNetworkLike]: ...
    @property
    def embedded(self) -> EmbeddedAtoms | None: ...


def whole_weights(model: ModelLike, net: SetNetworkLike) -> Floats:
    """(n_features, lanes) of a refined network: its own for the blocks of its elements, the shared ones for the others."""
    weights, row = model.weights[net.centre].copy(), 0
    within = {model.species[k] for k in (net.centre, *net.others)}
    for block in model.shape.blocks(model.species[net.centre], model.species):
        if set(block.stratum.numbers) <= within:
            weights[block.start : block.stop] = net.weights[row : row + block.size]
            row += block.size
    return weights


def species_indices(structures: Structures, species: tuple[int, ...]) -> Ints:
    """(n_atoms,) the place of each atom's element in `species`, which must be ascending."""
    known = np.asarray(species, dtype=np.int64)
    indices = np.minimum(np.searchsorted(known, structures.numbers), len(known) - 1)
    unknown = np.unique(structures.numbers[known[indices] != structures.numbers])
    if len(unknown):
        theirs, ours = (", ".join(chemical_symbols[z] for z in group) for group in (unknown, species))
        raise ValueError(f"`structures` hold {theirs}, the model knows only {ours}; add the missing strata")
    return indices
