"""A crystal is recognised in any guise, and no two different ones are taken for one."""

import itertools
import math
import time
from collections import defaultdict

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from icet.tools import enumerate_structures
from scipy.spatial.transform import Rotation

from evo.cell import Space
from evo.create import prototype, random, symmetric
from evo.likeness import SAME, alike, distance, fingerprint
from evo.settings import SearchSection
from evo.supercell import random_supercell

NOISE = 1e-3  # Å, standard deviation of every coordinate


def disguised(rng: np.random.Generator, atoms: Atoms) -> Atoms:
    """The same crystal: supercell, another basis, rotation, origin, order of atoms, noise."""
    result = random_supercell(rng, atoms, int(rng.integers(1, 4)))
    basis = np.eye(3, dtype=int)
    basis[0, 1], basis[1, 2] = rng.integers(-2, 3, size=2)
    turn = Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix()
    positions = (result.positions + rng.random(3) * 5) @ turn.T
    order = rng.permutation(len(result))
    noise = rng.normal(0.0, NOISE, positions.shape)
    cell = basis @ np.asarray(result.cell) @ turn.T
    return Atoms(result.numbers[order], positions=positions[order] + noise, cell=cell, pbc=True)


def test_known_in_any_guise() -> None:
    rng = np.random.default_rng(0)
    space = Space((22, 29, 46, 50), (1, 8))
    recognised, worst = [], 0.0
    for n in range(200):
        make = random.create if n % 4 == 0 else symmetric.create
        crystal = make(rng, space.sample_counts(rng), space)
        assert crystal is not None
        known = fingerprint(crystal)
        for _ in range(10):
            apart = distance(known, fingerprint(disguised(rng, crystal)))
            recognised.append(apart < SAME)
            worst = max(worst, apart)
    assert np.mean(recognised) >= 0.99
    assert worst < 0.6 * SAME, f"the least recognised guise is {worst:.4f} away"


def test_fifty_prototypes_are_fifty() -> None:
    crystals = [named for elements in ((29,), (29, 46), (29, 46, 50)) for named in prototype.prototypes(elements)]
    assert len(crystals) >= 50
    by_length = [(name, fingerprint(atoms)) for name, atoms in crystals]
    for (name, a), (other, b) in itertools.combinations(by_length, 2):
        assert distance(a, b) > 2 * SAME, f"{name} and {other} are {distance(a, b):.4f} apart"


@pytest.mark.parametrize("lattice", ["fcc", "bcc", "hcp"])
def test_no_two_orderings_of_a_lattice_merge(lattice: str) -> None:
    ideal = {"a": 2.6, "c": 2.6 * math.sqrt(8 / 3)} if lattice == "hcp" else {"a": 3.6}
    parent = bulk("Cu", lattice, **ideal)
    groups: dict[float, list[np.ndarray]] = defaultdict(list)
    # every ordering of up to six atoms, and of eight at equal numbers, where many share all distances and angles
    for atoms in enumerate_structures(parent, range(1, 7 if len(parent) == 1 else 4), ["Cu", "Pd"]):
        groups[float(np.mean(atoms.numbers == 29))].append(fingerprint(atoms))
    if len(parent) == 1:
        half = {"Cu": (0.5, 0.5)}
        for atoms in enumerate_structures(parent, [8], ["Cu", "Pd"], concentration_restrictions=half):
            groups[0.5].append(fingerprint(atoms))
    for known in groups.values():
        for a, b in itertools.combinations(known, 2):
            assert distance(a, b) > 2 * SAME


def test_homometric_orderings_are_told_apart() -> None:
    # L1_1 and D4 have all distances and all angles in common, within any reach
    layered = prototype.crystal(next(p for p in prototype.PROTOTYPES if p.name == "L1_1"), (29, 78))
    cubic = bulk("Cu", cubic=True, a=3.8).repeat(2)
    sums = np.rint(cubic.positions / 1.9).astype(int)
    for x, y, z in itertools.product((0, 1), repeat=3):
        chosen = (sums % 2 == [x, y, z]).all(axis=1)
        # pyrochlore: in each of the four cubic sublattices every other site
        cubic.numbers[chosen] = np.where((sums[chosen] // 2).sum(axis=1) % 2 == 0, 29, 78)
    assert distance(fingerprint(layered), fingerprint(cubic)) > 2 * SAME


def test_stackings_are_told_apart() -> None:
    crystals = dict(prototype.prototypes((29,)))
    prints = [fingerprint(crystals[f"{name} Cu"]) for name in ("fcc", "hcp", "dhcp")]
    assert min(distance(a, b) for a, b in itertools.combinations(prints, 2)) > 5 * SAME


def test_mirror_images_are_one_crystal() -> None:
    rng = np.random.default_rng(3)
    crystal = random.create(rng, {29: 3, 46: 2, 50: 1}, Space((29, 46, 50), (1, 8)))
    assert crystal is not None
    image = Atoms(crystal.numbers, positions=-crystal.positions, cell=crystal.cell, pbc=True)
    assert alike(fingerprint(crystal), fingerprint(image))


def test_volume_counts_and_composition_decides() -> None:
    small, large, other = (fingerprint(bulk(s, "fcc", a=a)) for s, a in (("Cu", 3.6), ("Cu", 3.7), ("Pd", 3.6)))
    assert 2 * SAME < distance(small, large) < 10 * SAME
    assert alike(small, fingerprint(bulk("Cu", "fcc", a=3.605)))
    assert math.isinf(distance(small, other))
    assert math.isinf(distance(small, fingerprint(bulk("CuPd", "cesiumchloride", a=3.0))))
    assert math.isinf(distance(np.zeros(0), np.zeros(0)))


def test_sizes_of_one_composition_can_be_compared() -> None:
    rng = np.random.default_rng(0)
    b2 = bulk("CuPd", "cesiumchloride", a=3.0)
    assert distance(fingerprint(b2), fingerprint(random_supercell(rng, b2, 6))) < 1e-9
    l1_0 = prototype.crystal(next(p for p in prototype.PROTOTYPES if p.name == "L1_0"), (29, 46))
    big = random_supercell(rng, l1_0, 3)
    assert math.isclose(
        distance(fingerprint(b2), fingerprint(l1_0)), distance(fingerprint(b2), fingerprint(big)), rel_tol=1e-9
    )


@pytest.mark.parametrize("atoms", [Atoms("Cu"), molecule("H2O"), Atoms("Cu", cell=[2.6, 2.6, 20], pbc=[1, 1, 0])])
def test_fewer_periodic_axes_are_finite(atoms: Atoms) -> None:
    assert np.isfinite(fingerprint(atoms)).all()


def test_default_of_the_settings() -> None:
    assert SearchSection.model_fields["duplicate_distance"].default == SAME


def test_a_few_milliseconds() -> None:
    crystal = random.create(np.random.default_rng(0), {29: 4, 46: 4}, Space((29, 46), (1, 8)))
    assert crystal is not None
    times = []
    for _ in range(20):
        start = time.perf_counter()
        fingerprint(crystal)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.01  # 0.002 on an idle core; the machine may be shared
