"""The nights that a query can need of each table, as far as that is plain: only their files are listed for it then.

DuckDB leaves files of other nights out by itself, but only after it has looked at the name of each. What is not plain is all
nights: a table may be named elsewhere in the query without a condition, or in a way that is not known here.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from warehouses.folder.queries import nodes_of

Range = tuple[date, date]
"""The first and the last night."""


def nights_asked(parsed: Any) -> dict[str, list[Range]]:
    """By lower-cased name, the nights of tables of which no others can be asked for; of a statement as DuckDB serializes it."""
    found: dict[str, list[Range] | None] = {}
    conditions = {
        id(node["from_table"]): node.get("where_clause") for node in nodes_of(parsed, "SELECT_NODE") if node.get("from_table")
    }
    for table in nodes_of(parsed, "BASE_TABLE"):
        name = str(table.get("table_name", "")).lower()
        names = {name, str(table.get("alias") or name).lower()}
        ranges = _ranges(conditions.get(id(table)), names)
        before = found.get(name, [])
        found[name] = None if before is None or ranges is None else [*before, *ranges]
    return {name: ranges for name, ranges in found.items() if ranges is not None}


def _ranges(condition: Any, names: set[str]) -> list[Range] | None:
    """The nights outside of which a condition cannot hold; None where that is not plain."""
    if not isinstance(condition, dict):
        return None
    kind = condition.get("type")
    if kind == "CONJUNCTION_AND":
        # Each must hold: the nights of one are enough.
        return next((ranges for part in condition["children"] if (ranges := _ranges(part, names)) is not None), None)
    if kind == "CONJUNCTION_OR":
        parts = [_ranges(part, names) for part in condition["children"]]
        return None if None in parts else [each for ranges in parts for each in ranges or []]
    if kind == "COMPARE_IN":
        column, *values = condition["children"]
        days = [_day(value) for value in values]
        return [(day, day) for day in days if day is not None] if _is_night(column, names) and None not in days else None
    if kind == "COMPARE_BETWEEN":
        first, last = _day(condition["lower"]), _day(condition["upper"])
        return [(first, last)] if _is_night(condition["input"], names) and first is not None and last is not None else None
    return _compared(condition, names)


def _compared(condition: dict[str, Any], names: set[str]) -> list[Range] | None:
    """The nights of ``night = ...`` and its like."""
    day = _day(condition.get("right"))
    if day is None or not _is_night(condition.get("left"), names):
        return None
    if condition["type"] == "COMPARE_EQUAL":
        return [(day, day)]
    if condition["type"] in ("COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO"):
        return [(day, date.max)]
    if condition["type"] in ("COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO"):
        return [(date.min, day)]
    return None


def _is_night(node: Any, names: set[str]) -> bool:
    """Whether it is the column ``night`` of the one table."""
    if not isinstance(node, dict) or node.get("type") != "COLUMN_REF":
        return False
    *table, column = (str(name).lower() for name in node["column_names"])
    return column == "night" and (not table or (len(table) == 1 and table[0] in names))


def _day(node: Any) -> date | None:
    """The day of ``'2026-11-28'`` or ``DATE '2026-11-28'``; None of anything else."""
    if isinstance(node, dict) and node.get("type") == "OPERATOR_CAST" and node["cast_type"].get("id") == "DATE":
        node = node["child"]
    if not isinstance(node, dict) or node.get("type") != "VALUE_CONSTANT" or node["value"]["type"].get("id") != "VARCHAR":
        return None
    try:
        return date.fromisoformat(str(node["value"].get("value")))
    except ValueError:
        return None
