"""Networks of a library, assembled from the parameters of its strata.

One network per element and committee member, with one hidden layer or two: with t_h = tanh(b_h + sum_d W_dh f_d),
E_i = e + sum_h v_h t_h or E_i = e + sum_k v_k tanh(c_k + sum_h U_hk t_h). A unary stratum owns e, b, v, c, U and the
columns of its block; a larger stratum owns, for each of its elements as centre, the columns of its block and, where it is
widened, units of its own that see this block alone: sum_k v_k (tanh(b_k + sum_d W_dk f_d) - tanh(b_k)), exactly zero with it.
Or it is refined: it owns a whole network for each of its elements, with all inputs of its subsets, which speaks for centres that
see neighbours of exactly its elements. s_Y = 10u³ - 15u⁴ + 6u⁵, u = min(T_Y1/sight, 1), is how much of element Y a centre sees;
the network of set S has the share prod_(Y in S) s_Y prod_(Y not in S) (1 - s_Y), the assembled network the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from potentials.features import Block, Descriptor, Shape, SymmetryFunctions
from potentials.kernels.embedded import EmbeddedAtoms
from potentials.kernels.gupta import PARAMETERS, GuptaModel
from potentials.kernels.repulsion import cores, reach
from potentials.stratum import Stratum
from potentials.structures import Floats

__all__ = ["Block", "Descriptor", "Model", "Shape", "StratumParameters", "SymmetryFunctions", "fold"]


@dataclass(frozen=True, slots=True)
class OwnUnits:
    """Hidden units that a pair or triple adds for one of its elements; they see the scaled features of its own block."""

    weights: Floats  # (members, n_block, units)
    biases: Floats  # (members, units)
    outputs: Floats  # (members, units) eV


@dataclass(frozen=True, slots=True)
class RefinedNetwork:
    """A network for the centres of one element that see exactly the elements of a pair or triple; features are unscaled."""

    weights: Floats  # (members, n_features, hidden) of all features that the centre has among these elements
    biases: Floats  # (members, hidden)
    outputs: Floats  # (members, hidden) eV
    shifts: Floats  # (members,) eV per atom


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
    outputs: Floats | None = None  # (members, units of the last layer) eV, unary only
    shifts: Floats | None = None  # (members,) eV per atom, unary only
    second_weights: Floats | None = None  # (members, hidden, second) of a second layer, unary only
    second_biases: Floats | None = None  # (members, second), unary only
    gupta: Floats | None = None  # (7,) of its pair of elements; such a stratum has no networks
    own_units: Mapping[int, OwnUnits] | None = None  # where it is widened, never unary
    refined: Mapping[int, RefinedNetwork] | None = None  # where it is refined, never unary
    embedded: Floats | None = None  # (OF_ELEMENT,) or (OF_PAIR,) of the potential under the networks (kernels.embedded)

    @property
    def n_own(self) -> int:
        """Units of its own for each of its elements; 0 where it is not widened."""
        return next(iter(self.own_units.values())).biases.shape[1] if self.own_units else 0

    @property
    def n_second(self) -> int:
        """Units of the second layer; 0 where there is none."""
        return 0 if self.second_biases is None else self.second_biases.shape[1]


@dataclass(frozen=True, eq=False)
class AddedUnits:
    """Those of all blocks of a library; lane = member * units + k, the rows of a block feed the units of that block."""

    units: int  # of one member in each block, zeros where a stratum has fewer
    weights: Floats  # (n_species, n_features, members * units)
    biases: Floats  # (n_species, n_blocks, members * units)
    outputs: Floats  # (n_species, n_blocks, members * units) eV

    def member(self, m: int) -> AddedUnits:
        """Those of one committee member."""
        lanes = slice(m * self.units, (m + 1) * self.units)
        arrays = (np.ascontiguousarray(a[:, :, lanes]) for a in (self.weights, self.biases, self.outputs))
        return AddedUnits(self.units, *arrays)


@dataclass(frozen=True, eq=False)
class SetNetwork:
    """The refined network of one element and set; lane = member * hidden + h."""

    centre: int  # place in the species
    others: tuple[int, ...]  # one or two places in the species, ascending
    weights: Floats  # (n_features among these elements, members * hidden)
    biases: Floats  # (members * hidden,)
    outputs: Floats  # (members * hidden,) eV
    shifts: Floats  # (members,) eV per atom

    def member(self, m: int) -> SetNetwork:
        """That of one committee member."""
        hidden = len(self.biases) // len(self.shifts)
        lanes, one = slice(m * hidden, (m + 1) * hidden), slice(m, m + 1)
        weights = np.ascontiguousarray(self.weights[:, lanes])
        return SetNetwork(self.centre, self.others, weights, self.biases[lanes], self.outputs[lanes], self.shifts[one])


@dataclass(frozen=True, eq=False)
class Model:
    """A library's networks, ready for evaluation: lane = member * hidden + h, the input scaling folded in."""

    shape: Descriptor
    species: tuple[int, ...]  # ascending atomic numbers
    members: int
    hidden: int
    weights: Floats  # (n_species, n_features, members * hidden)
    biases: Floats  # (n_species, members * hidden)
    outputs: Floats  # (n_species, members * hidden) eV; with a second layer (n_species, members, second)
    shifts: Floats  # (n_species, members) eV per atom
    repulsion: bool  # screened nuclear repulsion as baseline
    second_weights: Floats | None = None  # (n_species, members, hidden, second)
    second_biases: Floats | None = None  # (n_species, members, second)
    core_energy: float = 0.0  # eV, of hard cores as MAISE adds them to published models; 0: none
    added: AddedUnits | None = None  # of widened strata
    refined: tuple[SetNetwork, ...] = ()  # of refined strata
    embedded: EmbeddedAtoms | None = None  # under the networks

    def __post_init__(self) -> None:
        n, lanes = len(self.species), self.members * self.hidden
        expected: dict[str, tuple[int, ...]] = {
            "weights": (n, self.shape.n_features(n), lanes),
            "biases": (n, lanes),
            "outputs": (n, lanes),
            "shifts": (n, self.members),
        }
        if self.second_weights is not None and self.second_biases is not None:
            units = self.second_biases.shape[-1]
            expected["second_weights"] = (n, self.members, self.hidden, units)
            expected["second_biases"] = expected["outputs"] = (n, self.members, units)
        elif self.second_weights is not None or self.second_biases is not None:
            raise ValueError("`second_weights` and `second_biases` must both be given, or neither")
        if self.added is not None:
            width, blocks = self.members * self.added.units, n_blocks(n)
            shapes = ((n, self.shape.n_features(n), width), (n, blocks, width), (n, blocks, width))
            if (found := tuple(a.shape for a in (self.added.weights, self.added.biases, self.added.outputs))) != shapes:
                raise ValueError(f"the arrays of `added` must have shapes {shapes}, got {found}")
        if self.refined and (self.second_weights is not None or not isinstance(self.shape, Shape)):
            raise ValueError("`refined` networks need the density and one hidden layer")
        for own in self.refined:
            wanted = [(self.shape.n_features(1 + len(own.others)), lanes), (lanes,), (lanes,), (self.members,)]
            if (there := [a.shape for a in (own.weights, own.biases, own.outputs, own.shifts)]) != wanted:
                raise ValueError(f"the arrays of a refined network must have shapes {wanted}, got {there}")
        if self.embedded is not None and len(self.embedded.embedding) != n:
            raise ValueError(f"`embedded` must be of {n} elements, got {len(self.embedded.embedding)}")
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"`{name}` must have shape {shape}, got {getattr(self, name).shape}")
        if self.core_energy:
            cores(self.species)
        if self.repulsion and (end := reach(self.species)) > self.shape.cutoff:
            raise ValueError(f"`cutoff` must be at least {end:.2f} Å, where the repulsion ends")

    def member(self, m: int) -> Model:
        """The Model of one committee member."""
        lanes, one = slice(m * self.hidden, (m + 1) * self.hidden), slice(m, m + 1)
        deep = self.second_weights is not None and self.second_biases is not None
        return replace(
            self,
            members=1,
            weights=np.ascontiguousarray(self.weights[:, :, lanes]),
            biases=np.ascontiguousarray(self.biases[:, lanes]),
            outputs=np.ascontiguousarray(self.outputs[:, one if deep else lanes]),
            shifts=np.ascontiguousarray(self.shifts[:, one]),
            second_weights=None if self.second_weights is None else np.ascontiguousarray(self.second_weights[:, one]),
            second_biases=None if self.second_biases is None else np.ascontiguousarray(self.second_biases[:, one]),
            added=None if self.added is None else self.added.member(m),
            refined=tuple(own.member(m) for own in self.refined),
        )


