"""The hull against known cases, against a linear programme, and where the geometry degenerates."""

import time
from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from evo.hull import Hull, Point

CU, PD, AG, PT, AU = 29, 46, 47, 78, 79


def phases(*rows):
    return [Point(counts, energy, "m", name) for name, counts, energy in rows]


def binary(*more):
    return phases(("Cu", {CU: 1}, -3.0), ("Pd", {PD: 4}, -4.0), *more)


def random_phases(rng, elements, n, largest=8, depth=0.3, ends=True):
    rows = []
    for i in range(n):
        counts = {z: int(c) for z, c in zip(elements, rng.integers(0, largest, len(elements)), strict=True)}
        if sum(counts.values()) == 0:
            counts[elements[0]] = 1
        rows.append((f"p{i}", counts, float(rng.normal(0, depth))))
    if ends:
        rows += [(f"end{z}", {z: 1}, float(rng.normal(0, depth))) for z in elements]
    return phases(*rows)


def lowest_mixture(points, counts):
    """The same by linear programme: fractions of phases that make the composition at the least energy."""
    elements = sorted({z for p in points for z in p.counts})
    total = sum(counts.values())
    matrix = np.array([[p.counts.get(z, 0) / sum(p.counts.values()) for p in points] for z in elements])
    wanted = [counts.get(z, 0) / total for z in elements]
    if any(n and z not in elements for z, n in counts.items()):
        return np.inf
    answer = linprog([p.energy for p in points], A_eq=matrix, b_eq=wanted)
    return answer.fun if answer.status == 0 else np.inf


def test_binary_by_hand():
    ordered = [("B2", {CU: 1, PD: 1}, -3.6), ("L12", {CU: 3, PD: 1}, -3.31)]
    hull = Hull.of(binary(*ordered, ("bad", {CU: 1, PD: 3}, -3.7)))
    assert hull.vertices == ("Cu", "L12", "B2", "Pd")
    assert hull.energy({CU: 2, PD: 2}) == pytest.approx(-3.6)
    assert hull.energy({CU: 1, PD: 3}) == pytest.approx(-3.8)
    assert hull.above({CU: 1, PD: 3}, -3.7) == pytest.approx(0.1)
    assert hull.above({CU: 3, PD: 1}, -3.31) == 0.0
    assert hull.above({CU: 3, PD: 1}, -3.5) == pytest.approx(-0.19)
    assert hull.decomposition({CU: 1, PD: 3}) == pytest.approx({"B2": 0.5, "Pd": 0.5})
    assert hull.decomposition({CU: 5, PD: 5}) == pytest.approx({"B2": 1.0})
    assert hull.formation({CU: 1, PD: 1}, -3.6) == pytest.approx(-0.1)


def test_one_element_and_one_phase():
    hull = Hull.of(phases(("bcc", {CU: 2}, -2.9), ("fcc", {CU: 1}, -3.0)))
    assert hull.vertices == ("fcc",)
    assert hull.above({CU: 8}, -2.9) == pytest.approx(0.1)
    assert hull.energy({PD: 1}) == np.inf
    assert hull.above({PD: 1}, -9.0) == -np.inf
    assert hull.decomposition({CU: 3}) == {"fcc": 1.0}


def test_fixed_composition_has_no_formation_energy():
    hull = Hull.of(phases(("a", {CU: 4, PD: 4}, -3.5), ("b", {CU: 1, PD: 1}, -3.6)))
    assert hull.vertices == ("b",)
    assert hull.above({CU: 2, PD: 2}, -3.5) == pytest.approx(0.1)
    assert hull.energy({CU: 1, PD: 3}) == np.inf
    assert hull.formation({CU: 1, PD: 1}, -3.6) is None
    assert hull.decomposition({CU: 1}) == {}


def test_only_end_members():
    hull = Hull.of(phases(*[(str(z), {z: 1}, -float(i)) for i, z in enumerate((CU, PD, AG, PT))]))
    assert set(hull.vertices) == {str(z) for z in (CU, PD, AG, PT)}
    assert hull.energy({CU: 1, PD: 1, AG: 1, PT: 1}) == pytest.approx(-1.5)
    assert hull.decomposition({CU: 1, PT: 3}) == pytest.approx({str(CU): 0.25, str(PT): 0.75})


def test_missing_end_member_spans_what_is_there():
    mixed = [("CuPd", {CU: 1, PD: 1}, -0.1), ("Cu3Pd", {CU: 3, PD: 1}, -0.2)]
    hull = Hull.of(phases(("Cu", {CU: 1}, 0.0), *mixed))
    assert hull.vertices == ("Cu", "Cu3Pd", "CuPd")
    assert hull.energy({CU: 7, PD: 1}) == pytest.approx(-0.1)
    assert hull.energy({CU: 1, PD: 3}) == np.inf
    assert hull.formation({CU: 1}, 0.1) == pytest.approx(0.1)


