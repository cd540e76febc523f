"""Tools: the DEAP toolbox of a campaign, and breeding with it.

The only place that knows deap. Its own operators are left alone: they draw from the global random module, and a child
here draws from the stream it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from ase import Atoms
from deap import base

from evo.cell import Space, counts_of
from evo.create import random, symmetric
from evo.operators.add_remove import add_remove
from evo.operators.heredity import heredity
from evo.operators.permutation import has_permutations, permutation
from evo.operators.rattle import rattle
from evo.operators.strain import strain
from evo.operators.superstructure import has_superstructures, superstructure
from evo.operators.transmute import transmute
from evo.settings import OperatorWeights
from evo.supercell import random_supercell

Operator = Callable[[np.random.Generator, list[Atoms], Space], Atoms | None]

CREATIONS = {"symmetric": symmetric.create, "random": random.create}
MATINGS: dict[str, Operator] = {"heredity": heredity}
MUTATIONS: dict[str, Operator] = {
    "strain": strain,
    "rattle": rattle,
    "permutation": permutation,
    "transmute": transmute,
    "add_remove": add_remove,
    "superstructure": superstructure,
}
SUITED = {"permutation": has_permutations, "superstructure": has_superstructures}

MOST_ATTEMPTS = 10  # operators drawn for one child before it is made at random
NEAR = 0.5  # chance that a mate is sought among the nearest compositions
N_NEAR = 5  # how many of the pool count as nearest
SMALLER = 0.5  # chance that a crystal of a divisible composition is made small and multiplied
FIRST_SIZES = (1, 2, 4)  # atoms, or formula units, of each element's first crystals: the hull has its corners at once


@dataclass(frozen=True)
class Parent:
    """A crystal that may have children."""

    id: str
    atoms: Atoms
    fitness: float  # eV/atom above the hull, lower is better

    @cached_property
    def content(self) -> bytes:
        """What it is made of: its atomic numbers, ascending."""
        return np.sort(self.atoms.numbers).tobytes()

    def gap(self, other: Parent) -> float:
        """Half the sum of differences between the atomic fractions: 0 for one composition, 1 for no common element."""
        return _gap(self.content, other.content)


@lru_cache(maxsize=100_000)
def _gap(one: bytes, other: bytes) -> float:
    a, b = _fractions(one), _fractions(other)
    return 0.5 * sum(abs(a.get(z, 0.0) - b.get(z, 0.0)) for z in {*a, *b})


@lru_cache(maxsize=10_000)
def _fractions(content: bytes) -> dict[int, float]:
    """Atomic number -> atomic fraction."""
    numbers = np.frombuffer(content, dtype=int)
    return {z: n / len(numbers) for z, n in counts_of(numbers).items()}


def toolbox(weights: OperatorWeights | Mapping[str, float], space: Space, tournament: int = 3) -> base.Toolbox:
    """Toolbox with `create`, `mate`, `mutate`, `select`, `pick`, and one tool for each operator by its name.

    create(rng, name) -> Atoms | None; mate and mutate(rng, name, atoms) -> Atoms | None; select(rng, pool) -> Parent;
    pick(rng, n_parents) -> name of an operator that so many parents allow.
    """
    by_name = weights.model_dump() if isinstance(weights, OperatorWeights) else dict(weights)
    unknown = set(by_name) - {*CREATIONS, *MATINGS, *MUTATIONS}
    if unknown:
        known = ", ".join([*CREATIONS, *MATINGS, *MUTATIONS])
        raise ValueError(f"`weights` names the operator {sorted(unknown)[0]}; known are {known}")
    box = base.Toolbox()
    box.register("create", _create, space=space)
    box.register("mate", _operate, table=MATINGS, space=space)
    box.register("mutate", _operate, table=MUTATIONS, space=space)
    box.register("select", select, size=tournament)
    box.register("suited", _suited_of_a_chunk, space=space, found={})
    box.register("pick", pick_operator, weights=by_name)
    box.register("elements", _corners, space=space)
    box.register("fallback", _fallback, space=space)
    return box


def breed(
    rng: np.random.Generator,
    pool: Sequence[Parent],
    toolbox: base.Toolbox,
    first: bool = False,
    slot: int = 0,
) -> tuple[Atoms, str, tuple[str, ...]]:
    """A crystal that the search allows, the name of the operator that made it, and the ids of its parents.

    An operator is drawn by weight, then its parents; after MOST_ATTEMPTS without a child it is made from nothing. In
    the `first` chunk the slots begin with random crystals of the elements themselves, in FIRST_SIZES.
    """
    if first and slot < len(corners := toolbox.elements()):
        child = toolbox.create(rng, "symmetric", counts=corners[slot])
        if child is not None:
            return child, "symmetric", ()
    for _ in range(MOST_ATTEMPTS):
        name = toolbox.pick(rng, len(pool))
        if name is None:
            break
        if name in CREATIONS:
            child, parents = toolbox.create(rng, name), []
        elif name in MATINGS:
            one = toolbox.select(rng, pool)
            parents = [one, toolbox.select(rng, mates(rng, one, pool))]
            child = toolbox.mate(rng, name, [p.atoms for p in parents])
        else:
            able = toolbox.suited(name, pool)
            parents = [toolbox.select(rng, able)] if able else []
            child = toolbox.mutate(rng, name, [p.atoms for p in parents]) if parents else None
        if child is not None:
            return child, name, tuple(p.id for p in parents)
    child, name = toolbox.fallback(rng)
    return child, name, ()


def pick_operator(rng: np.random.Generator, n_parents: int, weights: Mapping[str, float]) -> str | None:
    """An operator drawn by weight among those for which there are parents; None when all of these weigh nothing."""
    names = list(CREATIONS)
    if n_parents >= 1:
        names += MUTATIONS
    if n_parents >= 2:
        names += MATINGS
    shares = np.array([weights.get(name, 0.0) for name in names])
    if shares.sum() <= 0:
        return None
    reached = np.cumsum(shares)
    return names[int(np.searchsorted(reached / reached[-1], rng.random(), side="right"))]


def suited(name: str, pool: Sequence[Parent], space: Space) -> list[Parent]:
    """Those of whom this operator can make a child at all, so that it gets the share that its weight gives it."""
    test = SUITED.get(name)
    return [parent for parent in pool if test is None or test(parent.atoms, space)]


def _suited_of_a_chunk(
    name: str, pool: Sequence[Parent], space: Space, found: dict[str, tuple[Sequence[Parent], list[Parent]]]
) -> list[Parent]:
    """The same, found out once for all children of one pool."""
    if name not in found or found[name][0] is not pool:
        found[name] = pool, suited(name, pool, space)
    return found[name][1]


def select(rng: np.random.Generator, pool: Sequence[Parent], size: int) -> Parent:
    """The fittest of `size` parents drawn with replacement."""
    drawn = [pool[int(i)] for i in rng.integers(len(pool), size=size)]
    return min(drawn, key=lambda parent: parent.fitness)


def mates(rng: np.random.Generator, one: Parent, pool: Sequence[Parent]) -> list[Parent]:
    """All others, or, half of the time, the N_NEAR of the nearest composition: their children are likely on the hull too."""
    others = [parent for parent in pool if parent.id != one.id] or list(pool)
    if rng.random() < NEAR:
        gaps = np.array([one.gap(other) for other in others])
        # equal gaps in an order drawn at random, not in that of the pool
        order = np.lexsort((rng.random(len(others)), gaps))
        return [others[int(i)] for i in order[:N_NEAR]]
    return others


def _create(rng: np.random.Generator, name: str, space: Space, counts: Mapping[int, int] | None = None) -> Atoms | None:
    counts = space.sample_counts(rng) if counts is None else counts
    divisor = int(np.gcd.reduce(list(counts.values())))
    if space.formula is not None and divisor > 1 and rng.random() < SMALLER:
        # a fixed Cu4Pd4 may be B2 four times over, which no search among primitive cells of eight atoms meets
        factor = int(rng.choice([f for f in range(2, divisor + 1) if divisor % f == 0]))
        small = CREATIONS[name](rng, {z: n // factor for z, n in counts.items()}, space)
        return None if small is None else random_supercell(rng, small, factor)
    return CREATIONS[name](rng, counts, space)


def _operate(
    rng: np.random.Generator, name: str, atoms: list[Atoms], table: Mapping[str, Operator], space: Space
) -> Atoms | None:
    return table[name](rng, atoms, space)


def _fallback(rng: np.random.Generator, space: Space) -> tuple[Atoms, str]:
    """A crystal from nothing, whatever the weights are: with symmetry, else without, else as sparse as it must be."""
    counts = space.sample_counts(rng)
    for name, make in CREATIONS.items():
        child = make(rng, counts, space)
        if child is not None:
            return child, name
    return random.sparse(rng, counts, space), "random"


def _corners(space: Space) -> list[dict[int, int]]:
    """Every element, or end member, alone in every one of the FIRST_SIZES that the search allows."""
    multiples = [{z: n * m for z, m in corner.items()} for n in FIRST_SIZES for corner in space.corners()]
    return [counts for counts in multiples if space.allows(counts)]
