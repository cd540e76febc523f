"""The hull as a table, and what lies near it: what is stable, by whose word, and who found it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from evo.archive import Archive
from evo.campaign import Campaign
from evo.candidate import Candidate, atoms_from_json, atoms_to_json, formula_of
from evo.hull import Hull, Point
from evo.symmetry import space_group, symbol
from potentials.units import EV_PER_A3_PER_GPA

STABLE = "stable"  # on the reference's hull: the reference has confirmed it
UNCONFIRMED = "unconfirmed"  # the reference has not been asked, or has not answered yet
FAILED = "failed"  # it has been asked, and its calculation failed
METASTABLE = "metastable"  # above the reference's hull
NOT_RELAXED = 3.0  # times the limits of relaxations: what is within is a matter of meshes
MANY = 5  # crystals: if the reference contradicts so many and all, something is wrong with more than these
NEAR = 0.2  # eV/atom above the hull, as far as `near` goes


@dataclass(frozen=True, slots=True)
class Phase:
    """One line of the table. Energies in eV/atom; None where a method has not been asked."""

    formula: str
    space_group: str
    space_group_number: int
    n_atoms: int
    status: str
    energy_network: float | None
    energy_reference: float | None
    formation_network: float | None  # relative to the lowest phases of the elements, or of the end members
    formation_reference: float | None
    above_hull_network: float | None
    above_hull_reference: float | None
    decomposition: dict[str, float]  # above the hull: formula -> fraction of the atoms of what it decays to; else empty
    id: str
    operator: str
    ancestors: list[str]
    crystal: dict[str, Any]


def phases(campaign: Campaign) -> list[Phase]:
    """Every phase on the network's or on the reference's hull, by composition."""
    shown = _corners(campaign)
    return from_json(_rows(campaign, shown, campaign.exact(shown)))


def near(campaign: Campaign) -> list[dict[str, Any]]:
    """Every distinct crystal up to NEAR above the hull, by composition: JSON that `from_json` completes.

    Space groups are left to the reader, because a campaign should not wait for a thousand of them.
    """
    confirmed = campaign.confirmed()
    known, corners = {c.id for c in confirmed}, {c.id for c in _corners(campaign)}
    everyone = [*confirmed, *(c for c in campaign.archive.members.values() if c.id not in known)]
    rows = _rows(campaign, everyone, campaign.as_asked(everyone))
    return [r for r in rows if _height(r) <= NEAR or r["id"] in corners]


def _corners(campaign: Campaign) -> list[Candidate]:
    found: set[str] = set()
    for hull in (campaign.archive.hull(), campaign.reference_hull()):
        found |= set() if hull is None else set(hull.vertices)
    return [campaign.archive.candidate(i) for i in sorted(found)]


def _rows(campaign: Campaign, shown: list[Candidate], crystals: list[Atoms]) -> list[dict[str, Any]]:
    """Fields of phases but the space group, by composition and by height above the hull."""
    archive, reference = campaign.archive, campaign.ground.reference_method
    network_hull, reference_hull = archive.hull(), campaign.reference_hull()
    stable = set() if reference_hull is None else set(reference_hull.vertices)
    by_network = _values(network_hull, shown, archive, archive.method, _between(campaign))
    by_reference = _values(reference_hull, shown, archive, reference)
    everyone = {**archive.failed, **archive.members}
    rows = {}
    for c, atoms in zip(shown, crystals, strict=True):
        network, confirmed = by_network[c.id], by_reference[c.id]
        rows[c.id] = {
            "formula": c.formula,
            "n_atoms": len(atoms),
            "status": _status(confirmed.energy, c.id in stable, c.id in campaign.silent),
            "energy_network": network.energy,
            "energy_reference": confirmed.energy,
            "formation_network": network.formation,
            "formation_reference": confirmed.formation,
            "above_hull_network": network.above,
            "above_hull_reference": confirmed.above,
            "decomposition": dict((network if confirmed.energy is None else confirmed).parts),
            "id": c.id,
            "operator": c.origin.operator,
            "ancestors": _ancestors(c, everyone),
            "crystal": atoms_to_json(atoms),
        }
    order = {c.id: _composition(c, campaign.ground.space.elements) for c in shown}
    return sorted(rows.values(), key=lambda r: (order[r["id"]], _height(r), r["id"]))


def _status(confirmed: float | None, stable: bool, silent: bool) -> str:
    """`confirmed`: energy by the reference. `stable`: on its hull. `silent`: it could say nothing."""
    if stable:
        return STABLE
    if confirmed is not None:
        return METASTABLE
    return FAILED if silent else UNCONFIRMED


class _Values(NamedTuple):
    """What one method says of a candidate, eV/atom; None where it has not been asked."""

    energy: float | None = None
    formation: float | None = None
    above: float | None = None
    parts: Mapping[str, float] = MappingProxyType({})  # formula -> fraction of the atoms, of what lies above the hull


def _between(campaign: Campaign) -> Hull | None:
    """The network's hull between end members; the archive's own is that of all elements."""
    archive, ends = campaign.archive, campaign.ground.space.end_members
    if ends is None:
        return archive.hull()
    points = [
        Point(c.reduced_counts, c.per_atom(archive.method), archive.method, c.id)
        for c in archive.members.values()
        if c.id not in archive.refuted and ends.parts(c.reduced_counts) is not None
    ]
    return Hull.of(points, ends) if points else None


def _values(
    hull: Hull | None, candidates: list[Candidate], archive: Archive, method: str, between: Hull | None = None
) -> dict[str, _Values]:
    """By id; formation energies from `between` where that is another hull. `archive` knows the hull's corners."""
    between = between or hull
    found = {c.id: _Values() for c in candidates}
    asked = [c for c in candidates if method in c.energies]
    if hull is None or between is None or not asked:
        return found | {c.id: _Values(c.per_atom(method)) for c in asked}
    energies = [c.per_atom(method) for c in asked]
    above = hull.above_many([c.reduced_counts for c in asked], energies).tolist()
    decays: dict[str, dict[str, float]] = {}  # by formula
    for c, energy, height in zip(asked, energies, above, strict=True):
        if c.formula not in decays:
            parts = hull.decomposition(c.reduced_counts)
            decays[c.formula] = {archive.candidate(i).formula: part for i, part in parts.items()}
        # a hull without the end members does not reach everywhere, and JSON knows no infinity
        formation = between.formation(c.reduced_counts, energy)
        parts = decays[c.formula] if height > 0.0 else {}
        found[c.id] = _Values(energy, formation, height if math.isfinite(height) else None, parts)
    return found


