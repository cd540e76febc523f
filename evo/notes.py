"""What the last step of a campaign left for readers: how far it is, the hull, and what lies near it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evo.settings import load
from evo.store import Store, StoreError


def read_notes(directory: Path) -> dict[str, Any]:
    """ "progress" and "phases" as JSON values, "line" as text; also while the campaign runs."""
    state: dict[str, Any] = json.loads(_note(directory, "state"))
    return state


def read_near(directory: Path) -> list[dict[str, Any]]:
    """Rows of everything near the hull, for `report.phases.from_json`; of some steps ago while the campaign runs."""
    rows: list[dict[str, Any]] = json.loads(_note(directory, "near"))
    return rows


def _note(directory: Path, name: str) -> str:
    load(directory / "campaign.toml")
    store = Store(directory / "out" / "campaign.sqlite", writer=False)
    try:
        found = store.note(name)
        if found is None and name == "near" and store.note("state") is not None:
            raise StoreError(
                f"{directory} was run by an earlier version, which made no list of what is near the hull; leave out --within"
            )
        if found is None:
            raise StoreError(f"{directory}: nothing is finished yet; ask again after the first step")
        return found
    finally:
        store.close()
