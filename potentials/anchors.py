"""Anchors of a refined fit: every atom keeps, nearly, the energy that the networks beside the refined ones give it.

Labels say what all atoms of a crystal have together; how it is shared between them is free, and every network shares it in its
own way. Where an atom passes from the networks of one set of elements to those of another, as an element comes into its sight,
its energy would jump by tenths of an eV, though both are right about whole crystals. With anchors the networks of a set agree,
atom by atom, with those of its subsets on crystals of these, and with the assembled one on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from potentials import kernels
from potentials.batches import Bases, Batch, batches
from potentials.dataset import Dataset
from potentials.network import fold
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.tables import Centres, Table
from potentials.task import FitTask

UNIT = 0.02  # eV: what a difference is divided by, where whole crystals have 0.003 eV/atom
AT_ONCE = 4096  # atoms in one array


def anchors(
    task: FitTask,
    company: Stratum,
    crystals: Dataset,
    tables: Sequence[Table],
    places: Sequence[int],
    bases: Bases,
    constant: Mapping[int, tuple[Floats, Floats]],
) -> list[Batch]:
    """One residual for each atom of these crystals, whose elements are `company`; arguments as those of `batches`.

    tables: of `crystals`. places: of each table's crystal, as it is to be known later.
    """
    shape, fitting = task.recipe.shape, task.recipe.fitting
    # of networks alone, as the targets of a fit are
    beside = [replace(task.scalings[s], embedded=None) for s in company.subsets()]
    if company == task.strata[-1]:
        beside = [replace(p, refined=None) for p in beside]
    model = fold(shape, company.numbers, beside, repulsion=False)
    members = range(task.recipe.members)
    said = np.stack([kernels.evaluate(crystals.structures, model.member(m)).atomic_energies for m in members])
    numbers, offsets = crystals.structures.numbers, crystals.structures.offsets
    atoms: list[Table] = []
    energies: list[Floats] = []
    for table, place in zip(tables, places, strict=True):
        own = np.arange(offsets[table.place], offsets[table.place + 1])
        weight = table.weights[:1] * fitting.energy * len(own) / UNIT
        for z, centres in table.centres.items():
            for row, atom in zip(centres.features, own[numbers[own] == z], strict=True):
                alone = Centres(row[None], np.zeros((1, 0, len(row))))
                atoms.append(Table({z: alone}, np.zeros(1), weight, place))
                energies.append(said[:, atom])
    found = batches(shape, company, atoms, range(len(atoms)), bases, constant, at_once=AT_ONCE)
    known, crystal = np.array(energies).T, np.array([a.place for a in atoms])
    return [replace(b, given=-known[:, b.places][..., None], places=crystal[b.places]) for b in found]
