"""Collect: labels for every structure of a file, some at a time; stopped anywhere, the same command goes on.

Every result is durable as soon as it is there (collection.py); OUT is written anew every few minutes and at the end.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ase import Atoms

from evo.candidate import ENDED, Failure
from evo.processes import Died, Processes
from evo.reference import Label, Reference
from evo.reference.collection import Collection, key, structures
from evo.reference.unavailable import EngineBroken

__all__ = ["EngineBroken", "Stopped", "keeping", "key", "label_file", "line", "stoppable", "structures"]

WRITE_EVERY = 300.0  # s between two writings of OUT
MOST_CRASHES = 5  # in a row: then it is the engine, not the crystals


class Stopped(BaseException):
    """The process was asked to stop; no engine may take it for a failure of a crystal."""


def label_file(
    file: Path,
    out: Path,
    reference: Reference,
    *,
    retry: bool,
    at_most: int | None,
    at_once: int = 1,
    say: Callable[[str], None],
) -> bool:
    """Label what lacks a label; False when it was stopped by a signal before the end.

    `retry` tries again what failed; `at_most` ends it after so many calculations. `at_once`: so many at a time, each in a
    process of its own. DataError names a file that is of no use.
    """
    crystals = {key(atoms): atoms for atoms in structures(file)}
    reference.require({z for atoms in crystals.values() for z in atoms.numbers.tolist()})
    collection = Collection(out, reference)
    try:
        collection.remark(crystals.values())
        done = collection.records
        missing = [k for k in crystals if k not in done or (retry and "failure" in done[k])]
        say(
            f"{len(crystals)} structures, {len(crystals) - len(missing)} done, {len(missing)} to do ({reference.method})"
        )
        written = time.monotonic()
        with stoppable() as interruptible, ExitStack() as stack:
            asked = [crystals[k] for k in missing[:at_most]]
            if at_once > 1:
                processes = stack.enter_context(Processes(min(at_once, max(1, len(asked))), reference.evaluate))
                answers = processes.answers(asked, interruptible)
            else:
                answers = one_by_one(reference, asked, interruptible)
            keep = keeping(collection)
            try:
                for n, (atoms, answer) in enumerate(answers):
                    found = Failure("crashed", f"its process {answer.reason}") if isinstance(answer, Died) else answer
                    keep(atoms, found)
                    say(f"{n + 1}/{len(missing)} {line(atoms, found)}")
                    if time.monotonic() - written > WRITE_EVERY:
                        collection.arrange(crystals)
                        collection.write()
                        written = time.monotonic()
            except Stopped:
                return False
            finally:
                collection.arrange(crystals)
                collection.write()
        return True
    finally:
        collection.close()


def one_by_one(
    reference: Reference, crystals: list[Atoms], interruptible: Callable[[], AbstractContextManager[None]]
) -> Iterator[tuple[Atoms, Label | Failure]]:
    """What the reference says of each, in this process."""
    for atoms in crystals:
        with interruptible():
            found = reference.evaluate(atoms)
        yield atoms, found


def keeping(collection: Collection) -> Callable[[Atoms, Label | Failure], None]:
    """What keeps a result; EngineBroken after MOST_CRASHES in a row.

    Stopped where the program was asked to end, which is no result: a batch system ends all that it has started.
    """
    crashes = 0

    def keep(atoms: Atoms, found: Label | Failure) -> None:
        nonlocal crashes
        if isinstance(found, Failure) and found.reason == ENDED:
            raise Stopped
        collection.add(atoms, found)
        crashes = crashes + 1 if isinstance(found, Failure) and found.reason == "crashed" else 0
        if crashes == MOST_CRASHES:
            assert isinstance(found, Failure)
            raise EngineBroken(f"{crashes} crashes in a row, the last: {found.detail}; mend it, then --retry")

    return keep


@contextmanager
def stoppable() -> Iterator[Callable[[], Any]]:
    """Signals to stop end a calculation at once, but wait for a result that is being written."""
    asked, running = False, False

    def stop(*_: object) -> None:
        nonlocal asked
        asked = True
        if running:
            raise Stopped

    @contextmanager
    def interruptible() -> Iterator[None]:
        nonlocal running
        if asked:
            raise Stopped
        running = True
        try:
            yield
        finally:
            running = False

    names = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {name: signal.signal(name, stop) for name in names}
    try:
        yield interruptible
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def line(atoms: Atoms, found: Label | Failure) -> str:
    """One line about a result, for the user."""
    name = f"{atoms.get_chemical_formula():10} {atoms.info.get('kind', '')!s:12}"
    if isinstance(found, Failure):
        return f"{name} {found.reason}: {found.detail}"
    return f"{name} {found.energy / len(atoms):9.4f} eV/atom {found.seconds:6.1f} s"
