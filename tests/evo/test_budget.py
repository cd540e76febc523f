"""What a budget in CPU hours pays for."""

from __future__ import annotations

from ase.build import bulk

from evo.budget import Budget
from evo.settings import ReferenceSection


def test_hours_pay_for_so_many_calls():
    crystals = [bulk("Cu")] * 10
    budget = Budget(ReferenceSection(max_hours=0.01, atom_seconds=6.0))  # 36 s
    assert budget.paid(crystals, 0.0) == [0, 1, 2, 3, 4, 5]
    assert budget.paid(crystals, 0.5) == [0, 1, 2]
    assert budget.paid(crystals, 0.0, calls=3) == [0, 1]
    budget.spend(crystals[:4])
    assert budget.paid(crystals, 0.0) == [0, 1]
    assert budget.paid(crystals, 1 / 3) == []
    assert Budget(ReferenceSection()).paid(crystals, 0.5) == list(range(10))
    dear = bulk("Cu").repeat(2)
    assert Budget(ReferenceSection(max_hours=0.01, atom_seconds=6.0)).paid([dear, bulk("Cu"), dear], 0.0) == [1]
