"""Networks of a library, assembled from the parameters of its strata.

One network per element and committee member, one hidden layer:
E_i = e + sum_h v_h tanh(b_h + sum_d W_dh f_d). A unary stratum owns e, b, v and the columns of its block; a
larger stratum owns, for each of its elements as centre, the columns of its block and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from potentials.features.density import Block, Shape
from potentials.kernels.repulsion import reach
from potentials.stratum import Stratum
from potentials.structures import Floats

__all__ = ["Block", "Model", "Shape", "StratumParameters", "fold"]


@dataclass(frozen=True, slots=True)
class StratumParameters:
    """What one stratum owns. The input to hidden unit h is sum_d columns[d, h] (f_d - scale_shift_d) scale_d.

    The dictionaries are by atomic number of the centre, one entry for every element of the stratum.
    """

    stratum: Stratum
    scale_shift: Mapping[int, Floats]  # (n_block,) zero unless the stratum is unary
    scale: Mapping[int, Floats]  # (n_block,) 1/deviation times the smoothness factor
    columns: Mapping[int, Floats]  # (members, n_block, hidden)
    biases: Floats | None = None  # (members, hidden), unary only
    outputs: Floats | None = None  # (members, hidden) eV, unary only
    shifts: Floats | None = None  # (members,) eV per atom, unary only


@dataclass(frozen=True, eq=False)
class Model:
    """A library's networks, ready for evaluation: lane = member * hidden + h, the input scaling folded in."""

    shape: Shape
    species: tuple[int, ...]  # ascending atomic numbers
    members: int
    hidden: int
    weights: Floats  # (n_species, n_features, members * hidden)
    biases: Floats  # (n_species, members * hidden)
    outputs: Floats  # (n_species, members * hidden) eV
    shifts: Floats  # (n_species, members) eV per atom
    repulsion: bool  # screened nuclear repulsion as baseline

    def __post_init__(self) -> None:
        n, lanes = len(self.species), self.members * self.hidden
        expected: dict[str, tuple[int, ...]] = {
            "weights": (n, self.shape.n_features(n), lanes),
            "biases": (n, lanes),
            "outputs": (n, lanes),
            "shifts": (n, self.members),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"`{name}` must have shape {shape}, got {getattr(self, name).shape}")
        if self.repulsion and (end := reach(self.species)) > self.shape.cutoff:
            raise ValueError(f"`cutoff` must be at least {end:.2f} Å, where the repulsion ends")


def fold(shape: Shape, species: tuple[int, ...], parameters: Collection[StratumParameters], repulsion: bool) -> Model:
    """The Model of `species`, from every unary stratum and from those larger strata that exist.

    Columns of a missing stratum are zero. Each number comes from one stratum alone, in the same operations
    whatever the library, so a stratum has the same bits in every library.
    """
    by_stratum = {p.stratum: p for p in parameters}
    missing = [Stratum((z,)).name for z in species if Stratum((z,)) not in by_stratum]
    if missing:
        raise ValueError(f"no parameters for the unary strata {', '.join(missing)}; train them first")
    first = by_stratum[Stratum((species[0],))].columns[species[0]]
    members, hidden = first.shape[0], first.shape[2]
    lanes = members * hidden
    weights = np.zeros((len(species), shape.n_features(len(species)), lanes))
    biases, outputs = np.zeros((len(species), lanes)), np.zeros((len(species), lanes))
    shifts = np.zeros((len(species), members))
    for s, centre in enumerate(species):
        for block in shape.blocks(centre, species):
            if block.stratum not in by_stratum:
                continue
            own = by_stratum[block.stratum]
            # (member, feature, unit); contiguous, so that the sum below runs in one order
            columns = np.ascontiguousarray(own.columns[centre]) * own.scale[centre][:, None]
            if columns.shape != (members, block.size, hidden):
                raise ValueError(
                    f"`columns` of {block.stratum.name} must have shape {(members, block.size, hidden)}"
                    f" for every element, got {columns.shape}"
                )
            weights[s, block.start : block.stop] = columns.transpose(1, 0, 2).reshape(block.size, lanes)
            if block.stratum.order > 1:
                if np.any(own.scale_shift[centre]):
                    raise ValueError(f"`scale_shift` of {block.stratum.name} must be zero: it is not unary")
                continue
            if own.biases is None or own.outputs is None or own.shifts is None:
                raise ValueError(f"unary stratum {block.stratum.name} needs `biases`, `outputs`, `shifts`")
            moved = (columns * own.scale_shift[centre][:, None]).sum(axis=1)  # (member, unit)
            biases[s] = (own.biases - moved).reshape(lanes)
            outputs[s] = own.outputs.reshape(lanes)
            shifts[s] = own.shifts
    return Model(shape, species, members, hidden, weights, biases, outputs, shifts, repulsion)