def test_compositions_on_a_line_inside_a_ternary():
    mixed = [("CuPd", {CU: 1, PD: 1}, -0.1), ("m", {CU: 1, PD: 1, AG: 2}, -0.2)]
    hull = Hull.of(phases(("Ag", {AG: 1}, 0.0), *mixed))
    assert set(hull.vertices) == {"CuPd", "m", "Ag"}
    assert hull.energy({CU: 1, PD: 1, AG: 6}) == pytest.approx(-0.1)
    assert hull.energy({CU: 2, PD: 1, AG: 2}) == np.inf


def test_points_on_tie_lines_and_planes_are_stable_but_no_corners():
    thirds = [(i, j) for i, j in product(range(7), repeat=2) if i + j <= 6]
    rows = [(f"{i}-{j}", {CU: i, PD: j, AG: 6 - i - j}, 0.1 * i - 0.3 * j) for i, j in thirds]
    hull = Hull.of(phases(*rows))
    assert set(hull.vertices) == {"6-0", "0-6", "0-0"}
    assert (hull.above_many([r[1] for r in rows], [r[2] for r in rows]) == 0).all()
    # the same plane without two of the end members
    part = [r for r in rows if r[1][CU] < 6 and r[1][PD] < 6]
    hull = Hull.of(phases(*part))
    assert set(hull.vertices) == {"5-0", "5-1", "1-5", "0-5", "0-0"}
    assert (hull.above_many([r[1] for r in part], [r[2] for r in part]) == 0).all()


def test_duplicates_take_the_lowest_then_the_first_id():
    equal = [("z", {CU: 1, PD: 1}, -3.7), ("a", {CU: 2, PD: 2}, -3.7)]
    hull = Hull.of(binary(*equal, ("c", {CU: 4, PD: 4}, -3.6)))
    assert hull.vertices == ("Cu", "a", "Pd")


def test_order_of_points_does_not_matter():
    rng = np.random.default_rng(3)
    points = random_phases(rng, (CU, PD, AG), 300)
    one = Hull.of(points)
    other = Hull.of([points[i] for i in rng.permutation(len(points))])
    assert one.vertices == other.vertices
    compositions = [p.counts for p in points]
    assert (one.energies(compositions) == other.energies(compositions)).all()


@pytest.mark.parametrize("elements", [(CU,), (CU, PD), (CU, PD, AG), (CU, PD, AG, PT), (CU, PD, AG, PT, AU)])
@pytest.mark.parametrize("ends", [True, False])
def test_equals_the_linear_programme(elements, ends):
    rng = np.random.default_rng(len(elements))
    for n in (1, 2, 3, 5, 12, 80):
        points = random_phases(rng, elements, n, largest=4, ends=ends)
        hull = Hull.of(points)
        probes = random_phases(rng, elements, 15) + points[:10]
        found = hull.energies([p.counts for p in probes])
        expected = [lowest_mixture(points, p.counts) for p in probes]
        np.testing.assert_allclose(found, expected, atol=1e-8)
        assert (hull.above_many([p.counts for p in points], [p.energy for p in points]) >= 0).all()
        for p, energy in zip(probes, found, strict=True):
            parts = hull.decomposition(p.counts)
            assert bool(parts) == bool(np.isfinite(energy))
            if parts:
                by_id = dict(zip(hull.vertices, hull.vertex_energies, strict=True))
                assert sum(parts.values()) == pytest.approx(1.0)
                assert sum(x * by_id[i] for i, x in parts.items()) == pytest.approx(energy, abs=1e-8)


def test_nearly_flat_and_far_outliers():
    rng = np.random.default_rng(1)
    rows = random_phases(rng, (CU, PD, AG), 400, depth=1e-10)
    assert Hull.of(rows).energy({CU: 1, PD: 1, AG: 1}) == pytest.approx(0, abs=1e-9)
    rows = random_phases(rng, (CU, PD, AG), 200, depth=0.1)
    far = [*rows, Point({CU: 1, PD: 2}, 1e6, "m", "far")]
    assert Hull.of(far).vertices == Hull.of(rows).vertices


def test_mixed_methods_are_refused():
    with pytest.raises(ValueError, match="never mixes methods"):
        Hull.of([Point({CU: 1}, 0.0, "nn:1", "a"), Point({PD: 1}, 0.0, "ref:1", "b")])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_energies_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        Hull.of(binary(("x", {CU: 1, PD: 1}, bad)))
    with pytest.raises(ValueError, match="finite"):
        Hull.of(binary()).above({CU: 1, PD: 1}, bad)


def test_empty_input_is_refused():
    with pytest.raises(ValueError, match="at least one phase"):
        Hull.of([])
    with pytest.raises(ValueError, match="at least one atom"):
        Hull.of(binary()).energy({})


def test_is_quick():
    points = random_phases(np.random.default_rng(0), (CU, PD, AG), 2000)
    compositions, energies = [p.counts for p in points], [p.energy for p in points]
    times = []
    for _ in range(5):
        start = time.process_time()
        hull = Hull.of(points)
        hull.above_many(compositions, energies)
        times.append(time.process_time() - start)
    assert min(times) < 0.04  # 20 ms and a margin for a busy machine
