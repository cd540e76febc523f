"""Everything that the reference has said in a campaign, as labelled crystals that `potentials data add` takes."""

from __future__ import annotations

import json
import math
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from evo import labels
from evo.report.export import ExportError
from evo.settings import load
from evo.store import Store
from potentials.dataset import Dataset, write_dataset
from potentials.labelled.identity import SUFFIXES, write_identities

# what asks the reference: the bootstrap, re-checks, relaxations of the final phases; the last two also at the end of a campaign
ASKED = re.compile(r"(bootstrap|(?:end\d+/)?(?:reference|final))/(?!about$|method$|identity$)")


def answers(directory: Path) -> Dataset:
    """The labels in the order in which they came, without failures; also while the campaign runs.

    The provenance of each is what the engine tells and the energy at zero smearing, as JSON.
    """
    load(directory / "campaign.toml")
    with closing(Store(directory / "out" / "campaign.sqlite", writer=False)) as store:
        method = str(store.get("reference/method") or "")
        asked = filter(ASKED.match, store.keys())
        found = [x for key in asked for x in _labels(store.get(key))]
    sound = [x for x in found if x["failure"] is None]
    if not sound:
        raise ExportError(f"{directory}: the reference has said nothing yet; ask again after the first calls")
    return replace(labels.dataset(sound, method), provenance=tuple(_provenance(x) for x in sound))


def _provenance(label: dict[str, Any]) -> str:
    zero = label["energy_zero"]
    told = dict(label["details"]) | ({} if zero is None or math.isnan(zero) else {"energy_zero": zero})
    return json.dumps(told, sort_keys=True) if told else ""


def _labels(result: Any) -> list[dict[str, Any]]:
    """Of a bootstrap task, of a relaxation, of one call."""
    if isinstance(result, list):
        return result
    return list(result["labels"]) if "labels" in result else [result]


def write(directory: Path, path: Path) -> int:
    """Write them as extxyz, and beside it what stands behind the name of their method; how many there are."""
    if not path.name.endswith(SUFFIXES):
        raise ExportError(
            f"`{path}` must end in .extxyz (or .gz, .xz, .bz2 of it), which keeps every label to the last bit"
        )
    found = answers(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".part.{path.name}")
    write_dataset(unfinished, found)
    with closing(Store(directory / "out" / "campaign.sqlite", writer=False)) as store:
        identity = store.get("reference/identity")
    if identity is not None:
        write_identities(path, {found.methods[0]: identity})
    unfinished.replace(path)
    return len(found)
