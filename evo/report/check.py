"""What `evo check` says before any core hour is spent: settings, files, reference, a few candidates, the cost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms

from evo import labels
from evo.candidate import Failure, formula_of
from evo.cell import Space, counts_of, shortest_ratio
from evo.create.seed_file import read_seeds
from evo.learn import strata_to_train
from evo.prepare import (
    bootstrap_tasks,
    calculator_relaxer,
    checked_method,
    lacking,
    recipe_of,
    reference_spec,
    seed_remarks,
    space_of,
)
from evo.queue.directory import census
from evo.reference import check_options
from evo.reference.cost import PER_POINT, predicted_seconds
from evo.relaxers import kernel_note, labelled_otherwise, library_note
from evo.settings import Settings, load
from evo.store import StoreError
from evo.tools import Parent, breed, toolbox
from potentials.library import Library

N_CANDIDATES = 6
MEAN_CALLS = 45  # force calls of a relaxation from a random crystal, as measured for Cu-Pd-Ag


def check(directory: Path) -> Iterator[str]:
    """Lines for the user; raises what `evo run` would raise."""
    settings = load(directory / "campaign.toml")
    space = space_of(settings)
    yield f"settings   {directory / 'campaign.toml'} is fine ({settings.digest()})"
    first_calls = 0  # of the bootstrap
    if settings.relax.engine == "network":
        yield f"kernel     {kernel_note(settings.relax.device)}"
        missing = strata_to_train(space.elements)
        if settings.network.library:
            yield f"library    {settings.network.library}: {library_note(settings.network.library, directory)}"
            there = Library.open(settings.network.library, directory).strata()
            missing = [s for s in missing if s not in there]
            if missing and settings.reference.engine == "none":
                raise lacking(settings.network.library, missing)
        if not settings.network.library:
            recipe_of(settings)
        if missing:
            first_calls = sum(task.calls for task in bootstrap_tasks(settings, space, missing))
    else:
        yield f"relaxes    {settings.relax.calculator} ({calculator_relaxer(settings, directory).method})"
    target = directory / "out"
    parent = target if target.exists() else directory
    if not os.access(parent, os.W_OK):
        raise StoreError(f"{parent} cannot be written; choose another directory or change its rights")
    for name in settings.seeds.files:
        yield f"seeds      {name}: {len(read_seeds(directory / name, space))} structures"
    for remark in seed_remarks(settings, directory):
        yield f"seeds      beware: {remark}"
    children = _children(settings, space)
    for atoms, operator in children:
        counts = formula_of(counts_of(atoms.numbers))
        volume = atoms.get_volume() / len(atoms)
        yield f"candidate  {operator:<14} {counts:<12} {volume:6.2f} Å³/atom, closest {shortest_ratio(atoms):.2f} of radii"
    most_calls = settings.reference.max_calls + first_calls
    yield from _reference(settings, directory, space, [atoms for atoms, _ in children], most_calls)


def _children(settings: Settings, space: Space) -> list[tuple[Atoms, str]]:
    box = toolbox(settings.search.operators, space, tournament=settings.search.tournament)
    made: list[tuple[Atoms, str]] = []
    parents: list[Parent] = []
    for slot in range(N_CANDIDATES):
        rng = np.random.default_rng([settings.campaign.seed, 0, slot])
        atoms, operator, _ = breed(rng, parents, box)
        made.append((atoms, operator))
        if slot >= N_CANDIDATES // 3:  # the first are random; the others have them as parents
            parents = [Parent(str(n), a, 0.0) for n, (a, _) in enumerate(made)]
    return made


def _reference(
    settings: Settings, directory: Path, space: Space, crystals: list[Atoms], most_calls: int
) -> Iterator[str]:
    """most_calls: of the whole campaign."""
    search = settings.search
    n_relaxed = search.chunks * search.chunk_size
    spec = reference_spec(settings, directory)
    if spec is None:
        yield "reference  none: nothing will be called stable"
        yield f"cost       {n_relaxed} relaxations, about {MEAN_CALLS} calls each"
        return
    section = settings.reference
    if section.queue:
        check_options(section)
        yield f"reference  {section.engine} through {section.queue}: {census(directory / section.queue)}"
        yield f"cost       at most {most_calls} reference calls; {n_relaxed} relaxations"
        return
    about = labels.about(spec, space.elements)
    method = checked_method(settings, about)
    # a program takes minutes for each: the cheapest tells how fast this machine is
    predicted = [predicted_seconds(section, atoms) for atoms in crystals]
    order = np.argsort(predicted, kind="stable")[: 1 if section.engine in PER_POINT else 3]
    if section.engine in PER_POINT:
        yield f"reference  {section.engine} works out one crystal, predicted to take {predicted[order[0]]:.0f} CPU s"
    ratios = []
    for n in order.tolist():
        start = time.perf_counter()
        label = labels.opened(spec).evaluate(crystals[n])
        ratios.append((time.perf_counter() - start) / predicted[n])
        if isinstance(label, Failure):
            yield f"reference  fails for {crystals[n].get_chemical_formula()}: {label.reason} {label.detail}"
    per_call = float(np.median(ratios) * np.median(predicted))
    yield f"reference  {settings.reference.engine} {settings.reference.calculator} ({method}), {per_call:.3g} s a call"
    library = settings.network.library
    if settings.relax.engine == "network" and library:
        remark = labelled_otherwise(library, directory, method, about["identity"], space.elements)
        yield from [f"reference  beware: {remark}"] if remark else []
    if settings.relax.engine == "ase":
        hours = n_relaxed * MEAN_CALLS * per_call / 3600
        yield f"cost       {n_relaxed} relaxations by {settings.relax.calculator}, if as fast: about {hours:.2g} CPU hours"
    hours = most_calls * per_call / 3600
    yield f"cost       at most {most_calls} reference calls, about {hours:.2g} CPU hours; {n_relaxed} relaxations"
