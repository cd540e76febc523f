"""One run of a campaign on rank 0: lock, signals, progress, notes for `status` and `results`, files at the end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from evo import labels, orders
from evo.campaign import Campaign
from evo.chunk import SEED
from evo.desk import Desk, Drained
from evo.parallel import Pool
from evo.prepare import seed_remarks
from evo.progress import Progress
from evo.queue.directory import Queue
from evo.queue.pool import QueuePool
from evo.reference import PROGRAMS
from evo.reference.job import MACHINE
from evo.relaxers import kernel_note, labelled_otherwise
from evo.report import export, phases
from evo.settings import Settings, SettingsError, duration, load, parse
from evo.software import versions
from evo.store import Store
from potentials.library import Library

EXIT_FINISHED, EXIT_DRAINED = 0, 75
# may change between two runs: a longer campaign begins like the shorter one, and who asks the reference changes nothing
EXTENSIBLE = {"search.chunks", "reference.queue", "reference.lease"}
# grows when the same settings lead to other choices: a campaign cannot be replayed by a program that chooses otherwise
ALGORITHM = 9
# what a campaign says of itself before its first result
SAID = (
    "search/chunks",
    "seeds",
    "relaxer/method",
    "reference/about",
    "reference/method",
    "reference/identity",
    "library/given",
    "library/versions",
)
LISTING_SHARE = 50  # seconds of campaign for each that goes into the list of what is near the hull


class OtherVersion(RuntimeError):
    """A campaign that another version of the program began."""

    exit_code = 65


def run(directory: Path, pool: Pool, *, walltime: str | None, accept_library: bool, quiet: bool) -> int:
    """Run or resume the campaign; 0 when it is finished, 75 when it was asked to stop. The pool is closed by the caller."""
    stop = _Stop(None if walltime is None else duration(walltime, "--walltime"))
    settings = load(directory / "campaign.toml")
    store = Store(directory / "out" / "campaign.sqlite", writer=True)
    everybody = pool
    try:
        if not _has_results(store):
            _begin_anew(store, directory)
        _compare(store, settings)
        _write_resolved(directory / "out" / "resolved.json", store)
        for remark in seed_remarks(settings, directory):
            print(f"evo: {remark}", file=sys.stderr)
        everybody = _with_queue(pool, settings, directory)
        campaign = Campaign(
            settings, directory, Desk(store, everybody, stop, labels.unfinished), accept_library=accept_library
        )
        show = _Display(quiet, settings.relax.device if settings.relax.engine == "network" else None)
        notes = _Notes(store, campaign)
        try:
            step, remarked = None, False
            for step in campaign.run():
                notes.write(step)
                show(step)
                if campaign.started and not remarked:
                    remarked = True
                    for remark in _method_remarks(campaign, directory):
                        print(f"evo: beware: {remark}", file=sys.stderr)
                if stop():
                    campaign.desk.drain()
                    raise Drained
        except Drained:
            notes.list_near(only_new=True)
            show.end()
            print(f"evo: stopped on request, nothing is lost; `evo run {directory}` goes on", file=sys.stderr)
            return EXIT_DRAINED
        if step is not None:
            # a replay to the end is the truth, also where it is that of a shorter campaign
            notes.write(step, only_new=False)
        notes.list_near()
        show.end()
        _finish(directory / "out", campaign)
        if isinstance(everybody, QueuePool):
            everybody.finish()
        return EXIT_FINISHED
    finally:
        if isinstance(everybody, QueuePool):
            everybody.leave()
        store.close()


def _method_remarks(campaign: Campaign, directory: Path) -> list[str]:
    """That the given library was labelled by another method than the reference's, if it was."""
    name, ground = campaign.settings.network.library, campaign.ground
    if campaign.settings.relax.engine != "network" or not name or ground.reference is None:
        return []
    method, identity = ground.reference_method, ground.reference_identity
    remark = labelled_otherwise(name, directory, method, identity, ground.space.elements)
    return [remark] if remark else []


class _Stop:
    """Whether the run was asked to stop: by a signal, or because its time is over (monotonic clock)."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._asked = False
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def __call__(self) -> bool:
        return self._asked or (self._end is not None and time.monotonic() > self._end)

    def _ask(self, number: int, _: object) -> None:
        if self._asked and number == signal.SIGINT:  # twice: the user does not want to wait
            raise KeyboardInterrupt
        self._asked = True


class _Display:
    """Progress on stderr: one live line on a terminal, one line per step elsewhere."""

    def __init__(self, quiet: bool, device: str | None) -> None:
        self._quiet = quiet
        self._device = device  # where networks run, None without one; named once, when the run has begun well
        self._live = sys.stderr.isatty()
        self._start = time.monotonic()

    def __call__(self, step: Progress) -> None:
        if self._quiet:
            return
        if self._device is not None:
            self._write(f"kernel: {kernel_note(self._device)}\n")
            self._device = None
        text = f"[{time.monotonic() - self._start:6.1f} s] {step.line()}"
        self._write(f"\r\x1b[K{text}" if self._live else text + "\n")

    def end(self) -> None:
        if self._live and not self._quiet:
            self._write("\n")

    def _write(self, text: str) -> None:
        """Whoever looked on may have left (`evo run DIR 2>&1 | head`): the campaign goes on."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self._quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _with_queue(pool: Pool, settings: Settings, directory: Path) -> Pool:
    """The pool as it is, or with the tasks of the reference sent to the queue of the campaign."""
    section = settings.reference
    if not section.queue:
        return pool
    place = (directory / section.queue).absolute()
    name = hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:12]
    return QueuePool(
        pool, Queue(place, "campaign"), partial(orders.describe, place), orders.give_up, section.lease, name
    )


