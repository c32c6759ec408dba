"""The progress bars of downloads and of indexing."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(what: str, total_bytes: int | None, done_bytes: int = 0, *, shown: bool | None = None) -> Any:
    """A bar of bytes, rate and time left on stderr. ``shown`` None: only on a terminal and in a notebook."""
    if shown is None:
        shown = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(
        desc=what,
        total=total_bytes,
        initial=done_bytes,
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        disable=not shown,
    )
