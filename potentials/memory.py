"""How much memory there is, and work that is cut in half when it does not fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from potentials.structures import Prediction, Structures

Result = TypeVar("Result")

SHARE = 1 / 4  # of what is free: other ranks of the node, and the caller's own arrays, need some too
UNKNOWN = 2**30  # bytes, taken to be free where the system does not say
_MEMINFO, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def free_bytes(device: str = "cpu") -> int:
    """Bytes that this process may still take on `device` ("cpu" or a CUDA device of torch)."""
    if device != "cpu":
        import torch  # slow to import, and needed on a GPU only

        return int(torch.cuda.mem_get_info(device)[0])
    known = [n for n in (_available(), _left_of_group()) if n is not None]
    return min(known, default=UNKNOWN)


def room(device: str = "cpu") -> int:
    """Bytes that one piece of work should plan for."""
    return int(SHARE * free_bytes(device))


def ran_out(error: BaseException) -> bool:
    """Whether this error says that memory ran out, in numpy, C++ or torch."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch on the processor


def halving(
    work: Callable[[Structures], Result], join: Callable[[Sequence[Result]], Result], structures: Structures
) -> Result:
    """What `work` says of these crystals, in two halves (and so on) where it runs out of memory.

    MemoryError when a single crystal is too large.
    """
    try:
        return work(structures)
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        reason = str(error)
    # outside the handler: a traceback would keep alive what the failed attempt had taken
    n = len(structures)
    if n < 2:
        size = len(structures.numbers)
        raise MemoryError(f"a crystal of {size} atoms does not fit into memory by itself: {reason}")
    middle = n // 2
    return join([halving(work, join, structures.select(range(a, b))) for a, b in ((0, middle), (middle, n))])


def join_predictions(parts: Sequence[Prediction]) -> Prediction:
    """One Prediction of all crystals, in this order."""
    names = ("energies", "forces", "stresses", "member_energies", "atomic_energies")
    return Prediction(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def _available() -> int | None:
    """Bytes by the kernel's own estimate (Linux)."""
    try:
        line = next(x for x in _MEMINFO.read_text().splitlines() if x.startswith("MemAvailable"))
        return 1024 * int(line.split()[1])
    except (OSError, StopIteration, IndexError, ValueError):
        return None


def _left_of_group() -> int | None:
    """Bytes up to the limit of this control group, as batch systems and containers set it."""
    try:
        return int((_GROUP / "memory.max").read_text()) - int((_GROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no such file; "max": no limit
        return None
