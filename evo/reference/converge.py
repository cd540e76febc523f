"""Converge: how labels move with the settings of an engine, and what each setting costs.

Every structure is labelled with every combination of the values given, on two meshes: centred on Gamma, and shifted by half a
step (mesh.py). The errors of the two are of opposite sign as a rule, and their points together are a denser mesh, so
half the difference is the *noise* of a label; its mean over both meshes, less that of the last combination, is the *shift*.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from evo.candidate import Failure
from evo.reference import PROGRAMS
from evo.reference.collect import key
from evo.reference.journal import Journal
from evo.settings import ReferenceSection, SettingsError
from potentials.structures import Floats
from potentials.units import EV_PER_A3_PER_GPA

MESHES = ("gamma", "shifted")
Record = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One combination of values: noise and shift over the structures. NaN where nothing is known."""

    values: dict[str, Any]
    n: int  # structures labelled on both meshes
    energy: float  # eV/atom, root mean square of the noise
    largest: float  # eV/atom
    forces: float  # eV/Å, mean over all components
    stress: float  # eV/Å³, mean over the structures of the largest component
    shift: float  # eV/atom, mean of energies less those of the last combination
    seconds: float  # CPU, mean of a label


def parse_values(given: Sequence[str]) -> dict[str, list[Any]]:
    """{"kspacing": [0.08, 0.06]} of ["kspacing=0.08,0.06"]; SettingsError when it is none."""
    found: dict[str, list[Any]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        if not (name and equals and values):
            raise SettingsError(f"write --vary name=value,value, for instance kspacing=0.06,0.04, got {text}")
        found[name] = [_value(v) for v in values.split(",")]
    return found


def converge(
    crystals: Sequence[Atoms],
    section: ReferenceSection,
    values: Mapping[str, Sequence[Any]],
    journal: Journal,
    say: Callable[[str], None],
) -> list[Row]:
    """Label what is missing, each result durable in the journal before the next; then one row per combination."""
    if section.engine not in PROGRAMS:
        raise SettingsError(
            f'reference.engine = "{section.engine}" has no mesh to converge; {" or ".join(PROGRAMS)} have'
        )
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    engines = [
        {mesh: PROGRAMS[section.engine]({**section.options, **c, "shifted": mesh == "shifted"}) for mesh in MESHES}
        for c in combinations
    ]
    known = {(r["key"], json.dumps(r["identity"], sort_keys=True)): r for r in journal.records}
    found: list[list[dict[str, Record]]] = []
    for combination, pair in zip(combinations, engines, strict=True):
        found.append([])
        for atoms in crystals:
            records = {}
            for mesh, engine in pair.items():
                name = (key(atoms), json.dumps(engine.identity, sort_keys=True))
                if name not in known:
                    known[name] = {"key": name[0], "identity": engine.identity, **_label(engine, atoms)}
                    journal.append(known[name])
                    say(
                        f"{atoms.get_chemical_formula():10} {_text(combination)} {mesh:8} {_told(known[name], len(atoms))}"
                    )
                records[mesh] = known[name]
            found[-1].append(records)
    return [_row(c, records, found[-1], crystals) for c, records in zip(combinations, found, strict=True)]


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown, in meV and GPa."""
    lines = [
        "| setting | n | energy noise, rms (largest) meV/atom | forces meV/Å | stress GPa | shift meV/atom | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {_text(r.values)} | {r.n} | {1e3 * r.energy:.1f} ({1e3 * r.largest:.1f}) | {1e3 * r.forces:.0f} "
            f"| {r.stress / EV_PER_A3_PER_GPA:.2f} | {1e3 * r.shift:+.1f} | {r.seconds:.0f} |"
        )
    return "\n".join(lines)


def _label(engine: Any, atoms: Atoms) -> Record:
    found = engine.evaluate(atoms)
    if isinstance(found, Failure):
        return {"failure": [found.reason, found.detail]}
    return {
        "energy": found.energy,
        "forces": found.forces.tolist(),
        "stress": found.stress.tolist(),
        "seconds": found.seconds,
        "details": dict(found.details),
    }


def _row(
    values: dict[str, Any], found: list[dict[str, Record]], last: list[dict[str, Record]], crystals: Sequence[Atoms]
) -> Row:
    both = [(n, f) for n, f in enumerate(found) if not any("failure" in r for r in f.values())]
    if not both:
        return Row(values, 0, *(6 * [float("nan")]))
    sizes = np.array([len(crystals[n]) for n, _ in both])
    energy = np.abs([_half(f, "energy") for _, f in both]).ravel() / sizes
    forces = np.concatenate([np.abs(_half(f, "forces")).ravel() for _, f in both])
    stress = np.array([np.abs(_half(f, "stress")).max() for _, f in both])
    shifts = [_mean(f) - _mean(last[n]) for n, f in both if not any("failure" in r for r in last[n].values())]
    atoms = [len(crystals[n]) for n, _ in both if not any("failure" in r for r in last[n].values())]
    return Row(
        values,
        len(both),
        float(np.sqrt((energy**2).mean())),
        float(energy.max()),
        float(forces.mean()),
        float(stress.mean()),
        float(np.mean(np.array(shifts) / atoms)) if shifts else float("nan"),
        float(np.mean([r["seconds"] for _, f in both for r in f.values()])),
    )


def _half(found: dict[str, Record], name: str) -> Floats:
    return np.asarray(np.subtract(found["gamma"][name], found["shifted"][name]) / 2)


def _mean(found: dict[str, Record]) -> float:
    return float(np.mean([r["energy"] for r in found.values()]))


def _told(record: Record, n_atoms: int) -> str:
    if "failure" in record:
        return ": ".join(record["failure"])
    return f"{record['energy'] / n_atoms:10.4f} eV/atom {record['seconds']:6.1f} s"


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
