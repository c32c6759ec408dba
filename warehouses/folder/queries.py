"""What somebody's query may do in a folder: ask the tables, and call functions that give rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from warehouses.errors import QueryError
from warehouses.sql import ONE_SELECT, pointed_at

_ROW_MAKERS = {
    "range",
    "generate_series",
    "repeat",
    "unnest",
    "json_each",
    "json_tree",
    "glob",
    "parquet_metadata",
    "parquet_schema",
    "parquet_scan",
    "read_parquet",
}
"""DuckDB's functions that stand in place of a table and do no more than give rows; duckdb_tables and its like do so too. Of
others some write files, run SQL of their own or follow addresses."""


def parsed_select(cursor: duckdb.DuckDBPyConnection, sql: str, tables: Collection[str]) -> Any:
    """The statement as DuckDB serializes it, which does no more than parse.

    Raises ``QueryError`` for what is none, and for functions that may not stand for a table.
    """
    [text] = cursor.execute("SELECT json_serialize_sql($sql::VARCHAR)", {"sql": sql}).fetchone() or [""]
    parsed = json.loads(text)
    if parsed["error"]:
        if parsed["error_type"] == "not implemented":
            raise QueryError(ONE_SELECT)
        before = sql[: int(parsed.get("position") or 0)]
        line, column = before.count("\n"), len(before.rpartition("\n")[2])
        raise QueryError(f"{parsed['error_message']}{pointed_at(sql, line, column)}")
    for node in nodes_of(parsed, "TABLE_FUNCTION"):
        name = str(node["function"]["function_name"]).lower()
        if name not in _ROW_MAKERS and not name.startswith("duckdb_"):
            raise QueryError(
                f"the function {name} cannot stand for a table here; ask the warehouse's tables: {', '.join(tables)}"
            )
    return parsed


def nodes_of(parsed: Any, kind: str) -> Iterator[dict[str, Any]]:
    """The nodes of a kind anywhere in a statement that DuckDB has parsed."""
    waiting = [parsed]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("type") == kind:
                yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
