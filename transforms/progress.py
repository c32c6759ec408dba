"""How far a local run has come: each worker, thread or process, keeps a number in a file of its own in one folder.

Beam's metrics can be read only when the run is over.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

_WRITE_EVERY_SECS = 0.5


class Progress:
    """Counts alerts; writes nothing where there is no folder."""

    def __init__(self, folder: str | None) -> None:
        self._file = Path(folder) / uuid.uuid4().hex if folder else None
        self._count, self._written_at = 0, 0.0

    def add(self, count: int) -> None:
        """Count ``count`` more alerts."""
        self._count += count
        if time.monotonic() - self._written_at > _WRITE_EVERY_SECS:
            self.flush()

    def flush(self) -> None:
        """Let readers see the count."""
        if self._file is not None and self._file.parent.is_dir():
            self._written_at = time.monotonic()
            temporary = self._file.with_suffix(".new")
            temporary.write_text(str(self._count))
            os.replace(temporary, self._file)


def total(folder: str) -> int:
    """The alerts counted by all workers of ``folder``."""
    return sum(int(file.read_text() or 0) for file in Path(folder).iterdir() if not file.suffix)
