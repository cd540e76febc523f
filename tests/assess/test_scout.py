"""A reference whose relaxations begin where a cheap side's end: fewer answers, the same minima, none anew for another library."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from potentials.assess.prototypes import crystals
from potentials.assess.side import Side
from potentials.calculator import from_calculator
from potentials.stratum import Stratum
from potentials.structures import Prediction, Structures
from tests.assess.sides import SMALL, emt_reference

PHASES = [
    c for c in crystals(Stratum.parse("CuPd")) if c.name in ("CuPd L1_1", "Cu3Pd D0_19", "Cu3Pd D0_22", "Cu2Pd MoPt2")
]


def scaled(factor: float) -> Side:
    """EMT, but everything is larger by 1 / factor: what networks are to DFT, roughly right."""
    ask = from_calculator(EMT())

    def evaluate(s: Structures) -> Prediction:
        found = ask(Structures(s.numbers, factor * s.positions, factor * s.cells, s.periodic, s.offsets))
        return replace(found, forces=factor * found.forces, stresses=factor**3 * found.stresses)

    return Side(f"scaled by {factor}", evaluate, SMALL)


def asked(scout: Side | None, cache: Path | None = None) -> tuple[dict[str, float], int]:
    side = replace(emt_reference(cache), scout=scout)
    found = {c.name: side.relaxed(c) for c in PHASES}
    assert all(f.converged for f in found.values())
    assert side.book is not None
    return {name: f.energy for name, f in found.items()}, side.book.calls


def test_fewer_answers_and_the_same_minima():
    plain, n_plain = asked(None)
    scouted, n_scouted = asked(scaled(1.004))
    assert scouted == pytest.approx(plain, abs=2e-4)
    assert n_scouted <= 0.65 * n_plain


def test_another_scout_asks_nothing_new(tmp_path):
    first, n = asked(scaled(1.004), tmp_path / "answers.jsonl")
    second, again = asked(scaled(0.99), tmp_path / "answers.jsonl")
    assert n > 0 and again == 0
    assert second == pytest.approx(first, abs=1e-12)


def test_relaxations_that_began_without_a_scout_go_on_without(tmp_path):
    first, _ = asked(None, tmp_path / "answers.jsonl")
    lines = (tmp_path / "answers.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "answers.jsonl").write_bytes(b"".join(line for line in lines if b"minimum_of" not in line))
    assert asked(scaled(1.004), tmp_path / "answers.jsonl") == (first, 0)


def test_a_scout_that_leaves_the_structure_leads_nowhere():
    """L1_0 that becomes B2 under the scout: the reference begins at L1_0 all the same."""
    tetragonal = bulk("CuPd", "cesiumchloride", a=2.9)
    tetragonal.set_cell(tetragonal.cell.array @ np.diag([0.97, 0.97, 1.08]), scale_atoms=True)
    cubic = bulk("CuPd", "cesiumchloride", a=2.95)

    class Leads(Side):
        def relax(self, atoms, **_):  # type: ignore[no-untyped-def]
            return replace(scaled(1.0).relax(cubic), atoms=cubic)

    leads = Leads("leads astray", scaled(1.0).evaluate, SMALL)
    with_it, without = replace(emt_reference(), scout=leads), emt_reference()
    assert with_it.relax(tetragonal).energy == without.relax(tetragonal).energy
    assert with_it.book is not None and without.book is not None and with_it.book.calls == without.book.calls
