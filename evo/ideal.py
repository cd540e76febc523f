"""Ideal: the symmetric crystals that relaxed candidates are meant to be, as far as what relaxed them can tell.

A relaxation without constraints ends some 1e-3 Å from the symmetric crystal, often in a cell of several primitive ones. A DFT
code sees no symmetry in that and works out every k-point: L1_2 CuPd3, found in eight atoms, took 980 CPU s where its primitive
cell takes 54. So the reference is asked about the primitive cell with its atoms on their exact places, wherever the energies
of the two are the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from evo.candidate import Candidate
from evo.relaxers import NetworkRelaxer, Relaxer, evaluate
from evo.symmetry import primitive, space_group
from potentials.structures import Floats, Structures

TOLERANCES = (0.1, 0.03, 0.01, 0.003)  # Å, the largest first
SAME = 2e-4  # eV/atom by which the symmetric crystal may lie higher: less than any label is known to


class _Found(NamedTuple):
    """What was worked out for a candidate."""

    own: Atoms  # its crystal
    exact: Atoms  # the one to ask about
    method: str | None  # of the network that says so; None: it is settled, whatever the network


class Exact:
    """The crystals to ask about, each worked out once by every network: a function of both, whoever wants to know."""

    def __init__(self, pressure: float, moments: Iterable[str]) -> None:
        """pressure: eV/Å³. moments: symbols of the elements whose atoms the reference gives different moments."""
        self._pressure = pressure
        self._magnetic = [atomic_numbers[symbol] for symbol in moments]
        self._known: dict[str, _Found] = {}  # by the candidate's id

    def of(self, candidates: Sequence[Candidate], relaxer: Relaxer) -> list[Atoms]:
        """One for each. A calculator in place of networks may take long, and rank 0 would wait: then the crystals as they are."""
        if not isinstance(relaxer, NetworkRelaxer):
            return [c.atoms for c in candidates]
        new = [c for c in candidates if not self._is_known(c, relaxer.method)]
        found = idealised(new, relaxer, self._pressure, self._magnetic)
        self._known.update((c.id, _Found(c.atoms, atoms, relaxer.method)) for c, atoms in zip(new, found, strict=True))
        return [self._known[c.id].exact for c in candidates]

    def _is_known(self, candidate: Candidate, method: str) -> bool:
        found = self._known.get(candidate.id)
        return found is not None and found.own is candidate.atoms and found.method in (None, method)

    def settle(self, candidates: Sequence[Candidate], crystals: Sequence[Atoms] | None = None) -> None:
        """The reference is asked about these crystals, or has spoken of the candidates' own: no later network changes that."""
        asked = [c.atoms for c in candidates] if crystals is None else crystals
        self._known.update((c.id, _Found(c.atoms, atoms, None)) for c, atoms in zip(candidates, asked, strict=True))

    def found(self, candidate: Candidate) -> Atoms:
        """The crystal that was worked out for this candidate as it is now; its own where that has not been wanted yet."""
        found = self._known.get(candidate.id)
        return found.exact if found is not None and found.own is candidate.atoms else candidate.atoms


def idealised(
    candidates: Sequence[Candidate], relaxer: Relaxer, pressure: float, magnetic: Collection[int] = ()
) -> list[Atoms]:
    """The crystal to ask about for each: its most symmetric neighbour of the same enthalpy, else the crystal as it is.

    pressure: eV/Å³. A distortion that lowers the enthalpy by more than SAME stays, whatever the tolerance. magnetic: atomic
    numbers of elements whose atoms the reference gives different moments; what holds them stays as it is, because the order of
    moments may need a cell that the atoms alone do not (antiferromagnetic NiO).
    """
    options = [[c.atoms] if set(c.reduced_counts) & set(magnetic) else _neighbours(c.atoms) for c in candidates]
    crystals = [atoms for own in options for atoms in own]
    if not crystals:
        return []
    enthalpies = _per_atom(crystals, relaxer, pressure)
    chosen, first = [], 0
    for own in options:
        mine = enthalpies[first : first + len(own)]
        first += len(own)
        # the last of them is the crystal as it is
        chosen.append(next(a for a, e in zip(own, mine, strict=True) if a is own[-1] or e <= mine[-1] + SAME))
    return chosen


def _neighbours(atoms: Atoms) -> list[Atoms]:
    """Symmetric crystals near this one, the farthest first, each of another space group or cell; the crystal itself last."""
    found: list[Atoms] = []
    groups = set()
    for symprec in TOLERANCES:
        cell = primitive(atoms, symprec)
        # a pair of layers that moved together has the group of one of them, in twice the cell
        if (kind := (space_group(atoms, symprec), len(cell))) not in groups:
            groups.add(kind)
            found.append(cell)
    return [*found, atoms]


def _per_atom(crystals: Sequence[Atoms], relaxer: Relaxer, pressure: float) -> Floats:
    """(n,) eV/atom."""
    structures = Structures.from_ase(crystals)
    volumes = structures.volumes * structures.periodic.all(axis=1)
    return np.asarray((evaluate(relaxer, structures).energies + pressure * volumes) / structures.sizes)
