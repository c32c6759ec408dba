"""The points of light curves of a whole batch as flat arrays: from Arrow columns, without a loop over points.

Detections and forced photometry are apart. What is told of a point is what ``alerts.light_curve`` tells of it; which of several
records of one point counts differs, as there is one packet here: the alert's own, then a detection before a limit, then one
without a flag, then the one with the smaller error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.light_curve import BRIGHTEST_MAG, FAINTEST_MAG, facts_of
from alerts.surveys import Survey
from alerts.surveys.magnitudes import MAG_PER_RELATIVE_ERROR
from alerts.surveys.photometry import NJY_AB_MAG, Kind, Photometry, Series

Array = np.ndarray[Any, Any]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

MEASURED, FLAGGED, LIMIT = 0, 1, 2
"""Kinds of points: with a brightness; with one that the survey itself says is not good; of an exposure that showed nothing."""
SAME_TIME_DAYS = 1e-5
"""Points of one band that are no farther apart are one, where no exposure tells them apart: 0.9 s, less than any exposure."""
MAG_SIGMA = 5.0
"""From so many sigma on a positive flux has a magnitude here."""
_DETECTORS = 1024
"""More than a camera has."""
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
    read = [(_records(rows, survey, series), series) for series in facts.series if series.kind == kind]
    known = [(*records, series) for records, series in read if records is not None and len(records[0])]
    if not known:
        return no_points(rows.num_rows)
    pieces = [_read(records, series, facts, survey, series is facts.series[0]) for records, _, series in known]
    raw = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    place, row = _alert_by_alert([counts for _, counts, _ in known])
    time = raw["days"][place] - own_time_days(rows, survey)[row]
    is_point = np.isfinite(time) & (raw["is_limit"] | ~np.isnan(raw["value"]))[place]
    if not is_point.all():
        place, row, time = place[is_point], row[is_point], time[is_point]
    kept = _each_once(raw, place, row, time)
    if kept is not None:
        place, row, time = place[kept], row[kept], time[kept]
    found = {name: raw[name][place] for name in _KEPT}
    kinds = np.where(found.pop("is_limit"), LIMIT, np.where(found.pop("is_flagged"), FLAGGED, MEASURED))
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows.num_rows))])
    return Points(starts=starts, days=time, kind=kinds, **found)


def no_points(alerts: int) -> Points:
    """As many alerts without points."""
    none, no, nowhere = np.empty(0), np.empty(0, np.bool_), np.empty(0, np.int64)
    return Points(np.zeros(alerts + 1, np.int64), none, nowhere, nowhere, none, none, none, none, no, none)


def own_record(rows: pa.RecordBatch, survey: Survey) -> pa.Array | None:
    """The alerts' own measurements; None where the batch or the survey's facts have none."""
    records = _records(rows, survey, facts_of(survey).series[0])
    return records[0] if records else None


def own_time_days(rows: pa.RecordBatch, survey: Survey) -> Floats:
    """The time of each alert's own measurement (JD or MJD, in days, as the survey has it); NaN where there is none."""
    own = own_record(rows, survey)
    return np.full(rows.num_rows, np.nan) if own is None else days(own, facts_of(survey).series[0].time, survey)


def _records(rows: pa.RecordBatch, survey: Survey, series: Series) -> tuple[pa.Array, Integers] | None:
    """A series' records, one alert's after the other's, and how many each alert has."""
    column = survey.by_field.get(series.name)
    if column is None or column.name not in rows.schema.names:
        return None
    held = rows.column(column.name)
    if pa.types.is_struct(held.type):
        return held, np.ones(rows.num_rows, np.int64)
    return held.flatten(), np.asarray(pc.fill_null(pc.list_value_length(held), 0), np.int64)


