"""How bright alerts were, and when, in columns that are the same for all surveys: beside the rows of cones and objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.light_curve import MJD_OF_JD_ZERO, SCHEMA, first, light_curve, measured, mjd_utc, pluck_first
from alerts.surveys import SURVEYS, Survey
from alerts.surveys.photometry import Photometry, Series
from alerts.surveys.survey import is_history
from schemas.views import Dialect, nights_sql, objects_sql, unique_alerts_sql

OWN = ("own_value", "own_error", "own_zero_point", "own_time", "own_band", "own_sign")
"""What is asked of an alert's own measurement; the last two as text, since surveys have numbers, truth values and words."""
_N_POINTS = {"description": "The alert's own measurement and the entries of its history, limits among them."}
COLUMNS = pa.schema(
    [
        *map(SCHEMA.field, ("band", "mag", "mag_err", "flux_njy", "flux_err_njy", "is_negative", "measures")),
        pa.field("n_points", pa.int64(), metadata=_N_POINTS),
        *map(SCHEMA.field, ("mjd_utc", "jd_utc", "time_reference")),
    ]
)
"""As ``alerts.light_curve.SCHEMA`` describes them; ``n_points`` counts the alert and the entries of its history."""
_MOST_IDS = 1000
"""Of more alerts the nights and the range of their ids tell which are read."""
TEXTS = OWN[-2:]
"""Of ``OWN`` those that are asked for as texts; the others are numbers."""
_WORDS = {"true": True, "false": False}


def own_paths(survey: Survey) -> dict[str, str]:
    """Where the survey's table has what ``OWN`` asks for: ``candidate.magpsf``; nothing where it has no such field."""
    paths = {"own_time": _in_table(survey, survey.time)}
    if survey.photometry:
        own = survey.photometry.series[0]
        asked = {"value": own.value, "error": own.error, "zero_point": own.zero_point, "band": own.band, "sign": own.sign}
        for name, fields in asked.items():
            paths[f"own_{name}"] = _in_table(survey, [f"{own.name}.{field}" for field in fields])
    return {name: path for name, path in paths.items() if path}


def own_sql(survey: Survey, held: Collection[str], dialect: Dialect) -> str:
    """SQL for the columns of ``OWN`` over a table that holds these columns."""
    number_of = {"duckdb": "DOUBLE", "bigquery": "FLOAT64"}[dialect]
    paths = {name: path for name, path in own_paths(survey).items() if path.partition(".")[0] in held}
    return ", ".join(f"CAST({paths.get(name, 'NULL')} AS {'STRING' if name in TEXTS else number_of}) AS {name}" for name in OWN)


def histories(survey: Survey, held: Collection[str]) -> list[tuple[str, str]]:
    """The columns of a table, of those that it holds, whose entries are points, and a field that each entry has."""
    series = [] if survey.photometry is None else survey.photometry.series
    return [
        (column.name, next(name for name in history.time if name in column.by_name))
        for history in series
        if (column := survey.by_field.get(history.name)) is not None and is_history(column) and column.name in held
    ]


def points_sql(survey: Survey, held: Collection[str], dialect: Dialect, found: Sequence[Mapping[str, Any]]) -> str | None:
    """SQL for ``alert_id`` and ``n_points`` of alerts that were found (rows with ``night``, ``object_id`` and ``alert_id``).

    Histories are the bulk of a table: they are read of these alerts alone, after those are known. None where the table has none.
    """
    counts = [_count(column, field, dialect) for column, field in histories(survey, held)]
    if not counts:
        return None
    ids = sorted({row["alert_id"] for row in found})
    among = f"IN ({', '.join(map(str, ids))})" if len(ids) <= _MOST_IDS else f"BETWEEN {ids[0]} AND {ids[-1]}"
    keys = "alert_id, published_at, schema_version, packet_digest"
    rows = f"(SELECT {keys}, {' + '.join(['1', *counts])} AS n_points FROM {survey.alerts_table.name}"
    # Each alert's newest row is of its night and its object.
    where = f"{nights_sql({row['night'] for row in found})} AND {objects_sql({row['object_id'] for row in found})}"
    unique = unique_alerts_sql(f"{rows} WHERE {where} AND alert_id {among})", dialect)
    return f"SELECT alert_id, n_points FROM ({unique}) AS a"


def _count(column: str, field: str, dialect: Dialect) -> str:
    """The length of an array of records. BigQuery bills the one field that is looked at, of an ARRAY_LENGTH all."""
    return f"len({column})" if dialect == "duckdb" else f"(SELECT COUNT(e.{field}) FROM UNNEST({column}) AS e)"


def _in_table(survey: Survey, paths: Any) -> str:
    for path in paths:
        name, _, field = path.partition(".")
        column = survey.by_field.get(name)
        if column is not None and (not field or field in column.by_name):
            return f"{column.name}.{field}" if field else column.name
    return ""


Found = Sequence[Mapping[str, Any]]
"""Rows with ``survey``, ``night``, ``object_id`` and ``alert_id``."""


