"""Which candidates go to the reference: by what they are expected to do to the hull, and where nobody has learned anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from evo.archive import Archive
from evo.bootstrap.diverse import far_apart, vectors
from evo.candidate import Candidate
from evo.hull import Hull
from evo.likeness import alike
from evo.prospects import LOW_LYING, Prospects, batch, chances, promising
from potentials.calibration import Calibration
from potentials.dataset import Dataset
from potentials.environments import EDGE_GRADE
from potentials.potential import Potential
from potentials.stratum import Stratum
from potentials.structures import Floats

LABELLED = "labelled"  # operator of crystals that the reference had labelled before the search
PROBES = 4  # extrapolating candidates per round that would change the hull if they were right
CHOICE = 3  # extrapolating candidates to choose from for each that is learned
MOST_CORRECTION = 0.03  # eV/atom
SIMILAR = 0.08  # difference of compositions (fractions) within which the network errs alike
NORMAL = 1.645  # half-width of a normal distribution's central 90 %, in deviations
GUESSED = 2.0  # deviation over spread where nothing was held out to tell
LEAST_DOUBT, MOST_DOUBT = 0.003, 0.03  # eV/atom, of a deviation: no network is surer, and beyond it knows nothing
LEAST_CHANCE = 0.25  # that a candidate lies within the window


@dataclass(frozen=True)
class Judge:
    """How far the energies of a network are believed, and what it costs to have them checked."""

    calibration: Calibration | None  # by crystals of the campaign that were held out; None: there are too few
    seconds: Callable[[Sequence[Candidate]], Floats]  # (n,) predicted CPU s of a call of the reference for each

    def deviations(self, candidates: Sequence[Candidate], method: str) -> Floats:
        """(n,) eV/atom, standard deviation of the reference's energy about the network's."""
        spreads = np.array([c.energies[method].sigma / c.n_atoms for c in candidates])
        grades = np.array([c.grade for c in candidates])
        bands = GUESSED * spreads if self.calibration is None else self.calibration.bands(spreads, grades) / NORMAL
        return np.clip(bands, LEAST_DOUBT, MOST_DOUBT)


def calibrated(potential: Potential, judged: Dataset) -> Calibration | None:
    """By these held-out crystals, of all strata together; None from too few families."""
    if not len(judged):
        return None
    structures, sizes = judged.structures, judged.structures.sizes
    predicted = potential.evaluate(structures)
    errors = np.abs(predicted.energies - judged.labels.energies) / sizes
    return Calibration.of(errors, predicted.spreads / sizes, potential.grades(structures), judged.families)


def choose(
    archive: Archive,
    reference: str,
    taken: Collection[str],
    n: int,
    window: float,
    confirmed: Hull | None,
    judge: Judge,
) -> list[Candidate]:
    """The candidates whose reference energy is expected to change the hull most per second, as a batch of at most n.

    Of those with a chance of LEAST_CHANCE to lie within `window` (eV/atom) of the `confirmed` hull of the reference; the mean
    is the network's energy plus what it was found to be wrong by at similar compositions (evo/prospects.py has the measure).
    """
    hull = archive.hull() if confirmed is None else confirmed
    open_ = [
        c
        for c in archive.members.values()
        if reference not in c.energies and c.id not in taken and c.id not in archive.refuted
    ]
    if hull is None or n <= 0 or not open_:
        return []
    open_.sort(key=lambda c: c.id)
    expected = np.array([c.per_atom(archive.method) for c in open_]) + _corrections(archive, reference, open_)
    everyone = Prospects(
        [c.reduced_counts for c in open_],
        expected,
        judge.deviations(open_, archive.method),
        np.zeros((len(open_), 0)),
        np.ones(len(open_)),  # told below, of those that matter
    )
    levels = hull.energies(everyone.compositions)
    near = np.flatnonzero(chances(everyone, levels + window) >= LEAST_CHANCE).tolist()
    some = [open_[i] for i in near]
    prospects = replace(everyone.select(near), seconds=judge.seconds(some))
    best = promising(hull, prospects)
    seen = replace(prospects.select(best), vectors=_looks([some[i].atoms for i in best]))
    return [some[best[i]] for i in batch(hull, seen, n)]


def _looks(crystals: list[Atoms]) -> Floats:
    """(n, D) features of mean square length 1; (n, 0) where crystals are not to be told apart by them."""
    if not crystals:
        return np.zeros((0, 0))
    elements = Stratum.of(sorted({z for atoms in crystals for z in atoms.numbers.tolist()}))
    table = np.nan_to_num(vectors(crystals, elements))
    length = np.sqrt((table**2).sum(axis=1).mean())
    return np.asarray(table / length) if length > 0 else np.zeros((len(crystals), 0))


def failed(archive: Archive, reference: str, taken: Collection[str]) -> set[str]:
    """Of the members that were asked about (and answered) those of which the reference could say nothing."""
    return {i for i in taken if i in archive.members and reference not in archive.members[i].energies}


def on_network_hull(
    archive: Archive, reference: str, taken: Collection[str], n: int, without: Collection[str] = ()
) -> list[Candidate]:
    """The corners of the network's hull that nobody has checked, at most n; of the hull without some members."""
    hull = archive.hull(without)
    corners = [] if hull is None else [archive.members[i] for i in hull.vertices]
    return [c for c in corners if reference not in c.energies and c.id not in taken][: max(n, 0)]


