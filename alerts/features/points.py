"""The points of light curves of a whole batch as flat arrays: from Arrow columns, without a loop over points.

Detections and forced photometry are apart. What is told of a point is what ``alerts.light_curve`` tells of it; which of several
records of one point counts differs, as there is one packet here: the alert's own, then a detection before a limit, then one
without a flag, then the one with the smaller error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

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
    own_time_days,
    records_of,
)
from alerts.light_curve import facts_of
from alerts.surveys import Survey
from alerts.surveys.photometry import Kind, Photometry, Series

MEASURED, FLAGGED, LIMIT = 0, 1, 2
"""Kinds of points: with a brightness; with one that the survey itself says is not good; of an exposure that showed nothing."""
SAME_TIME_DAYS = 1e-5
"""Points of one band that are no farther apart are one, where no exposure tells them apart: 0.9 s, less than any exposure."""
_BEST_FIRST = ("is_limit", "is_history", "is_flagged", "error", "value", "limit_mag", "is_negative")
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


def points_of(rows: pa.RecordBatch, survey: Survey, kind: Kind) -> Points:
    """The points of one kind of rows of ``{survey}_alerts``, of those of their columns that are there.

    Raises ``NoPhotometry`` where nobody has told where the survey's brightness is.
    """
    facts = facts_of(survey)
    read = [(records_of(rows, survey, series), series) for series in facts.series if series.kind == kind]
    known = [(*records, series) for records, series in read if records is not None and len(records[0])]
    if not known:
        return no_points(rows.num_rows)
    pieces = [_read(records, series, facts, survey, series is facts.series[0]) for records, _, series in known]
    raw = pieces[0] if len(pieces) == 1 else {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    place, row = _alert_by_alert([counts for _, counts, _ in known])
    time = raw["days"][place] - own_time_days(rows, survey)[row]
    is_point = np.isfinite(time) & (raw["is_limit"] | ~np.isnan(raw["value"]))[place]
    if not is_point.all():
        place, row, time = place[is_point], row[is_point], time[is_point]
    kept = _each_once(raw, place, row, time)
    if kept is not None:
        place, row, time = place[kept], row[kept], time[kept]
    # Of one series, all whole and in order, as forced photometry is, everything is where it should be.
    as_read = len(pieces) == 1 and len(place) == len(raw["value"]) and kept is None
    found = {name: raw[name] if as_read else raw[name][place] for name in _KEPT}
    kinds = np.where(found.pop("is_limit"), LIMIT, np.where(found.pop("is_flagged"), FLAGGED, MEASURED))
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows.num_rows))])
    return Points(starts=starts, days=time, kind=kinds, **found)


def no_points(alerts: int) -> Points:
    """As many alerts without points."""
    none, no, nowhere = np.empty(0), np.empty(0, np.bool_), np.empty(0, np.int64)
    return Points(np.zeros(alerts + 1, np.int64), none, nowhere, nowhere, none, none, none, none, no, none)


def _read(records: pa.Array, series: Series, facts: Photometry, survey: Survey, is_own: bool) -> dict[str, Array]:
    """What a series' records say, a number for each record under each name."""
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


def _alert_by_alert(counts: list[Integers]) -> tuple[Integers, Integers]:
    """Where the records of several series are, one series after the other, for an order alert by alert; and whose each is.

    Of an alert the last series comes first: its own measurement, the newest mostly, is the last of its points.
    """
    total = np.sum(counts, axis=0)
    row = np.repeat(np.arange(len(total)), total)
    place = np.empty(len(row), np.int64)
    begins, ends = np.cumsum(total) - total, np.cumsum([count.sum() for count in counts])
    for count, end in zip(reversed(counts), reversed(ends.tolist()), strict=True):
        # Of each record: where its alert's records of this series begin, and which of them it is.
        number = np.arange(count.sum())
        place[np.repeat(begins - (np.cumsum(count) - count), count) + number] = number + (end - len(number))
        begins = begins + count
    return place, row


def _each_once(raw: Mapping[str, Array], place: Integers, row: Integers, time: Floats) -> Integers | None:
    """Which of the points to keep, in order of time, each once; None where they are so already, as those of most alerts are."""
    disorder = (row[1:] == row[:-1]) & ~(np.diff(time) > SAME_TIME_DAYS)
    if not disorder.any():
        return None
    unruly = np.zeros(row[-1] + 1, np.bool_)
    unruly[row[1:][disorder]] = True
    is_unruly = unruly[row]
    among = np.flatnonzero(is_unruly)
    kept = np.concatenate([np.flatnonzero(~is_unruly), among[_sorted(raw, place[among], row[among], time[among])]])
    return kept[np.argsort(row[kept], kind="stable")]


def _sorted(raw: Mapping[str, Array], place: Integers, row: Integers, time: Floats) -> Integers:
    """The best record of each point, in order of alert, time, band and exposure."""
    order: Integers = np.lexsort((time, row))
    near = np.zeros(len(order) + 1, np.bool_)
    near[1:-1] = (np.diff(row[order]) == 0) & (np.diff(time[order]) <= SAME_TIME_DAYS)
    crowded = np.flatnonzero(near[:-1] | near[1:])
    if not len(crowded):
        return order
    # Records of one time, few mostly, in the places that they have among all: those that are left take a crowd's first places.
    crowd: Integers = np.cumsum(~near[:-1], dtype=np.int64)[crowded]
    whose = order[crowded]
    told = {name: raw[name][place[whose]] for name in ("band", "visit", "detector", *_BEST_FIRST)}
    kept = _chosen(told, crowd, time[whose])
    begins = np.searchsorted(crowd, crowd[kept])
    nth = np.arange(len(kept)) - np.searchsorted(crowd[kept], crowd[kept])
    order[crowded] = -1
    order[crowded[begins + nth]] = whose[kept]
    return order[order >= 0]


def _chosen(raw: Mapping[str, Array], crowd: Integers, time: Floats) -> Integers:
    """Of records in crowds, close in time, the best of each point; in order of crowd, time, band and exposure."""
    band, visit, detector = raw["band"], raw["visit"], raw["detector"]
    order = np.lexsort((time, detector, visit, band, crowd))
    new = np.ones(len(order), np.bool_)
    new[1:] = np.diff(time[order]) > SAME_TIME_DAYS
    for values in (crowd, band, visit, detector):
        new[1:] |= np.diff(values[order]) != 0
    point = np.cumsum(new)
    best = np.lexsort((*(raw[name][order] for name in reversed(_BEST_FIRST)), point))
    found = order[best[np.concatenate([[True], np.diff(point) != 0])]]
    by_time: Integers = np.lexsort((detector[found], visit[found], band[found], time[found], crowd[found]))
    return np.asarray(found[by_time], np.int64)
