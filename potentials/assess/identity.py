"""What the answers of a calculator depend on beside the crystal: its import path, its arguments, the files these
name, and the file that makes it where that is the user's own.

A file that the calculator reads counts with its content, so another potential under the same name is another reference.
A file that it writes, such as a log, must not count: it is told by having changed during the first call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


class Identity:
    """Of one calculator. `written`: the arguments known to name files that it writes."""

    def __init__(
        self, path: str, arguments: Mapping[str, Any], written: Iterable[str] = (), source: Path | None = None
    ) -> None:
        """source: the user's own file that makes the calculator, which counts with its content; None: a package does."""
        self._path, self._arguments = path, arguments
        self._source = None if source is None else hashlib.sha256(source.read_bytes()).hexdigest()
        self.written = set(written)
        self._stamps = {text: _stamp(text) for text in _texts(arguments)}
        self.key = self._digest()

    def notice(self) -> list[str]:
        """Arguments whose files have changed since the beginning; from now on they count as text only."""
        new = sorted(t for t, stamp in self._stamps.items() if t not in self.written and _stamp(t) != stamp)
        if new:
            self.written.update(new)
            self.key = self._digest()
        return new

    def _digest(self) -> str:
        """16 hex digits."""

        def content(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {str(k): content(v) for k, v in value.items()}
            if isinstance(value, list):
                return [content(v) for v in value]
            if isinstance(value, str) and value not in self.written and _stamp(value) is not None:
                return {"sha256": hashlib.sha256(Path(value).read_bytes()).hexdigest()}
            return value

        parts = [self._path, content(self._arguments)] + ([self._source] if self._source else [])
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _texts(value: Any) -> Iterator[str]:
    """Every string among the arguments."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for v in value.values():
            yield from _texts(v)
    elif isinstance(value, list):
        for v in value:
            yield from _texts(v)


def _stamp(text: str) -> tuple[int, int] | None:
    """Time of change and size of the file of this name; None where there is none."""
    try:
        path = Path(text)
        return (path.stat().st_mtime_ns, path.stat().st_size) if text and path.is_file() else None
    except (OSError, ValueError):  # too long for a name, or a null byte
        return None