def lowest_compounds(
    archive: Archive, reference: str, taken: Collection[str], corners: Collection[str], without: Collection[str] = ()
) -> list[Candidate]:
    """What would refute that a set of elements has no stable compound: the lowest of each set, unless it has been checked.

    corners: reduced formulas that are no compounds. without: members of which the reference could say nothing.
    What lies more than LOW_LYING above the network's hull refutes nothing.
    """
    hull = archive.hull()
    useless = archive.refuted | set(without)
    compounds = [c for c in archive.members.values() if c.formula not in corners and c.id not in useless]
    if hull is None or not compounds:
        return []
    above = hull.above_many([c.reduced_counts for c in compounds], [c.per_atom(archive.method) for c in compounds])
    lowest: dict[frozenset[int], tuple[float, str, Candidate]] = {}
    for height, c in zip(above.tolist(), compounds, strict=True):
        mine, here = frozenset(c.reduced_counts), (height, c.id, c)
        if height <= LOW_LYING and (mine not in lowest or here < lowest[mine]):
            lowest[mine] = here
    return [c for _, _, c in sorted(lowest.values()) if reference not in c.energies and c.id not in taken]


def _corrections(archive: Archive, reference: str, candidates: list[Candidate]) -> Floats:
    """(n,) eV/atom, reference minus network as seen at similar compositions, drawn to zero where little was seen.

    Outliers count as much as MOST_CORRECTION: a hole of the network says nothing about its surroundings.
    """
    # of what the network was trained on it is never wrong by much, which says nothing of the rest
    checked = [c for c in archive.members.values() if reference in c.energies]
    seen = [c for c in checked if c.origin.operator != LABELLED]
    if not seen:
        return np.zeros(len(candidates))
    wrong = np.array([c.per_atom(reference) - c.per_atom(archive.method) for c in seen])
    elements = sorted({z for c in [*seen, *candidates] for z in c.reduced_counts})
    x, y = _fractions(candidates, elements), _fractions(seen, elements)
    weights = np.exp(-((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=2) / (2 * SIMILAR**2))
    corrections: Floats = (weights * np.clip(wrong, -MOST_CORRECTION, MOST_CORRECTION)).sum(axis=1)
    return corrections / (weights.sum(axis=1) + 1.0)


def _fractions(candidates: list[Candidate], elements: list[int]) -> Floats:
    counts = np.array([[c.reduced_counts.get(z, 0) for z in elements] for c in candidates], dtype=float)
    return counts / counts.sum(axis=1, keepdims=True)


def probes(archive: Archive, reference: str, taken: Collection[str]) -> list[Candidate]:
    """Extrapolating candidates that would lie on the hull if the network were right: asked once, not believed before."""
    return [c for above, c in _extrapolating(archive, reference, taken) if above <= 0][:PROBES]


def unlearned(archive: Archive, reference: str, taken: Collection[str], n: int) -> list[Candidate]:
    """Where the search went and the network has learned nothing: extrapolating candidates, low and far apart, at most n.

    The search keeps such crystals out; once they are learned it can enter there.
    """
    pool: list[Candidate] = []
    for above, c in _extrapolating(archive, reference, taken) if n > 0 else []:
        if above > LOW_LYING or len(pool) == CHOICE * n:
            break
        if not any(alike(c.fingerprint, other.fingerprint) for other in pool):
            pool.append(c)
    if not pool:
        return []
    elements = Stratum.of(sorted({z for c in pool for z in c.reduced_counts}))
    return [pool[i] for i in far_apart([c.atoms for c in pool], n, elements)]


def _extrapolating(archive: Archive, reference: str, taken: Collection[str]) -> list[tuple[float, Candidate]]:
    """What the gate kept out for its grade, and members beyond the edge of the training data, nobody having checked them.

    Each with its height above the network's hull (eV/atom), lowest first. Where there is no hull yet, because all is kept out,
    the height is that above the lowest of these of the same composition.
    """
    hull = archive.hull()
    gated = [c for c in archive.failed.values() if c.failure is not None and c.failure.reason == "extrapolation"]
    beyond = [c for c in archive.members.values() if c.grade > EDGE_GRADE and c.id not in archive.refuted]
    doubtful = [
        c
        for c in [*gated, *beyond]
        if archive.method in c.energies and reference not in c.energies and c.id not in taken
    ]
    if not doubtful:
        return []
    energies = [c.per_atom(archive.method) for c in doubtful]
    if hull is not None:
        above = hull.above_many([c.reduced_counts for c in doubtful], energies)
    else:
        lowest: dict[str, float] = {}
        for c, e in zip(doubtful, energies, strict=True):
            lowest[c.formula] = min(e, lowest.get(c.formula, e))
        above = np.array([e - lowest[c.formula] for c, e in zip(doubtful, energies, strict=True)])
    return sorted(((float(a), c) for a, c in zip(above, doubtful, strict=True)), key=lambda pair: (pair[0], pair[1].id))
