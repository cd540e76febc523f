"""Which methods' energies a library holds, and what brings one method's energies onto the scale of the other.

Within a library energies must be comparable. Two methods differ, to a good part, by a constant for each kind of atom:
where the user declares these constants (a free-atom shift) crystals of both may be in one library.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ase.data import chemical_symbols

from potentials.labelled.identity import differences, joined, of_elements
from potentials.labelled.reading import Reading
from potentials.labelled.record import DataError, Dataset
from potentials.labelled.run import Method
from potentials.structures import Labels

Shift = Mapping[str, float]  # eV per atom, by symbol; added to the energies


class MixedMethodsError(DataError):
    """Energies that cannot be compared."""


def known_as(methods: dict[str, Any], method: Method) -> str:
    """The name under which a library has this method, which is entered into `methods` if need be.

    The name stands for what does not depend on the elements. Where the library has another pseudopotential for one of
    them under that name, the settings of such elements are hashed too.
    """
    apart: list[str] = []
    while True:
        name = method.name_apart(apart) if apart else method.name
        elements = methods.setdefault(name, {}).setdefault("elements", {})
        differing = [e for e, own in method.elements.items() if elements.get(e, dict(own)) != dict(own)]
        if not differing:
            methods[name] |= {"engine": method.engine, "settings": dict(method.settings)}
            elements |= {e: dict(own) for e, own in method.elements.items()}
            return name
        apart = sorted({*apart, *differing})


def renamed(reading: Reading, methods: dict[str, Any]) -> Dataset:
    """The crystals of a file under the names that the library has for their methods."""
    dataset = reading.dataset
    if reading.run is not None and len(dataset) and set(dataset.methods) == {reading.run.method.name}:
        name = known_as(methods, reading.run.method)
        return replace(dataset, methods=(name,) * len(dataset))
    for name in dataset.methods:
        methods.setdefault(name, {})
    return dataset


def recognised(data: dict[str, Any], identities: Mapping[str, Any], dataset: Dataset) -> Dataset:
    """The crystals under the library's own name, where their method is the same but for elements that one side lacks.

    What stands behind the names (`identities`) is kept, as far as it belongs to elements of crystals that are here.
    """
    names = {name: name for name in dataset.methods}
    for name in sorted(identities.keys() & names.keys()):
        symbols = symbols_of(dataset, name)
        if name != data["method"] and comparable(data["methods"].get(data["method"], {}), identities[name], symbols):
            names[name] = data["method"]
            if not data["methods"][name]:  # no crystal is kept under it
                del data["methods"][name]
        _identify(data["methods"].setdefault(names[name], {}), identities[name], symbols)
    return replace(dataset, methods=tuple(names[m] for m in dataset.methods))


def comparable(known: Mapping[str, Any], identity: Any, symbols: Collection[str]) -> bool:
    """Whether a method of this identity gives crystals of these elements energies as the one that a library knows does."""
    if "identity" not in known:
        return False
    shared = set(known["labelled"]) & set(symbols)
    return bool(of_elements(known["identity"], shared) == of_elements(identity, shared))


def symbols_of(dataset: Dataset, method: str) -> list[str]:
    """The elements of the crystals that this method labelled."""
    mine = [c for c, m in enumerate(dataset.methods) if m == method]
    return sorted({chemical_symbols[z] for z in dataset.select(mine).structures.numbers.tolist()})


def _identify(known: dict[str, Any], identity: Any, symbols: Collection[str]) -> None:
    """Enter what stands behind a name, and for which elements that is known."""
    mine = of_elements(identity, symbols)
    known["identity"] = joined(known["identity"], mine) if "identity" in known else mine
    known["labelled"] = sorted({*known.get("labelled", ()), *symbols})


def declare(data: dict[str, Any], dataset: Dataset, shift: Shift | None, where: str) -> None:
    """Enter the shift of the dataset's other method; MixedMethodsError where it is missing or contradicts what is known.

    The library's own method is that of its first crystals, `data["method"]`.
    """
    own, methods = data["method"], data["methods"]
    others = sorted(set(dataset.methods) - {own})
    for name in others:
        known = methods[name].setdefault("shift", {})
        for symbol, value in (shift or {}).items():
            if known.get(symbol, value) != value:
                raise MixedMethodsError(
                    f"the shift of {symbol} from {name} to {own} is {known[symbol]} eV in this library, not {value}; "
                    "what is there was added with it"
                )
            known[symbol] = float(value)
        if missing := [s for s in symbols_of(dataset, name) if s not in known]:
            declared = ",".join(f"{s}=..." for s in missing)
            raise MixedMethodsError(
                f"{where} has labels by {name}, the library has those by {own}{_difference(methods, name, own)}; "
                f"declare what makes them comparable, --shift {declared} (eV per atom), or make a library for each"
            )


def on_one_scale(data: Mapping[str, Any], dataset: Dataset) -> Dataset:
    """The crystals with their energies brought to the library's own method, and under its name."""
    own = data["method"]
    energies = dataset.labels.energies.copy()
    offsets, numbers = dataset.structures.offsets, dataset.structures.numbers
    for c, name in enumerate(dataset.methods):
        if name != own:
            shift = data["methods"][name]["shift"]
            energies[c] += sum(shift[chemical_symbols[z]] for z in numbers[offsets[c] : offsets[c + 1]].tolist())
    labels = Labels(energies, dataset.labels.forces, dataset.labels.stresses)
    return replace(dataset, labels=labels, methods=(own,) * len(dataset))


def _difference(methods: Mapping[str, Any], name: str, own: str) -> str:
    """In brackets, what the two have different."""
    one, two = methods[name], methods.get(own, {})
    if "identity" in one and "identity" in two:
        shared = set(one["labelled"]) & set(two["labelled"])
        parts = differences(*(of_elements(known["identity"], shared) for known in (one, two)))
        return f" ({'; '.join(parts[:3])})" if parts else ""
    parts = _pairs(one.get("settings", {}), two.get("settings", {}))
    for symbol in sorted(set(one.get("elements", {})) & set(two.get("elements", {}))):
        parts += [f"{symbol} {p}" for p in _pairs(one["elements"][symbol], two["elements"][symbol])]
    return f" ({'; '.join(parts[:3])})" if parts else ""


def _pairs(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    names = sorted(set(one) | set(two)) if one and two else []
    return [f"{n} {one.get(n, 'not set')} against {two.get(n, 'not set')}" for n in names if one.get(n) != two.get(n)]
