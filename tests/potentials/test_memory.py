"""Memory that runs out: work is halved and done, no bit of a result differs, and what cannot fit says so."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from potentials import kernels, memory
from potentials.batch import footprint
from potentials.descent import Descent
from potentials.kernels import compiled
from potentials.memory import halving, join_predictions, ran_out
from potentials.network import Shape
from potentials.relax import Relaxed, relax
from potentials.structures import Floats, Prediction, Structures
from tests.crystals import AG, CU, PD, crystal, library

built = pytest.mark.skipif("compiled" not in kernels.available(), reason="the compiled kernel is not built")
MODEL = library((CU, PD, AG), Shape(4.5, 3, 2, 5))


def crystals(n: int = 24, seed: int = 5) -> Structures:
    rng = np.random.default_rng(seed)
    return Structures.from_ase([crystal(rng, int(rng.integers(1, 13))) for _ in range(n)])


def network(structures: Structures) -> Prediction:
    return kernels.evaluate(structures, MODEL)


def bits(relaxed: Relaxed) -> tuple[bytes, ...]:
    at, p = relaxed.structures, relaxed.prediction
    arrays = (at.positions, at.cells, p.energies, p.forces, p.stresses, p.member_energies, relaxed.calls)
    return (*(a.tobytes() for a in arrays), ",".join(relaxed.outcomes).encode())


@built
def test_evaluation_halves_and_keeps_every_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    structures, sizes = crystals(), []
    whole = network(structures)
    direct = compiled.evaluate

    def small(part: Structures, *rest: object) -> Prediction:
        sizes.append(len(part))
        if len(part) > 5:
            raise MemoryError
        return direct(part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(compiled, "evaluate", small)
    halved = network(structures)
    assert max(sizes) == 24 and min(sizes) == 3
    for name in ("energies", "forces", "stresses", "member_energies", "atomic_energies"):
        assert getattr(halved, name).tobytes() == getattr(whole, name).tobytes()


def test_torch_says_it_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from potentials.kernels import torch_path

    structures = crystals(6)
    whole = kernels.evaluate(structures, MODEL, kernel="torch")
    direct = torch_path.evaluate

    def small(part: Structures, *rest: object) -> Prediction:
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return direct(part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(torch_path, "evaluate", small)
    halved = kernels.evaluate(structures, MODEL, kernel="torch")
    np.testing.assert_allclose(halved.forces, whole.forces, atol=1e-12)
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**55, dtype=torch.float64)
    assert ran_out(refused.value) and not ran_out(RuntimeError("shape '[3]' is invalid"))


def test_a_crystal_too_large_says_so_and_other_errors_pass() -> None:
    def never(structures: Structures) -> Prediction:
        raise MemoryError("Unable to allocate")

    def wrong(structures: Structures) -> Prediction:
        raise RuntimeError("no such thing")

    structures = crystals(5)
    with pytest.raises(MemoryError, match=r"^a crystal of \d+ atoms does not fit .* by itself: Unable to allocate$"):
        halving(never, join_predictions, structures)
    with pytest.raises(RuntimeError, match="no such thing"):
        halving(wrong, join_predictions, structures)


@built
@pytest.mark.parametrize("room", [1, 3 * footprint(16), 10 * footprint(16)])
def test_crystals_that_wait_end_with_the_same_bits(room: int) -> None:
    structures = crystals()
    seen: list[int] = []
    limited = relax(
        network, structures, max_calls=40, room=room, on_call=lambda index, s, p: seen.append(s.sizes.sum())
    )
    whole = relax(network, structures, max_calls=40, room=2**40)
    assert bits(limited) == bits(whole)
    assert max(seen) < structures.sizes.sum()


@built
@pytest.mark.parametrize("call", [1, 2, 9, 30])
def test_a_step_that_runs_out_of_memory_begins_anew(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    structures = crystals()
    whole = relax(network, structures, max_calls=40)
    calls, rows, learn = 0, [], Descent.learn

    def fails(self: Descent, values: Floats, gradients: Floats, noises: Floats) -> object:
        nonlocal calls
        calls += 1
        rows.append(len(values))
        taken = learn(self, values, gradients, noises)  # half done: the state has changed
        if calls == call:
            raise MemoryError("Unable to allocate")
        return taken

    monkeypatch.setattr(Descent, "learn", fails)
    again = relax(network, structures, max_calls=40)
    assert bits(again) == bits(whole)
    assert calls > call and max(rows[call:]) < max(rows[:call])


def test_a_crystal_that_cannot_be_relaxed_is_no_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Descent, values: Floats, gradients: Floats, noises: Floats) -> object:
        raise MemoryError("Unable to allocate")

    monkeypatch.setattr(Descent, "learn", fails)
    with pytest.raises(MemoryError, match=r"^a crystal of \d+ atoms cannot be relaxed: Unable to allocate$"):
        relax(network, crystals(4))


def test_footprint_holds_what_a_relaxation_takes() -> None:
    rng = np.random.default_rng(2)
    structures = Structures.from_ase([crystal(rng, 24) for _ in range(20)])

    def still(s: Structures) -> Prediction:
        """Nothing is allocated here but the answer."""
        n, n_atoms = len(s), len(s.numbers)
        push = np.random.default_rng(0).normal(size=(n_atoms, 3))
        return Prediction(np.zeros(n), push, np.zeros((n, 3, 3)), np.zeros((n, 1)), np.zeros(n_atoms))

    tracemalloc.start()
    try:
        relax(still, structures, max_calls=6)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.4 < peak / (20 * footprint(24)) < 1.0


LIMITED = """
import resource, sys
import numpy as np
from pathlib import Path
from potentials.relax import relax
from tests.potentials.test_memory import bits, many_crystals, network
structures = many_crystals()
network(structures)  # everything that is loaded once has been
if sys.argv[1] != "all":
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]), -1))
    room = 2**40  # planned as if there were no limit
else:
    room = None
import hashlib
print(hashlib.sha256(b"".join(bits(relax(network, structures, max_calls=4, room=room)))).hexdigest())
"""


def many_crystals() -> Structures:
    rng = np.random.default_rng(7)
    return Structures.from_ase([crystal(rng, 24) for _ in range(150)])


@built
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are tested on Linux")
def test_a_real_limit_of_the_process_changes_no_bit() -> None:
    root = Path(__file__).resolve().parents[2]
    need = 150 * footprint(24)

    def run(limit: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, limit], cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(str(need // 3)) == run("all")


def test_room_is_a_share_of_what_the_system_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert memory.free_bytes() == memory.UNKNOWN
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4000 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("100\n")
    assert memory.free_bytes() == 4_096_000
    (tmp_path / "memory.max").write_text("2000100\n")
    assert memory.free_bytes() == 2_000_000
    assert memory.room() == 500_000
