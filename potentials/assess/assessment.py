"""assess: the network beside the reference, property by property."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from potentials.assess import phonons
from potentials.assess.errors import errors
from potentials.assess.properties import crystals_of, measured, wanted
from potentials.assess.prototypes import element
from potentials.assess.results import (
    Assessment,
    AssessmentError,
    Compared,
    Curve,
    Deviation,
    ErrorSummary,
    Parity,
    beside,
    overall,
)
from potentials.assess.settings import Settings
from potentials.assess.side import Side
from potentials.dataset import Dataset
from potentials.library import Library
from potentials.stratum import Stratum

Report = Callable[[str], None]


def assess(
    library: Library,
    reference: Side | None = None,
    *,
    data: Dataset | None = None,
    properties: Sequence[str] | None = None,
    prototypes: Sequence[str] | None = None,
    system: Stratum | None = None,
    settings: Settings | None = None,
    n_threads: int = 1,
    report: Report = lambda text: None,
) -> Assessment:
    """A library against labelled crystals, a reference, or both.

    `data`: held-out crystals with their labels. `properties`: some of `PROPERTIES`, by default all that data and
    reference allow. `prototypes`: the ordered phases to look at, by default all; `system`: the elements, by default all of the
    library.
    `settings` are for a library alone; a reference has its own, for both. AssessmentError or LibraryError says in one
    line what is missing.
    """
    strata = library.strata()
    if system is not None:
        strata = [s for s in strata if set(s.numbers) <= set(system.numbers)]
    if not strata:
        raise AssessmentError(f"{library.path} holds no stratum to assess; train one first")
    potential = library.assemble(system or Stratum.of(z for s in strata for z in s.numbers))
    given = reference.settings if reference is not None else settings or Settings()
    network = Side(potential.method, lambda s: potential.evaluate(s, n_threads=n_threads), given)
    return compare(network, reference, strata, data=data, properties=properties, prototypes=prototypes, report=report)


def compare(
    network: Side,
    reference: Side | None,
    strata: Sequence[Stratum],
    *,
    data: Dataset | None = None,
    properties: Sequence[str] | None = None,
    prototypes: Sequence[str] | None = None,
    report: Report = lambda text: None,
) -> Assessment:
    """The same for any two sides; the crystals are those of `strata`, of up to three elements each."""
    if reference is not None and reference.settings != network.settings:
        raise ValueError("both sides must have the same settings; make them with one `Settings`")
    if reference is not None:
        reference = replace(reference, scout=network)
        network = replace(network, guide=reference, _known={}, _elsewhere={})
    names = wanted(properties, data is not None, reference is not None)
    chosen = {name: crystals_of(name, strata, prototypes) for name in names if name != "errors"}
    compared: list[Compared] = []
    deviations: list[Deviation] = []
    summaries: list[ErrorSummary] = []
    parity: list[Parity] = []
    curves: tuple[dict[str, list[Curve]], dict[str, list[Curve]]] = ({}, {})
    if "errors" in names:
        if data is None or not len(data):
            raise AssessmentError("no held-out crystals to compute errors of; give a labelled file")
        summaries, parity = errors(network.ask, data)
    if reference is not None and properties is None and "phonons" not in names:
        report("phonons are left out: phonopy is not installed; pip install 'outcrop[assess]'")
    if chosen:
        _check_elements(network, reference, strata)
    for name, crystals in chosen.items():
        sides = []
        for side in (network, reference):
            if side is not None:
                report(f"{name}: {side.name}")
                sides.append(measured(name, side, crystals, reference))
        mine, theirs = sides[0][0], sides[1][0] if len(sides) > 1 else None
        compared += beside(name, mine, theirs)
        for k, (found, _) in enumerate(sides):
            if found.curves:
                curves[k][name] = found.curves
        if len(sides) > 1:
            deviations += phonons.deviations(sides[0][1], sides[1][1])
    return Assessment(
        network=network.name,
        reference=reference.name if reference is not None else "",
        settings=asdict(network.settings),
        compared=compared,
        deviations=deviations + overall([c for c in compared if c.topic not in ("phonons", "stability")]),
        errors=summaries,
        network_curves=curves[0],
        reference_curves=curves[1],
        parity=parity,
        cost=_cost(network, reference),
    )


def _check_elements(network: Side, reference: Side | None, strata: Sequence[Stratum]) -> None:
    """Each side must have numbers for every element in its natural lattice: a clear end now, not a table of gaps later."""
    for side in (network, reference):
        for stratum in strata:
            if side is None or stratum.order > 1:
                continue
            found = side.relaxed(element(stratum.numbers[0]))
            if found.outcome.startswith("not finite"):
                raise AssessmentError(
                    f"{side.name} gives no energy, forces and stress of {stratum.name}, {found.outcome}; "
                    "take another calculator, or name a system without it"
                )


def _cost(network: Side, reference: Side | None) -> dict[str, float]:
    cost = {"network_seconds": network.seconds}
    if reference is not None and reference.book is not None:
        cost["reference_calls"] = reference.book.calls
        cost["reference_seconds"] = reference.book.seconds
        cost["reference_answers"] = reference.book.answers
        cost["reference_seconds_in_all"] = reference.book.seconds_in_all
    elif reference is not None:
        cost["reference_seconds"] = reference.seconds
    return cost