def complete(
    found: pa.Table, surveys: Iterable[Survey], count_points: Callable[[Survey, Found], Mapping[int, int | None]]
) -> pa.Table:
    """Rows with columns ``survey``, ``night``, ``object_id``, ``alert_id`` and ``OWN``: with ``COLUMNS`` for the latter.

    ``count_points`` gives ``n_points`` by alert id, for those of a survey that has histories.
    """
    points: dict[tuple[str, int], int | None] = {}
    keys = found.select(["survey", "night", "object_id", "alert_id"]).to_pylist()
    for survey in surveys:
        if mine := [row for row in keys if row["survey"] == survey.name]:
            points |= {(survey.name, alert_id): number for alert_id, number in count_points(survey, mine).items()}
    asked = found.select(["survey", "alert_id", *OWN]).to_pylist()
    rows = [_row(row, SURVEYS[row["survey"]], points.get((row["survey"], row["alert_id"]), 1)) for row in asked]
    kept = found.drop_columns(list(OWN))
    place = kept.column_names.index("dec_deg") + 1
    for shift, field in enumerate(COLUMNS):
        kept = kept.add_column(place + shift, field, pa.array([row[field.name] for row in rows], field.type, from_pandas=True))
    return kept


def _row(row: Mapping[str, Any], survey: Survey, n_points: int | None) -> dict[str, Any]:
    told: dict[str, Any] = dict.fromkeys(COLUMNS.names) | {"n_points": n_points} | _times(row["own_time"], survey)
    facts = survey.photometry
    if facts is None:
        return told
    own = facts.series[0]
    record = {
        **_named(own.value, row["own_value"]),
        **_named(own.error, row["own_error"]),
        **_named(own.zero_point, row["own_zero_point"]),
        **_named(own.sign, _WORDS.get(row["own_sign"] or "", row["own_sign"])),
    }
    return told | of_record(record, own, facts) | {"band": _band(row["own_band"], facts)}


def of_record(record: Mapping[str, Any], series: Series, facts: Photometry) -> dict[str, Any]:
    """Band, magnitude, flux, errors and what they are, of one record of a packet."""
    found = measured(record, series, facts)
    names = ("mag", "mag_err", "flux_njy", "flux_err_njy", "is_negative")
    return {name: found[name] for name in names} | {
        "band": facts.band_name(first(record, series.band)),
        "measures": facts.measures,
    }


def of_packet(packet: Mapping[str, Any], survey: Survey) -> dict[str, Any] | None:
    """The same of the alert of a packet, with its time, ``system`` and ``points``, how many of each kind it tells of.

    None where nobody has told where the brightness is, or the packet has no such record.
    """
    facts = survey.photometry
    if facts is None or not packet.get(facts.series[0].name):
        return None
    points: dict[str, int] = {}
    for row in light_curve([packet], survey).to_pylist():
        if any(row[name] is not None for name in ("mag", "flux_njy", "limit_mag")):
            points[row["kind"]] = points.get(row["kind"], 0) + 1
    own = facts.series[0]
    time = pluck_first(packet, survey.time)
    when = _times(None if time is None else float(time), survey)
    told = of_record(packet[own.name], own, facts) | when
    return {name: None if _is_none(value) else value for name, value in told.items()} | {"system": facts.system, "points": points}


def in_words(told: Mapping[str, Any]) -> str:
    """Brightness and what it is, for people: ``17.86 ± 0.07 mag, 258,100 ± 17,300 nJy, g band (difference, AB)``."""
    numbers = []
    if not _is_none(told["mag"]):
        numbers.append(f"{told['mag']:.2f}{_error(told['mag_err'], '.2f')} mag")
    if not _is_none(told["flux_njy"]):
        numbers.append(f"{told['flux_njy']:,.0f}{_error(told['flux_err_njy'], ',.0f')} nJy")
    notes = [told["measures"], told["system"] or "the survey does not say whether AB or Vega"]
    notes += ["fainter than the template"] if told["is_negative"] else []
    return f"{', '.join(numbers) or 'none told'}, {told['band']} band ({', '.join(notes)})".replace("-", "\N{MINUS SIGN}")


def _error(value: Any, form: str) -> str:
    return "" if _is_none(value) else f" ± {value:{form}}"


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))


def _times(time: float | None, survey: Survey) -> dict[str, Any]:
    """When it was, in UTC, of the time that the packet has."""
    utc = float("nan") if time is None else float(mjd_utc(np.array([_mjd(time, survey)]), survey)[0])
    return {"mjd_utc": utc, "jd_utc": utc - MJD_OF_JD_ZERO, "time_reference": survey.time_reference}


def _named(names: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {names[0]: value} if names else {}


def _band(text: str | None, facts: Photometry) -> str:
    """The name of a band that is told as text, also where packets have a number."""
    return facts.band_name(next((key for key in facts.bands if str(key) == text), text))


def _mjd(time: float, survey: Survey) -> float:
    if time >= survey.time_in_seconds_from:
        return 40587.0 + time / 86400
    return time + MJD_OF_JD_ZERO if survey.time_format == "jd" else time
