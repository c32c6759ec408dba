"""Which nights and objects a question is about, asked in a few narrow columns before the question itself.

BigQuery leaves a night's partition out only for constants, never for what a subquery gives, and lets no condition through
the window of a ``_unique`` view. Tables are clustered by ``object_id``: constants of that leave blocks of a night out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from schemas.views import MOST_OBJECTS, nights_sql, objects_sql, unique_alerts_sql

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse


def shown_alerts(warehouse: Warehouse, surveys: Sequence[str], condition: str, values: Mapping[str, Any]) -> dict[str, str]:
    """What stands behind FROM, by survey: each alert whose row in ``{survey}_alerts_unique`` meets a condition.

    Of an alert that has rows which do not meet it, the newest of all its rows decides, in whichever nights they stand.
    """
    nights, alike = _nights(warehouse, surveys, condition, values)
    # An object's condition is one upon the column of the clustering.
    objects = {} if "object_id" in values else _objects(warehouse, {name: nights[name] for name in alike}, condition, values)
    found = {}
    for name in surveys:
        own = f"{nights_sql(nights[name])} AND ({condition})"
        where = f"{nights_sql(nights[name])} AND alert_id IN (SELECT alert_id FROM {name}_alerts WHERE {own})"
        if name in alike:
            where = f"{own} AND {objects.get(name, 'TRUE')}"
        rows = unique_alerts_sql(f"(SELECT * FROM {name}_alerts WHERE {where})", "bigquery")
        found[name] = f"({rows}) AS a WHERE ({condition})"
    return found


def rows_of_alert(warehouse: Warehouse, survey: str, alert_id: int) -> str:
    """The condition that all rows of an alert meet, in each table that has its night and its object."""
    this = f"alert_id = {alert_id}"
    found = warehouse.ask(f"SELECT DISTINCT night FROM {survey}_alerts WHERE {this}").read()
    nights = {survey: set(found.column("night").to_pylist())}
    objects = _objects(warehouse, nights, this, {}) if nights[survey] else {}
    return f"{nights_sql(nights[survey])} AND {this} AND {objects.get(survey, 'TRUE')}"


def _nights(
    warehouse: Warehouse, surveys: Sequence[str], condition: str, values: Mapping[str, Any]
) -> tuple[dict[str, set[date]], set[str]]:
    """By survey, the nights of all rows of the alerts that meet a condition; the surveys in which all these rows meet it."""
    parts = []
    for name in surveys:
        own, table = f"({condition})", f"{name}_alerts"
        same = f"alert_id IN (SELECT alert_id FROM {table} WHERE {own})"
        parts += [
            f"SELECT '{name}' AS survey, night, COUNT(*) AS meet, 0 AS number FROM {table} WHERE {own} GROUP BY night",
            f"SELECT '{name}' AS survey, night, 0 AS meet, COUNT(*) AS number FROM {table} WHERE {same} GROUP BY night",
        ]
    nights: dict[str, set[date]] = {name: set() for name in surveys}
    more = dict.fromkeys(surveys, 0)
    for row in warehouse.ask(" UNION ALL ".join(parts), values).read().to_pylist():
        nights[row["survey"]].add(row["night"])
        more[row["survey"]] += row["number"] - row["meet"]
    return nights, {name for name in surveys if nights[name] and not more[name]}


def _objects(warehouse: Warehouse, nights: Mapping[str, set[date]], condition: str, values: Mapping[str, Any]) -> dict[str, str]:
    """By survey, the condition that rows are of the objects whose rows in these nights meet a condition."""
    parts = [
        f"(SELECT DISTINCT '{name}' AS survey, object_id FROM {name}_alerts WHERE {nights_sql(some)} AND ({condition}) "
        f"LIMIT {MOST_OBJECTS + 2})"
        for name, some in nights.items()
    ]
    rows = warehouse.ask(" UNION ALL ".join(parts), values).read().to_pylist() if parts else []
    return {name: objects_sql([row["object_id"] for row in rows if row["survey"] == name]) for name in nights}
