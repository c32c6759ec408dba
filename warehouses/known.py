"""What a warehouse knows of one alert, across its tables."""

from __future__ import annotations

from typing import Any

from alerts import brightness
from alerts.surveys import Survey
from schemas.views import newest_matches_sql, unique_alerts_sql
from warehouses.alert_key import AlertKey
from warehouses.errors import QueryError
from warehouses.object_features import features_of_alert
from warehouses.warehouse import Warehouse


def known_of(warehouse: Warehouse, key: AlertKey) -> list[dict[str, Any]]:
    """See ``Warehouse.info``."""
    chosen = [survey for survey in warehouse.surveys if key.survey in (None, survey.name)]
    return [found for survey in chosen if (found := _of_survey(warehouse, survey, key.alert_id)) is not None]


def _of_survey(warehouse: Warehouse, survey: Survey, alert_id: int) -> dict[str, Any] | None:
    alerts = survey.alerts_table.name
    # Picked before the newest is sought: else that is sought in all nights.
    this = warehouse.rows_of_alert(survey, alert_id)
    newest = unique_alerts_sql(f"(SELECT * FROM {alerts} WHERE {this})", warehouse.dialect)
    rows = warehouse.query(newest).to_pylist()
    if not rows:
        return None
    count = warehouse.query(f"SELECT COUNT(*) AS n FROM {alerts} WHERE {this}").to_pylist()[0]["n"]
    matches = []
    if "crossmatches" in warehouse.tables:
        own = newest_matches_sql(f"(SELECT * FROM crossmatches WHERE survey = '{survey.name}' AND {this})")
        matches = warehouse.query(f"SELECT * FROM ({own}) AS a ORDER BY catalog").to_pylist()
    packet = {column.field_name: rows[0].get(column.name) for column in survey.packet_columns}
    told = {"brightness": brightness.of_packet(packet, survey), "features": features_of_alert(warehouse, survey, rows[0])}
    return {"alert": rows[0], "rows": count, **told, "crossmatches": matches, **_stamps(warehouse, survey, rows[0])}


def _stamps(warehouse: Warehouse, survey: Survey, alert: dict[str, Any]) -> dict[str, Any]:
    if survey.cutouts_table.name not in warehouse.tables:
        return {"stamps": {}}
    try:
        found = warehouse.stamps(survey, alert["alert_id"], alert["night"], alert["packet_digest"], alert["object_id"])
    except QueryError as error:
        return {"stamps": {}, "stamps_unknown": str(error)}
    return {"stamps": {role: None if value is None else len(value) for role, value in found.items()}}
