"""A region as it was asked for: ``NAME=FILE[?level=0.9][&t0=TIME]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import urlencode

import numpy as np

from alerts.lists.named import BadList, parse_named
from alerts.times import to_utc

LEVEL = 0.9
"""The credible level inside which a place is, where none was asked for."""
_OFFSET = re.compile(r" (\d\d:?\d\d)$")


@dataclass(frozen=True)
class RegionSpec:
    """A region's name and file, and what was said of it."""

    name: str
    """As filters write it: ``regions.NAME``."""
    path: str
    level: float | None = None
    """Of a sky map: places of at most this credible level are inside. None: nothing was said, and it is ``LEVEL``."""
    t0: datetime | None = None
    """When the event was, UTC, whatever the file says."""

    @property
    def text(self) -> str:
        """The region with all that was said of it, as ``parse_region`` reads it."""
        said = {"level": self.level, "t0": self.t0 and self.t0.isoformat()}
        query = urlencode({key: value for key, value in said.items() if value is not None}, safe=":")
        return f"{self.name}={self.path}" + f"?{query}" * bool(query)


def parse_region(text: str) -> RegionSpec:
    """A region from ``NAME=FILE[?level=0.9][&t0=TIME]``. Raises ``BadList``."""
    named = parse_named(text, ("level", "t0"))
    said = dict(named.parameters)
    level = _level(named.name, said["level"]) if "level" in said else None
    return RegionSpec(named.name, named.path, level, _time(named.name, said["t0"]) if "t0" in said else None)


def _level(name: str, text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = 0.0
    if not 0 < level <= 1:
        raise BadList(f"the region {name} has the level {text!r}; write a number above 0 and at most 1, as level=0.9")
    return level


def _time(name: str, text: str) -> datetime:
    """A time of ISO 8601 with its offset, or ``MJD:60000.5`` (UTC)."""
    told = f"the region {name} has t0={text}; write a UTC time such as t0=2026-11-01T05:13:22Z or t0=MJD:61345.21762"
    if text[:4].casefold() == "mjd:":
        try:
            time: datetime | None = to_utc(np.array([float(text[4:])]), "mjd", "utc").tolist()[0]
        except ValueError:
            time = None
        if time is None:
            raise BadList(told)
        return time.replace(tzinfo=timezone.utc)
    try:
        # In an address a plus is a blank.
        given = datetime.fromisoformat(_OFFSET.sub(r"+\1", text) if "T" in text else text)
    except ValueError:
        raise BadList(told) from None
    if given.tzinfo is None:
        raise BadList(f"{told}: it does not say of which zone it is")
    try:
        return given.astimezone(timezone.utc)
    except OverflowError:
        raise BadList(told) from None
