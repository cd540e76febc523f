"""What a user may ask of a campaign: campaign.toml, checked. An unknown key is an error with the nearest name.

Settings are split at the top (evo/campaign.py) and never travel: a function receives what it uses.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from ase.data import atomic_numbers
from ase.formula import Formula
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

SYMBOLS = [symbol for symbol in atomic_numbers if symbol != "X"]  # ASE's name for no element at all
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class SettingsError(ValueError):
    """campaign.toml asks for something that cannot be; the message says what to write instead."""

    exit_code = 64


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CampaignSection(Section):
    """The campaign as a whole."""

    seed: int = Field(0, ge=0, description="every random choice follows from it")


class SystemSection(Section):
    """What crystals are looked for."""

    elements: list[str] = Field(description="symbols; leave it out with a formula")
    formula: str = Field("", description='fixed composition such as "Cu4Pd4"; empty: variable composition')
    end_members: list[str] = Field(
        [], description='compositions that every crystal is a mixture of: ["NiO", "MgO"]; empty: the elements'
    )
    atoms: tuple[int, int] = Field((1, 8), description="fewest and most atoms per cell (variable composition)")
    pressure_GPa: float = Field(0.0, description="external pressure; energies become enthalpies")
    min_distance: float = Field(0.65, gt=0, lt=1.5, description="shortest distance allowed, in sums of covalent radii")

    @model_validator(mode="before")
    @classmethod
    def _elements_of_formula(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("formula") and "elements" not in data:
            try:
                data = {**data, "elements": list(Formula(str(data["formula"])).count())}
            except Exception as error:
                raise ValueError(f"formula `{data['formula']}` cannot be read; write for instance Cu4Pd4") from error
        if isinstance(data, dict) and data.get("end_members") and "elements" not in data:
            data = {**data, "elements": sorted({s for text in data["end_members"] for s in _composition(text)})}
        return data

    @field_validator("elements")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError('name at least one element, for instance elements = ["Cu", "Pd"]')
        for symbol in value:
            if symbol not in SYMBOLS:
                raise ValueError(f"`{symbol}` is not an element{instead_of(symbol)}")
        return sorted(set(value), key=lambda s: atomic_numbers[s])

    @field_validator("atoms")
    @classmethod
    def _range(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1]:
            raise ValueError(f"atoms must be [fewest, most] with 1 <= fewest <= most, got {list(value)}")
        return value

    @model_validator(mode="after")
    def _formula_fits(self) -> SystemSection:
        if self.formula and not all(Formula(self.formula).count().values()):
            raise ValueError(f"formula {self.formula} has none of an element; leave it out")
        if self.formula and set(Formula(self.formula).count()) != set(self.elements):
            raise ValueError(f"formula {self.formula} and elements {self.elements} differ; leave elements out")
        if self.formula and self.end_members:
            raise ValueError("a formula has no end members; leave one of them out")
        there = {s for text in self.end_members for s in _composition(text)}
        if self.end_members and there != set(self.elements):
            raise ValueError(f"end_members {self.end_members} and elements {self.elements} differ; leave elements out")
        return self


def _composition(text: Any) -> dict[str, int]:
    try:
        return dict(Formula(str(text)).count())
    except Exception as error:
        raise ValueError(f"end member `{text}` cannot be read; write for instance NiO") from error


class SeedsSection(Section):
    """Structures of your own that enter the search."""

    files: list[str] = Field([], description="any format that ASE reads, relative to campaign.toml")


class OperatorWeights(Section):
    """How often each way of making a candidate is taken, relative to the others; 0 switches it off."""

    symmetric: float = Field(3.0, ge=0, description="random crystal of a random space group")
    random: float = Field(0.5, ge=0, description="random crystal without symmetry")
    heredity: float = Field(2.0, ge=0, description="cut and splice of two parents")
    strain: float = Field(0.7, ge=0, description="random strain of the cell")
    rattle: float = Field(0.7, ge=0, description="random displacements")
    permutation: float = Field(1.0, ge=0, description="exchange of unlike atoms")
    transmute: float = Field(1.5, ge=0, description="atoms change element (variable composition)")
    add_remove: float = Field(0.7, ge=0, description="one atom more or fewer (variable composition)")
    superstructure: float = Field(1.0, ge=0, description="small crystal in a larger cell, its atoms dealt anew")

    @model_validator(mode="after")
    def _some(self) -> OperatorWeights:
        if not any(self.model_dump().values()):
            raise ValueError("at least one operator must have a weight above 0")
        return self


class SearchSection(Section):
    """Breeding."""

    chunks: Count = Field(
        80,
        description="chunks of candidates to relax; more of them prolong a campaign that has ended, in the same budget",
    )
    chunk_size: Count = Field(32, description="candidates per chunk, relaxed in one batch")
    in_flight: Count = Field(4, description="chunk k is bred after chunk k - in_flight was absorbed")
    niche_size: Count = Field(4, description="distinct crystals kept as parents per composition")
    tournament: Count = Field(3, description="parents compete by enthalpy above the hull")
    symmetric_start: int = Field(4, ge=0, description="first chunks that are made of random crystals alone")
    duplicate_distance: Positive = Field(
        0.01, description="fingerprints closer than this are one crystal, unless their space groups differ"
    )
    operators: OperatorWeights = Field(default_factory=OperatorWeights)


class RelaxSection(Section):
    """Relaxation of candidates."""

    engine: Literal["network", "ase"] = Field("network", description='"network" (the library) or "ase"')
    calculator: str = Field("", description='for "ase": import path such as "ase.calculators.emt:EMT"')
    options: dict[str, Any] = Field(default_factory=dict, description="keywords of the calculator")
    fmax: Positive = Field(0.01, description="largest force at the end, eV/Å")
    smax_GPa: Positive = Field(0.1, description="largest stress component at the end, GPa")
    max_calls: Count = Field(200, description="force calls after which a relaxation is given up")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the network runs")
    threads: Count = Field(1, description="threads of one relaxation task; never read from the machine")


class GateSection(Section):
    """What stays out of the population."""

    volume_scale: tuple[float, float] = Field((0.4, 2.5), description="volume per atom allowed, in units of the guess")
    energy_window: Positive = Field(3.0, description="eV/atom above the hull, at most")
    below_hull: Positive = Field(
        0.5, description="eV/atom below the hull of what is known: absurd unless the reference says so"
    )
    max_grade: Positive = Field(2.0, description="extrapolation grade; 1 is the edge of the training set")

    @field_validator("volume_scale")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1]:
            raise ValueError(
                f"volume_scale must be [smallest, largest] with 0 <= smallest < largest, got {list(value)}"
            )
        return value


class ReferenceSection(Section):
    """The reference: DFT or its stand-in."""

    engine: Literal["emt", "ase", "gpaw", "espresso", "vasp", "none"] = Field(
        "emt", description='"emt", "ase", "gpaw", "espresso", "vasp" (docs/dft.md) or "none"'
    )
    calculator: str = Field("", description='for "ase": import path such as "package.module:Class"')
    options: dict[str, Any] = Field(
        default_factory=dict, description="keywords of the calculator, settings of the program"
    )
    max_calls: int = Field(300, ge=0, description="calls after the bootstrap, every relaxation step counted")
    max_hours: float = Field(
        0.0, ge=0, description="CPU hours after the bootstrap, as predicted from the crystals; 0: only the calls count"
    )
    atom_seconds: Positive = Field(
        0.001, description='CPU seconds for each atom that a call of "emt" or "ase" counts as'
    )
    every: Count = Field(16, description="chunks between two rounds of re-checks")
    per_round: Count = Field(25, description="candidates per round")
    window: Positive = Field(0.03, description="eV/atom above the hull within which a candidate matters")
    lag: Count = Field(2, description="chunks after which results and retrained strata take effect")
    final_steps: int = Field(6, ge=0, description="relaxation steps by the reference for each hull phase at the end")
    final_calls: int = Field(
        0, ge=0, description="of max_calls, for these steps and nothing else; 0: up to a sixth is kept back for them"
    )
    queue: str = Field(
        "",
        description="directory of tasks for `evo reference work`, relative to campaign.toml; empty: done by the ranks",
    )
    lease: Positive = Field(300.0, description="seconds without a sign of life after which a worker is taken for lost")

    @model_validator(mode="after")
    def _some_calls_for_the_search(self) -> ReferenceSection:
        if self.final_calls and not 0 < self.final_steps <= self.final_calls < self.max_calls:
            raise ValueError(
                f"`final_calls` must be less than max_calls, {self.max_calls}, and enough for `final_steps`, at least one, "
                f"got {self.final_calls} and {self.final_steps}"
            )
        return self


class BootstrapSection(Section):
    """The first training set of a library that lacks strata for the system."""

    max_calls: Count = Field(800, description="reference calls, every relaxation step counted")
    max_hours: float = Field(0.0, ge=0, description="CPU hours as predicted, fewer calls if need be; 0: no limit")


class NetworkSection(Section):
    """The library of networks and how its strata are trained."""

    library: str = Field("", description="directory of an existing library, relative to campaign.toml; empty: DIR/out")
    cutoff: Positive = Field(6.0, description="Å")
    radial: Count = Field(4, description="radial functions of the angular moments")
    angular: Count = Field(3, description="largest angular momentum")
    pair: Count = Field(8, description="two-body radial functions")
    hidden: Count = Field(6, description="hidden units per element")
    members: Count = Field(4, description="networks in the committee")
    refined: bool = Field(
        False, description="refine pairs and triples of a new library: less error, minutes instead of seconds"
    )
    retrain_iterations: Count = Field(
        6, description="Levenberg-Marquardt iterations when a stratum is retrained from where it was"
    )


class Settings(Section):
    """All of campaign.toml."""

    campaign: CampaignSection = Field(default_factory=CampaignSection)
    system: SystemSection
    seeds: SeedsSection = Field(default_factory=SeedsSection)
    search: SearchSection = Field(default_factory=SearchSection)
    relax: RelaxSection = Field(default_factory=RelaxSection)
    gate: GateSection = Field(default_factory=GateSection)
    reference: ReferenceSection = Field(default_factory=ReferenceSection)
    bootstrap: BootstrapSection = Field(default_factory=BootstrapSection)
    network: NetworkSection = Field(default_factory=NetworkSection)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        for name, section in (("relax", self.relax), ("reference", self.reference)):
            if section.engine == "ase" and ":" not in section.calculator:
                raise ValueError(
                    f'{name}.engine = "ase" needs {name}.calculator = "package.module:Class", '
                    f"got {section.calculator!r}"
                )
        if self.relax.engine == "network" and self.reference.engine == "none" and not self.network.library:
            raise ValueError(
                'a network without a reference needs network.library = "DIR" with trained strata; '
                'name one, or set reference.engine = "emt", or relax.engine = "ase"'
            )
        return self

    def digest(self) -> str:
        """16 hex digits that change when any setting changes."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def duration(text: str, option: str) -> float:
    """Seconds of HH:MM:SS or MM:SS, given as this option of a command."""
    match = re.fullmatch(r"(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        raise SettingsError(f"{option} must be HH:MM:SS or MM:SS, got {text!r}")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


def load(path: Path) -> Settings:
    """The settings of this campaign.toml; SettingsError in one line when something is wrong."""
    return parse(_read(path), str(path))


def load_reference(path: Path) -> ReferenceSection:
    """[reference] of a campaign.toml, or of a file that holds nothing else."""
    data = _read(path)
    return parse({"system": {"elements": ["H"]}, **data}, str(path)).reference


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{path} is not there; write one with `evo init Cu-Pd {path.parent}`") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None


def instead_of(symbol: str) -> str:
    """What to write in place of something that is no element."""
    parts = re.findall(r"[A-Z][a-z]?", symbol)
    if len(parts) > 1 and "".join(parts) == symbol and all(p in SYMBOLS for p in parts):
        return f"; write {'-'.join(parts)} for its elements, {'1'.join(parts)}1 for this composition"
    near = (
        [symbol.capitalize()]
        if symbol.capitalize() in SYMBOLS
        else difflib.get_close_matches(symbol, SYMBOLS, n=1, cutoff=0.3)
    )
    return f"; did you mean {near[0]}?" if near else ""


def parse(data: dict[str, Any], source: str = "settings") -> Settings:
    """Checked settings of nested dictionaries; SettingsError names the first key that is wrong."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(part) for part in first["loc"]]
        where = ".".join(keys)
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(keys[-1], _keys_at(keys[:-1]), n=1, cutoff=0.3)
            hint = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(_keys_at(keys[:-1]))}"
            raise SettingsError(f"{source}: unknown key `{where}`{hint}") from None
        if first["type"] == "missing":
            raise SettingsError(f"{source}: `{where}` is missing") from None
        message = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] == "value_error" else f", got {first['input']!r}"
        raise SettingsError(f"{source}: {'`' + where + '`: ' if where else ''}{message}{got}") from None


def _keys_at(path: list[str]) -> list[str]:
    model: Any = Settings
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def template(elements: list[str], formula: str = "", library: str = "", options: dict[str, Any] | None = None) -> str:
    """A commented campaign.toml with every key and its default.

    library: one that is trained for these elements already, by a reference with these options; DFT is switched on by hand.
    """
    given: dict[str, dict[str, Any]] = {"system": {"elements": elements, "formula": formula}}
    lines = ["# Every key with its default; delete what you do not change."]
    if library:
        given |= {"network": {"library": library}, "reference": {"engine": "none", "options": options or {}}}
        lines.append(
            f"# {library} comes with the package: nothing is calculated but by its networks. What they find is checked by "
            'the DFT\n# that they were trained on, and they learn from it, where reference.engine is "gpaw" (docs/dft.md).'
        )
    lines.append("")
    for name, info in Settings.model_fields.items():
        lines += _section(name, info.annotation, given.get(name, {}))
    return "\n".join(lines)


def _section(name: str, model: Any, given: dict[str, Any]) -> list[str]:
    lines = [f"[{name}]  # {(model.__doc__ or '').strip()}"]
    nested: list[str] = []
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            nested += _section(f"{name}.{key}", field.annotation, {})
            continue
        value = given[key] if key in given else field.get_default(call_default_factory=True)
        lines.append(f"{key} = {_toml(value)}  # {field.description}")
    return [*lines, "", *nested]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    return repr(value)
