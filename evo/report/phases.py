"""The hull as a table: what is stable, by whose word, and who found it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms

from evo.campaign import Campaign
from evo.candidate import Candidate, atoms_to_json
from evo.hull import Hull
from evo.symmetry import space_group, symbol

STABLE = "stable"  # on the reference's hull: the reference has confirmed it
UNCONFIRMED = "unconfirmed"  # on the network's hull, the reference has not been asked
METASTABLE = "metastable"  # on the network's hull, above the reference's


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
    above_hull_network: float | None
    above_hull_reference: float | None
    id: str
    operator: str
    ancestors: list[str]
    crystal: dict[str, Any]


def phases(campaign: Campaign) -> list[Phase]:
    """Every phase on the network's or on the reference's hull, by composition."""
    archive, reference = campaign.archive, campaign.ground.reference_method
    network_hull, reference_hull = archive.hull(), campaign.reference_hull()
    on_reference = set() if reference_hull is None else set(reference_hull.vertices)
    on_network = set() if network_hull is None else set(network_hull.vertices)
    everyone = {**archive.failed, **archive.members}
    shown = [everyone[i] for i in sorted(on_reference | on_network)]
    above_network = _above(network_hull, shown, archive.method)
    above_reference = _above(reference_hull, shown, reference)
    rows = []
    for c, atoms in zip(shown, campaign.exact(shown), strict=True):
        i = c.id
        group = _group(*(a.tobytes() for a in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)))
        network = c.per_atom(archive.method) if archive.method in c.energies else None
        confirmed = c.per_atom(reference) if reference in c.energies else None
        rows.append(
            Phase(
                formula=c.formula,
                space_group=symbol(group),
                space_group_number=group,
                n_atoms=len(atoms),
                status=STABLE if i in on_reference else UNCONFIRMED if confirmed is None else METASTABLE,
                energy_network=network,
                energy_reference=confirmed,
                above_hull_network=above_network.get(i),
                above_hull_reference=above_reference.get(i),
                id=c.id,
                operator=c.origin.operator,
                ancestors=_ancestors(c, everyone),
                crystal=atoms_to_json(atoms),
            )
        )
    elements = campaign.ground.space.elements
    return sorted(rows, key=lambda p: (_composition(everyone[p.id], elements), p.above_hull_reference or 0.0, p.id))


@lru_cache(maxsize=1000)
def _group(numbers: bytes, positions: bytes, cell: bytes, pbc: bytes) -> int:
    """Space group of the crystal with these bytes; remembered, since the table is made again at every step of a campaign."""
    return space_group(
        Atoms(
            np.frombuffer(numbers, dtype=np.int64),
            positions=np.frombuffer(positions).reshape(-1, 3),
            cell=np.frombuffer(cell).reshape(3, 3),
            pbc=np.frombuffer(pbc, dtype=bool),
        )
    )


def to_json(rows: list[Phase]) -> list[dict[str, Any]]:
    names = [field.name for field in fields(Phase)]
    return [{name: getattr(r, name) for name in names} for r in rows]


def from_json(data: list[dict[str, Any]]) -> list[Phase]:
    return [Phase(**d) for d in data]


def table(rows: list[Phase]) -> str:
    """Fixed-width text; energies above the hull in meV/atom."""
    head = ["formula", "space group", "atoms", "status", "network", "reference", "found by", "id", "ancestors"]
    lines = [head, ["", "", "", "", "meV above", "meV above", "", "", ""]]
    for p in rows:
        ancestors = " ".join(p.ancestors[:3]) + (" ..." if len(p.ancestors) > 3 else "")
        above = [_mev(p.above_hull_network), _mev(p.above_hull_reference)]
        group = f"{p.space_group} ({p.space_group_number})"
        lines.append([p.formula, group, str(p.n_atoms), p.status, *above, p.operator, p.id, ancestors or "-"])
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _above(hull: Hull | None, candidates: list[Candidate], method: str) -> dict[str, float]:
    """eV/atom above the hull by id, of those that this method has been asked about."""
    asked = [c for c in candidates if method in c.energies]
    if hull is None or not asked:
        return {}
    above = hull.above_many([c.reduced_counts for c in asked], [c.per_atom(method) for c in asked])
    return dict(zip([c.id for c in asked], above.tolist(), strict=True))


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


def _mev(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f}"
