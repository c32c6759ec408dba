"""What a survey's numbers stand for besides numbers, by path in its table: told once, for whoever asks about rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RowFacts:
    """Keys are dotted paths of ``{survey}_alerts``; entries of arrays have the path of a field: ``prv_candidates.distnr``."""

    missing: Mapping[str, frozenset[float | str]] = field(default_factory=dict)
    """Values by which the survey says that there is none."""
    truths: Mapping[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    """Texts that are truth values: those that mean true, and those that mean false."""
    arcsec: Mapping[str, float] = field(default_factory=dict)
    """Distances in another unit: so many arcsec is one of it."""
