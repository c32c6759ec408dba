"""All that a warehouse knows of one object's brightness, asked so that the warehouse does the work.

The history of an alert repeats most of that of the alert before: an object of a deep field has a thousand alerts of a
thousand entries each. So only the fields that count are read, and each entry comes once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from alerts.light_curve import Entry, curve_of, facts_of
from alerts.surveys import Survey
from alerts.surveys.photometry import Series
from schemas.views import objects_sql, unique_alerts_sql
from warehouses.errors import QueryError
from warehouses.sought import of_object
from warehouses.warehouse import Warehouse


@dataclass(frozen=True)
class ObjectCurve:
    """An object's light curve, and whose it is."""

    survey: Survey
    name: str
    """Its id, with a word where it is of the solar system."""
    table: pa.Table
    """As ``alerts.light_curve.SCHEMA`` says."""


def curve_of_object(warehouse: Warehouse, object_id: str, survey: str | None = None) -> ObjectCurve:
    """The light curve of all alerts of an object.

    Raises ``QueryError`` when the warehouse holds no alert of the object, or those of several surveys, ``NoPhotometry``.
    """
    with warehouse.holding(of_object(object_id)) as some:
        return _curve_in(some, object_id, survey)


def _curve_in(warehouse: Warehouse, object_id: str, survey: str | None) -> ObjectCurve:
    found, alerts = alerts_of_object(warehouse, object_id, survey)
    own, *histories = facts_of(found).series
    entries = list(_own(warehouse, found, own, alerts))
    for history in histories:
        entries += _history(warehouse, found, history, alerts)
    moving = " (solar system)" if alerts[-1]["object_kind"] == "solar_system" else ""
    return ObjectCurve(found, f"{object_id}{moving}", curve_of(entries, found, str(object_id)))


def alerts_of_object(warehouse: Warehouse, object_id: str, survey: str | None) -> tuple[Survey, list[dict[str, Any]]]:
    """Whose an object is, and its alerts as ``Warehouse.alerts_of`` gives them.

    Raises ``QueryError`` when the warehouse holds no alert of the object, or those of several surveys.
    """
    known = {facts.name: facts for facts in surveys_in(warehouse, survey)}
    alerts = [alert for alert in warehouse.alerts_of(object_id).to_pylist() if alert["survey"] in known]
    names = sorted({alert["survey"] for alert in alerts})
    if not names:
        raise QueryError(f"the warehouse holds no alerts of object {object_id!r}")
    if len(names) > 1:
        raise QueryError(f"object {object_id!r} is one of {' and of '.join(names)}; name the survey")
    return known[names[0]], alerts


def _own(warehouse: Warehouse, survey: Survey, series: Series, alerts: Sequence[dict[str, Any]]) -> Iterator[Entry]:
    """Each alert's own record."""
    fields, column = _fields(survey, series), survey.by_field[series.name].name
    columns = ", ".join(["observed_at", *(f"{column}.{name} AS own_{name}" for name in fields)])
    rows = unique_rows(warehouse, survey, these_alerts(alerts), columns)
    for row in warehouse.query(f"SELECT * FROM {rows} AS a ORDER BY observed_at DESC, alert_id").to_pylist():
        yield Entry(series, {name: row[f"own_{name}"] for name in fields}, row["observed_at"], row["alert_id"])


def _history(warehouse: Warehouse, survey: Survey, series: Series, alerts: Sequence[dict[str, Any]]) -> Iterator[Entry]:
    """The distinct entries of an array of all alerts."""
    names = _fields(survey, series)
    if not names:
        return
    fields = ", ".join(f"p.{name} AS {name}" for name in names)
    keys = ", ".join(f"p.{name}" for name in names)
    # The dialects differ in what the alias of an UNNEST names: DuckDB a table of one column, BigQuery the element.
    alias = "p" if warehouse.dialect == "bigquery" else "entries(p)"
    column = survey.by_field[series.name].name
    rows = unique_rows(warehouse, survey, these_alerts(alerts), f"observed_at, {column}")
    entries = f"{rows} AS a, UNNEST(a.{column}) AS {alias}"
    sql = f"SELECT {fields}, MAX(a.observed_at) AS newest_packet FROM {entries} GROUP BY {keys}"
    for row in warehouse.query(f"{sql} ORDER BY newest_packet DESC, {keys}").to_pylist():
        newest = row.pop("newest_packet")
        alert_id = next((row[name] for name in series.alert_id if row.get(name) is not None), None)
        yield Entry(series, row, newest, alert_id)


def _fields(survey: Survey, series: Series) -> list[str]:
    """The fields of a series that the survey's table has."""
    column = survey.by_field.get(series.name)
    return [name for name in series.names if column is not None and name in column.by_name]


def these_alerts(alerts: Sequence[dict[str, Any]]) -> str:
    """SQL for these alerts by their ids, and by their nights and their object, by which the table is divided and clustered."""
    nights = ", ".join(sorted({f"DATE '{alert['night']}'" for alert in alerts}))
    ids = ", ".join(str(alert["alert_id"]) for alert in alerts)
    # Each alert's newest row is of the object, whatever its other rows are of.
    return f"night IN ({nights}) AND alert_id IN ({ids}) AND {objects_sql({alert['object_id'] for alert in alerts})}"


def surveys_in(warehouse: Warehouse, named: str | None) -> list[Survey]:
    """The surveys whose alerts a warehouse holds, or the one named. Raises ``QueryError``."""
    found = warehouse.surveys
    chosen = [survey for survey in found if named in (None, survey.name)]
    if not chosen:
        held = f"it holds those of {', '.join(survey.name for survey in found)}" if found else "it holds none"
        raise QueryError(f"the warehouse holds no alerts{f' of {named!r}' if named else ''}; {held}")
    return chosen


def unique_rows(warehouse: Warehouse, survey: Survey, condition: str, columns: str) -> str:
    """SQL for the rows of ``{survey}_alerts_unique`` that meet a condition, to stand in a FROM.

    Unlike a WHERE upon the view it picks first: else every night would be read to find the newest row of each alert.
    ``columns`` are those wanted beside ``alert_id`` and the others that tell which row is the newest.
    """
    keys = "alert_id, published_at, schema_version, packet_digest"
    return f"({unique_alerts_sql(f'(SELECT {keys}, {columns} FROM {survey.name}_alerts WHERE {condition})', warehouse.dialect)})"
