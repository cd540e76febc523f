"""potentials train LIB STRATUM ..."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from potentials.commands import unfinished
from potentials.commands.command import Commands, Misused, Unusable, add_command
from potentials.commands.committee import Effort, add_effort, effort_of, fitted
from potentials.commands.data import FILES, add_all, add_labels, parse_shift, read_all
from potentials.commands.make import add_pretrained, add_recipe, open_or_make, recipe_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from potentials.dataset import Dataset
    from potentials.library import Library
    from potentials.stratum import Stratum
    from potentials.stratum_file import TrainedStratum
    from potentials.task import FitResult, FitTask


def register(commands: Commands) -> None:
    parser = add_command(
        commands, "train", run, "Train a stratum on the library's data, and first what is missing below it."
    )
    parser.add_argument("strata", metavar="STRATUM", nargs="+", help="elements, for instance CuPd")
    parser.add_argument("--data", metavar="FILE", nargs="+", type=Path, default=[], help=f"to add first: {FILES}")
    add_labels(parser)
    add_recipe(parser)
    add_effort(parser)
    text = "hidden units of its own that the pair or triple adds; as the library's recipe says when left out"
    parser.add_argument("--widened", metavar="N", type=int, default=None, help=text)
    text = "train the stratum and all below it at once; where they are there already, only to compare"
    parser.add_argument("--from-scratch", action="store_true", help=text)
    text = "train these strata and what is missing below them at once, on top of those there: for an element with few crystals"
    parser.add_argument("--together", action="store_true", help=text)
    text = "draw a new element to the networks of one that is like it, for instance Au=Ag"
    parser.add_argument("--like", metavar="NEW=OLD", nargs="+", default=[], help=text)
    add_pretrained(parser)


def run(chosen: argparse.Namespace) -> None:
    strata = [parse_stratum(name) for name in chosen.strata]
    wanted, shift = strata[-1], parse_shift(chosen.shift)
    if len(strata) > 1 and (chosen.from_scratch or chosen.widened is not None):
        raise Misused(f"--from-scratch and --widened are for one stratum, got {' '.join(s.name for s in strata)}")
    if chosen.together and (chosen.from_scratch or chosen.widened is not None):
        raise Misused("--together does not go with --from-scratch or --widened; leave one of them out")
    if chosen.pretrained is not None and chosen.from_scratch:
        raise Misused("--pretrained does not go with --from-scratch; leave one of them out")
    readings = read_all(chosen.data, chosen.method, chosen.skip_refused)
    effort = effort_of(chosen)
    if chosen.widened is not None and (chosen.widened < 0 or chosen.from_scratch or wanted.order == 1):
        raise Misused(
            f"--widened must be 0 or more, for a pair or triple trained on what is below it, got {chosen.widened}"
            f" for {wanted.name}{' --from-scratch' if chosen.from_scratch else ''}"
        )
    if chosen.widened and recipe_of(chosen).refined:
        raise Misused(
            f"--widened is for strata that are not refined, and {chosen.library} refines them; leave it out, or make a "
            "library by --recipe quick"
        )
    library = open_or_make(chosen)
    like = _like(library, chosen.like, strata)
    if readings:
        add_all(library, readings, shift)
    if chosen.from_scratch:
        train_jointly(library, wanted, effort, warm=False)
        return
    missing = _missing(library, strata)
    for stratum in missing:  # before the first is trained, which takes minutes
        if not library.n_crystals(stratum.name):
            raise Unusable(
                f"{library.path} holds no crystals of {stratum.name} to train on; add some with exactly these elements"
            )
    if chosen.together and missing:
        _train_together(library, missing, effort, like)
    for stratum in [] if chosen.together else missing:
        _train(library, stratum, effort, chosen.widened if stratum == wanted else None, like)
    _say_outdated(library, {s.name for s in missing})
    if not missing:
        names = ", ".join(s.name for s in strata)
        print(f"{names}: assembled from the strata below, which are all there; nothing to train")


def _like(library: Library, pairs: Sequence[str], strata: Sequence[Stratum]) -> dict[int, int]:
    """By atomic number, the element that each new one is like."""
    found: dict[int, int] = {}
    there = {s.numbers[0]: s.name for s in library.strata() if s.order == 1}
    for pair in pairs:
        new, equals, old = pair.partition("=")
        if not equals:
            raise Misused(f"--like must be NEW=OLD, for instance Au=Ag, got {pair}")
        (z, *more), (y, *others) = (parse_stratum(name).numbers for name in (new, old))
        if more or others or y not in there or z in there or not any(z in s.numbers for s in strata):
            raise Misused(
                f"--like must name a new element that is trained here and one that {library.path} has "
                f"({', '.join(there.values()) or 'none yet'}), got {pair}"
            )
        found[z] = y
    return found


def _missing(library: Library, strata: Sequence[Stratum]) -> list[Stratum]:
    """The strata themselves, and before them those below that are not there or stand on an older version of one below them."""
    from potentials.environments import LARGEST_BLOCK
    from potentials.stratum import Stratum

    result: list[Stratum] = []
    names: set[str] = set()
    current = {row.stratum: row for row in library.describe()}
    versions = library.versions()
    for stratum in sorted({s for wanted in strata for s in wanted.subsets()}, key=Stratum.sort_key):
        if stratum.order > LARGEST_BLOCK:  # nothing belongs to larger sets: they are assembled
            continue
        row = current.get(stratum.name)
        moved = row is not None and any(versions[n] != v or n in names for n, v in row.parents.items())
        if stratum in strata or row is None or moved:
            result.append(stratum)
            names.add(stratum.name)
    return result


def _train_together(library: Library, strata: Sequence[Stratum], effort: Effort, like: Mapping[int, int]) -> None:
    from potentials.jointly import plan_together
    from potentials.train import finish_all

    data = library.data()
    tasks = plan_together(library, library.versions(), data, strata, iterations=effort.iterations, like=like)
    made = finish_all(tasks, _fit(library, tasks, ", ".join(s.name for s in strata), effort))
    made, more = _refined_all(library, data, made, effort)
    for trained, number in zip(made, library.add_all(made), strict=True):
        _say(trained, f"version {number}")
    unfinished.forget(library.path, [*tasks, *more])


def _train(library: Library, stratum: Stratum, effort: Effort, widened: int | None, like: Mapping[int, int]) -> None:
    from potentials.train import finish, plan

    data, versions = library.data(), library.versions()
    tasks = plan(library, versions, data, stratum, iterations=effort.iterations, widened=widened, like=like)
    trained = finish(tasks, _fit(library, tasks, stratum.name, effort))
    below = [library.stratum(s, versions[s.name]) for s in stratum.subsets() if s != stratum]
    trained, more = _refined(library, data, trained, below, effort)
    _say(trained, f"version {library.add(trained)}")
    unfinished.forget(library.path, [*tasks, *more])


def _refined(
    library: Library, data: Dataset, trained: TrainedStratum, below: Sequence[TrainedStratum], effort: Effort
) -> tuple[TrainedStratum, list[FitTask]]:
    """The stratum, refined where it is to be, and the tasks that took."""
    from potentials.refine import finish_refined, plan_refined, refines

    if not refines(library.recipe, data, trained.stratum):
        return trained, []
    tasks = plan_refined(library.recipe, data, trained, below, iterations=effort.iterations)
    return finish_refined(tasks, _fit(library, tasks, f"{trained.stratum.name} refined", effort), trained), tasks


def _refined_all(
    library: Library, data: Dataset, made: Sequence[TrainedStratum], effort: Effort
) -> tuple[list[TrainedStratum], list[FitTask]]:
    """Strata that were fitted at once, each on top of the refined ones below it, and the tasks that took."""
    from potentials.stratum import Stratum

    done: dict[str, TrainedStratum] = {}
    tasks: list[FitTask] = []
    for trained in made:
        parents = {n: done[n].content_hash() if n in done else there for n, there in trained.parents.items()}
        below = [done.get(n) or library.stratum(Stratum.parse(n)) for n in parents]
        done[trained.stratum.name], more = _refined(library, data, replace(trained, parents=parents), below, effort)
        tasks += more
    return list(done.values()), tasks


def train_jointly(library: Library, elements: Stratum, effort: Effort, *, warm: bool) -> None:
    """All strata of these elements at once: into the library, or, from scratch beside what is there, only to compare."""
    from potentials.jointly import plan_jointly
    from potentials.train import finish_all

    there = [s.name for s in elements.subsets() if s in library.strata()]
    source = library if warm else None
    data = library.data()
    tasks = plan_jointly(library.recipe, data, elements, iterations=effort.iterations, library=source)
    results = _fit(library, tasks, "refit" if warm else "from scratch", effort)
    made, spent = finish_all(tasks, results), sum(r.seconds for r in results)
    kept = [0] * len(made)
    if warm or not there:
        made, more = _refined_all(library, data, made, effort)
        tasks = [*tasks, *more]
        kept = library.add_all(made)
    for trained, number in zip(made, kept, strict=True):
        _say(trained, f"version {number}" if number else "from scratch, not kept")
    if not warm and there and elements in library.strata():
        library.note_from_scratch(elements, spent)
    unfinished.forget(library.path, tasks)


def _fit(library: Library, tasks: Sequence[FitTask], name: str, effort: Effort) -> list[FitResult]:
    """All members; those that an earlier run finished are not fitted again."""
    results = []
    for done, known in fitted(library.path, tasks, effort.at_once):
        results.append(done)
        print(f"{name}: member {done.member + 1} of {len(tasks)}, ", end="", file=sys.stderr)
        print("fitted before, " if known else "", end="", file=sys.stderr)
        print(f"{done.iterations} iterations, {done.seconds:.1f} CPU s", file=sys.stderr, flush=True)
    return results


def _say(trained: TrainedStratum, what: str) -> None:
    found, n = trained.metadata["errors"], trained.metadata["n_data"]
    errors = {k: v for k, v in found.items() if not k.startswith("crystals")}
    text = ", ".join(f"{k.replace('_', ' ')} {1e3 * v:.1f}" for k, v in errors.items())
    print(f"{trained.stratum.name} {what}: {n} crystals, {text} (meV/atom, meV/Å)")
    low = sum(int(v) for k, v in found.items() if k.startswith("crystals"))
    if 2 * low < n:
        print(
            f"{trained.stratum.name}: {low} of {n} crystals lie near the lowest one, and the errors are theirs alone; "
            "those far above count little. If a label is much too low, leave it out",
            file=sys.stderr,
        )


def _say_outdated(library: Library, trained: set[str]) -> None:
    """Name the strata that stand on what was just replaced: they cannot be used with it."""
    versions, outdated, moved = library.versions(), [], set()
    for row in library.describe():
        if older := {n for n, v in row.parents.items() if n in trained and versions[n] != v}:
            outdated.append(row.stratum)
            moved |= older
    if outdated:
        below = ", ".join(n for n in versions if n in moved)
        stand, them = ("stands", "it") if len(outdated) == 1 else ("stand", "them")
        print(f"{', '.join(outdated)} {stand} on an older version of {below}: train {them} again")


def parse_stratum(name: str) -> Stratum:
    from potentials.stratum import Stratum

    try:
        return Stratum.parse(name)
    except ValueError as error:
        raise Misused(str(error)) from None
