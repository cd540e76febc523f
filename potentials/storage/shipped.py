"""Libraries that come with the package. Each is known by its name wherever a library is asked for, and never changed."""

from __future__ import annotations

from pathlib import Path

from potentials.stratum_file import LibraryError

SHELF = Path(__file__).resolve().parents[1] / "shipped"


def names() -> list[str]:
    """Of all that are there."""
    return sorted(path.parent.name for path in SHELF.glob("*/library.json"))


def place(name: str | Path, beside: Path = Path()) -> Path:
    """The directory that `name` stands for: one of the user's, relative to `beside`, before one that comes with the package."""
    path = beside / name
    return SHELF / name if str(name) in names() and not path.exists() else path


def refuse_changes(directory: Path) -> None:
    """LibraryError where this library came with the package."""
    if directory.resolve().parent == SHELF:
        name = directory.name
        raise LibraryError(
            f"{name} comes with the package and is not changed; `potentials copy {name} DIR`, and go on with DIR"
        )
