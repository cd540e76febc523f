"""Which software a campaign was run with."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("outcrop", "ase", "deap", "mpi4py", "mpich", "numpy", "pydantic", "scipy", "spglib", "torch")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Name -> version, Python's among them; "absent" for what is not installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