def _height(row: Mapping[str, Any]) -> float:
    """eV/atom above the hull, the reference's where it has been asked; infinite where there is no hull."""
    above = row["above_hull_network"] if row["energy_reference"] is None else row["above_hull_reference"]
    return math.inf if above is None else float(above)


@lru_cache(maxsize=4000)
def _group(numbers: tuple[int, ...], positions: bytes, cell: bytes) -> int:
    """Space group of the crystal with these bytes; remembered, since the table is made again at every step of a campaign."""
    places, vectors = np.frombuffer(positions).reshape(-1, 3), np.frombuffer(cell).reshape(3, 3)
    return space_group(Atoms(numbers, positions=places, cell=vectors, pbc=True))


def to_json(rows: list[Phase]) -> list[dict[str, Any]]:
    names = [field.name for field in fields(Phase)]
    return [{name: getattr(r, name) for name in names} for r in rows]


def from_json(data: Iterable[Mapping[str, Any]], within: float = math.inf) -> list[Phase]:
    """The phases; `within` eV/atom of the hull. Space groups that are not there are worked out."""
    # campaigns from before had neither
    later: dict[str, Any] = {"formation_network": None, "formation_reference": None, "decomposition": {}}
    chosen = [row for row in data if _height(row) <= within]
    return [Phase(**{**later, **_symmetry(row), **row}) for row in chosen]


def _symmetry(row: Mapping[str, Any]) -> dict[str, Any]:
    if "space_group" in row:
        return {}
    atoms = atoms_from_json(row["crystal"])
    number = 1
    if atoms.pbc.all():
        number = _group(tuple(atoms.numbers.tolist()), atoms.positions.tobytes(), atoms.cell.array.tobytes())
    return {"space_group": symbol(number), "space_group_number": number}


