"""The features of whole batches of alerts: from the rows of ``{survey}_alerts``, or those of their columns that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.features import curves
from alerts.features.alone import age_days, apparent_mags, elat_deg, glat_deg, positions
from alerts.features.definitions import Definition, color_pairs, columns, of_alerts, of_bands, of_curves
from alerts.features.points import FLAGGED, LIMIT, MEASURED, Floats, Mask, Points, points_of
from alerts.light_curve import facts_of
from alerts.surveys import Survey
from alerts.surveys.photometry import Photometry

Array = np.ndarray[Any, Any]
ByBand = dict[str, Array]
"""Values of features by name: an array of bands by alerts."""


def features_of(rows: pa.RecordBatch, survey: Survey) -> pa.RecordBatch:
    """The fields of the struct ``features`` (``definitions.columns``) of each of the rows.

    Of a row whose history was cut they are the features of what is left; no row of another alert counts. Raises ``NoPhotometry``
    where nobody has told where the survey's brightness is.
    """
    facts = facts_of(survey)
    detections, forced = points_of(rows, survey, "detection"), points_of(rows, survey, "forced")
    by_band = _of_bands(detections, forced, survey)
    alone = _of_alerts(rows, detections, forced, by_band, survey)
    kinds = [column.arrow for column in columns(survey)]
    defined = of_bands(survey)
    whole = np.stack([by_band[definition.name] for definition in defined], axis=1)
    bands = [
        pa.StructArray.from_arrays(_arrays(values, defined), fields=list(kind.type))
        for values, kind in zip(whole, kinds[: len(whole)], strict=True)
    ]
    singles = _arrays(np.stack([alone[definition.name] for definition in of_alerts(survey)]), of_alerts(survey))
    return pa.RecordBatch.from_arrays([*bands, *singles], schema=pa.schema(kinds))


def _of_bands(detections: Points, forced: Points, survey: Survey) -> ByBand:
    facts = facts_of(survey)
    is_measured = detections.kind == MEASURED
    has_mag = is_measured & ~np.isnan(detections.mag)
    defined = of_curves(survey)
    found = _curve(detections, is_measured, "njy", defined["njy"], facts) | _curve(detections, has_mag, "mag", defined["mag"], facts)
    found["n_without_mag"] = found["n_detections"] - found["n_mag"]
    found["n_negative"] = _count(detections, is_measured & detections.is_negative, facts)
    found["n_flagged"] = _count(detections, detections.kind == FLAGGED, facts)
    if any(series.limit for series in facts.series):
        found["n_limits"] = _count(detections, detections.kind == LIMIT, facts)
        rises = _empty(detections, len(facts.band_names), 2)
        where = (detections.starts, detections.days, detections.band)
        curves.rises(*where, detections.kind, detections.mag, detections.limit_mag, rises)
        found["rise_mag_per_day_at_least"], found["rise_gap_days"] = rises.transpose(2, 1, 0)
    if "forced" in defined:
        used = forced.kind == MEASURED
        found |= _curve(forced, used, "njy", defined["forced"], facts)
        found["n_negative_forced"] = _count(forced, used & forced.is_negative, facts)
        found["n_flagged_forced"] = _count(forced, forced.kind == FLAGGED, facts)
    return found


def _curve(points: Points, used: Mask, unit: str, defined: Mapping[str, Definition], facts: Photometry) -> ByBand:
    """The values of one kind of light curve."""
    out = _empty(points, len(facts.band_names), len(curves.VALUES))
    is_mag = unit == "mag"
    value, error = (points.mag, points.mag_err) if is_mag else (points.flux_njy, points.flux_err_njy)
    curves.curves(points.starts, points.days, points.band, used, value, error, is_mag, out)
    values = np.ascontiguousarray(out.transpose(2, 1, 0))
    return {defined[name].name: values[number] for number, name in enumerate(curves.VALUES) if name in defined}


def _empty(points: Points, bands: int, values: int) -> Floats:
    return np.full((len(points.starts) - 1, bands, values), np.nan)


def _count(points: Points, chosen: Mask, facts: Photometry) -> Array:
    """How many of the chosen points each alert has, by bands."""
    alerts, bands = len(points.starts) - 1, len(facts.band_names)
    places = np.flatnonzero(chosen & (points.band >= 0))
    return np.bincount(points.band[places] * alerts + _alerts(points, places), minlength=bands * alerts).reshape(bands, alerts)


def _others(points: Points) -> Array:
    """How many points each alert has in bands that the survey is not known for."""
    return np.bincount(_alerts(points, np.flatnonzero(points.band < 0)), minlength=len(points.starts) - 1)


def _alerts(points: Points, places: Array) -> Array:
    return np.searchsorted(points.starts, places, side="right") - 1


def _of_alerts(rows: pa.RecordBatch, detections: Points, forced: Points, by_band: ByBand, survey: Survey) -> dict[str, Array]:
    ra_deg, dec_deg = positions(rows)
    found: dict[str, Array] = {
        "n_bands": (by_band["n_detections"] > 0).sum(axis=0),
        "n_other_bands": _others(detections) + _others(forced),
        # Of NaN and a number the number.
        "age_history_days": np.fmax.reduce(by_band["days_since_first"], axis=0),
        "glat_deg": glat_deg(ra_deg, dec_deg),
        "elat_deg": elat_deg(ra_deg, dec_deg),
    }
    first_found = facts_of(survey).first_found
    if first_found:
        found[f"age_{first_found}_days"] = age_days(rows, survey)
    found["apparent_mag"], found["apparent_err_mag"] = apparent_mags(rows, survey)
    return found | _colors(detections, survey)


def _colors(detections: Points, survey: Survey) -> dict[str, Array]:
    pairs = color_pairs(survey)
    out = _empty(detections, len(pairs), 4)
    used = (detections.kind == MEASURED) & ~np.isnan(detections.mag)
    curves.colors(detections.starts, detections.days, detections.band, used, detections.mag, detections.mag_err, out)
    told = ("mag", "err_mag", "gap_days", "days_since")
    return {
        f"color_{blue}_{red}_{name}": out[:, pair, number]
        for pair, (blue, red) in enumerate(pairs)
        for number, name in enumerate(told)
    }


def _arrays(values: Floats, definitions: Sequence[Definition]) -> list[pa.Array]:
    """A column of each row of ``values``; NULL where there is no finite number: what a formula has no answer for.

    At once, since there are hundreds of columns of a few hundred numbers.
    """
    count = values.shape[1]
    known = np.isfinite(values)
    nulls = (count - known.sum(axis=1)).tolist()
    bits = np.packbits(known, axis=1, bitorder="little")
    validity, floats = pa.py_buffer(bits), pa.py_buffer(values)
    found = []
    for row, definition in enumerate(definitions):
        if definition.type == "INT64":
            found.append(pa.array(values[row].astype(np.int64)))
            continue
        parts = [validity.slice(row * bits.shape[1], bits.shape[1]) if nulls[row] else None, floats.slice(row * 8 * count, 8 * count)]
        found.append(pa.Array.from_buffers(pa.float64(), count, parts, nulls[row]))
    return found