def _field(records: pa.Array, names: tuple[str, ...]) -> pa.Array | None:
    """The first of the fields that is not NULL; None where the records have none of them."""
    places = [place for name in names if (place := records.type.get_field_index(name)) >= 0]
    # A field by itself knows nothing of records that are NULL as a whole; asking for it so takes ten times as long.
    found = [pc.struct_field(records, [place]) if records.null_count else records.field(place) for place in places]
    return None if not found else found[0] if len(found) == 1 else pc.coalesce(*found)


def numbers(records: pa.Array, names: tuple[str, ...], facts: Photometry) -> Floats:
    """A field's numbers; NaN for NULL, infinity, and what stands for "none" in the survey."""
    found = _field(records, names)
    if found is None:
        return np.full(len(records), np.nan)
    values = np.array(found.to_numpy(zero_copy_only=False), np.float64)
    values[np.isinf(values)] = np.nan
    for missing in facts.missing:
        values[values == missing] = np.nan
    return values


def mags(records: pa.Array, names: tuple[str, ...], facts: Photometry) -> Floats:
    """A field's magnitudes; NaN also for what is none."""
    values = numbers(records, names, facts)
    with np.errstate(invalid="ignore"):
        values[~((values > BRIGHTEST_MAG) & (values < FAINTEST_MAG))] = np.nan
    return values


def days(records: pa.Array, names: tuple[str, ...], survey: Survey) -> Floats:
    """A field's times, in days: JD or MJD as the survey has them, MJD where they were sent in seconds."""
    times = numbers(records, names, facts_of(survey))
    with np.errstate(invalid="ignore"):
        return np.where(times >= survey.time_in_seconds_from, 40587.0 + times / 86400, times)


def _read(records: pa.Array, series: Series, facts: Photometry, survey: Survey, is_own: bool) -> dict[str, Array]:
    """What a series' records say, a number for each record under each name."""
    found = brightness(records, series, facts)
    limit = np.full(len(records), np.nan)
    if series.limit:
        is_limit = _is_null(records, series.alert_id) & np.isnan(found["value"])
        limit = np.where(is_limit, mags(records, series.limit, facts), np.nan)
    return found | {
        "days": days(records, series.time, survey),
        "band": _bands(records, series, facts),
        "limit_mag": limit,
        "is_limit": ~np.isnan(limit),
        "is_flagged": _is_flagged(records, series),
        "is_history": np.full(len(records), not is_own),
        "exposure": _exposure(records, series),
    }


def brightness(records: pa.Array, series: Series, facts: Photometry) -> dict[str, Array]:
    """Flux and magnitude of records, as ``Points`` has them; ``value`` and ``error`` are what they are made of, in mag or nJy."""
    zero_point = numbers(records, series.zero_point, facts) if series.zero_point else None
    is_mag = zero_point is None and facts.zero_point_mag is None
    value = (mags if is_mag else numbers)(records, series.value, facts)
    error = numbers(records, series.error, facts)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error[~(error > 0)] = np.nan
        if not is_mag:
            scale = fluxes_njy(np.asarray(facts.zero_point_mag if zero_point is None else zero_point, np.float64))
            value, error = value * scale, error * scale
        is_negative = _is_negative(records, series) if is_mag else value < 0
        found = _of_mags(value, error, is_negative, facts) if is_mag else _of_fluxes(value, error, series)
    return found | {"value": value, "error": error, "is_negative": is_negative}


def fluxes_njy(mag: Floats) -> Floats:
    """Fluxes of AB magnitudes. By exp, which numpy has for many numbers at once, and pow it has not."""
    return np.exp((NJY_AB_MAG - mag) * (0.4 * math.log(10)))


def _of_mags(mag: Floats, error: Floats, is_negative: Mask, facts: Photometry) -> dict[str, Array]:
    # Nothing tells the flux of a magnitude that may be of any system.
    flux = np.full(len(mag), np.nan) if facts.system is None else fluxes_njy(mag)
    return {
        "flux_njy": np.where(is_negative, -flux, flux),
        "flux_err_njy": flux * error / MAG_PER_RELATIVE_ERROR,
        "mag": np.where(is_negative, np.nan, mag),
        "mag_err": error,
    }