def n_blocks(n_species: int) -> int:
    """Blocks of features of one centre: its own, one for each other element, one for each two others."""
    return 1 + (n_species - 1) + (n_species - 1) * (n_species - 2) // 2


def fold(
    shape: Descriptor,
    species: tuple[int, ...],
    parameters: Collection[StratumParameters],
    repulsion: bool,
    core_energy: float = 0.0,
    degree: int = 3,
) -> Model:
    """The Model of `species`, from every unary stratum and from those larger strata that exist.

    Columns of a missing stratum are zero. Each number comes from one stratum alone, in the same operations
    whatever the library, so a stratum has the same bits in every library.
    """
    by_stratum = {p.stratum: p for p in parameters}
    missing = [Stratum((z,)).name for z in species if Stratum((z,)) not in by_stratum]
    if missing:
        raise ValueError(f"no parameters for the unary strata {', '.join(missing)}; train them first")
    first = by_stratum[Stratum((species[0],))]
    members, _, hidden = first.columns[species[0]].shape
    lanes = members * hidden
    weights = np.zeros((len(species), shape.n_features(len(species)), lanes))
    biases, shifts = np.zeros((len(species), lanes)), np.zeros((len(species), members))
    outputs, second = [], []
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
            shifts[s] = own.shifts
            outputs.append(own.outputs)
            if own.second_weights is not None and own.second_biases is not None:
                second.append((own.second_weights, own.second_biases))
    added, refined = _added(shape, species, by_stratum, members), _refined(species, parameters)
    under = embedded_atoms(shape, species, parameters, degree)
    if not second:
        last = np.array(outputs).reshape(len(species), lanes)
        deepest = (None, None, core_energy, added, refined, under)
        return Model(shape, species, members, hidden, weights, biases, last, shifts, repulsion, *deepest)
    if len(second) != len(species):
        raise ValueError("the unary strata must all have a second hidden layer, or none")
    deep = (np.array([w for w, _ in second]), np.array([b for _, b in second]))
    last = np.array(outputs)
    numbers = (weights, biases, last, shifts)
    return Model(shape, species, members, hidden, *numbers, repulsion, *deep, core_energy, added, embedded=under)


