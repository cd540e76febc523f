"""Which software a campaign was run with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("outcrop", "ase", "deap", "mpi4py", "mpich", "numpy", "pydantic", "scipy", "spglib", "torch")


def versions() -> dict[str, str]:
    """Name -> version, "absent" for what is not installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
