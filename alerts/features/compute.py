"""The features of whole batches of alerts: from the rows of ``{survey}_alerts``, or those of their columns that are there."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.features import curves
from alerts.features.alone import age_days, apparent_mags, elat_deg, glat_deg, positions
from alerts.features.definitions import Definition, color_pairs, columns, of_alerts, of_bands, of_curves
from alerts.features.points import FLAGGED, LIMIT, MEASURED, Points, points_of
from alerts.features.records import Floats, Mask, own_record
from alerts.light_curve import facts_of
from alerts.surveys import Survey

Array = np.ndarray[Any, Any]

_NEGATIVE = 3
"""Beside ``MEASURED``, ``FLAGGED`` and ``LIMIT``: measured, and fainter than the template."""


def features_of(rows: pa.RecordBatch, survey: Survey) -> pa.RecordBatch:
    """The fields of the struct ``features`` (``definitions.columns``) of each of the rows.

    Of a row whose history was cut they are the features of what is left; no row of another alert counts. Raises ``NoPhotometry``
    where nobody has told where the survey's brightness is.
    """
    detections, forced = points_of(rows, survey, "detection"), points_of(rows, survey, "forced")
    by_band = _of_bands(detections, forced, survey)
    alone = _of_alerts(rows, detections, forced, by_band, survey)
    defined, schema = of_bands(survey), _schema(survey)
    order = [by_band.names[definition.name] for definition in defined]
    bands = [
        pa.Array.from_buffers(schema.types[number], rows.num_rows, [None], 0, children=_arrays(values[order], defined))
        for number, values in enumerate(by_band.values)
    ]
    singles = _arrays(np.stack([alone[definition.name] for definition in of_alerts(survey)]), of_alerts(survey))
    return pa.RecordBatch.from_arrays([*bands, *singles], schema=schema)


@functools.cache
def _schema(survey: Survey) -> pa.Schema:
    return pa.schema([column.arrow for column in columns(survey)])


class _ByBand:
    """Values of features: by band, feature and alert."""

    def __init__(self, pieces: Iterable[tuple[Iterable[str], Array]]) -> None:
        pieces = list(pieces)
        self.names = {name: place for place, name in enumerate(name for names, _ in pieces for name in names)}
        self.values = np.concatenate([values for _, values in pieces], axis=1, dtype=np.float64)

    def of(self, name: str) -> Array:
        """Of one feature."""
        return self.values[:, self.names[name]]


def _of_bands(detections: Points, forced: Points, survey: Survey) -> _ByBand:
    defined, count = of_curves(survey), len(facts_of(survey).band_names)
    used, with_mag = _kinds_used(detections)
    fluxes, mags = (_curve(detections, chosen, is_mag, count) for chosen, is_mag in ((used, False), (with_mag, True)))
    without = fluxes[:, curves.N] - mags[:, curves.N]
    pieces = [
        (("n_without_mag",), without[:, None]),
        (("n_flagged", "n_limits", "n_negative"), _counts(detections, count)),
        (("rise_mag_per_day_at_least", "rise_gap_days"), _rises(detections, count)),
        (_names(defined["njy"]), fluxes),
        (_names(defined["mag"]), mags),
    ]
    if "forced" in defined:
        found = _curve(forced, forced.kind == MEASURED, False, count)
        pieces += [(_names(defined["forced"]), found), (("n_flagged_forced", "", "n_negative_forced"), _counts(forced, count))]
    return _ByBand(pieces)


def _kinds_used(detections: Points) -> tuple[Mask, Mask]:
    """Which detections count, and which of them have a magnitude."""
    used = detections.kind == MEASURED
    return used, used & ~np.isnan(detections.mag)


def _names(defined: Mapping[str, Definition]) -> list[str]:
    return [defined[name].name if name in defined else "" for name in curves.VALUES]


def _curve(points: Points, used: Mask, is_mag: bool, bands: int) -> Array:
    """The values of one kind of light curve, by band, value and alert."""
    out = _empty(points, bands, len(curves.VALUES))
    value, error = (points.mag, points.mag_err) if is_mag else (points.flux_njy, points.flux_err_njy)
    curves.curves(points.starts, points.days, points.band, used, value, error, is_mag, out)
    return out.transpose(1, 2, 0)


def _rises(detections: Points, bands: int) -> Array:
    out = _empty(detections, bands, 2)
    where = (detections.starts, detections.days, detections.band)
    if (detections.kind == LIMIT).any():
        curves.rises(*where, detections.kind, detections.mag, detections.limit_mag, out)
    return out.transpose(1, 2, 0)


def _empty(points: Points, bands: int, values: int) -> Floats:
    return np.full((len(points.starts) - 1, bands, values), np.nan)


def _counts(points: Points, bands: int) -> Array:
    """How many points are flagged, limits, and measured below 0: by band, these three, and alert."""
    alerts = len(points.starts) - 1
    kind = np.where((points.kind == MEASURED) & points.is_negative, _NEGATIVE, points.kind)
    cell = ((points.band * (_NEGATIVE + 1)) + kind) * alerts + _alerts(points)
    found = np.bincount(cell[points.band >= 0], minlength=bands * (_NEGATIVE + 1) * alerts)
    return found.reshape(bands, _NEGATIVE + 1, alerts)[:, FLAGGED:]


def _alerts(points: Points) -> Array:
    """The alert of each point."""
    return np.repeat(np.arange(len(points.starts) - 1), np.diff(points.starts))


def _others(points: Points) -> Array:
    """How many points each alert has in bands that the survey is not known for."""
    return np.bincount(_alerts(points)[points.band < 0], minlength=len(points.starts) - 1)


def _of_alerts(rows: pa.RecordBatch, detections: Points, forced: Points, by_band: _ByBand, survey: Survey) -> dict[str, Array]:
    ra_deg, dec_deg = positions(rows)
    found: dict[str, Array] = {
        "n_bands": (by_band.of("n_detections") > 0).sum(axis=0),
        "n_other_bands": _others(detections) + _others(forced),
        # Of NaN and a number the number.
        "age_history_days": np.fmax.reduce(by_band.of("days_since_first"), axis=0),
        "glat_deg": glat_deg(ra_deg, dec_deg),
        "elat_deg": elat_deg(ra_deg, dec_deg),
    }
    return found | _of_own(rows, survey) | _colors(detections, survey)


def _of_own(rows: pa.RecordBatch, survey: Survey) -> dict[str, Array]:
    """What the alerts' own records tell by themselves."""
    own, age = own_record(rows, survey), f"age_{facts_of(survey).first_found}_days"
    if own is None:
        return dict.fromkeys((age, "apparent_mag", "apparent_mag_err"), np.full(rows.num_rows, np.nan))
    mag, mag_err = apparent_mags(own, survey)
    return {age: age_days(own, survey), "apparent_mag": mag, "apparent_mag_err": mag_err}


