"""Packets as far as a warehouse has them, put together of its tables again."""

from __future__ import annotations

from typing import Any

from alerts.avro.rebuild import put
from alerts.surveys import Survey
from schemas.views import objects_sql
from warehouses.alert_key import AlertKey
from warehouses.errors import QueryError
from warehouses.history import surveys_in, unique_rows
from warehouses.warehouse import Warehouse


def stored_packet(warehouse: Warehouse, key: AlertKey, stamps: bool) -> tuple[dict[str, Any], str]:
    """See ``Warehouse.packet``."""
    found = []
    for facts in surveys_in(warehouse, key.survey):
        found += [(facts, row) for row in _which(warehouse, facts, key)]
    if len(found) != 1:
        several = f"alert {key.alert_id} is one of {' and of '.join(survey.name for survey, _ in found)}; name the survey"
        raise QueryError(several if found else f"the warehouse holds no alert {key.alert_id}")
    [(survey, which)] = found
    # Whole rows only of its night and object: by these the tables are divided and clustered.
    objects = objects_sql({which["object_id"]})
    this = f"night = DATE '{which['night']}' AND alert_id = {key.alert_id} AND {objects}"
    rows = warehouse.query(f"SELECT * FROM {survey.name}_alerts WHERE {this}").to_pylist()
    row = next(row for row in rows if all(row[name] == which[name] for name in ("packet_digest", "schema_version")))
    packet = {column.field_name: row[column.name] for column in survey.packet_columns if column.name in row}
    if stamps:
        found_stamps = warehouse.stamps(survey, key.alert_id, which["night"], which["packet_digest"], which["object_id"])
        for role, value in found_stamps.items():
            put(packet, survey.stamps[role][0], value)
    return packet, survey.name


def _which(warehouse: Warehouse, survey: Survey, key: AlertKey) -> list[dict[str, Any]]:
    """Night, object, digest and version of the packet that is meant: the one of its digest, else the one that the view shows."""
    condition = warehouse.rows_of_alert(survey, key.alert_id)
    if key.packet_digest is None:
        return warehouse.query(f"SELECT * FROM {unique_rows(warehouse, survey, condition, 'night, object_id')} AS a").to_pylist()
    names = "night, object_id, packet_digest, schema_version"
    rows = warehouse.query(f"SELECT {names} FROM {survey.name}_alerts WHERE {condition}").to_pylist()
    return [row for row in rows if row["packet_digest"] == key.packet_digest][:1]
