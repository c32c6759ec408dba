"""What a survey must offer to be simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from schemas import known_schemas
from schemas.avro_files import without_null
from simulation.instrument import Instrument
from simulation.objects import SkyObject
from simulation.plan import UNIX_EPOCH_MJD, NightPlan

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class MadeAlert:
    """An alert as the survey's packet states it. Position: ICRS."""

    record: dict[str, Any]
    alert_id: int
    object_id: str
    ra_deg: float
    dec_deg: float
    observed_at: datetime


@dataclass(frozen=True)
class SimulatedSurvey:
    """A survey, the schema version and framings of its packets, and how one alert is made."""

    name: str
    stream_key: int
    """Tells the surveys' random numbers apart."""
    version: str
    framings: tuple[str, ...]
    night_starts_utc_hours: int
    time_path: tuple[str, str]
    """Where a packet keeps the time of the observation."""
    instrument: Instrument
    make: Callable[[NightPlan, SkyObject, int], MadeAlert]
    """Makes the alert of an object at the night's pass of that number."""


def utc_from_mjd(mjd: float, leap_secs: int = 0) -> datetime:
    """A time to the microsecond from a Modified Julian Date that is ``leap_secs`` ahead of UTC."""
    # The day by itself: microseconds since 1970 are too many for a float to round to the nearest.
    day, fraction = divmod(mjd - UNIX_EPOCH_MJD, 1)
    return UNIX_EPOCH + timedelta(days=day, microseconds=round(fraction * 86_400_000_000)) - timedelta(seconds=leap_secs)


def record_fields(survey: str, version: str, field: str) -> dict[str, Any]:
    """Names and Avro types of the fields of a record in the survey's alert, or of the records in an array."""
    schema = known_schemas(survey)[version]
    kind, _ = without_null(next(described["type"] for described in schema["fields"] if described["name"] == field), {})
    record = kind["items"] if kind["type"] == "array" else kind
    return {described["name"]: described["type"] for described in record["fields"]}


def as_rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of plain Python values from columns; a column may be an array, a list or one value for all rows."""
    length = next(len(column) for column in columns.values() if _is_column(column))
    lists = [
        (column.tolist() if hasattr(column, "tolist") else column) if _is_column(column) else [column] * length
        for column in columns.values()
    ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _is_column(column: Any) -> bool:
    return isinstance(column, list) or getattr(column, "ndim", 0) == 1


def only_where(mask: Any, values: Any) -> list[Any]:
    """``values`` where ``mask`` is true, None elsewhere."""
    return [value if is_there else None for value, is_there in zip(values.tolist(), mask.tolist(), strict=True)]


def between(low: float, high: float, draw: Any) -> Any:
    """From random numbers between 0 and 1, numbers between ``low`` and ``high``."""
    return low + (high - low) * draw