class _Notes:
    """What `status`, `results` and `export` read: the hull after every step, what is near it now and then and at the end."""

    def __init__(self, store: Store, campaign: Campaign) -> None:
        self._store = store
        self._campaign = campaign
        self._next = 0.0  # monotonic time of the next list of what is near

    def write(self, step: Progress, *, only_new: bool = True) -> None:
        if only_new and not self._campaign.desk.n_new and self._store.note("state") is not None:
            return  # a replay of what is known; who looks at the campaign has seen more already
        rows = phases.to_json(phases.phases(self._campaign)) if self._campaign.started else []
        self._store.set_note("state", json.dumps({"progress": asdict(step), "line": step.line(), "phases": rows}))
        if time.monotonic() >= self._next:
            self.list_near()

    def list_near(self, *, only_new: bool = False) -> None:
        if not self._campaign.started:
            return
        if only_new and not self._campaign.desk.n_new and self._store.note("near") is not None:
            return
        start = time.monotonic()
        self._store.set_note("near", json.dumps(phases.near(self._campaign)))
        now = time.monotonic()
        self._next = now + LISTING_SHARE * (now - start)


def _finish(out: Path, campaign: Campaign) -> None:
    rows = phases.phases(campaign)
    print(phases.table(rows))
    written = []
    if rows:
        export.write(rows, out / "hull.db", campaign.ground.breeding.pressure)
        written = export.write(rows, out / "hull" / "hull.cif")
    else:
        (out / "hull.db").unlink(missing_ok=True)
    for file in (out / "hull").glob("hull-*.cif"):  # phases of a shorter campaign
        if file not in written:
            file.unlink()
    files = f"CIF files in {out / 'hull'}, ASE database {out / 'hull.db'}, " if rows else ""
    print(f"\n{files}everything evaluated in {out / 'campaign.sqlite'}")
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(campaign.archive.reasons.items()))
    print(
        f"{campaign.archive.n_relaxed} relaxed, {len(campaign.archive.members)} distinct, kept out: {reasons or 'none'}; "
        f"reference calls: {campaign.ground.calls} bootstrap + {campaign.calls} search"
    )
    if failures := campaign.failures():
        often = ", ".join(f"{n} {reason}" for reason, n in Counter(reason for reason, _ in failures).most_common())
        print(f"evo: {len(failures)} reference calls failed: {often}; the last: {failures[-1][1]}", file=sys.stderr)
    for c in campaign.archive.failed.values():
        if c.origin.operator == SEED and c.failure is not None:
            text = f"{c.formula}, {len(c.atoms)} atoms, was kept out: {c.failure.reason} {c.failure.detail}"
            print(f"evo: a crystal of seeds.files, {text}", file=sys.stderr)
    for line in phases.doubts(campaign, rows):
        print(f"evo: {line}", file=sys.stderr)
    if not rows:
        print("evo: nothing was found that could be kept; the reasons are in the line above", file=sys.stderr)


def _has_results(store: Store) -> bool:
    """Whether anything has been worked out; what a start has only said of itself does not count."""
    return any(key not in SAID for key in store.keys(""))


def _begin_anew(store: Store, directory: Path) -> None:
    """Forget what starts have left that were refused or killed before the first result: their settings bind nobody."""
    for key in SAID:
        store.remove(key)
    store.forget_notes()
    library = directory / "out" / "library"
    if not (library / "library.json").exists():
        return
    if not Library.open(library).strata():
        shutil.rmtree(library)
        return
    # a copy of a given one, or what a campaign has trained whose database is gone: nobody but the user knows
    aside = next(p for n in count(1) if not (p := library.with_name(f"library.before-{n}")).exists())
    library.rename(aside)
    print(
        f"evo: {library} was there before this campaign; it is {aside.name} now, network.library takes it",
        file=sys.stderr,
    )


def _compare(store: Store, settings: Settings) -> None:
    """Refuse to go on under other settings; write down settings and software of a new campaign."""
    new = _flat(settings.model_dump(mode="json"))
    found = store.note("settings")
    if found is not None and (began := store.note("algorithm") or "1") != str(ALGORITHM):
        raise OtherVersion(
            f"{store.path} was begun by another version of this program, which chose otherwise ({began}, now {ALGORITHM}); "
            "go on with that one, or start in another directory; `evo export --labels` keeps what was labelled"
        )
    if found is not None:
        # a setting that did not exist then had what is its default now
        plain = parse({"system": {"elements": settings.system.elements}})
        old = _flat(plain.model_dump(mode="json")) | _flat(json.loads(found))
        engine = settings.reference.engine
        changed = [
            k
            for k in new
            if _of_campaign(k, new[k], engine) != _of_campaign(k, old.get(k), engine) and k not in EXTENSIBLE
        ]
        if changed:
            k = changed[0]
            raise SettingsError(
                f"campaign.toml: {k} was {old.get(k)!r} when this campaign began and is {new[k]!r} now; "
                "put it back, or start in another directory"
            )
    store.set_note("settings", settings.model_dump_json())
    store.set_note("algorithm", str(ALGORITHM))
    if store.note("software") is None:
        store.set_note("software", json.dumps(versions()))


def _of_campaign(key: str, value: Any, engine: str) -> Any:
    """The value without what belongs to the machine: a program may have more time or cores in the next run."""
    if key != "reference.options" or engine not in PROGRAMS or not isinstance(value, dict):
        return value
    return {name: x for name, x in value.items() if name not in MACHINE}


def _write_resolved(path: Path, store: Store) -> None:
    """Settings with all defaults and the software, beside the results, for people."""
    notes = {name: json.loads(store.note(name) or "null") for name in ("settings", "software")}
    path.write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and key not in ("options",):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
