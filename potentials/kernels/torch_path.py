"""The kernels in torch: any device, double precision, derivatives by autograd; the compiled kernel equals this.

The formulas are stated in `potentials.features`, `potentials.network`, `potentials.kernels.repulsion`.
Results may differ in the last bits with the batch they are part of.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from potentials.features import Descriptor, Shape, SymmetryFunctions
from potentials.kernels import torch_density, torch_pairs, torch_symmetry
from potentials.kernels.formulas import smooth_step
from potentials.kernels.gupta import GuptaModel
from potentials.kernels.neighbours import MOST_IN_PAIRS, MOST_NEIGHBOURS, Neighbours, neighbours
from potentials.kernels.signature import ModelLike, SetNetworkLike, species_indices, whole_weights
from potentials.structures import Floats, Prediction, Structures

# Atoms at a time: some 100 kB each; where there are pairs of neighbours some 2 MB.
PORTION = {"cpu": 2_000, "cuda": 30_000}
PORTION_OF_PAIRS = {"cpu": 100, "cuda": 3_000}


def evaluate(structures: Structures, model: ModelLike | GuptaModel, device: str = "cpu") -> Prediction:
    """Energies, forces and stresses of every crystal; NaN for a crystal which cannot be evaluated."""
    where = torch.device(device)
    parts = [_evaluate(part, model, where) for part in _portions(structures, model, where)]
    names = ("energies", "forces", "stresses", "member_energies", "atomic_energies")
    return Prediction(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def _portions(structures: Structures, of: ModelLike | GuptaModel | Descriptor, where: torch.device) -> list[Structures]:
    """The structures cut where a run of them reaches a portion of atoms; at least one portion."""
    portion = PORTION_OF_PAIRS if isinstance(getattr(of, "shape", of), SymmetryFunctions) else PORTION
    run = (structures.offsets[1:] - 1) // portion[where.type]
    cuts = [0, *(np.flatnonzero(np.diff(run)) + 1).tolist(), len(structures)]
    return [structures.select(range(a, b)) for a, b in pairwise(cuts)] if len(cuts) > 2 else [structures]


def _evaluate(structures: Structures, model: ModelLike | GuptaModel, where: torch.device) -> Prediction:
    kinds = torch.as_tensor(species_indices(structures, model.species), device=where)
    if isinstance(model, GuptaModel):
        near = neighbours(structures, model.cutoff, where)
        bonds = _bonds(structures, near).requires_grad_(True)
        atomic = torch_pairs.gupta(bonds, near, kinds, model)[:, None]
    else:
        near = _near(structures, model.shape, where)
        bonds = _bonds(structures, near).requires_grad_(True)
        atomic = _atomic(bonds, near, kinds, model)
    mean = atomic.mean(1)
    (slope,) = torch.autograd.grad(mean.sum(), bonds)  # dE/d(bond i -> j)
    slope = slope * near.real[:, :, None]
    reactions = slope.reshape(-1, 3)[near.incoming] * near.incoming_real[:, :, None]
    forces = slope.sum(1) - reactions.sum(1)
    virials = torch.einsum("aji,ajk->aik", bonds.detach(), slope)

    failed = near.failed
    offsets = structures.offsets.tolist()
    sums = [(atomic[a:b].detach().sum(0), virials[a:b].sum(0)) for a, b in pairwise(offsets)]
    members = torch.stack([s[0] for s in sums]) if sums else atomic.new_zeros(0, model.members)
    virial = torch.stack([s[1] for s in sums]) if sums else atomic.new_zeros(0, 3, 3)
    cells = torch.as_tensor(structures.cells, device=where)
    volumes = torch.linalg.det(torch.nan_to_num(cells)).abs()
    strained = torch.as_tensor(structures.periodic, device=where).any(1) & (volumes > 0.0)
    volumes = torch.where(strained & ~failed, volumes, 1.0)
    stresses = torch.where(strained[:, None, None], virial / volumes[:, None, None], 0.0)
    stresses = (stresses + stresses.transpose(1, 2)) / 2  # the energy does not turn with the crystal
    lost = torch.repeat_interleave(failed, torch.as_tensor(structures.sizes, device=where))
    members[failed], stresses[failed], forces[lost] = torch.nan, torch.nan, torch.nan
    mean = torch.where(lost, torch.nan, mean.detach())
    return Prediction(*(x.cpu().numpy() for x in (members.mean(1), forces, stresses, members, mean)))


def _atomic(bonds: Tensor, near: Neighbours, kinds: Tensor, model: ModelLike) -> Tensor:
    """(n_atoms, members) eV."""
    atomic = _network(_features(bonds, near, kinds, model.shape, model.species), kinds, model)
    if model.repulsion:
        atomic = atomic + torch_pairs.screened(bonds, near, kinds, model.species)[:, None]
    if model.embedded is not None:
        atomic = atomic + torch_pairs.embedded(bonds, near, kinds, model.embedded)[:, None]
    if model.core_energy:
        atomic = atomic + torch_pairs.hard_cores(bonds, near, kinds, model.species, model.core_energy)[:, None]
    return atomic


def features(structures: Structures, shape: Descriptor, species: tuple[int, ...], device: str = "cpu") -> list[Floats]:
    """Per crystal (n_c, D): the features of every atom; NaN for a crystal which cannot be evaluated."""
    where = torch.device(device)
    tables = [_tables(part, shape, species, where) for part in _portions(structures, shape, where)]
    return [table for part in tables for table in part]


def _tables(structures: Structures, shape: Descriptor, species: tuple[int, ...], where: torch.device) -> list[Floats]:
    kinds = torch.as_tensor(species_indices(structures, species), device=where)
    near = _near(structures, shape, where)
    found = _features(_bonds(structures, near), near, kinds, shape, species)
    found[torch.repeat_interleave(near.failed, torch.as_tensor(structures.sizes, device=where))] = torch.nan
    offsets = structures.offsets.tolist()
    return [found[a:b].cpu().numpy() for a, b in pairwise(offsets)]


def jacobians(
    structures: Structures, shape: Descriptor, species: tuple[int, ...], device: str = "cpu"
) -> list[tuple[Floats, Floats]]:
    """Per crystal: features (n_c, D), and their derivatives (n_c, D, 3 n_c + 9) by positions and strain."""
    where = torch.device(device)
    tables = []
    for c in range(len(structures)):
        one = structures.select([c])
        kinds = torch.as_tensor(species_indices(one, species), device=where)
        near = _near(one, shape, where)
        bonds = _bonds(one, near)
        eye = torch.eye(3, dtype=bonds.dtype, device=where)

        def function(
            moves: Tensor,
            bonds: Tensor = bonds,
            near: Neighbours = near,
            kinds: Tensor = kinds,
            eye: Tensor = eye,
        ) -> Tensor:
            steps, strain = moves[:-9].reshape(-1, 3), moves[-9:].reshape(3, 3)
            moved = bonds + (steps[near.others] - steps[:, None]) * near.real[:, :, None]
            return _features(moved @ (eye + strain), near, kinds, shape, species)

        still = bonds.new_zeros(3 * len(kinds) + 9)
        with warnings.catch_warnings():  # torch warns of its own first use of forward derivatives
            warnings.simplefilter("ignore", DeprecationWarning)
            table, slopes = function(still), torch.func.jacfwd(function)(still)
        if bool(near.failed.any()):
            table, slopes = table * torch.nan, slopes * torch.nan
        tables.append((table.cpu().numpy(), slopes.cpu().numpy()))
    return tables


def _bonds(structures: Structures, near: Neighbours) -> Tensor:
    """(n_atoms, width, 3) vectors to the neighbours; an arbitrary fixed vector where there is none."""
    positions = torch.as_tensor(structures.positions, device=near.shifts.device)
    bonds = positions[near.others] - positions[:, None] + near.shifts
    return torch.where(near.real[:, :, None], bonds, 1.0)


def _near(structures: Structures, shape: Descriptor, where: torch.device) -> Neighbours:
    most = MOST_NEIGHBOURS if isinstance(shape, Shape) else MOST_IN_PAIRS
    return neighbours(structures, shape.cutoff, where, most)


def _features(bonds: Tensor, near: Neighbours, kinds: Tensor, shape: Descriptor, species: tuple[int, ...]) -> Tensor:
    """(n_atoms, D)."""
    chosen = torch.nn.functional.one_hot(kinds[near.others], len(species)).to(bonds.dtype) * near.real[:, :, None]
    if isinstance(shape, Shape):
        sums, products = torch_density.sums_and_products(bonds, chosen, shape)
    else:
        sums, products = torch_symmetry.sums_and_products(bonds, chosen, shape)
    every = torch.cat([sums.flatten(1), *(products[pair] for pair in sorted(products))], 1)
    result = torch.zeros_like(every)
    for x, centre in enumerate(species):
        result = torch.where((kinds == x)[:, None], every[:, shape.sizes.places(centre, species)], result)
    return result


def _network(found: Tensor, kinds: Tensor, model: ModelLike) -> Tensor:
    """(n_atoms, members) eV."""
    energies = found.new_zeros(len(found), model.members)
    for s in range(len(model.species)):

        def own(array: Floats, s: int = s) -> Tensor:
            return torch.as_tensor(array[s], device=found.device)

        units = torch.tanh(own(model.biases) + found @ own(model.weights)).reshape(
            len(found), model.members, model.hidden
        )
        if model.second_weights is not None and model.second_biases is not None:
            deep = torch.einsum("amh,mhk->amk", units, own(model.second_weights))
            units = torch.tanh(own(model.second_biases) + deep)
        energy = own(model.shifts) + (units * own(model.outputs).reshape(model.members, -1)).sum(2)
        if own_sets := [net for net in model.refined if net.centre == s]:
            energy = _blended(found, s, energy, own_sets, model)
        if model.added is not None:
            energy = energy + _added(found, s, model)
        energies = torch.where((kinds == s)[:, None], energy, energies)
    return energies


def _blended(found: Tensor, s: int, shared: Tensor, own_sets: Sequence[SetNetworkLike], model: ModelLike) -> Tensor:
    """(n_atoms, members) eV of the networks of sets of elements and of the shared one, were all atoms of species s."""
    assert isinstance(model.shape, Shape)
    seen = {}
    for block in model.shape.blocks(model.species[s], model.species):
        others = [model.species.index(z) for z in block.stratum.numbers if z != model.species[s]]
        if len(others) == 1:
            seen[others[0]] = smooth_step(torch.clamp(found[:, block.start] / model.shape.sight, max=1.0))
    rest, energy = torch.ones_like(found[:, 0]), torch.zeros_like(shared)
    for net in own_sets:
        share = torch.ones_like(rest)
        for y, view in seen.items():
            share = share * (view if y in net.others else 1.0 - view)
        weights = whole_weights(model, net)
        own = (torch.as_tensor(a, device=found.device) for a in (weights, net.biases, net.outputs, net.shifts))
        columns, biases, outputs, shifts = own
        units = torch.tanh(biases + found @ columns) * outputs
        said = shifts + units.reshape(len(found), model.members, -1).sum(2)
        energy, rest = energy + share[:, None] * said, rest - share
    return energy + rest[:, None] * shared


def _added(found: Tensor, s: int, model: ModelLike) -> Tensor:
    """(n_atoms, members) eV of the units that see one block each, were all atoms of species s."""
    assert model.added is not None
    weights, biases, outputs = (
        torch.as_tensor(a[s], device=found.device)
        for a in (model.added.weights, model.added.biases, model.added.outputs)
    )
    energy = found.new_zeros(len(found), model.members)
    for place, block in enumerate(model.shape.blocks(model.species[s], model.species)):
        rows = slice(block.start, block.stop)
        units = torch.tanh(biases[place] + found[:, rows] @ weights[rows]) - torch.tanh(biases[place])
        energy = energy + (units * outputs[place]).reshape(len(found), model.members, -1).sum(2)
    return energy