def embedded_atoms(
    shape: Descriptor, species: tuple[int, ...], parameters: Collection[StratumParameters], degree: int
) -> EmbeddedAtoms | None:
    """What lies under the networks of these elements; None where none of the strata has any of it."""
    known = {
        p.stratum: p.embedded for p in parameters if p.embedded is not None and set(p.stratum.numbers) <= set(species)
    }
    return EmbeddedAtoms.of(species, shape.cutoff, known, degree) if known else None


def _added(
    shape: Descriptor, species: tuple[int, ...], by_stratum: Mapping[Stratum, StratumParameters], members: int
) -> AddedUnits | None:
    """The own units of all strata among `species`; None where none is widened."""
    widened = {s: p for s, p in by_stratum.items() if p.own_units and set(s.numbers) <= set(species)}
    if not widened:
        return None
    units = max(u.biases.shape[1] for p in widened.values() if p.own_units for u in p.own_units.values())
    weights = np.zeros((len(species), shape.n_features(len(species)), members, units))
    biases, outputs = (np.zeros((len(species), n_blocks(len(species)), members, units)) for _ in range(2))
    for s, centre in enumerate(species):
        for place, block in enumerate(shape.blocks(centre, species)):
            if (p := widened.get(block.stratum)) is None or p.own_units is None:
                continue
            own = p.own_units[centre]
            if own.weights.shape != (members, block.size, own.biases.shape[1]):
                raise ValueError(
                    f"the weights of {p.stratum.name}'s own units must have shape "
                    f"{(members, block.size, own.biases.shape[1])}, got {own.weights.shape}"
                )
            k = own.biases.shape[1]
            scaled = np.ascontiguousarray(own.weights) * p.scale[centre][:, None]
            weights[s, block.start : block.stop, :, :k] = scaled.transpose(1, 0, 2)
            biases[s, place, :, :k], outputs[s, place, :, :k] = own.biases, own.outputs
    flat = (a.reshape(*a.shape[:2], members * units) for a in (weights, biases, outputs))
    return AddedUnits(units, *flat)


def _refined(species: tuple[int, ...], parameters: Collection[StratumParameters]) -> tuple[SetNetwork, ...]:
    """The refined networks of all strata among `species`, canonical order."""
    found = []
    for p in sorted(parameters, key=lambda p: Stratum.sort_key(p.stratum)):
        if not p.refined or not set(p.stratum.numbers) <= set(species):
            continue
        for z, own in sorted(p.refined.items()):
            members, n_features, hidden = own.weights.shape
            weights = np.ascontiguousarray(own.weights.transpose(1, 0, 2)).reshape(n_features, members * hidden)
            others = tuple(species.index(y) for y in p.stratum.numbers if y != z)
            found.append(
                SetNetwork(species.index(z), others, weights, own.biases.ravel(), own.outputs.ravel(), own.shifts)
            )
    return tuple(found)


def fold_gupta(species: tuple[int, ...], parameters: Collection[StratumParameters]) -> GuptaModel:
    """The Gupta potential of `species` from the strata of every element and every pair."""
    known = {p.stratum: p.gupta for p in parameters if p.gupta is not None}
    pairs = np.zeros((len(species), len(species), len(PARAMETERS)))
    for a, y in enumerate(species):
        for b, z in enumerate(species):
            stratum = Stratum.of((y, z))
            if stratum not in known:
                raise ValueError(f"no Gupta parameters for {stratum.name}; every pair of elements needs its own")
            pairs[a, b] = known[stratum]
    return GuptaModel(species, pairs)
