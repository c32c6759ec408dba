"""What the records of packets say of their brightness, column by column: as ``alerts.light_curve`` tells it record by record."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.light_curve import BRIGHTEST_MAG, FAINTEST_MAG, facts_of
from alerts.surveys import Survey
from alerts.surveys.magnitudes import MAG_PER_RELATIVE_ERROR
from alerts.surveys.photometry import NJY_AB_MAG, Photometry, Series

Array = np.ndarray[Any, Any]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

MAG_SIGMA = 5.0
"""From so many sigma on a positive flux has a magnitude here."""


def records_of(rows: pa.RecordBatch, survey: Survey, series: Series) -> tuple[pa.Array, Integers] | None:
    """A series' records, one alert's after the other's, and how many each alert has."""
    column = survey.by_field.get(series.name)
    number = -1 if column is None else rows.schema.get_field_index(column.name)
    if number < 0:
        return None
    held = rows.column(number)
    if pa.types.is_struct(held.type):
        return held, np.ones(rows.num_rows, np.int64)
    if held.null_count:
        return held.flatten(), np.asarray(pc.fill_null(pc.list_value_length(held), 0), np.int64)
    offsets = held.offsets.to_numpy()
    return held.values.slice(offsets[0], offsets[-1] - offsets[0]), np.diff(offsets).astype(np.int64)


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
    in_seconds = times >= survey.time_in_seconds_from
    return np.where(in_seconds, 40587.0 + times / 86400, times) if in_seconds.any() else times


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


def is_null(records: pa.Array, names: tuple[str, ...]) -> Mask:
    """Where a field has no value; everywhere where the records have no such field."""
    found = _field(records, names)
    return np.ones(len(records), np.bool_) if found is None else found.is_null().to_numpy(zero_copy_only=False)


def bands(records: pa.Array, series: Series, facts: Photometry) -> Integers:
    """Indices among the survey's ``band_names``; -1 for another band, or none."""
    found = _field(records, series.band)
    if found is None:
        return np.zeros(len(records), np.int64) if not series.band else np.full(len(records), -1)
    told = list(facts.bands) or facts.band_names
    if pa.types.is_integer(found.type) and not found.null_count:
        sent = found.to_numpy()
        return np.select([sent == int(name) for name in told], range(len(told)), -1)
    places = pc.fill_null(pc.index_in(found, value_set=pa.array(told, found.type)), -1)
    # A copy that can be written, since numba takes what cannot for another type.
    return np.array(places, np.int64)


def _is_negative(records: pa.Array, series: Series) -> Mask:
    found = _field(records, series.sign)
    if found is None:
        return np.zeros(len(records), np.bool_)
    if pa.types.is_string(found.type) or pa.types.is_large_string(found.type):
        told = _single_characters(found)
        if told is not None:
            return np.isin(told, (ord("f"), ord("0")))
        brighter_not = pa.array(["f", "0"], found.type)
    else:
        brighter_not = pa.array([0]).cast(found.type)
    return np.array(pc.is_in(found, value_set=brighter_not), np.bool_)


def _single_characters(texts: pa.Array) -> Array | None:
    """The bytes of texts that are one byte each, as almost all signs are: to look them up takes ten times as long."""
    width = np.int32 if pa.types.is_string(texts.type) else np.int64
    _, offsets, data = texts.buffers()
    if texts.null_count or data is None:
        return None
    ends = np.frombuffer(offsets, width)[texts.offset : texts.offset + len(texts) + 1]
    if not (np.diff(ends) == 1).all():
        return None
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]


def is_flagged(records: pa.Array, series: Series) -> Mask:
    """Where the survey itself says that the measurement did not go well."""
    flagged = np.zeros(len(records), np.bool_)
    status = _field(records, series.status)
    if status is not None:
        flagged |= pc.fill_null(pc.not_equal(status, "0"), False).to_numpy(zero_copy_only=False)
    for name in series.flags:
        raised = _field(records, (name,))
        if raised is not None and raised.true_count:
            flagged |= pc.fill_null(raised, False).to_numpy(zero_copy_only=False)
    return flagged


def exposure(records: pa.Array, series: Series) -> dict[str, Integers]:
    """``visit`` and ``detector`` of the exposure, where the packet names both; else -1."""
    unknown = np.full(len(records), -1)
    found = [_field(records, (name,)) for name in series.exposure]
    if not found or any(values is None for values in found):
        return {"visit": unknown, "detector": unknown}
    visit, detector = (pc.fill_null(values, -1).to_numpy(zero_copy_only=False) for values in found)
    if visit.min(initial=0) < 0 or detector.min(initial=0) < 0:
        named = (visit >= 0) & (detector >= 0)
        visit, detector = np.where(named, visit, -1), np.where(named, detector, -1)
    return {"visit": np.array(visit, np.int64), "detector": np.array(detector, np.int64)}
