"""The dead letters of a warehouse, as a replay asks for them. Their table is divided by the day of ``failed_at``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from schemas.views import json_text_sql, open_letters_sql
from warehouses.standing import began, of_run_sql

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse

_COLUMNS = "stage, source, payload, attributes, failed_at"
_CLOCKS = timedelta(days=7)
"""How far a worker's clock may be behind that of who began the run. Google lets in nobody who is off by more than minutes; where
it is more nevertheless, letters are missing in the account, which then does not balance."""


def failed_since(began: datetime) -> datetime:
    """The time before which no letter of a run has failed that began then."""
    return began - _CLOCKS


def open_since(warehouse: Warehouse) -> datetime | None:
    """When the oldest of the open letters failed; None where none is open. Reads no payloads."""
    narrow = "(SELECT stage, attributes, failed_at FROM dead_letters)"
    sql = f"SELECT MIN(failed_at) AS since FROM ({open_letters_sql(narrow, warehouse.dialect)})"
    found: datetime | None = warehouse.ask(sql).read().column("since")[0].as_py()
    return found


def open_letters(warehouse: Warehouse, stage: str | None, most: int) -> list[dict[str, Any]]:
    """Open letters, oldest first: stage, source, payload, attributes (JSON text) and ``failed_at``."""
    since = open_since(warehouse)
    if since is None:
        return []
    # The newest row of an open letter is none of those before.
    own = open_letters_sql(f"(SELECT {_COLUMNS} FROM dead_letters WHERE failed_at >= {{since}})", warehouse.dialect)
    condition = "WHERE stage = {stage}" if stage else ""
    sql = f"SELECT {_COLUMNS} FROM ({own}) {condition} ORDER BY failed_at LIMIT {int(most)}"
    return list(warehouse.ask(sql, {"stage": stage, "since": since}).read().to_pylist())


def letters_of(warehouse: Warehouse, run_id: str, since: datetime) -> set[str]:
    """Ids of the letters of a run that began at ``since``, those that stand for its own among them."""
    letter, run = (json_text_sql("attributes", key, warehouse.dialect) for key in ("letter", "run_id"))
    standing = warehouse.standing(run_id, ())
    values: dict[str, Any] = {"run_id": run_id, "since": failed_since(began(run_id, standing, since))}
    own = f"failed_at >= {{since}} AND stage <> 'replayed' AND {of_run_sql(run, 'dead_letters', standing, values)}"
    sql = f"SELECT {letter} AS letter FROM dead_letters WHERE {own}"
    return {str(letter) for (letter,) in warehouse.ask(sql, values).rows()}