def doubts(campaign: Campaign, rows: Sequence[Phase]) -> list[str]:
    """What to know before the table is believed: stable phases that are not relaxed, end members that are not there."""
    said = []
    method, archive = campaign.ground.reference_method, campaign.archive
    asked = [c.id for c in archive.members.values() if method in c.energies and archive.method != method]
    if len(asked) >= MANY and archive.refuted.issuperset(asked):
        said.append(
            f"the reference puts all {len(asked)} crystals that it was asked about far above the networks: do both have the same "
            "method, settings and pseudopotentials? `evo check` says what the library was labelled by"
        )
    stable = [p for p in rows if p.status == STABLE]
    if not stable:
        return said
    section, ends = campaign.settings.relax, [formula_of(c) for c in campaign.ground.space.corners()]
    absent = [e for e in ends if e not in {p.formula for p in stable}] if campaign.ground.space.formula is None else []
    if absent:
        said.append(
            f"no {', '.join(absent)} was found by the reference: what is stable beside it, and by how much, is not known"
        )
    labels = {json.dumps(x["crystal"]): x for x in campaign.known.labels if x["failure"] is None}
    moving = []
    for p in stable:
        label = labels.get(json.dumps(p.crystal))
        if label is None:
            continue
        force = float(np.abs(np.array(label["forces"])).max())
        strain = np.array(label["stress"], dtype=float) + campaign.ground.breeding.pressure * np.eye(3)
        stress = float(np.nan_to_num(np.abs(strain)).max()) / EV_PER_A3_PER_GPA
        if force > NOT_RELAXED * section.fmax or stress > NOT_RELAXED * section.smax_GPa:
            moving.append(f"{p.formula} {p.id} ({force:.2f} eV/Å, {stress:.1f} GPa)")
    if moving:
        said.append(
            f"stable, but not relaxed by the reference to the end: {', '.join(moving)}; "
            "more reference.final_calls and reference.final_steps let it, or another search with these as seeds"
        )
    return said


COLUMNS = (
    ("formula", ""),
    ("space group", ""),
    ("atoms", ""),
    ("status", ""),
    ("network", "meV above"),
    ("", "formation"),
    ("reference", "meV above"),
    ("", "formation"),
    ("decays to", ""),
    ("found by", ""),
    ("id", ""),
    ("ancestors", ""),
)


def table(rows: list[Phase]) -> str:
    """Fixed-width text; energies above the hull and of formation in meV/atom."""
    lines = [list(column) for column in zip(*COLUMNS, strict=True)]
    for p in rows:
        ancestors = " ".join(p.ancestors[:3]) + (" ..." if len(p.ancestors) > 3 else "")
        energies = (p.above_hull_network, p.formation_network, p.above_hull_reference, p.formation_reference)
        group = f"{p.space_group} ({p.space_group_number})"
        values = [_mev(value) for value in energies]
        found_by = [p.operator, p.id, ancestors or "-"]
        lines.append([p.formula, group, str(p.n_atoms), p.status, *values, _mixture(p) or "-", *found_by])
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def to_csv(rows: list[Phase]) -> str:
    """Comma-separated text with every field but the crystal; energies in eV/atom, empty where there is none."""
    names = [field.name for field in fields(Phase) if field.name != "crystal"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for p in rows:
        values = {name: getattr(p, name) for name in names}
        values |= {"ancestors": " ".join(p.ancestors), "decomposition": _mixture(p)}
        writer.writerow([values[name] for name in names])
    return text.getvalue()


def _ancestors(candidate: Candidate, everyone: dict[str, Candidate]) -> list[str]:
    """Parents, their parents and so on, nearest first."""
    found: list[str] = []
    generation = list(candidate.origin.parents)
    while generation:
        found += [i for i in generation if i not in found]
        generation = [p for i in generation if i in everyone for p in everyone[i].origin.parents if p not in found]
    return found


def _composition(candidate: Candidate, elements: tuple[int, ...]) -> tuple[float, ...]:
    total = sum(candidate.reduced_counts.values())
    return tuple(-candidate.reduced_counts.get(z, 0) / total for z in elements)


def _mixture(phase: Phase) -> str:
    """ "0.50 Cu3Pd + 0.50 CuPd": fractions of the atoms."""
    return " + ".join(f"{part:.2f} {formula}" for formula, part in phase.decomposition.items())


def _mev(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f}"
