"""What the reference said at the ends of shorter searches of the same campaign, for the longer one that goes on from there."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evo.archive import Archive
from evo.candidate import Candidate, atoms_from_json
from evo.cell import reduce_cell
from evo.desk import Desk
from evo.likeness import alike, fingerprint

# keys of what the reference says at an end: of which search, whether of one call or of the steps of a relaxation, and of whom
_TOLD = re.compile(r"end(\d+)/(reference|final)/(.+)")


@dataclass
class Told:
    """What one end was told of one candidate, labels in the order in which they came."""

    end: int  # chunks of the search that ended
    former: str  # the candidate's name there, which may be another one's here
    path: list[dict[str, Any]]
    n_relaxed: int = 0  # of these, steps of relaxations

    @property
    def sound(self) -> list[dict[str, Any]]:
        """The labels without the calculations that failed."""
        return [label for label in self.path if label["failure"] is None]


def keys(desk: Desk, prefix: str, heard: Collection[str]) -> list[str]:
    """Of everything that was told under this prefix and has not been heard of yet."""
    return [key for key in desk.known(prefix) if _TOLD.fullmatch(key) and key not in heard]


def told(desk: Desk, keys: Sequence[str]) -> list[Told]:
    """The results under these keys, by end and candidate, in the order of their first keys."""
    found: dict[tuple[str, str], Told] = {}
    for key in keys:
        parts = _TOLD.fullmatch(key)
        assert parts is not None
        end, kind, former = parts.groups()
        one = found.setdefault((end, former), Told(int(end), former, []))
        result = desk.result(key)
        path = result if isinstance(result, list) else [result]
        one.path += path
        one.n_relaxed += len(path) if kind == "final" else 0
    return list(found.values())


def namesake(archive: Archive, one: Told) -> str | None:
    """The former name, where the candidate that has it here is one of these crystals: what is relaxed again takes names twice."""
    looks = [fingerprint(reduce_cell(atoms_from_json(label["crystal"]))) for label in one.path]
    own = archive.members.get(one.former) or archive.failed.get(one.former)
    return one.former if own is not None and any(alike(own.fingerprint, look) for look in looks) else None


def taken_over(archive: Archive, name: str, c: Candidate, method: str) -> Candidate:
    """The candidate of this name after what was told of `c`, which is this crystal: the lower energy by `method` counts."""
    own = archive.candidate(name)
    if method not in own.energies or c.per_atom(method) < own.per_atom(method):
        archive.replace([replace(c, id=own.id, origin=own.origin, failure=own.failure, calls=own.calls)])
        archive.add_energy(name, c.energies[method])
    return archive.candidate(name)
