"""All that a warehouse knows of one object's brightness, asked so that the warehouse does the work.

The history of an alert repeats most of that of the alert before: an object of a deep field has a thousand alerts of a
thousand entries each. So only the fields that are drawn are read, and each entry comes once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alerts.surveys import Survey
from alerts.surveys.photometry import Series
from broker.pictures.packets import Packet, put, surveys_in, unique_rows
from broker.pictures.photometry import photometry_of
from broker.warehouse import BigQueryWarehouse, QueryError, Warehouse


def packets_of_object(warehouse: Warehouse, object_id: str, survey: str | None = None) -> tuple[Survey, list[Packet], str]:
    """The object's survey, packets that together hold its photometry, newest first, and its name.

    The packets are parts: the record of each alert without its history, then the histories of all as if of one.
    Raises ``QueryError`` when the warehouse holds no alert of the object, or those of several surveys.
    """
    known = {one.name: one for one in surveys_in(warehouse, survey)}
    alerts = [one for one in warehouse.alerts_of(object_id).to_pylist() if one["survey"] in known]
    names = sorted({one["survey"] for one in alerts})
    if not names:
        raise QueryError(f"the warehouse holds no alerts of object {object_id!r}")
    if len(names) > 1:
        raise QueryError(f"object {object_id!r} is one of {' and of '.join(names)}; name the survey")
    found = known[names[0]]
    own, *histories = photometry_of(found).series
    packets = _own_packets(warehouse, found, own, alerts)
    packets += [{one.name: _history(warehouse, found, one, alerts)} for one in histories]
    moving = " (solar system)" if alerts[-1]["object_kind"] == "solar_system" else ""
    return found, packets, f"{object_id}{moving}"


def _own_packets(warehouse: Warehouse, survey: Survey, series: Series, alerts: Sequence[dict[str, Any]]) -> list[Packet]:
    """Each alert's own record."""
    fields, column = _fields(survey, series), survey.by_field[series.name].name
    columns = ", ".join(["observed_at", *(f"{column}.{name} AS own_{name}" for name in fields)])
    rows = unique_rows(warehouse, survey, _these(alerts), columns)
    packets: list[Packet] = []
    for row in warehouse.query(f"SELECT * FROM {rows} AS a ORDER BY observed_at DESC, alert_id").to_pylist():
        packet: dict[str, Any] = {series.name: {name: row[f"own_{name}"] for name in fields}}
        put(packet, survey.alert_id[0], row["alert_id"])
        packets.append(packet)
    return packets


def _history(warehouse: Warehouse, survey: Survey, series: Series, alerts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The distinct entries of an array of all alerts; of two that differ the newer alert's comes first."""
    names = _fields(survey, series)
    if not names:
        return []
    fields = ", ".join(f"p.{name} AS {name}" for name in names)
    keys = ", ".join(f"p.{name}" for name in names)
    # The dialects differ in what the alias of an UNNEST names: DuckDB a table of one column, BigQuery the element.
    alias = "p" if isinstance(warehouse, BigQueryWarehouse) else "entries(p)"
    column = survey.by_field[series.name].name
    rows = unique_rows(warehouse, survey, _these(alerts), f"observed_at, {column}")
    entries = f"{rows} AS a, UNNEST(a.{column}) AS {alias}"
    sql = f"SELECT {fields}, MAX(a.observed_at) AS newest FROM {entries} GROUP BY {keys}"
    return list(warehouse.query(f"{sql} ORDER BY newest DESC, {keys}").to_pylist())


def _fields(survey: Survey, series: Series) -> list[str]:
    """The fields of a series that the survey's table has."""
    column = survey.by_field.get(series.name)
    return [name for name in series.names if column is not None and name in column.by_name]


def _these(alerts: Sequence[dict[str, Any]]) -> str:
    """The alerts by their ids, and by their nights, by which the table is divided."""
    nights = ", ".join(sorted({f"DATE '{one['night']}'" for one in alerts}))
    return f"night IN ({nights}) AND alert_id IN ({', '.join(str(one['alert_id']) for one in alerts)})"
