"""What a run puts into a warehouse as one, and the files it writes for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

STREAM = "stream"
"""The unit of what comes as messages: nothing is replaced by it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Inputs that are ingested as one: what a run writes for them replaces what an earlier run wrote for them."""

    inputs: tuple[str, ...]
    letters: tuple[str, ...] = ()
    """Of a replay, the ids of the dead letters it takes: it replaces only what earlier replays of these wrote."""
    sources: tuple[str, ...] = ()
    """The source of each of these letters."""

    @property
    def key(self) -> str:
        """16 hexadecimal digits that stand for these inputs in file names."""
        return unit_key(("replay", *self.letters) if self.letters else self.inputs)


def unit_key(inputs: Iterable[str]) -> str:
    """See ``Unit.key``."""
    return hashlib.sha256("\n".join(inputs).encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A finished file that waits under ``temporary`` to be moved to its place ``final``."""

    unit: str
    temporary: str
    final: str
    rows: int
    size_bytes: int = 0
    schema: str = ""
    """A fingerprint of its columns and their types."""
    healpix29: tuple[int, int] | None = None
    """The least and the greatest; None where nobody knows."""
    observed_at: tuple[datetime, datetime] | None = None


def printable(uri: str) -> str:
    r"""``uri`` as text for a row; bytes of a file's name that are no UTF-8 are shown as ``\xff``."""
    return uri.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
