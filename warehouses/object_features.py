"""The features of an object's alerts in time, and those of one alert: as they were stored, not computed again."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from alerts.features.table import features_table_of
from alerts.surveys import Survey
from schemas.views import newest_features_sql
from warehouses.errors import QueryError
from warehouses.history import alerts_of_object, these_alerts, unique_rows
from warehouses.sought import of_object
from warehouses.warehouse import Warehouse

_SHOWN = ("object_id", "object_kind", "night", "observed_at")


def features_of_object(warehouse: Warehouse, object_id: str, survey: str | None = None) -> pa.Table:
    """See ``Warehouse.features``."""
    with warehouse.holding(of_object(object_id)) as some:
        found, alerts = alerts_of_object(some, object_id, survey)
        these = these_alerts(alerts)
        rows = unique_rows(some, found, these, ", ".join(_SHOWN))
        columns = ", ".join(f"a.{name}" for name in ("alert_id", "packet_digest", *_SHOWN))
        sql = (
            f"SELECT {columns}, f.features, f.computed_at, f.version FROM {rows} AS a "
            f"LEFT JOIN ({_stored(some, found, these)}) AS f ON f.alert_id = a.alert_id AND f.packet_digest = a.packet_digest "
            "ORDER BY a.observed_at, a.alert_id"
        )
        return some.ask(sql).read()


def features_of_alert(warehouse: Warehouse, survey: Survey, alert: dict[str, Any]) -> dict[str, Any] | None:
    """The row of features of a row of ``{survey}_alerts``; None where none was computed, or the survey has none."""
    try:
        stored = _stored(
            warehouse, survey, f"night = DATE '{alert['night']}' AND {warehouse.rows_of_alert(survey, alert['alert_id'])}"
        )
    except QueryError:
        return None
    digest = alert["packet_digest"]
    return next((row for row in warehouse.ask(stored).read().to_pylist() if row["packet_digest"] == digest), None)


def _stored(warehouse: Warehouse, survey: Survey, condition: str) -> str:
    """SQL for the newest features of each packet that meets a condition on what rows of alerts have, too."""
    table = features_table_of(survey)
    if table is None:
        raise QueryError(f"alerts of {survey.name} have no features: nobody has told where the brightness is in its packets")
    if table.name not in warehouse.tables:
        raise QueryError(f"{warehouse.uri} has no table {table.name}; broker features --night NIGHT computes them")
    columns = "alert_id, packet_digest, run_id, features, computed_at, version"
    return newest_features_sql(f"(SELECT {columns} FROM {table.name} WHERE {condition})")
