"""An assessment on disk: assessment.json, every number with its unit; null where there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from potentials.assess.results import Assessment
from potentials.stratum_file import write_atomically

FORMAT = 1
NAME = "assessment.json"


def to_json(assessment: Assessment) -> dict[str, Any]:
    """The content of the file."""
    rows = [{**asdict(row), "difference": row.difference} for row in assessment.compared]
    return dict(_finite({"format": FORMAT, **asdict(assessment), "compared": rows}))


def write_assessment(directory: Path, assessment: Assessment) -> Path:
    """Its path; a file that was there is replaced at once."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / NAME
    write_atomically(path, _text(to_json(assessment)).encode())
    return path


def _text(content: Mapping[str, Any]) -> str:
    """One line for each entry, and for each row of a list: fit to read, and not one line for each number."""
    parts = []
    for key, value in content.items():
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if isinstance(value, list) and value:
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in value)
            text = f"[\n  {rows}\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _finite(value: Any) -> Any:
    """The same without NaN, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