def _colors(detections: Points, survey: Survey) -> dict[str, Array]:
    pairs = color_pairs(survey)
    out = _empty(detections, len(pairs), 4)
    _, used = _kinds_used(detections)
    curves.colors(detections.starts, detections.days, detections.band, used, detections.mag, detections.mag_err, out)
    told = ("mag", "err_mag", "gap_days", "days_since")
    return {
        f"color_{blue}_{red}_{name}": out[:, pair, number]
        for pair, (blue, red) in enumerate(pairs)
        for number, name in enumerate(told)
    }


def _arrays(values: Floats, definitions: Sequence[Definition]) -> list[pa.Array]:
    """A column of each row of ``values``; NULL where there is no finite number: what a formula has no answer for.

    All at once, since there are hundreds of columns of a few hundred numbers, and in most batches many of nothing but NULL.
    """
    count = values.shape[1]
    known = np.isfinite(values)
    nulls = (count - known.sum(axis=1)).tolist()
    bits = np.packbits(known, axis=1, bitorder="little")
    validity, floats, kind, width = pa.py_buffer(bits), pa.py_buffer(values), pa.float64(), bits.shape[1]
    nothing = pa.nulls(count, kind)
    found = []
    for row, definition in enumerate(definitions):
        if definition.type == "INT64":
            found.append(pa.array(values[row].astype(np.int64)))
        elif nulls[row] == count:
            found.append(nothing)
        else:
            bitmap = validity.slice(row * width, width) if nulls[row] else None
            found.append(pa.Array.from_buffers(kind, count, [bitmap, floats.slice(row * 8 * count, 8 * count)], nulls[row]))
    return found
