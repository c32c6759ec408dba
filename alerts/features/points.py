"""The points of light curves of a whole batch as flat arrays, from Arrow columns.

Detections and forced photometry are apart. What is told of a point is what ``alerts.light_curve`` tells of it; which of several
records of one point counts differs, as there is one packet here: ``alerts.features.once``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from alerts.features import once
from alerts.features.records import (
    Array,
    Floats,
    Integers,
    Mask,
    bands,
    brightness,
    days,
    exposure,
    is_flagged,
    is_null,
    mags,
    records_of,
)
from alerts.light_curve import facts_of
from alerts.surveys import Survey
from alerts.surveys.photometry import Kind, Photometry, Series

MEASURED, FLAGGED, LIMIT = 0, 1, 2
"""Kinds of points: with a brightness; with one that the survey itself says is not good; of an exposure that showed nothing."""
_TOLD_APART = (
    *("band", "visit", "detector", "is_limit", "is_history", "is_flagged"),
    *("error", "value", "limit_mag", "is_negative"),
)
_KEPT = ("band", "flux_njy", "flux_err_njy", "mag", "mag_err", "is_negative", "limit_mag", "is_limit", "is_flagged")


@dataclass(frozen=True)
class Points:
    """Points of alerts, one alert after the other, of each in order of time; NaN where there is no number."""

    starts: Integers
    """Where the points of each alert begin, and where the last one's end."""
    days: Floats
    """Time after the alert's own measurement, in the survey's scale: negative before it."""
    band: Integers
    """Index of the band among the survey's ``band_names``; -1: another."""
    kind: Integers
    flux_njy: Floats
    """Signed: negative where fainter than the template. NaN where the survey does not say AB."""
    flux_err_njy: Floats
    mag: Floats
    """NaN where fainter than the template and, of a flux, below ``MAG_SIGMA``."""
    mag_err: Floats
    is_negative: Mask
    limit_mag: Floats


@dataclass(frozen=True)
class Told:
    """What the records of a series say, of all alerts of a batch, one alert's after the other's."""

    series: Series
    is_own: bool
    """Whether these are the alerts' own measurements."""
    records: pa.Array
    counts: Integers
    """How many records each alert has."""
    raw: dict[str, Array]
    """A number for each record under each name."""


def read(rows: pa.RecordBatch, survey: Survey) -> list[Told]:
    """What rows of ``{survey}_alerts``, or those of their columns that are there, say; the alerts' own measurements first.

    Raises ``NoPhotometry`` where nobody has told where the survey's brightness is.
    """
    facts, told = facts_of(survey), []
    for number, series in enumerate(facts.series):
        records = records_of(rows, survey, series)
        if records is not None and (len(records[0]) or number == 0):
            told.append(Told(series, number == 0, *records, _raw(records[0], series, facts, survey, number == 0)))
    return told


def points_of(told: Sequence[Told], kind: Kind, alerts: int) -> Points:
    """The points of one kind among what was read of so many alerts."""
    known = [part for part in told if part.series.kind == kind and len(part.records)]
    if not known:
        return no_points(alerts)
    pieces = [part.raw for part in known]
    raw = pieces[0] if len(pieces) == 1 else {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    own_days = told[0].raw["days"] if told[0].is_own else np.full(alerts, np.nan)
    place, time, starts = np.empty(len(raw["days"]), np.int64), np.empty(len(raw["days"])), np.empty(alerts + 1, np.int64)
    counts = np.stack([part.counts for part in known])
    once.gather(counts, raw["days"], own_days, raw["is_limit"], raw["value"], place, time, starts)
    left = once.each_once(starts, place, time, *(raw[name] for name in _TOLD_APART))
    place, time = place[:left], time[:left]
    # Of one series, all whole and in order, as forced photometry is, everything is where it should be.
    as_read = left == len(raw["days"]) and np.array_equal(place, np.arange(left))
    found = {name: raw[name] if as_read else raw[name][place] for name in _KEPT}
    kinds = np.where(found.pop("is_limit"), LIMIT, np.where(found.pop("is_flagged"), FLAGGED, MEASURED))
    return Points(starts=starts, days=time, kind=kinds, **found)


def no_points(alerts: int) -> Points:
    """As many alerts without points."""
    none, no, nowhere = np.empty(0), np.empty(0, np.bool_), np.empty(0, np.int64)
    return Points(np.zeros(alerts + 1, np.int64), none, nowhere, nowhere, none, none, none, none, no, none)


def _raw(records: pa.Array, series: Series, facts: Photometry, survey: Survey, is_own: bool) -> dict[str, Array]:
    found = brightness(records, series, facts)
    limit = np.full(len(records), np.nan)
    if series.limit:
        is_limit = is_null(records, series.alert_id) & np.isnan(found["value"])
        limit = np.where(is_limit, mags(records, series.limit, facts), np.nan)
    return (
        found
        | exposure(records, series)
        | {
            "days": days(records, series.time, survey),
            "band": bands(records, series, facts),
            "limit_mag": limit,
            "is_limit": ~np.isnan(limit),
            "is_flagged": is_flagged(records, series),
            "is_history": np.full(len(records), not is_own),
        }
    )
