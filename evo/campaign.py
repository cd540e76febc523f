"""The loop: breed, relax, absorb, ask the reference, learn. A deterministic function over memoised tasks.

Nothing here reads a clock, a random state or the machine, so the same campaign gives the same candidates on any number of
ranks and when it is cut and resumed anywhere (ARCHITECTURE.md, determinism).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from evo import choice, ends, labels, learn
from evo import chunk as chunks
from evo.archive import Archive
from evo.budget import Budget
from evo.candidate import Candidate, Energy, Origin, atoms_from_json, atoms_to_json, formula_of, from_json, to_json
from evo.cell import reduce_cell
from evo.desk import Desk
from evo.hull import Hull, Point
from evo.ideal import Exact
from evo.known import Known
from evo.likeness import fingerprint
from evo.prepare import Ground, lay, network_relaxer
from evo.progress import Progress
from evo.reference import unlike_moments
from evo.reference.unavailable import EngineBroken
from evo.relaxers import NetworkRelaxer, Relaxer, curvature, load_potential
from evo.settings import Settings
from potentials.calibration import Calibration
from potentials.potential import Potential
from potentials.units import EV_PER_A3_PER_GPA

SINGLE_POINT_BATCH = 64  # crystals per task when the archive is brought to a new library
RELAX_AGAIN = 32  # the best of the archive are relaxed again with a new library
KEPT_BACK = 1 / 3  # of the budget of the reference, for the end of the campaign
MOST_CRASHES = 5  # of the reference in a row, before the campaign stops and says so
KEPT_FOR_RELAXING = 1 / 6  # of it, for the phases of its hull
FINAL_ROUNDS = 8  # rounds of re-checks after the last chunk, at most
LEARNING_ROUNDS = 2  # of these, the first ones, after which strata are retrained
_UNKNOWN = Energy("", float("nan"))  # holds the place of an energy until the single point is there


@dataclass
class Round:
    """Something issued after one chunk that takes effect at a later one."""

    due: float  # chunk number; infinite after the last chunk, when nothing else is waited for
    keys: dict[str, str]  # of the results, by the candidate's id


@dataclass
class Learning:
    """A retraining under way."""

    due: float
    training: learn.Training
    steps: Iterator[list[str]]
    awaited: list[str] = field(default_factory=list)


class Campaign:
    """The state of a campaign and the loop over its chunks. `run` is the whole story."""

    def __init__(self, settings: Settings, directory: Path, desk: Desk, *, accept_library: bool = False) -> None:
        self.settings = settings
        self.desk = desk
        self.ground: Ground
        self.archive: Archive
        self.relaxer: Relaxer
        self.known: Known  # everything that the reference has said
        self._exact: Exact
        self.calls = 0  # reference calls after the bootstrap
        self.final_calls = 0  # of these, steps of the relaxations at the end
        self.budget = Budget(settings.reference)  # of both, and of CPU hours
        self.round = 0  # trainings so far; round 0 made the first library
        self.started = False  # whether there is an archive to look at
        self._directory = directory
        self._accept_library = accept_library
        self._stage = ""  # prefix of the keys of the final stage: that of a longer campaign is another
        self._heard: set[str] = set()  # keys of what was told at the ends of other searches, as far as it is known here
        self._checks: deque[Round] = deque()
        self._learning: Learning | None = None
        self._learns = True
        self._bred_with: dict[int, Relaxer] = {}
        self._confirmed_hull: tuple[int, Hull | None] | None = None  # and how much the reference had said
        self._calibration: Calibration | None = None
        self._judged: tuple[str, int] | None = None  # method and number of labels that it was made with
        self._taken: set[str] = set()
        self.silent: set[str] = set()  # candidates of which the reference could say nothing
        self._crashed: list[str] = []  # keys of the last calls of the reference, as far as they crashed
        self._planned = settings.search.chunks  # when the campaign began: a longer one begins like the shorter one

    def run(self) -> Iterator[Progress]:
        """Library, every chunk in order, final confirmations; resumed by running it again."""
        yield from self._prepare()
        search, reference = self.settings.search, self.settings.reference
        for chunk in range(search.chunks):
            self._take_effect(chunk)
            self._go_on_from_end(chunk)
            self._issue(chunk)
            self.archive.absorb(self._relaxed(chunk), self.known.hull())
            if (chunk + 1) % reference.every == 0:
                due = chunk + 1 + reference.lag
                self._ask_reference(due, self._affordable(), self.budget.kept(KEPT_BACK), spare=self._spare(chunk + 1))
            yield self._progress("search", chunk + 1, search.chunks)
        yield from self._confirm()

    def _prepare(self) -> Iterator[Progress]:
        chunks_then = self.desk.remember("search/chunks", self.settings.search.chunks)
        self._planned = int(chunks_then or self.settings.search.chunks)
        for step in lay(self.settings, self._directory, self.desk, self._accept_library):
            if isinstance(step, Progress):
                yield step
            else:
                self.ground = step
        search = self.settings.search
        self.relaxer = self.ground.relaxer
        self.known = Known(self.ground.reference_method, self.ground.space, self.ground.breeding.pressure)
        self.known.add(self.ground.labels)
        self._exact = Exact(self.ground.breeding.pressure, unlike_moments(self.settings.reference))
        self.archive = Archive(
            self.relaxer.method,
            self.ground.reference_method,
            self.settings.gate,
            search.niche_size,
            search.duplicate_distance,
        )
        self._enter_known()
        self.started = True

    def _enter_known(self) -> None:
        """The lowest of what was labelled before the search takes part in it: no phase is stable that a label refutes."""
        if not isinstance(self.relaxer, NetworkRelaxer) or self.ground.reference is None:
            return
        found = [self._labelled(f"l{n:05d}", label) for n, label in self.known.lowest()]
        entered = self.archive.know(self._single_points("points/labelled", found))
        self._exact.settle(entered)  # what was labelled is shown, and goes on from there, as it is
        # they are where the bootstrap left them; their minima are bred from, and asked about like everything else
        crystals = [to_json(c) for c in entered]
        self.desk.ask("again/labelled", chunks.again, self.ground.breeding, self.relaxer, 0, crystals)
        self.archive.absorb([from_json(c) for c in self.desk.result("again/labelled")], self.known.hull())

    # ---- breeding and relaxing

    def _issue(self, chunk: int) -> None:
        """Ask for every chunk that may be bred from the archive as it is now: up to `in_flight` ahead."""
        first = max(self._bred_with, default=-1) + 1
        last = min(chunk + self.settings.search.in_flight, self.settings.search.chunks)
        for k in range(first, last):
            self._bred_with[k] = self.relaxer
            parents = [] if k < self.settings.search.symmetric_start else self.archive.parents()
            given = [atoms_to_json(a) for a in self.ground.seeds] if k == 0 else []
            n_slots = max(self.settings.search.chunk_size, len(given))
            self.desk.ask(f"relax/{k}", chunks.bred, self.ground.breeding, self.relaxer, k, n_slots, parents, given)

    def _relaxed(self, chunk: int) -> list[Candidate]:
        """The candidates of this chunk, with energies by the current method."""
        candidates = [from_json(c) for c in self.desk.result(f"relax/{chunk}")]
        if self._bred_with[chunk].method == self.archive.method:
            return candidates
        return self._single_points(self._key(f"points/{self.round}/chunk/{chunk}"), candidates)

    def _single_points(self, key: str, candidates: list[Candidate]) -> list[Candidate]:
        """These candidates with one single point each by the current relaxer (law 4)."""
        sound = [c for c in candidates if c.energies]
        batches = [sound[i : i + SINGLE_POINT_BATCH] for i in range(0, len(sound), SINGLE_POINT_BATCH)]
        for b, batch in enumerate(batches):
            crystals = [atoms_to_json(c.atoms) for c in batch]
            self.desk.ask(f"{key}/{b}", chunks.single_points, self.ground.breeding, self.relaxer, crystals)
        renewed = {}
        for b, batch in enumerate(batches):
            for c, (value, sigma, grade) in zip(batch, self.desk.result(f"{key}/{b}"), strict=True):
                renewed[c.id] = replace(c.with_energy(Energy(self.relaxer.method, value, sigma)), grade=grade)
        return [renewed.get(c.id, c) for c in candidates]

    # ---- the reference

    def _affordable(self) -> int:
        """Calls that a round may spend now: part of the budget stays for the end of the campaign."""
        reserve = int(self.budget.single_calls * KEPT_BACK)
        return min(self.settings.reference.per_round, self.budget.single_calls - self.calls - reserve)

    def _spare(self, chunk: int) -> int:
        """Calls that a search which spends its part of the budget evenly would have made by now, and this one has not."""
        part = self.budget.single_calls * (1 - KEPT_BACK) * min(1.0, chunk / self._planned)
        return int(part) - self.calls

    def _ask_reference(self, due: float, n: int, kept: float, *, corners: bool = False, spare: int = 0) -> bool:
        """Issue a round of re-checks; False when nothing matters or the budget is spent but for the part `kept`.

        Where fewer candidates matter than there are calls, `spare` ones go to what the network has not learned.
        """
        if self.ground.reference is None or self.relaxer.method == self.ground.reference_method or n <= 0:
            return False
        method, taken = self.ground.reference_method, self._taken
        if corners:
            ends = {formula_of(counts) for counts in self.ground.space.corners()}
            silent = choice.failed(self.archive, method, taken)
            chosen = choice.on_network_hull(self.archive, method, taken, n, silent)
            doubted = taken | {c.id for c in chosen}
            chosen += choice.lowest_compounds(self.archive, method, doubted, ends, silent)[: n - len(chosen)]
        else:
            window = self.settings.reference.window
            chosen = choice.choose(self.archive, method, taken, n, window, self.reference_hull(), self._judge())
        probes = choice.probes(self.archive, method, taken)
        known = {c.id for c in probes}
        chosen = (probes + [c for c in chosen if c.id not in known])[:n]
        asked = taken | {c.id for c in chosen}
        chosen += choice.unlearned(self.archive, method, asked, min(n, spare) - len(chosen))
        chosen = [chosen[i] for i in self.budget.paid(self.exact(chosen), kept)]
        crystals = self.exact(chosen)
        self._exact.settle(chosen, crystals)
        self.budget.spend(crystals)
        # the longest first: what ends last is short then, and no rank waits for it long
        for c, atoms in sorted(zip(chosen, crystals, strict=True), key=lambda pair: -self.budget.seconds(pair[1])):
            self.desk.ask(
                self._key(f"reference/{c.id}"), labels.single_point, self.ground.reference, atoms_to_json(atoms), c.id
            )
        self._taken.update(c.id for c in chosen)
        self.archive.pin(c.id for c in chosen)
        self.calls += len(chosen)
        if chosen:
            self._checks.append(Round(due, {c.id: self._key(f"reference/{c.id}") for c in chosen}))
        return bool(chosen)

    def _judge(self) -> choice.Judge:
        """How far the current library is believed, and what a call costs; made anew when one of them changes."""
        if isinstance(self.relaxer, NetworkRelaxer) and self._judged != (self.relaxer.method, len(self.known.labels)):
            self._calibration = choice.calibrated(self._potential(), self.known.low_lying())
            self._judged = (self.relaxer.method, len(self.known.labels))
        return choice.Judge(
            self._calibration, lambda candidates: np.array([self.budget.seconds(a) for a in self.exact(candidates)])
        )

    def exact(self, candidates: Sequence[Candidate]) -> list[Atoms]:
        """The crystal that the reference is asked about, and the table shows, for each of these (evo/ideal.py)."""
        return self._exact.of(candidates, self.relaxer)

    def as_asked(self, candidates: Sequence[Candidate]) -> list[Atoms]:
        """The same where it is known by now, else the candidate's own crystal; the campaign goes on as if nobody had asked."""
        return [self._exact.found(c) for c in candidates]

    def _take_effect(self, chunk: float) -> None:
        """Reference results and retrained strata whose chunk has come (law 3)."""
        if self._learning is not None:
            self._advance(wait=self._learning.due <= chunk)
        while self._checks and self._checks[0].due <= chunk:
            new = self._absorb_labels(self._checks.popleft().keys)
            self._learn_from(new, chunk + self.settings.reference.lag)

    def _absorb_labels(self, keys: dict[str, str]) -> list[dict[str, Any]]:
        new = [self.desk.result(key) for key in keys.values()]
        self._notice_crashes(list(keys.values()), new)
        for i, label in zip(keys, new, strict=True):
            if label["failure"] is not None:
                self.silent.add(i)
                continue
            # the crystal that was asked about may be the primitive cell of the candidate
            candidate = self.archive.candidate(i)
            energy = self.known.enthalpy(label) * candidate.n_atoms / len(label["crystal"]["numbers"])
            # what a shorter search has ended with may be told by now, and lower
            told = candidate.energies.get(self.ground.reference_method)
            if told is None or energy < told.value:
                self.archive.add_energy(i, Energy(self.ground.reference_method, energy))
        self.known.add(new)
        return new

    def _go_on_from_end(self, chunk: int) -> None:
        """A search of `chunk` chunks has ended and is a longer one now: what it was told at its end is known from here on.

        Unless the longer one had been here before, and goes on as it did then.
        """
        began = f"end{chunk}/began"
        if self.desk.ready(began) and self.desk.result(began)["first"]:
            keys = self.desk.remember(f"ended/{chunk}", ends.keys(self.desk, f"end{chunk}/", self._heard))
            self._hear(keys, f"ended/{chunk}", chunk + self.settings.reference.lag)

    def _hear(self, keys: list[str], name: str, due: float) -> None:
        """Labels from the end of another search: paid for, known, learned from, and energies of candidates, new ones if need be.

        name: of the single points. due: chunk at which a library that learns from them takes effect.
        """
        if not keys:
            return
        told = ends.told(self.desk, keys)
        new = [label for one in told for label in one.path]
        self.calls += len(new)
        self.final_calls += sum(one.n_relaxed for one in told)
        self._heard.update(keys)
        self.budget.spend([atoms_from_json(label["crystal"]) for label in new])
        self.known.add(new)
        method = self.ground.reference_method
        pending = {i: key for round_ in self._checks for i, key in round_.keys.items()}
        sound, candidates = [], []
        for n, one in enumerate(told):
            if one.former in pending:  # the end began from that label
                one.path = [*one.path, self.desk.result(pending[one.former])]
            if one.sound:
                best = min(one.sound, key=self.known.enthalpy)
                sound.append(one)
                candidates.append(self._labelled(f"e{one.end:05d}-{n:02d}", best))
            elif (own := ends.namesake(self.archive, one)) is not None:
                self.silent.add(own)
                self._taken.add(own)
                self.archive.pin([own])
        candidates = self._single_points(self._key(f"points/{name}"), candidates)
        for one, c in zip(sound, candidates, strict=True):
            own = ends.namesake(self.archive, one) or self.archive.twin(c)
            if own is None:
                self.archive.know([c])
            else:
                c = ends.taken_over(self.archive, own, c, method)
            self._exact.settle([c])
            self._taken.add(c.id)
            self.archive.pin([c.id])
        self._learn_from(new, due)

    def _labelled(self, name: str, label: dict[str, Any]) -> Candidate:
        """What the reference was asked about apart from this search, as a candidate."""
        atoms = atoms_from_json(label["crystal"])
        energy = Energy(self.ground.reference_method, self.known.enthalpy(label))
        look = fingerprint(reduce_cell(atoms))
        return Candidate(name, atoms, Origin(choice.LABELLED), {energy.method: energy}, fingerprint=look)

    def _notice_crashes(self, keys: list[str], new: list[dict[str, Any]]) -> None:
        """EngineBroken after MOST_CRASHES in a row, which are forgotten: the next run asks again."""
        for key, label in zip(keys, new, strict=True):
            crashed = label["failure"] is not None and label["failure"][0] == "crashed"
            self._crashed = [*self._crashed, key] if crashed else []
        if len(self._crashed) >= MOST_CRASHES and self.desk.works:
            for key in self._crashed:
                self.desk.forget(key)
            raise EngineBroken(
                f"the reference crashed {len(self._crashed)} times in a row, the last time: {new[-1]['failure'][1]}; "
                "mend it, and the same command asks again"
            )

    # ---- learning

    def _learn_from(self, new: list[dict[str, Any]], due: float) -> None:
        """Retrain the strata that the new labels show to be wrong, and those that stand on them."""
        if self.ground.library is None or self._learning is not None or not self._learns:
            return
        data = labels.dataset(new, self.ground.reference_method)
        missed = learn.erred(self._potential(), data) if len(data.structures) else []
        assert isinstance(self.relaxer, NetworkRelaxer)
        # a library of more elements than are searched has strata above that nothing here stands on, and no data for them
        ours = [s for s in self.ground.library.strata() if s.name in dict(self.relaxer.versions)]
        missed = learn.trainable(missed, ours, self.known.dataset()) if missed else []
        if not missed:
            return
        self.round += 1
        training = learn.Training(
            desk=self.desk,
            library=self.ground.library,
            dataset=self.known.dataset(),
            strata=learn.with_those_above(missed, ours),
            key=self._key(f"train/{self.round}"),
            iterations=self.settings.network.retrain_iterations,
            versions=dict(self.relaxer.versions),
        )
        self._learning = Learning(due, training, training.steps())
        self._advance(wait=False)

    def _advance(self, *, wait: bool) -> None:
        """Start whatever training can start; with `wait`, see it through and take up the new library if it is no worse."""
        learning = self._learning
        assert learning is not None
        while True:
            if not wait and not all(self.desk.ready(key) for key in learning.awaited):
                return
            for key in learning.awaited:
                self.desk.result(key)
            try:
                learning.awaited = next(learning.steps)
            except StopIteration:
                break
        if not wait:
            learning.awaited, learning.steps = [], iter(())
            return
        self._learning = None
        self._take_up(learning.training.versions)

    def _take_up(self, versions: dict[str, int]) -> None:
        """The new library replaces the old one if it is no worse on held-out data; then the archive follows (law 4)."""
        assert self.ground.library is not None
        new = network_relaxer(self.settings, self.ground.library, versions, self.ground.space)
        if not learn.no_worse(load_potential(new), self._potential(), self.known.low_lying()):
            assert isinstance(self.relaxer, NetworkRelaxer)
            self.ground.library.use(dict(self.relaxer.versions))
            return
        self.ground.library.use(versions)
        self.relaxer = new
        members = self._single_points(self._key(f"points/{self.round}/archive"), list(self.archive.members.values()))
        kept_out = self._single_points(self._key(f"points/{self.round}/kept out"), self.archive.kept_out())
        self.archive.change_method(new.method, members)
        self.archive.admit(kept_out, self.known.hull())
        above = self.archive.above_hull(members)
        best = [c for _, _, c in sorted((a, c.id, c) for a, c in zip(above, members, strict=True))[:RELAX_AGAIN]]
        key = self._key(f"again/{self.round}")
        self.desk.ask(key, chunks.again, self.ground.breeding, self.relaxer, self.round, [to_json(c) for c in best])
        self.archive.absorb([from_json(c) for c in self.desk.result(key)], self.known.hull())

    def _potential(self) -> Potential:
        assert isinstance(self.relaxer, NetworkRelaxer)
        return load_potential(self.relaxer)

    # ---- the end

    def _confirm(self) -> Iterator[Progress]:
        """Ask about what is still unconfirmed near the hull, then let the reference relax the phases of its hull."""
        never = math.inf
        chunks_now = self.settings.search.chunks
        self._stage = f"end{chunks_now}/"  # a longer search takes other results at other chunks
        # whether it comes before any longer search; what other ends were told and is not known yet (where chunks went down again)
        bred = (int(key.partition("/")[2]) for key in self.desk.known("relax/"))
        others = [key for key in ends.keys(self.desk, "end", self._heard) if not key.startswith(self._stage)]
        now: dict[str, Any] = {"first": all(k < chunks_now for k in bred), "others": others}
        began = self.desk.remember(self._key("began"), now) or now
        while self._checks or self._learning is not None:
            self._take_effect(never)
        self._hear(began["others"], "others", never)
        while self._learning is not None:
            self._take_effect(never)
        reference = self.settings.reference
        for n in range(FINAL_ROUNDS):
            left = self.budget.single_calls - self.calls - self.budget.reserve
            # the last rounds only confirm: a library that changes always brings new candidates
            self._learns = n < LEARNING_ROUNDS
            if not self._ask_reference(math.inf, min(reference.per_round, left), self.budget.kept(KEPT_FOR_RELAXING)):
                break
            while self._checks or self._learning is not None:
                self._take_effect(never)
            yield self._progress("confirm", n + 1, FINAL_ROUNDS)
        self._learns = False  # what is asked from here on changes no library: nobody would relax with it
        relaxed = self._relax_phases(set())
        # what single points are left go to phases on the network's hull that nobody has checked, and where it has no compound to
        # the one that comes nearest
        while self._ask_reference(
            math.inf, self.budget.unspent(self.calls, self.final_calls), self.budget.kept(0.0), corners=True
        ):
            self._take_effect(never)
        if reference.final_calls:  # and steps that are left to those that came to the hull
            self._relax_phases(relaxed)
        yield self._progress("done", self.settings.search.chunks, self.settings.search.chunks)

    def _relax_phases(self, known: set[str]) -> set[str]:
        """All phases of the reference's hull but those known, also those that come to it thereby, while there are calls."""
        while (more := self._relax_by_reference(known)) != known:
            known = more
        return known

    def _relax_by_reference(self, known: set[str]) -> set[str]:
        """A few steps by the reference for each phase of its hull but those known; what is lowest takes the phase's place.

        The names of those that are relaxed by now.
        """
        section, steps = self.settings.relax, self.settings.reference.final_steps
        if self.ground.reference is None or self.relaxer.method == self.ground.reference_method or not steps:
            return known
        n = max(0, self.budget.steps(self.calls, self.final_calls) // steps)
        phases = [c for c in self.reference_phases() if c.id not in known][:n]
        phases = [phases[i] for i in self.budget.paid(self.exact(phases), 0.0, steps)]
        known_labels = []
        for c, atoms in zip(phases, self.exact(phases), strict=True):
            crystal = atoms_to_json(atoms)
            known_labels.append(self.known.told(crystal))
            self.desk.ask(
                self._key(f"final/{c.id}"),
                labels.relaxed,
                self.ground.reference,
                crystal,
                c.id,
                self.ground.breeding.pressure,
                section.fmax,
                section.smax_GPa * EV_PER_A3_PER_GPA,
                steps,
                known_labels[-1],
                self._curvature(c.id, atoms, known_labels[-1]),
            )
        moved = []
        for c, told in zip(phases, known_labels, strict=True):
            path = self.desk.result(self._key(f"final/{c.id}"))
            self.calls += len(path)
            self.final_calls += len(path)
            self.budget.spend([atoms_from_json(label["crystal"]) for label in path])
            sound = [label for label in path if label["failure"] is None] + ([] if told is None else [told])
            if sound:
                best = min(sound, key=self.known.enthalpy)
                atoms = atoms_from_json(best["crystal"])
                energy = Energy(self.ground.reference_method, self.known.enthalpy(best))
                moved.append(replace(c, atoms=atoms, energies={energy.method: energy, self.relaxer.method: _UNKNOWN}))
        key = self._key("points/final" + (f"/{len(known)}" if known else ""))
        moved = self._single_points(key, moved)
        self.archive.replace(moved)
        self._exact.settle(moved)
        return known | {c.id for c in phases}

    def _curvature(self, name: str, atoms: Atoms, told: dict[str, Any] | None) -> Any:
        """Where the inverse Hessian of a relaxation begins; remembered, because another machine has other bits."""
        if not isinstance(self.relaxer, NetworkRelaxer):
            return None
        key = self._key(f"curvature/{name}")
        if self.desk.ready(key):
            return self.desk.result(key)
        # a cell without stress stays as it is, also when the atoms move
        moves = told is not None and bool(np.isfinite(np.array(told["stress"], dtype=float)).all())
        return self.desk.remember(key, curvature(self.relaxer, atoms, self.ground.breeding.pressure, moves))

    def reference_hull(self) -> Hull | None:
        """The hull of everything that the search found and the reference confirmed."""
        # what a calculator relaxes has the reference's energies at once
        answers = self.archive.n_answers + (self.archive.n_relaxed if self._same_method else 0)
        if self._confirmed_hull is None or self._confirmed_hull[0] != answers:
            method = self.ground.reference_method
            points = [Point(c.reduced_counts, c.per_atom(method), method, c.id) for c in self.confirmed()]
            self._confirmed_hull = answers, Hull.of(points, self.ground.space.end_members) if points else None
        return self._confirmed_hull[1]

    @property
    def _same_method(self) -> bool:
        """Whether candidates are relaxed by the reference itself."""
        return self.archive.method == self.ground.reference_method

    def failures(self) -> list[list[str]]:
        """Reason and detail of all calls of the reference that failed."""
        return self.ground.failures + [label["failure"] for label in self.known.labels if label["failure"] is not None]

    def reference_phases(self) -> list[Candidate]:
        """The candidates on the reference's hull, by composition."""
        hull = self.reference_hull()
        if hull is None:
            return []
        return [self.archive.candidate(i) for i in hull.vertices]

    def confirmed(self) -> list[Candidate]:
        """All candidates whose energy the reference has told; also what the gate keeps out, where it was asked about that."""
        kept_out = [] if self._same_method else self.archive.failed.values()
        everyone = [*self.archive.members.values(), *kept_out]
        return [c for c in everyone if self.ground.reference_method in c.energies]

    def _key(self, key: str) -> str:
        return self._stage + key

    def _progress(self, stage: str, done: int, total: int) -> Progress:
        hull = self.archive.hull()
        return Progress(
            stage=stage,
            done=done,
            total=total,
            relaxed=self.archive.n_relaxed,
            distinct=len(self.archive.members),
            hull_phases=0 if hull is None else len(hull.vertices),
            confirmed=len(self.reference_phases()) if self.ground.reference is not None else 0,
            reference_calls=self.ground.calls + self.calls,
            bootstrap_calls=self.ground.calls,
            relax_calls=self.archive.n_calls,
            method=self.archive.method,
        )
