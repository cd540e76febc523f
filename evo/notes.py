"""What the last step of a campaign left for readers: how far it is, and the hull."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evo.settings import load
from evo.store import Store, StoreError


def read_notes(directory: Path) -> dict[str, Any]:
    """ "progress" and "phases" as JSON values, "line" as text; also while the campaign runs."""
    load(directory / "campaign.toml")
    store = Store(directory / "out" / "campaign.sqlite", writer=False)
    try:
        found = store.note("state")
        if found is None:
            raise StoreError(f"{directory}: nothing is finished yet; ask again after the first step")
        state: dict[str, Any] = json.loads(found)
        return state
    finally:
        store.close()
