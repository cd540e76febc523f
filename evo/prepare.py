"""What a campaign stands on before its first chunk: the space it searches, the reference, the library with its strata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from evo import answers, bootstrap, first_set, labels, learn
from evo.candidate import atoms_to_json, formula_counts
from evo.cell import Space
from evo.chunk import Breeding
from evo.create.seed_file import read_seeds, with_moments
from evo.desk import Desk
from evo.labels import MethodDiffers, ReferenceSpec
from evo.mixtures import EndMembers
from evo.progress import Progress
from evo.reference import PROGRAMS, ReferenceUnavailable, check_options, open_reference
from evo.reference.unavailable import EngineBroken
from evo.relaxers import CalculatorRelaxer, NetworkRelaxer, Relaxer
from evo.settings import ReferenceSection, Settings, SettingsError
from potentials.kernels.repulsion import reach
from potentials.library import Library
from potentials.network import Shape
from potentials.recipe import Recipe
from potentials.storage.methods import comparable
from potentials.stratum import Stratum
from potentials.units import EV_PER_A3_PER_GPA


class LibraryChanged(ValueError):
    """network.library is not what the campaign began with."""

    exit_code = 65


@dataclass
class Ground:
    """Everything that does not change while chunks are bred, except the library, which grows."""

    space: Space
    breeding: Breeding
    reference: ReferenceSpec | None
    reference_method: str
    reference_identity: (
        Any  # what stands behind the name of the method, for the elements of the campaign; None: not known
    )
    relaxer: Relaxer
    library: Library | None
    seeds: list[Atoms]
    labels: list[dict[str, Any]]  # by the reference, before the search: data of the given library, then the bootstrap's
    calls: int  # reference calls of the bootstrap
    failures: list[list[str]] = field(default_factory=list)  # reason and detail of those that failed


def lay(settings: Settings, directory: Path, desk: Desk, accept_library: bool = False) -> Iterator[Progress | Ground]:
    """Yields Progress while the library is made, and at last the Ground."""
    space = space_of(settings)
    spec: ReferenceSpec | None = None
    identity: Any = None
    for step in _reference(settings, directory, desk, space):
        if isinstance(step, Progress):
            yield step
        else:
            spec, identity = step
    seeds = [s for f in settings.seeds.files for s in read_seeds(directory / f, space)]
    _refuse_other_seeds(desk, seeds)
    ground = Ground(
        space=space,
        breeding=breeding(settings, space),
        reference=spec,
        reference_method=spec.method if spec is not None else "",
        reference_identity=identity,
        relaxer=CalculatorRelaxer("", "{}", "", ""),
        library=None,
        seeds=seeds,
        labels=[],
        calls=0,
    )
    if settings.relax.engine == "ase":
        ground.relaxer = calculator_relaxer(settings, directory)
        before = desk.remember("relaxer/method", ground.relaxer.method)
        if before not in (None, ground.relaxer.method):
            raise MethodDiffers(
                f"the calculator that relaxes is {ground.relaxer.method} now, but this campaign began with {before}: its file, "
                "its package or its options are others; put the old one back, or start in another directory"
            )
    else:
        yield from _library(settings, directory, desk, ground, accept_library)
    yield ground


def _refuse_other_seeds(desk: Desk, seeds: list[Atoms]) -> None:
    """The first chunk has been made of the seeds that there were when the campaign began."""
    digits = hashlib.sha256(json.dumps([atoms_to_json(a) for a in seeds]).encode()).hexdigest()[:12]
    if desk.remember("seeds", digits) not in (None, digits):
        raise SettingsError(
            "the crystals in seeds.files are others than when this campaign began; put them back, or start in another directory"
        )


def seed_remarks(settings: Settings, directory: Path) -> list[str]:
    """What the user should know of the seed files that are taken; SeedError where one cannot be read."""
    files = [name for name in settings.seeds.files if with_moments(directory / name)]
    if not files:
        return []
    instead = ""
    if settings.reference.engine in PROGRAMS:
        instead = "; set reference.options.moments, a number or a list for each element, such as { Ni = [2.0, -2.0] }"
    return [f"the magnetic moments in {', '.join(files)} are left out: a campaign keeps none of its seeds{instead}"]


def space_of(settings: Settings) -> Space:
    """The compositions, sizes and distances that the search may visit."""
    system = settings.system
    formula = formula_counts(system.formula) if system.formula else None
    n_atoms = (sum(formula.values()), sum(formula.values())) if formula else system.atoms
    return Space(
        elements=tuple(int(atomic_numbers[s]) for s in system.elements),
        n_atoms=n_atoms,
        formula=formula,
        min_distance=system.min_distance,
        end_members=_end_members(system.end_members, n_atoms),
    )


def _end_members(texts: list[str], n_atoms: tuple[int, int]) -> EndMembers | None:
    if not texts:
        return None
    try:
        found = EndMembers.of([formula_counts(text) for text in texts])
    except ValueError as error:
        raise SettingsError(f"system.end_members: {error}, got {', '.join(texts)}") from None
    if not found.within(*n_atoms):
        raise SettingsError(f"system.atoms {list(n_atoms)} holds no mixture of {', '.join(texts)}; allow more atoms")
    return found


def breeding(settings: Settings, space: Space) -> Breeding:
    """What every chunk is bred and relaxed with."""
    return Breeding(
        seed=settings.campaign.seed,
        space=space,
        weights=settings.search.operators,
        tournament=settings.search.tournament,
        gate=settings.gate,
        fmax=settings.relax.fmax,
        smax=settings.relax.smax_GPa * EV_PER_A3_PER_GPA,
        pressure=settings.system.pressure_GPa * EV_PER_A3_PER_GPA,
        max_calls=settings.relax.max_calls,
    )


def reference_spec(settings: Settings, directory: Path) -> ReferenceSpec | None:
    """What opens the reference; None when there is none."""
    return (
        None if settings.reference.engine == "none" else labels.spec_of(settings.reference, str(directory.absolute()))
    )


def checked_method(settings: Settings, about: dict[str, Any]) -> str:
    """The method of the reference that tells this of itself; ReferenceUnavailable when it cannot do one of the elements."""
    if about["cannot"]:
        names = ", ".join(chemical_symbols[z] for z in about["cannot"])
        raise ReferenceUnavailable(
            f"the reference `{settings.reference.engine}` cannot do {names}; "
            'leave it out of system.elements, or name another: reference.engine = "ase" with calculator = "package.module:Class"'
        )
    return str(about["method"])


def _reference(
    settings: Settings, directory: Path, desk: Desk, space: Space
) -> Iterator[Progress | tuple[ReferenceSpec | None, Any]]:
    """The reference, with its method, which stays what it was when the campaign began, and what stands behind that."""
    spec = reference_spec(settings, directory)
    if spec is None:
        yield None, None
        return
    if settings.reference.queue:
        check_options(settings.reference)
        # the program need not be here: a worker says what it is
        desk.ask("reference/about", labels.about, spec, list(space.elements))
        yield Progress("ask a worker about the reference", 0, 1)
        about = desk.result("reference/about")
    else:
        about = labels.about(spec, space.elements)
    method = checked_method(settings, about)
    before = desk.remember("reference/method", method)
    if before != method:
        raise MethodDiffers(
            f"the reference is {method} now, but this campaign began with {before}: a program, its files or the settings "
            "are others; put the old ones back, or start in another directory"
        )
    yield replace(spec, method=method), desk.remember("reference/identity", about.get("identity"))


def network_relaxer(settings: Settings, library: Library, versions: dict[str, int], space: Space) -> NetworkRelaxer:
    """The library at these versions as the relaxer of this campaign."""
    pinned = tuple((s.name, versions[s.name]) for s in learn.strata_to_train(space.elements) if s.name in versions)
    return NetworkRelaxer(
        directory=str(library.path),
        versions=pinned,
        elements=space.elements,
        method=library.version(dict(pinned)),
        device=settings.relax.device,
        threads=settings.relax.threads,
    )


def calculator_relaxer(settings: Settings, directory: Path) -> CalculatorRelaxer:
    """The ASE calculator that relaxes."""
    section = settings.relax
    # the same hash as for a reference: where both are one calculator, a relaxed energy is a confirmed one
    same = ReferenceSection(engine="ase", calculator=section.calculator, options=section.options)
    opened = open_reference(same, str(directory))
    assert opened is not None
    options = json.dumps(section.options, sort_keys=True)
    return CalculatorRelaxer(section.calculator, options, str(directory), opened.method)


def _library(
    settings: Settings, directory: Path, desk: Desk, ground: Ground, accept_library: bool
) -> Iterator[Progress]:
    """The campaign's own library: a copy of what the user gave, and what is missing of it made by the bootstrap."""
    network = settings.network
    if network.library:
        _refuse_changed(
            desk, "library/given", Library.open(network.library, directory), network.library, accept_library
        )
    library = _open_library(settings, directory)
    wanted = learn.strata_to_train(ground.space.elements)
    versions = {name: v for name, v in library.versions().items() if name in {s.name for s in wanted}}
    # what was there at first: retraining and the bootstrap add to the copy, and a campaign that goes on begins as it began
    given = dict(desk.remember("library/versions", versions) or versions) if network.library else {}
    versions |= given
    missing = [s for s in wanted if s.name not in given]
    if network.library and ground.reference is not None:
        ground.labels += given_labels(
            library, ground.reference_method, ground.space.elements, ground.reference_identity
        )
    if missing and ground.reference is not None:
        yield from _bootstrap(settings, directory, desk, ground, missing)
        training = learn.Training(
            desk=desk,
            library=library,
            dataset=labels.dataset(ground.labels, ground.reference_method),
            strata=missing,
            key="train/0",
            iterations=None,  # as many as a new stratum needs
            versions=given,
        )
        for step, keys in enumerate(training.steps()):
            for n, key in enumerate(keys):
                desk.result(key)
                yield Progress(f"train order {step + 1}", n + 1, len(keys), reference_calls=ground.calls)
        versions = training.versions
    elif missing:
        raise lacking(network.library, missing)
    ground.library = library
    ground.relaxer = network_relaxer(settings, library, versions, ground.space)


