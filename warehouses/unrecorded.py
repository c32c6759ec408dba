"""Runs that have written what they read, and not that they have: there are rows of theirs, and none in ``runs``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from schemas import Table
from schemas.tables import RUNS

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse


def unrecorded_runs(warehouse: Warehouse, table: Table, stream: Mapping[str, str]) -> Mapping[str, datetime]:
    """Ids of such runs of one stream, by a table of what streams have read, and when each was committed. Raises ``QueryError``.

    ``stream``: the columns by which its rows are known, and their values. Rows of no unit say only where a group begins.
    """
    if not warehouse.holds_tables() or not {table.name, RUNS.name} <= set(warehouse.tables):
        return {}
    own = " AND ".join(f"{column} = {{{column}}}" for column in stream)
    of_rounds = " AND unit <> ''" if any(column.name == "unit" for column in table.columns) else ""
    sql = (
        f"SELECT run_id, MAX(committed_at) AS committed_at FROM {table.name} WHERE {own}{of_rounds} "
        f"AND run_id NOT IN (SELECT run_id FROM {RUNS.name}) GROUP BY 1"
    )
    return {row["run_id"]: row["committed_at"] for row in warehouse.ask(sql, dict(stream)).read().to_pylist()}
