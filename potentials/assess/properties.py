"""Properties: their names, what each needs, the crystals it is computed of, and the function that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from potentials.assess import elastic, eos, formation, lattice, phonons, stability, stacking_fault, surface, vacancy
from potentials.assess.prototypes import ORDERED, Crystal, crystals, element
from potentials.assess.reference import UsageError
from potentials.assess.results import AssessmentError, Measured
from potentials.assess.side import Side
from potentials.stratum import Stratum

Measure = Callable[[Side, Sequence[Crystal]], Measured]

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


def wanted(properties: Sequence[str] | None, labelled: bool, referred: bool) -> list[str]:
    """The names in the order of `PROPERTIES`, by default all that labels and reference allow; UsageError where one is unknown."""
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


def crystals_of(topic: str, strata: Sequence[Stratum], prototypes: Sequence[str] | None) -> list[Crystal]:
    """What the property is computed of: elements, and the ordered phases among `prototypes` (None: all)."""
    if unknown := sorted(set(prototypes or ()) - ORDERED):
        raise UsageError(f"no prototype is called {', '.join(unknown)}; there are {', '.join(sorted(ORDERED))}")
    every = [c for s in strata for c in crystals(s)]
    every = [c for c in every if prototypes is None or len(c.elements) == 1 or c.prototype.name in prototypes]
    natural = [element(s.numbers[0]) for s in strata if s.order == 1]
    ordered = [c for c in every if len(c.elements) > 1]
    named = {"elastic": STIFF, "phonons": SIMPLE}
    if topic == "eos":
        return [c for c in every if len(c.elements) == 1 or c.prototype.name in STIFF]
    if topic in named:
        return natural + [c for c in ordered if c.prototype.name in named[topic]]
    return {"formation": ordered, "stability": every}.get(topic, natural)


def measured(
    topic: str, side: Side, chosen: Sequence[Crystal], reference: Side | None
) -> tuple[Measured, Mapping[str, phonons.Phonons]]:
    """The numbers of one side; of phonons also the frequencies themselves."""
    if topic == "phonons":
        return phonons.measure(side, chosen)
    if topic == "lattice":
        return lattice.measure(side, [c.elements[0] for c in chosen]), {}
    if topic == "vacancy":
        geometries = [vacancy.vacancy(reference, c) if reference is not None else None for c in chosen]
        return vacancy.measure(side, chosen, geometries), {}
    return BY_CRYSTAL[topic](side, chosen), {}