def lacking(library: str, missing: Sequence[Stratum]) -> ReferenceUnavailable:
    """What to say where strata are missing and there is no reference."""
    return ReferenceUnavailable(
        f"{library} lacks {', '.join(s.name for s in missing)} and there is no reference to make them; "
        'train them, or set reference.engine = "emt" or "ase"'
    )


def given_labels(library: Library, method: str, elements: Sequence[int], identity: Any = None) -> list[dict[str, Any]]:
    """What a library's own data hold of these elements by this method: others cannot be trained on together.

    By this method, or by one that differs only in elements that the campaign or the library's crystals do not have.
    """
    data, symbols = library.data_as_labelled(), [chemical_symbols[z] for z in elements]
    taken = {m for m, known in library.methods.items() if m == method or comparable(known, identity, symbols)}
    ours = [s.numbers for s in data.strata()]
    chosen = [c for c, m in enumerate(data.methods) if m in taken and set(ours[c]) <= set(elements)]
    return labels.of_dataset(data.select(chosen)) if chosen else []


def _refuse_changed(desk: Desk, key: str, library: Library, name: str, accept: bool) -> None:
    """A campaign stands on the library it began with; another one under the same name is an error unless told."""
    now = library.version(library.versions())
    before = desk.remember(key, now)
    if before != now and not accept:
        raise LibraryChanged(
            f"{name} is {now}, but this campaign began with {before}; put the old one back, or go on with the "
            "campaign's own copy of it by --accept-library"
        )


