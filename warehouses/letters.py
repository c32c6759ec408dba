"""The dead letters of a warehouse, as a replay asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.views import json_text_sql

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse

_COLUMNS = "stage, source, payload, attributes, failed_at"


def open_letters(warehouse: Warehouse, stage: str | None, most: int) -> list[dict[str, Any]]:
    """Open letters, oldest first: stage, source, payload, attributes (JSON text) and ``failed_at``."""
    condition = "WHERE stage = {stage}" if stage else ""
    sql = f"SELECT {_COLUMNS} FROM dead_letters_open {condition} ORDER BY failed_at LIMIT {int(most)}"
    return list(warehouse.ask(sql, {"stage": stage}).read().to_pylist())


def letters_of(warehouse: Warehouse, run_id: str) -> set[str]:
    """Ids of the letters of a run."""
    letter, run = (json_text_sql("attributes", key, warehouse.dialect) for key in ("letter", "run_id"))
    sql = f"SELECT {letter} AS letter FROM dead_letters WHERE stage <> 'replayed' AND {run} = {{run_id}}"
    return {str(letter) for (letter,) in warehouse.ask(sql, {"run_id": run_id}).rows()}
