"""The progress bars of downloads and of indexing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm


@contextlib.contextmanager
def progress_bar(what: str, total_bytes: int | None, done_bytes: int = 0, *, shown: bool | None = None) -> Iterator[Any]:
    """A bar of bytes, rate and time left on stderr. ``shown`` None: only on a terminal and in a notebook.

    It is text, in a notebook too: nothing is fetched from anywhere to draw it. What ends without an error ends at 100 %.
    """
    if shown is None:
        shown = sys.stderr.isatty() or "ipykernel" in sys.modules
    with tqdm(
        desc=what,
        total=total_bytes,
        initial=done_bytes,
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        disable=not shown,
    ) as bar:
        yield bar
        if bar.total is not None:
            # Work is told in steps, of which the last may be nothing to do.
            bar.update(bar.total - bar.n)
        bar.refresh()