def _open_library(settings: Settings, directory: Path) -> Library:
    network = settings.network
    own = directory / "out" / "library"
    if (own / "library.json").exists():
        return Library.open(own)
    if network.library:
        return Library.open(network.library, directory).copy(own)
    return Library.create(own, recipe_of(settings))


def recipe_of(settings: Settings) -> Recipe:
    """What [network] says of a new library; SettingsError where there is no such network of these elements."""
    network = settings.network
    try:
        shape = Shape(network.cutoff, n_max=network.radial, l_max=network.angular, n_pair=network.pair)
        recipe = Recipe(shape=shape, hidden=network.hidden, members=network.members, refined=network.refined)
    except ValueError as error:
        text = str(error)
        for ours, theirs in {"radial": "n_max", "angular": "l_max", "pair": "n_pair"}.items():
            text = text.replace(f"`{theirs}`", f"`{ours}`")
        raise SettingsError(f"[network]: {text}") from None
    if (least := reach(tuple(space_of(settings).elements))) > network.cutoff:
        raise SettingsError(
            f"[network]: `cutoff` must be at least {least:.2f} Å, where the repulsion ends, got {network.cutoff}"
        )
    return recipe


def enough_calls(calls: int, space: Space) -> None:
    """SettingsError where so many calls do not make a first set of these elements."""
    if calls < (needed := bootstrap.fewest(space.elements)):
        names = "-".join(chemical_symbols[z] for z in space.elements)
        raise SettingsError(
            f"bootstrap.max_calls (or max_hours) must allow at least {needed} calls for {names}, got {calls}"
        )


