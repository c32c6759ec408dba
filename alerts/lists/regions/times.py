"""How long after a region's event an alert was observed, and the first detection that its packet tells of.

Days of 86,400 s of UTC. The first detection is the earliest of the alert's own; those of its history that features count (of the
survey's bands, without flags; neither limits nor forced photometry: ``age_history_days``); and the one that the survey itself
names (ZTF's ``jdstarthist``). Histories end, of ZTF after 30 days: what was there before, only the last can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.features.alone import age_days
from alerts.features.points import MEASURED, points_of, read
from alerts.features.records import Floats
from alerts.light_curve import NoPhotometry, facts_of
from alerts.lists.regions.ranges import Mask
from alerts.surveys import Survey

_DAY_US = 86_400_000_000


def columns_for_first_detection(survey: Survey) -> Iterator[tuple[str, ...]]:
    """The columns and fields of ``{survey}_alerts`` that it takes to tell it, as names to follow."""
    yield ("observed_at",)
    facts = survey.photometry
    for series in () if facts is None else facts.series:
        column = survey.by_field.get(series.name)
        if column is not None and series.kind == "detection":
            wanted = {*series.names, facts.first_found} if facts else set()
            yield from ((column.name, field.name) for field in column.fields if field.name in wanted)


def days_since(alerts: pa.RecordBatch, event: datetime | None) -> pa.Array:
    """``observed_at`` - the event, days; NULL where either is not known."""
    return _floats(_days_since(alerts, event))


def days_to_first_detection(
    alerts: pa.RecordBatch, survey: Survey, event: datetime | None, age: Callable[[], Floats] | None = None
) -> pa.Array:
    """The first detection - the event, days: negative where it was there before. NULL where either is not known.

    ``age``: gives ``age_of_first_detection_days`` of these alerts, which no event changes and which takes long to tell.
    """
    return _floats(_days_since(alerts, event) - (age() if age else age_of_first_detection_days(alerts, survey)))


def age_of_first_detection_days(alerts: pa.RecordBatch, survey: Survey) -> Floats:
    """How long before the alert the first detection was, 0 or more.

    NaN where nobody has told where the survey has them, and where its history was not kept (``--no_history``): its own detection
    would be taken for the first.
    """
    try:
        facts = facts_of(survey)
    except NoPhotometry:
        return np.full(alerts.num_rows, np.nan)
    # Forced photometry is the larger part of some packets, and tells nothing here.
    names = [survey.by_field[series.name].name for series in facts.series if series.name in survey.by_field]
    kept = {survey.by_field[series.name].name for series in facts.series if series.kind == "detection"}
    told = read(alerts.select([name for name in alerts.schema.names if name not in names or name in kept]), survey)
    points = points_of(told, "detection", alerts.num_rows)
    age = np.zeros(alerts.num_rows)
    whose = np.repeat(np.arange(alerts.num_rows), np.diff(points.starts))
    counted = (points.kind == MEASURED) & (points.band >= 0)
    np.maximum.at(age, whose[counted], -points.days[counted])
    if facts.first_found and told and told[0].is_own:
        age = np.fmax(age, age_days(told[0], survey))
    age[_is_without_history(alerts, kept)] = np.nan
    return age


def _is_without_history(alerts: pa.RecordBatch, names: Iterable[str]) -> Mask:
    """Where any of the arrays of detections is not there at all: one without entries is."""
    found = np.zeros(alerts.num_rows, np.bool_)
    for name in names:
        if name not in alerts.schema.names:
            found[:] = True
        elif pa.types.is_list(alerts.schema.field(name).type):
            found |= alerts.column(name).is_null().to_numpy(zero_copy_only=False)
    return found


def _days_since(alerts: pa.RecordBatch, event: datetime | None) -> Floats:
    if event is None:
        return np.full(alerts.num_rows, np.nan)
    times: Any = alerts.column("observed_at").cast(pa.timestamp("us", "UTC"))
    us = times.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)
    # Whole microseconds since 1970 are exact in a float until 2255.
    return np.asarray((us - event_us(event)) / _DAY_US, np.float64)


def event_us(event: datetime) -> int:
    """Microseconds since 1970 of a time."""
    since = event - datetime.fromtimestamp(0, event.tzinfo)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _floats(values: Floats) -> pa.Array:
    return pa.array(values, pa.float64(), mask=np.isnan(values))
