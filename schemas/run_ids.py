"""Ids of runs: when a run began (UTC) and something that no other has, ``20261129T150720123456Z-1f0c9ab2``.

Of two runs on one machine the later one has the larger id; views and commands order by them. Earlier versions wrote whole
seconds, ``20261129T150720Z-1f0c9ab2``, which have no order within one.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

_MICROSECONDS, _SECONDS = "%Y%m%dT%H%M%S%fZ", "%Y%m%dT%H%M%SZ"
_LENGTH_OF_SECONDS = len("20261129T150720Z")


def new_run_id(began: datetime) -> str:
    """An id for a run that began at this time, which carries its time zone."""
    return f"{began.astimezone(UTC):{_MICROSECONDS}}-{uuid.uuid4().hex[:8]}"


def began_at(run_id: str) -> datetime | None:
    """When a run began (UTC), as its id tells; None where the id is not of this form."""
    time = run_id.partition("-")[0]
    try:
        # By its length: strptime takes any number of digits for what is behind the seconds.
        return datetime.strptime(time, _SECONDS if len(time) == _LENGTH_OF_SECONDS else _MICROSECONDS).replace(tzinfo=UTC)
    except ValueError:
        return None