def bootstrap_tasks(settings: Settings, space: Space, missing: Sequence[Stratum]) -> list[bootstrap.BootstrapTask]:
    """What the bootstrap asks for these strata; SettingsError where the calls do not make a first set."""
    section, seed, calls = settings.bootstrap, settings.campaign.seed, settings.bootstrap.max_calls
    if section.max_hours:
        calls = min(calls, first_set.calls_within(section.max_hours, settings.reference, space, seed))
    enough_calls(calls, space)
    names = {s.name for s in missing}
    return [t for t in bootstrap.plan(space.elements, calls, seed, space) if t.stratum.name in names]


def _bootstrap(
    settings: Settings, directory: Path, desk: Desk, ground: Ground, missing: list[Any]
) -> Iterator[Progress]:
    assert ground.reference is not None
    tasks = bootstrap_tasks(settings, ground.space, missing)
    for n, task in enumerate(tasks):
        desk.ask(f"bootstrap/{n}", labels.run_bootstrap, ground.reference, task)
    yield Progress("bootstrap", 0, len(tasks), reference_calls=ground.calls)
    for n in range(len(tasks)):
        made = desk.result(f"bootstrap/{n}")
        failures = made.get("failures", [])
        if _all_failed(made):  # no crystal is that bad: nothing of it is kept, nor of others that ended like it
            for key in (f"bootstrap/{k}" for k in range(n, len(tasks))):
                if desk.ready(key) and _all_failed(desk.result(key)):
                    desk.forget(key)
            reason, detail = failures[-1]
            how = "crashed" if {why for why, _ in failures} == {"crashed"} else "failed"
            raise EngineBroken(
                f"the reference {how} for all {len(failures)} crystals of {tasks[n].stratum.name} in the bootstrap, "
                f"the last time: {reason}, {detail}; mend it, and the same command asks again"
            )
        ground.failures += failures
        ground.labels += made["labels"]
        ground.calls += made["calls"]
        yield Progress("bootstrap", n + 1, len(tasks), reference_calls=ground.calls)
    if desk.works:
        answers.forget(directory)


def _all_failed(made: dict[str, Any]) -> bool:
    """Whether every call of this bootstrap task failed."""
    return len(made.get("failures", [])) == made["calls"] > 0
