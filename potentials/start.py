"""Where a fit begins: input scaling, axes, first parameters, and what they are drawn to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from potentials.batches import Bases, Basis, inputs, principal_axes
from potentials.environments import deviations
from potentials.features import Descriptor
from potentials.fit import Layout
from potentials.heads import Head
from potentials.likeness import Model
from potentials.network import StratumParameters
from potentials.prior import inherited
from potentials.recipe import Recipe
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.tables import Table, heights
from potentials.task import FitTask

SPREAD = (0.5, 0.3, 0.3)  # of the first pre-activations, biases, outputs (eV) of an element
PART = 0.5  # at most, of random parameters: where few crystals have their element drawn to
SPREAD_OWN = (0.5, 0.5, 0.03)  # of the own units of a pair or triple

Known = Sequence[tuple[Stratum, Sequence[Table]]]  # tables of the crystals of each set of elements


def scaling_of(recipe: Recipe, stratum: Stratum, known: Known) -> StratumParameters:
    """Input scaling by these crystals, and columns of zeros.

    A unary block is (f - mean)/deviation. Higher blocks are never shifted: zero must stay zero. Scaled by range, no block
    is: f/max f.
    """
    shift, scale, columns = {}, {}, {}
    for z in stratum.numbers:
        own = own_features(recipe.shape, stratum, z, known)
        smooth = next(
            (recipe.shape.smoothness(b) for b in recipe.shape.blocks(z, stratum.numbers) if b.stratum == stratum),
            np.zeros(0),
        )
        by_range = recipe.scaling == "range"
        shift[z] = own.mean(axis=0) if stratum.order == 1 and not by_range else np.zeros(own.shape[1])
        scale[z] = smooth / (greatest(own) if by_range else deviations(own))
        columns[z] = np.zeros((recipe.members, own.shape[1], recipe.hidden))
    return StratumParameters(stratum, shift, scale, columns)


def own_features(shape: Descriptor, stratum: Stratum, centre: int, known: Known) -> Floats:
    """(n, n_block) unscaled inputs that the block `stratum` has in all of these crystals.

    In a compound those of an element are blind to what its neighbours are. Crystals of the element alone would not do: in
    cells of one atom the products of odd l vanish, and an input that hardly varies there would be blown up in compounds.
    """
    size = shape.block_size(stratum.order)
    parts = [np.zeros((0, size))]
    for company, tables in known:
        if size and centre in company.numbers and set(company.numbers) >= set(stratum.numbers):
            to_inputs = inputs(shape, company, centre, stratum, np.eye(size))
            parts += [t.centres[centre].features @ to_inputs for t in tables if centre in t.centres]
    found = np.concatenate(parts)
    return found if len(found) else np.zeros((1, size))


def greatest(table: Floats) -> Floats:
    """(D,) greatest absolute values of the columns of (n, D), never so small that scaling by them would magnify noise."""
    most = np.abs(table).max(axis=0)
    return np.asarray(np.maximum(most, 1e-6 * most.max(initial=0.0) or 1.0))


def bases_of(task: FitTask, known: Known) -> Bases:
    """The inputs of every block that is fitted: centred for an element and scaled by deviation, whatever the networks' own
    scaling is, because the fit is far better conditioned so.
    """
    bases = {}
    shape = task.recipe.shape
    for stratum, stored in task.scalings.items():
        for z in stratum.numbers:
            if not shape.block_size(stratum.order):
                continue
            shift, scale = stored.scale_shift[z], stored.scale[z]
            own = own_features(shape, stratum, z, known)
            own = own[np.isfinite(own).all(axis=1)]
            if task.recipe.scaling == "range":
                shift = own.mean(axis=0) if stratum.order == 1 else shift
                scale = 1.0 / deviations(own)
            axes = principal_axes(shape, stratum, z, scale, known)
            bases[stratum, z] = Basis(shift, scale, axes, float(np.linalg.norm(deviations(own) * scale)))
    return bases


@dataclass(frozen=True, eq=False)
class Ground:
    """The weights that a fit adds to: (n_block, members, hidden) of unscaled features, by centre and block."""

    raw: Mapping[int, Mapping[Stratum, Floats]]
    apart: Mapping[tuple[Stratum, int], Floats]  # how far they are from what the prior says

    @classmethod
    def of(cls, task: FitTask) -> Ground:
        """What frozen strata have, and where a fit goes on; a new block begins at its prior, a new element at zero."""
        raw: dict[int, dict[Stratum, Floats]] = {}
        apart = {}
        frozen = {p.stratum: p for p in task.frozen}
        strata = sorted({*frozen, *task.strata}, key=Stratum.sort_key)
        model = Model.of(task.recipe.shape, task.like.strata)
        for stratum in strata:
            given = frozen.get(stratum) or (task.scalings[stratum] if task.warm else None)
            for z in stratum.numbers:
                mine, size = raw.setdefault(z, {}), task.recipe.shape.block_size(stratum.order)
                shape = (size, task.recipe.members, task.recipe.hidden)
                drawn = np.zeros(shape)
                if stratum.order > 1 and size:
                    flat = {s: w.reshape(len(w), -1) for s, w in mine.items()}
                    drawn = inherited(task.recipe.shape, stratum, z, flat).reshape(shape)
                if stratum in task.scalings and (more := model.beyond_prior(stratum, z)) is not None:
                    drawn = drawn + more
                mine[stratum] = drawn
                if given is not None:
                    mine[stratum] = (given.columns[z] * given.scale[z][:, None]).transpose(1, 0, 2)
                if stratum in task.scalings and size:
                    apart[stratum, z] = mine[stratum] - drawn
        return cls(raw, apart)

    def with_changes(
        self, recipe: Recipe, member: int, centre: int, changes: Mapping[Stratum, Floats]
    ) -> dict[Stratum, Floats]:
        """(n_block, hidden) weights of unscaled features after a fit, of one member, for every block of `changes`.

        changes: (n_block, hidden) of fitted blocks; a block above inherits those below it.
        """
        total: dict[Stratum, Floats] = {}
        moved: dict[Stratum, Floats] = {}
        for stratum in sorted(self.raw[centre], key=Stratum.sort_key):
            base = self.raw[centre][stratum][:, member]
            moved[stratum] = np.zeros(base.shape)
            if stratum.order > 1 and len(base):
                moved[stratum] = inherited(recipe.shape, stratum, centre, moved)
            if stratum in changes:
                moved[stratum] = moved[stratum] + changes[stratum]
                total[stratum] = base + moved[stratum]
        return total


def start(task: FitTask, layout: Layout, bases: Bases) -> Floats:
    """Where the fit begins: at the ground; the columns of a new element are random."""
    p, heads, model = np.zeros(layout.size), {}, Model.of(task.recipe.shape, task.like.strata)
    for stratum in task.strata:
        if stratum.order > 1:
            continue
        (z,) = stratum.numbers
        if task.warm:
            heads[z] = Head.of(task.scalings[stratum], task.member)
            continue
        if (given := model.head(z, task.member, task.scalings[stratum].scale_shift[z])) is not None:
            heads[z] = given
            continue
        layout.columns(p, stratum, z)[:], head = _drawn(task, bases[stratum, z], z)
        known = task.scalings[stratum].embedded is not None  # then labels are counted from what that says
        heads[z] = replace(head, shift=0.0 if known else _mean_energy(task, z))
    for z, head in heads.items():
        p[layout.place(z)] = head.vector()
    for stratum in (s for s in task.strata if layout.has_own(s)):
        for z in stratum.numbers:
            _start_own(task, layout, bases[stratum, z], stratum, z, p)
    return p


def _drawn(task: FitTask, basis: Basis, z: int) -> tuple[Floats, Head]:
    """Random columns (hidden, k) along the axes and a random head, which belong to an element and a member of the committee."""
    rng, recipe = np.random.default_rng([task.recipe.fitting.seed, task.member, z]), task.recipe
    columns = rng.normal(scale=SPREAD[0] / basis.length, size=(recipe.hidden, len(basis.scale)))
    biases = rng.normal(scale=SPREAD[1], size=recipe.hidden)
    outputs = rng.normal(scale=SPREAD[2], size=recipe.second or recipe.hidden)
    head = Head(biases, outputs, 0.0)
    if recipe.second:
        weights = rng.normal(scale=recipe.hidden**-0.5, size=(recipe.hidden, recipe.second))
        head = Head(biases, outputs, 0.0, weights, rng.normal(scale=SPREAD[1], size=recipe.second))
    return columns @ basis.axes, head


def _start_own(task: FitTask, layout: Layout, basis: Basis, stratum: Stratum, z: int, p: Floats) -> None:
    """Fill in the own units of one centre: random, or where they were."""
    weights, biases, outputs = layout.own(p, stratum, z)
    given = task.scalings[stratum].own_units if task.warm else None
    if given:
        units, m, scale = given[z], task.member, task.scalings[stratum].scale[z] / basis.scale
        weights[:] = (basis.axes.T @ (units.weights[m] * scale[:, None])).T
        biases[:], outputs[:] = units.biases[m], units.outputs[m]
        return
    rng = np.random.default_rng([task.recipe.fitting.seed, task.member, *stratum.numbers, z])
    columns = rng.normal(scale=SPREAD_OWN[0] / basis.length, size=(len(biases), len(basis.scale)))
    weights[:] = columns @ basis.axes
    biases[:], outputs[:] = (rng.normal(scale=x, size=len(biases)) for x in SPREAD_OWN[1:])


def drawn_to(task: FitTask, layout: Layout, bases: Bases, ground: Ground) -> Floats:
    """The parameters that the decay prefers: those where every block is what its prior says, and an element's are zero.

    Few crystals have their element drawn to a part of random parameters instead, other ones for each member: networks that are
    all drawn to one point agree where there are no data, and their spread says nothing (Pearce et al., Uncertainty in neural
    networks: approximately Bayesian ensembling, AISTATS 2020).
    """
    p, scarce, model = np.zeros(layout.size), scarcity(task), Model.of(task.recipe.shape, task.like.strata)
    for (stratum, z), basis in bases.items():
        apart = ground.apart[stratum, z][:, task.member] / basis.scale[:, None]
        layout.columns(p, stratum, z)[:] = -(basis.axes.T @ apart).T
        given = model.head(z, task.member, task.scalings[stratum].scale_shift[z]) if stratum.order == 1 else None
        if given is not None:
            p[layout.place(z)] = given.vector()
        elif stratum.order == 1 and (part := PART * (1 - 1 / scarce[stratum])):
            columns, head = _drawn(task, basis, z)
            layout.columns(p, stratum, z)[:] += part * columns
            p[layout.place(z)] = part * head.vector()
    return p


def scarcity(task: FitTask) -> dict[Stratum, float]:
    """How many times as strongly the parameters of each stratum are drawn to their prior, because few crystals speak of it."""
    speaking = Counter(subset for company in task.dataset.training().strata() for subset in company.subsets())
    return {s: max(1.0, task.recipe.fitting.few / max(speaking[s], 1)) ** 2 for s in task.strata}


def _mean_energy(task: FitTask, z: int) -> float:
    """eV per atom of the element's calm crystals; of the element in the others where it has none."""
    data = task.dataset.training()
    own = data.of_stratum(Stratum((z,)))
    if not len(own):
        return task.lowest[z]
    low = heights(own, {}) <= task.recipe.fitting.high_energy
    return float((own.labels.energies / own.structures.sizes)[low].mean())
