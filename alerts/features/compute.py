"""The features of whole batches of alerts: from the rows of ``{survey}_alerts``, or those of their columns that are there."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.features import curves
from alerts.features.alone import age_days, apparent_mags, latitudes_deg, positions
from alerts.features.definitions import Definition, color_pairs, columns, of_alerts, of_bands, of_curves
from alerts.features.points import LIMIT, MEASURED, Points, Told, points_of, read
from alerts.features.records import Integers, Mask
from alerts.light_curve import facts_of
from alerts.surveys import Survey

Array = np.ndarray[Any, Any]

_RISE = ("rise_mag_per_day_at_least", "rise_gap_days")
_COLOR = ("mag", "err_mag", "gap_days", "days_since")


def features_of(rows: pa.RecordBatch, survey: Survey) -> pa.RecordBatch:
    """The fields of the struct ``features`` (``definitions.columns``) of each of the rows.

    Of a row whose history was cut they are the features of what is left; no row of another alert counts. Raises ``NoPhotometry``
    where nobody has told where the survey's brightness is.
    """
    told = read(rows, survey)
    detections, forced = points_of(told, "detection", rows.num_rows), points_of(told, "forced", rows.num_rows)
    band, alert = _layouts(survey)
    of_band, of_alert = _Values(band, rows.num_rows, len(facts_of(survey).band_names)), _Values(alert, rows.num_rows)
    _fill_bands(of_band, detections, forced, survey)
    _fill_alerts(of_alert, of_band, detections, forced)
    of_alert["glat_deg"][:], of_alert["elat_deg"][:] = latitudes_deg(*positions(rows))
    _fill_colors(of_alert, detections, survey)
    if told and told[0].is_own:
        _fill_own(of_alert, told[0], survey)
    schema, fields = _schema(survey), iter(of_band.columns())
    bands = [
        pa.Array.from_buffers(band, rows.num_rows, [None], 0, children=list(itertools.islice(fields, band.num_fields)))
        for band in schema.types[: of_band.values.shape[0]]
    ]
    return pa.RecordBatch.from_arrays([*bands, *of_alert.columns()], schema=schema)


@functools.cache
def _schema(survey: Survey) -> pa.Schema:
    return pa.schema([column.arrow for column in columns(survey)])


class _Layout:
    """In which row the numbers of each definition are."""

    def __init__(self, definitions: tuple[Definition, ...]) -> None:
        self.definitions = definitions
        self.row = {definition.name: row for row, definition in enumerate(definitions)}
        self.counts = [row for row, definition in enumerate(definitions) if definition.type == "INT64"]
        self.is_count = [definition.type == "INT64" for definition in definitions]
        self.rows_of = functools.cache(self._rows_of)

    def _rows_of(self, names: tuple[str, ...]) -> Integers:
        """The rows of these; -1 where the survey has no such feature."""
        return np.array([self.row.get(name, -1) for name in names], np.int64)


@functools.cache
def _layouts(survey: Survey) -> tuple[_Layout, _Layout]:
    """Of a band, and of an alert as a whole."""
    return _Layout(of_bands(survey)), _Layout(of_alerts(survey))


class _Values:
    """Rows of as many numbers as there are alerts, NaN before: the memory of the columns themselves."""

    def __init__(self, layout: _Layout, alerts: int, *bands: int) -> None:
        self.layout = layout
        self.values = np.full((*bands, len(layout.definitions), alerts), np.nan)

    def __contains__(self, name: str) -> bool:
        return name in self.layout.row

    def __getitem__(self, name: str) -> Array:
        """Those of one definition, in each band."""
        found: Array = self.values[..., self.layout.row[name], :]
        return found

    def columns(self) -> list[pa.Array]:
        """A column of each row, band after band; NULL where there is no finite number: what a formula has no answer for.

        Slices of one array, since there are hundreds of columns of a few hundred numbers, and to make one costs as much as its
        numbers do.
        """
        alerts = self.values.shape[-1]
        bits = pa.py_buffer(np.packbits(np.isfinite(self.values), bitorder="little"))
        floats = pa.Array.from_buffers(pa.float64(), self.values.size, [bits, pa.py_buffer(self.values)])
        whole = pa.array(self.values[..., self.layout.counts, :].astype(np.int64).ravel())
        of_whole = itertools.count()
        return [
            whole.slice(next(of_whole) * alerts, alerts) if is_count else floats.slice(row * alerts, alerts)
            for row, is_count in enumerate(self.layout.is_count * math.prod(self.values.shape[:-2]))
        ]


def _fill_bands(values: _Values, detections: Points, forced: Points, survey: Survey) -> None:
    used, with_mag = _kinds_used(detections)
    _fill_curve(values, _names(survey, "njy"), detections, used, is_mag=False)
    _fill_curve(values, _names(survey, "mag"), detections, with_mag, is_mag=True)
    values["n_without_mag"][:] = values["n_detections"] - values["n_mag"]
    _count(values, detections, "n_negative", "n_flagged", "n_limits")
    if (detections.kind == LIMIT).any():
        told = values.layout.rows_of(_RISE)
        where = (detections.starts, detections.days, detections.band)
        curves.rises(*where, detections.kind, detections.mag, detections.limit_mag, told, values.values)
    if "forced" in of_curves(survey):
        _fill_curve(values, _names(survey, "forced"), forced, forced.kind == MEASURED, is_mag=False)
        _count(values, forced, "n_negative_forced", "n_flagged_forced")


def _kinds_used(detections: Points) -> tuple[Mask, Mask]:
    """Which detections count, and which of them have a magnitude."""
    used = detections.kind == MEASURED
    return used, used & ~np.isnan(detections.mag)


def _fill_curve(values: _Values, names: tuple[str, ...], points: Points, used: Mask, is_mag: bool) -> None:
    """The values of one kind of light curve."""
    value, error = (points.mag, points.mag_err) if is_mag else (points.flux_njy, points.flux_err_njy)
    told = values.layout.rows_of(names)
    curves.curves(points.starts, points.days, points.band, used, value, error, is_mag, told, values.values)


@functools.cache
def _names(survey: Survey, curve: str) -> tuple[str, ...]:
    """What ``curves.VALUES`` are called, of one kind of light curve; of what the survey does not have it is nothing."""
    defined = of_curves(survey)[curve]
    return tuple(defined[name].name if name in defined else "" for name in curves.VALUES)


def _count(values: _Values, points: Points, *names: str) -> None:
    """How many points are fainter than the template, flagged, limits: as far as the survey has a feature for them."""
    curves.counts(points.starts, points.band, points.kind, points.is_negative, values.layout.rows_of(names), values.values)


def _fill_alerts(values: _Values, of_band: _Values, detections: Points, forced: Points) -> None:
    values["n_bands"][:] = (of_band["n_detections"] > 0).sum(axis=0)
    values["n_other_bands"][:] = _others(detections) + _others(forced)
    # Of NaN and a number the number.
    values["age_history_days"][:] = np.fmax.reduce(of_band["days_since_first"], axis=0)


def _others(points: Points) -> Array:
    """How many points each alert has in bands that the survey is not known for."""
    alerts = np.repeat(np.arange(len(points.starts) - 1), np.diff(points.starts))
    return np.bincount(alerts[points.band < 0], minlength=len(points.starts) - 1)


def _fill_own(values: _Values, own: Told, survey: Survey) -> None:
    """What the alerts' own records tell by themselves."""
    age = f"age_{facts_of(survey).first_found}_days"
    if age in values:
        values[age][:] = age_days(own, survey)
    if "apparent_mag" in values:
        values["apparent_mag"][:], values["apparent_mag_err"][:] = apparent_mags(own, survey)


def _fill_colors(values: _Values, detections: Points, survey: Survey) -> None:
    names = _color_names(survey)
    _, used = _kinds_used(detections)
    where = (detections.starts, detections.days, detections.band)
    told = values.layout.rows_of(names).reshape(-1, len(_COLOR))
    curves.colors(*where, used, detections.mag, detections.mag_err, told, values.values)


@functools.cache
def _color_names(survey: Survey) -> tuple[str, ...]:
    return tuple(f"color_{blue}_{red}_{name}" for blue, red in color_pairs(survey) for name in _COLOR)
