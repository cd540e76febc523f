"""What stands behind the name of a method, and for which elements two methods are the same.

An identity is a JSON value, all that labels depend on. What belongs to one element alone (its PAW set or pseudopotential,
Pulay constant, U, first moment) stands in mappings whose keys are symbols. So a method to which another element is added later
is comparable with what it was, although its name is another one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

SUFFIXES = (".extxyz", ".extxyz.gz", ".extxyz.xz", ".extxyz.bz2")  # of files of labels
ENDING = ".method.json"
SYMBOLS = frozenset(chemical_symbols[1:])


def stem(labels: Path) -> Path:
    """labels.extxyz.xz without its endings; ValueError where it has none of SUFFIXES."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if labels.name.endswith(suffix) and labels.name != suffix:
            return labels.with_name(labels.name.removesuffix(suffix))
    raise ValueError(f"must end in {', '.join(SUFFIXES)}, got {labels.name}")


def identity_file(labels: Path) -> Path:
    """Where the identities of the methods of these labels are; ValueError as `stem`."""
    place = stem(labels)
    return place.with_name(place.name + ENDING)


def write_identities(labels: Path, identities: Mapping[str, Any]) -> None:
    """Beside these labels, in one step. identities: by the name of the method."""
    file = identity_file(labels)
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(identities, indent=1), encoding="utf-8")
    unfinished.replace(file)


def read_identities(labels: Path) -> dict[str, Any]:
    """What `write_identities` left; empty where nothing of that kind is there."""
    try:
        found = json.loads(identity_file(labels).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or no file of ours
        return {}
    return found if isinstance(found, dict) else {}


def of_elements(identity: Any, symbols: Collection[str]) -> Any:
    """The identity without what belongs to other elements; what is empty then is left out."""
    if isinstance(identity, list):
        return [of_elements(value, symbols) for value in identity]
    if not isinstance(identity, dict):
        return identity
    if identity and SYMBOLS.issuperset(identity):
        return {s: value for s, value in identity.items() if s in symbols and value is not None}
    cut = {name: of_elements(value, symbols) for name, value in identity.items()}
    return {name: value for name, value in cut.items() if value != {}}


def joined(one: Any, two: Any) -> Any:
    """An identity with the elements of both, which are the same where they have one in common."""
    if isinstance(one, dict) and isinstance(two, dict):
        return {k: joined(one[k], two[k]) if k in one and k in two else one.get(k, two.get(k)) for k in {**one, **two}}
    return one


def differences(one: Any, two: Any, name: str = "") -> list[str]:
    """ "cutoff 400.0 against 300.0" for every place in which two JSON values differ."""
    if (
        isinstance(one, list)
        and isinstance(two, list)
        and len(one) == len(two)
        and any(isinstance(x, dict) for x in one)
    ):
        one, two = dict(enumerate(one)), dict(enumerate(two))
    if isinstance(one, dict) and isinstance(two, dict):
        found = []
        for key in sorted({*one, *two}, key=str):
            found += differences(one.get(key, "not set"), two.get(key, "not set"), f"{name}.{key}".lstrip("."))
        return found
    return [] if one == two else [f"{name} {_short(one)} against {_short(two)}".lstrip()]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else text[:21] + "..."
