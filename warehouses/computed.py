"""What became of the features of stored alerts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Computed:
    """Numbers of rows of alerts."""

    seen: int = 0
    had: int = 0
    """Of those seen, the ones that had features of the present version."""
    computed: int = 0
    """Those that have a new row, ``failed`` among them."""
    failed: int = 0
    """Whose features are NULL, since they could not be computed."""
    without_history: int = 0
    """Of which features would be those of a light curve of one point: their history was not stored."""

    def __add__(self, other: Computed) -> Computed:
        return Computed(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))
