"""Who is known, who is a duplicate, who breeds: niches by composition around a live convex hull."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from evo import gate
from evo.candidate import Candidate, Energy
from evo.hull import SAME, Hull, Point
from evo.likeness import distance
from evo.settings import GateSection
from evo.symmetry import space_group
from evo.tools import Parent

# where fingerprints are further apart than those of one crystal mostly are, space groups decide: the close-packed stackings
# ABABACBC and ABABCBAC are 0.006 apart. Of 3,326 pairs of copies that campaigns relaxed 189 were, 2 of these with other groups
NOISE = 0.003
GROUPS_AT = (0.03, 0.1)  # Å; crystals with one group at either of them may be one
DUPLICATE_WINDOW = 0.005  # eV/atom; alike fingerprints further apart in energy are different crystals
REFUTED = 0.02  # eV/atom by which the reference must lie above a network energy for it to count as refuted
USE_PENALTY = 0.0005  # eV/atom per child already bred, so that no parent takes over
BREEDING_WINDOW = 0.25  # eV/atom above the hull beyond which a crystal has no children


class Archive:
    """Every crystal of the campaign under one method at a time (the current library, or the relaxing calculator)."""

    def __init__(
        self, method: str, reference: str, settings: GateSection, niche_size: int, duplicate_distance: float
    ) -> None:
        self.method = method
        self._reference = reference  # method of the reference, "" without one
        self.members: dict[str, Candidate] = {}  # distinct crystals with an energy by `method`
        self.failed: dict[str, Candidate] = {}
        self.refuted: set[str] = set()  # members the reference contradicts: kept, but neither hull nor parents
        self.reasons: Counter[str] = Counter()
        self.n_relaxed = 0
        self.n_calls = 0  # evaluations that relaxations took
        self.n_duplicates = 0
        self._settings = settings
        self._niche_size = niche_size
        self._duplicate_distance = duplicate_distance
        self._niches: dict[str, list[str]] = {}
        self._used: Counter[str] = Counter()
        self._pinned: set[str] = set()  # the reference is looking at these: their geometry must not change
        self.n_answers = 0  # grows with everything that the reference says of a candidate
        self._hull: Hull | None = None

    def absorb(self, candidates: Iterable[Candidate], known: Hull | None) -> list[Candidate]:
        """Take in relaxed candidates in order; `known` is the hull they must not undercut absurdly.

        Returns those that became members.
        """
        entered = []
        candidates = list(candidates)
        heights = self._heights(candidates, known)
        for candidate, above in zip(candidates, heights, strict=True):
            self.n_relaxed += 1
            self.n_calls += candidate.calls
            self._used.update(candidate.origin.parents)
            failure = candidate.failure or gate.energy(candidate.per_atom(self.method), above, self._settings)
            if failure is not None:
                self.reasons[failure.reason] += 1
                self.failed[candidate.id] = replace(candidate, failure=failure)
            elif self._enter(candidate):
                entered.append(candidate)
        return entered

    def know(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Take in what the reference had labelled before the search, with energies by both; those that became members."""
        entered = [c for c in candidates if self._enter(c)]
        for c in entered:
            self.pin([c.id])
            self.add_energy(c.id, c.energies[self._reference])
        return entered

    def twin(self, candidate: Candidate) -> str | None:
        """The id of the member that is the same crystal, or None."""
        energy = candidate.per_atom(self.method)
        for other in self._niches.get(candidate.formula, ()):
            member = self.members[other]
            if abs(member.per_atom(self.method) - energy) < DUPLICATE_WINDOW and self._alike(member, candidate):
                return other
        return None

    def _alike(self, one: Candidate, other: Candidate) -> bool:
        apart = distance(one.fingerprint, other.fingerprint)
        if apart >= self._duplicate_distance:
            return False
        return apart < NOISE or any(space_group(one.atoms, s) == space_group(other.atoms, s) for s in GROUPS_AT)

    def candidate(self, candidate_id: str) -> Candidate:
        """The member or failed candidate with this id."""
        return self.members[candidate_id] if candidate_id in self.members else self.failed[candidate_id]

    def hull(self, without: Collection[str] = ()) -> Hull | None:
        """The hull of all members that the reference does not contradict, by the current method; without some of them."""
        if without:
            return self._hull_without({*self.refuted, *without})
        if self._hull is None:
            self._hull = self._hull_without(self.refuted)
        return self._hull

    def _hull_without(self, left_out: set[str]) -> Hull | None:
        # of one composition only the lowest can be a corner
        lowest: dict[str, tuple[float, str]] = {}
        for c in self.members.values():
            if c.id not in left_out:
                here = (c.per_atom(self.method), c.id)
                if c.formula not in lowest or here < lowest[c.formula]:
                    lowest[c.formula] = here
        points = [Point(self.members[i].reduced_counts, e, self.method, i) for e, i in lowest.values()]
        return Hull.of(points) if points else None

    def above_hull(self, candidates: list[Candidate]) -> list[float]:
        """eV/atom of each above the hull by the current method."""
        hull = self.hull()
        if hull is None:
            return [0.0] * len(candidates)
        energies = [c.per_atom(self.method) for c in candidates]
        return [float(a) for a in hull.above_many([c.reduced_counts for c in candidates], energies)]

    def parents(self) -> list[Parent]:
        """The best distinct crystals of every niche, lower fitness first.

        Where the reference contradicts all of them, they are better parents than none.
        """
        contradicted = self.refuted if self.hull() is not None else set()
        hull = self.hull() or self._hull_without(contradicted)
        if hull is None:
            return []
        # all of a niche are of one composition
        levels = hull.energies([self.members[ids[0]].reduced_counts for ids in self._niches.values()]).tolist()
        pool = []
        for ids, level in zip(self._niches.values(), levels, strict=True):
            above = [(self.members[i].per_atom(self.method) - level, i) for i in ids if i not in contradicted]
            ranked = sorted(((0.0 if abs(a) < SAME else a) + USE_PENALTY * self._used[i], i) for a, i in above)
            for value, i in ranked[: self._niche_size]:
                if value <= BREEDING_WINDOW:
                    pool.append(Parent(id=i, atoms=self.members[i].atoms, fitness=value))
        return sorted(pool, key=lambda p: (p.fitness, p.id))

    def add_energy(self, candidate_id: str, energy: Energy) -> None:
        """Record what the reference says of a member or of a failed candidate."""
        self.n_answers += 1
        for group in (self.members, self.failed):
            if candidate_id in group:
                group[candidate_id] = group[candidate_id].with_energy(energy)
        member = self.members.get(candidate_id)
        if member is not None and energy.value / member.n_atoms - member.per_atom(self.method) > REFUTED:
            self.refuted.add(candidate_id)
            self._hull = None

    def pin(self, ids: Iterable[str]) -> None:
        """From now on these keep their geometry."""
        self._pinned.update(ids)

    def replace(self, candidates: Iterable[Candidate]) -> None:
        """Put these in the place of the candidates with the same ids (geometry and energies renewed)."""
        for c in candidates:
            (self.members if c.id in self.members else self.failed)[c.id] = c
        self.n_answers += 1
        self._hull = None

    def change_method(self, method: str, members: Iterable[Candidate]) -> None:
        """Bring every member to a new library version (law 4): all of them are given here, with an energy by it and its grade."""
        self.method = method
        self._hull = None
        self.members |= {c.id: c for c in members}
        self.refuted = {
            c.id
            for c in self.members.values()
            if self._reference in c.energies and c.per_atom(self._reference) - c.per_atom(method) > REFUTED
        }

    def kept_out(self) -> list[Candidate]:
        """What lay too far off the data of the library, and nobody has asked the reference about."""
        gated = [c for c in self.failed.values() if c.failure is not None and c.failure.reason == "extrapolation"]
        return [c for c in gated if self._reference not in c.energies and c.id not in self._pinned]

    def admit(self, candidates: Iterable[Candidate], known: Hull | None) -> list[Candidate]:
        """These of `kept_out`, with energies and grades of the present library: what it has learned may enter. Those that did."""
        entered = []
        candidates = list(candidates)
        for candidate, above in zip(candidates, self._heights(candidates, known), strict=True):
            self.failed[candidate.id] = candidate
            if candidate.grade > self._settings.max_grade:
                continue
            sound = replace(candidate, failure=None)
            if gate.energy(sound.per_atom(self.method), above, self._settings) is None:
                self.reasons["extrapolation"] -= 1
                del self.failed[candidate.id]
                if self._enter(sound):
                    entered.append(sound)
        return entered

    def _heights(self, candidates: list[Candidate], known: Hull | None) -> list[float]:
        """eV/atom of each above the known hull; 0 where there is nothing to compare."""
        heights = [0.0] * len(candidates)
        if known is not None:
            sound = [
                n
                for n, c in enumerate(candidates)
                if self.method in c.energies and math.isfinite(c.per_atom(self.method))
            ]
            energies = [candidates[n].per_atom(self.method) for n in sound]
            above = known.above_many([candidates[n].reduced_counts for n in sound], energies)
            for n, value in zip(sound, above.tolist(), strict=True):
                heights[n] = value
        return heights

    def _merge(self, twin: str, candidate: Candidate) -> None:
        # the member stays, so that ancestry and reference energies stay; a better relaxed copy lends its geometry
        member = self.members[twin]
        if (
            twin not in self._pinned
            and self._reference not in member.energies
            and candidate.per_atom(self.method) < member.per_atom(self.method) - 1e-4
        ):
            self.members[twin] = replace(
                candidate, id=member.id, origin=member.origin, calls=member.calls + candidate.calls
            )
            self._hull = None

    def _enter(self, candidate: Candidate) -> bool:
        """Whether it is a member now; else it is a copy of one."""
        if (twin := self.twin(candidate)) is not None:
            self.n_duplicates += 1
            self._merge(twin, candidate)
            return False
        self.members[candidate.id] = candidate
        self._niches.setdefault(candidate.formula, []).append(candidate.id)
        self._hull = None
        return True
