"""assess: the network beside the reference, property by property."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from potentials.assess import elastic, eos, formation, lattice, phonons, stability, stacking_fault, surface, vacancy
from potentials.assess.errors import errors
from potentials.assess.prototypes import Crystal, crystals, element
from potentials.assess.reference import UsageError
from potentials.assess.results import (
    Assessment,
    AssessmentError,
    Compared,
    Curve,
    Deviation,
    ErrorSummary,
    Measured,
    Parity,
    beside,
    overall,
)
from potentials.assess.settings import Settings
from potentials.assess.side import Side
from potentials.dataset import Dataset
from potentials.library import Library
from potentials.stratum import Stratum

Measure = Callable[[Side, Sequence[Crystal]], Measured]
Report = Callable[[str], None]

BY_CRYSTAL: dict[str, Measure] = {
    "eos": eos.measure,
    "elastic": elastic.measure,
    "surface": surface.measure,
    "stacking-fault": stacking_fault.measure,
    "formation": formation.measure,
    "stability": stability.measure,
}
PROPERTIES = (
    "errors", "lattice", "eos", "elastic", "vacancy", "surface", "stacking-fault", "formation", "phonons", "stability"
)  # fmt: skip
SIMPLE = ("B2", "L1_0", "L1_2")  # ordered phases whose phonons are computed
STIFF = (*SIMPLE, "L1_1")  # and whose elastic constants and equations of state are


def assess(
    library: Library,
    reference: Side | None = None,
    *,
    data: Dataset | None = None,
    properties: Sequence[str] | None = None,
    system: Stratum | None = None,
    settings: Settings | None = None,
    n_threads: int = 1,
    report: Report = lambda text: None,
) -> Assessment:
    """A library against labelled crystals, a reference, or both.

    `data`: held-out crystals with their labels. `properties`: some of `PROPERTIES`, by default all that data and
    reference allow. `system`: the elements to look at, by default all of the library; phases are those of its strata.
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
    return compare(network, reference, strata, data=data, properties=properties, report=report)


def compare(
    network: Side,
    reference: Side | None,
    strata: Sequence[Stratum],
    *,
    data: Dataset | None = None,
    properties: Sequence[str] | None = None,
    report: Report = lambda text: None,
) -> Assessment:
    """The same for any two sides; the crystals are those of `strata`, of up to three elements each."""
    if reference is not None and reference.settings != network.settings:
        raise ValueError("both sides must have the same settings; make them with one `Settings`")
    wanted = _wanted(properties, data is not None, reference is not None)
    compared: list[Compared] = []
    deviations: list[Deviation] = []
    summaries: list[ErrorSummary] = []
    parity: list[Parity] = []
    curves: tuple[dict[str, list[Curve]], dict[str, list[Curve]]] = ({}, {})
    if "errors" in wanted:
        if data is None or not len(data):
            raise AssessmentError("no held-out crystals to compute errors of; give a labelled file")
        summaries, parity = errors(network.ask, data)
    if set(wanted) - {"errors"}:
        _check_elements(network, reference, strata)
    for name in wanted:
        if name == "errors":
            continue
        chosen = _crystals(name, strata)
        sides = []
        for side in (network, reference):
            if side is not None:
                report(f"{name}: {side.name}")
                sides.append(_measure(name, side, chosen, reference))
        mine, theirs = sides[0][0], sides[1][0] if len(sides) > 1 else None
        compared += beside(name, mine, theirs)
        for k, (measured, _) in enumerate(sides):
            if measured.curves:
                curves[k][name] = measured.curves
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


def _wanted(properties: Sequence[str] | None, labelled: bool, referred: bool) -> list[str]:
    """In the order of `PROPERTIES`."""
    if properties is None:
        chosen = set(PROPERTIES) if referred else {"errors"}
        if not labelled:
            chosen -= {"errors"}
        if not phonons.available():
            chosen -= {"phonons"}
        if not chosen:
            raise AssessmentError("nothing to compare with: give a labelled file or a reference calculator")
    else:
        chosen = set(properties)
        if unknown := sorted(chosen - set(PROPERTIES)):
            raise UsageError(f"no property is called {', '.join(unknown)}; there are {', '.join(PROPERTIES)}")
        if "phonons" in chosen and not phonons.available():
            raise UsageError("`phonons` need phonopy, which is not installed; pip install 'outcrop[assess]'")
    return [p for p in PROPERTIES if p in chosen]


def _crystals(topic: str, strata: Sequence[Stratum]) -> list[Crystal]:
    every = [c for s in strata for c in crystals(s)]
    natural = [element(s.numbers[0]) for s in strata if s.order == 1]
    ordered = [c for c in every if len(c.elements) > 1]
    named = {"eos": STIFF, "elastic": STIFF, "phonons": SIMPLE}
    if topic == "eos":
        return [c for c in every if len(c.elements) == 1 or c.prototype.name in STIFF]
    if topic in named:
        return natural + [c for c in ordered if c.prototype.name in named[topic]]
    return {"formation": ordered, "stability": every}.get(topic, natural)


def _measure(
    topic: str, side: Side, chosen: Sequence[Crystal], reference: Side | None
) -> tuple[Measured, Mapping[str, phonons.Phonons]]:
    if topic == "phonons":
        return phonons.measure(side, chosen)
    if topic == "lattice":
        return lattice.measure(side, [c.elements[0] for c in chosen]), {}
    if topic == "vacancy":
        geometries = [vacancy.vacancy(reference, c) if reference is not None else None for c in chosen]
        return vacancy.measure(side, chosen, geometries), {}
    return BY_CRYSTAL[topic](side, chosen), {}


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
