"""A fit that may be cut: where its minimisation stands, in one file that is replaced as a whole."""

from __future__ import annotations

import io
import os
import time
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from potentials.levenberg import Progress

EVERY = 20.0  # CPU s between two writings


class Checkpoint:
    """progress: what the file says, None where there is none that can be read; seconds: CPU time it took to get there."""

    def __init__(self, path: Path) -> None:
        self.path, self.seconds = path, 0.0
        self.progress: Progress | None = None
        self._started = self._written = time.process_time()
        try:
            with np.load(path, allow_pickle=False) as found:
                values = {k: found[k] if found[k].ndim else found[k].item() for k in found.files}
            seconds = float(values.pop("seconds"))
            self.progress, self.seconds = Progress(**values), seconds
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            pass  # a fit from its start

    def keep(self, progress: Progress) -> None:
        """Write it, unless the last writing was a moment ago."""
        now = time.process_time()
        if now - self._written < EVERY:
            return
        stream = io.BytesIO()
        np.savez(stream, **asdict(progress), seconds=self.seconds + now - self._started)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        partial.parent.mkdir(exist_ok=True)  # another training takes it away when it has nothing more in it
        partial.write_bytes(stream.getvalue())
        os.replace(partial, self.path)
        self._written = now

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