def _of_fluxes(flux: Floats, error: Floats, series: Series) -> dict[str, Array]:
    mag = mag_err = np.full(len(flux), np.nan)
    if series.kind == "detection":
        mag = np.where(flux >= MAG_SIGMA * error, NJY_AB_MAG - 2.5 * np.log10(flux), np.nan)
        mag_err = MAG_PER_RELATIVE_ERROR * error / flux
    return {"flux_njy": flux, "flux_err_njy": error, "mag": mag, "mag_err": mag_err}


def _is_null(records: pa.Array, names: tuple[str, ...]) -> Mask:
    found = _field(records, names)
    return np.ones(len(records), np.bool_) if found is None else found.is_null().to_numpy(zero_copy_only=False)


def _bands(records: pa.Array, series: Series, facts: Photometry) -> Integers:
    found = _field(records, series.band)
    if found is None:
        return np.zeros(len(records), np.int64) if not series.band else np.full(len(records), -1)
    told = list(facts.bands) or facts.band_names
    places = pc.fill_null(pc.index_in(found, value_set=pa.array(told, found.type)), -1)
    return np.asarray(places, np.int64)


def _is_negative(records: pa.Array, series: Series) -> Mask:
    found = _field(records, series.sign)
    if found is None:
        return np.zeros(len(records), np.bool_)
    is_text = pa.types.is_string(found.type) or pa.types.is_large_string(found.type)
    brighter_not = pa.array(["f", "0"]) if is_text else pa.array([0])
    return np.asarray(pc.is_in(found, value_set=brighter_not.cast(found.type)), np.bool_)


def _is_flagged(records: pa.Array, series: Series) -> Mask:
    flagged = np.zeros(len(records), np.bool_)
    status = _field(records, series.status)
    if status is not None:
        flagged |= pc.fill_null(pc.not_equal(status, "0"), False).to_numpy(zero_copy_only=False)
    for name in series.flags:
        raised = _field(records, (name,))
        if raised is not None and raised.true_count:
            flagged |= pc.fill_null(raised, False).to_numpy(zero_copy_only=False)
    return flagged


def _exposure(records: pa.Array, series: Series) -> Integers:
    """A number for what took the exposure, where the packet names it; -1 where it does not."""
    found = [_field(records, (name,)) for name in series.exposure]
    if not found or any(values is None for values in found):
        return np.full(len(records), -1)
    visit, detector = (pc.fill_null(values, -1).to_numpy(zero_copy_only=False) for values in found)
    return np.where((visit < 0) | (detector < 0), -1, visit * _DETECTORS + detector)


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
    told = {name: raw[name][place[among]] for name in ("band", "exposure", *_BEST_FIRST)}
    kept = np.concatenate([np.flatnonzero(~is_unruly), among[_chosen(told, row[among], time[among])]])
    return kept[np.argsort(row[kept], kind="stable")]


def _chosen(raw: Mapping[str, Array], row: Integers, time: Floats) -> Integers:
    """The best record of each point, in order of alert, time, band and exposure."""
    band, exposure = raw["band"], raw["exposure"]
    order = np.lexsort((time, exposure, band, row))
    new = np.ones(len(order), np.bool_)
    new[1:] = np.diff(time[order]) > SAME_TIME_DAYS
    for values in (row, band, exposure):
        new[1:] |= np.diff(values[order]) != 0
    if new.all():
        found = order
    else:
        point = np.cumsum(new)
        best = np.lexsort((*(raw[name][order] for name in reversed(_BEST_FIRST)), point))
        found = order[best[np.concatenate([[True], np.diff(point) != 0])]]
    sorted_by_time: Integers = np.lexsort((exposure[found], band[found], time[found], row[found]))
    return np.asarray(found[sorted_by_time], np.int64)
