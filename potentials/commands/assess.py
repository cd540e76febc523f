"""potentials assess LIB --against FILE|package.module:Calculator -o DIR"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potentials.commands.command import Commands, Misused, Unusable, add_command

if TYPE_CHECKING:
    from potentials.assess import Settings, Side
    from potentials.dataset import Dataset
    from potentials.library import Library
    from potentials.stratum import Stratum

ANSWERS = "answers.jsonl"
TEXT = "Compare a library with labelled crystals, and with a reference calculator."
NAMES = "errors, lattice, eos, elastic, vacancy, surface, stacking-fault, formation, phonons, stability"


def register(commands: Commands) -> None:
    parser = add_command(commands, "assess", run, TEXT)
    parser.add_argument(
        "--against",
        metavar="FILE|MODULE:CALCULATOR",
        action="append",
        default=[],
        help="labelled extxyz, or the import path of any ASE calculator; may be given once each",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="for assessment.json and figures"
    )
    parser.add_argument("--arguments", metavar="JSON", default="{}", help="keyword arguments of the calculator")
    parser.add_argument(
        "--answers", metavar="FILE", type=Path, help=f"where the calculator's answers are kept (default DIR/{ANSWERS})"
    )
    parser.add_argument("--properties", metavar="NAMES", help=f"some of {NAMES}; by default all that can be compared")
    parser.add_argument(
        "--prototypes", metavar="NAMES", help="ordered phases, for instance B2,L1_2; by default all known"
    )
    parser.add_argument("--system", metavar="ELEMENTS", help="for instance CuPd: look at these elements only")
    parser.add_argument("--whole-file", action="store_true", help="FILE was never trained on: take all of its crystals")
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="a size or tolerance, see docs/assessment.md"
    )
    parser.add_argument("--no-figures", action="store_true", help="numbers only")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads of the network (default 1)")


def run(chosen: argparse.Namespace) -> None:
    from potentials.assess import assess, write_assessment
    from potentials.assess.figures import available, draw
    from potentials.assess.table import lines
    from potentials.library import Library

    properties, prototypes = (t.split(",") if t is not None else None for t in (chosen.properties, chosen.prototypes))
    settings, system = _settings(chosen.set), _system(chosen.system)
    if chosen.output.exists() and not chosen.output.is_dir():
        raise Misused(f"-o {chosen.output} is a file; name a directory, for assessment.json and figures")
    file, path = _against(chosen.against)
    library = Library.open(chosen.library)
    found = assess(
        library,
        _reference(path, chosen, settings),
        data=_data(
            file, library, system, chosen.whole_file, required=properties is not None and "errors" in properties
        ),
        properties=properties,
        prototypes=prototypes,
        system=system,
        settings=settings,
        n_threads=chosen.threads,
        report=lambda text: print(text, file=sys.stderr),
    )
    written = [write_assessment(chosen.output, found)]
    if not chosen.no_figures:
        if available():
            written += draw(chosen.output, found)
        else:
            print("no figures: they need matplotlib; pip install 'outcrop[assess]'", file=sys.stderr)
    print("\n".join(lines(found)))  # last: who reads it may leave (`| head`)
    print("\n" + "\n".join(str(p) for p in written))


def _against(given: list[str]) -> tuple[Path | None, str]:
    """The labelled file and the import path among what was given."""
    files = [Path(text) for text in given if Path(text).exists() or ":" not in text]
    paths = [text for text in given if Path(text) not in files]
    if len(files) > 1 or len(paths) > 1:
        raise Misused(f"--against takes one file and one calculator, got {' and '.join(given)}")
    return (files[0] if files else None), (paths[0] if paths else "")


def _reference(path: str, chosen: argparse.Namespace, settings: Settings) -> Side | None:
    from potentials.assess import Reference, Side

    try:
        arguments = json.loads(chosen.arguments)
    except ValueError as error:
        raise Misused(f"--arguments is not JSON ({error}), got {chosen.arguments}") from None
    if not isinstance(arguments, dict):
        raise Misused(f'--arguments must be a JSON object such as {{"command": "x"}}, got {chosen.arguments}')
    if not path:
        return None
    return Side.of_reference(Reference.load(path, arguments, chosen.answers or chosen.output / ANSWERS), settings)


def _data(
    file: Path | None, library: Library, system: Stratum | None, whole: bool, *, required: bool
) -> Dataset | None:
    """Held-out crystals of the file, or of the library where no file is given and it has some."""
    from potentials.assess import AssessmentError, foreign, held_out
    from potentials.dataset import read_dataset

    try:
        given = read_dataset(file) if file is not None else None
        if given is not None and (others := foreign(library, given)):
            text = f"{file}: labels of {', '.join(others)}, not of the library's own method; energies may differ by constants"
            print(text, file=sys.stderr)
        return held_out(library, given, system, whole=whole)
    except AssessmentError as error:
        if file is None and not required:
            return None
        raise Unusable(f"{file}: {error}" if file is not None else f"{library.path}: {error}") from None


def _settings(given: list[str]) -> Settings:
    from dataclasses import fields

    from potentials.assess import Settings

    kinds: dict[str, Any] = {f.name: type(f.default) for f in fields(Settings)}
    values = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in kinds:
            raise Misused(f"--set knows no `{name}`; there are {', '.join(kinds)}")
        try:
            values[name] = kinds[name](value)
        except ValueError:
            raise Misused(f"--set {name} must be a number ({kinds[name].__name__}), got `{value}`") from None
    try:
        return Settings(**values)
    except ValueError as error:
        raise Misused(f"--set: {error}") from None


def _system(name: str | None) -> Stratum | None:
    from potentials.stratum import Stratum

    try:
        return Stratum.parse(name) if name is not None else None
    except ValueError as error:
        raise Misused(f"--system: {error}") from None
