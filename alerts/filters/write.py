"""A filter's tree as text again: its canonical form, which is the same however the author wrote it."""

from __future__ import annotations

import re
from datetime import date, datetime

from alerts.filters.functions import AGGREGATES, FUNCTIONS
from alerts.filters.tree import Literal, Node, Operation, Path, Query, Subquery

_INFIX = {
    **{"add": "+", "sub": "-", "mul": "*", "div": "/", "eq": "=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="},
    **{"and": "AND", "or": "OR", "like": "LIKE"},
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEHIND = {"is_null": "IS NULL", "is_true": "IS TRUE", "is_false": "IS FALSE"}


def canonical(query: Query) -> str:
    """The whole filter in one line of GoogleSQL, with every parenthesis; the entries of arrays are ``e1`` and ``e2``."""
    columns = ", ".join(f"{text_of(column.node)} AS {column.name}" for column in query.columns)
    return f"SELECT {columns} FROM alerts WHERE {text_of(query.where)}"


def text_of(node: Node) -> str:
    """An expression."""
    if isinstance(node, Literal):
        return _constant(node)
    if isinstance(node, Path):
        return ".".join((_scope(node.scope), *node.names))
    if isinstance(node, Subquery):
        return _subquery(node)
    assert isinstance(node, Operation)
    return _call(node)


def _call(node: Operation) -> str:
    given = [text_of(argument) for argument in node.arguments]
    if node.name in _INFIX:
        return f"({f' {_INFIX[node.name]} '.join(given)})"
    if node.name in _BEHIND:
        return f"({given[0]} {_BEHIND[node.name]})"
    if node.name == "in":
        return f"({given[0]} IN ({', '.join(given[1:])}))"
    if node.name == "not":
        return f"(NOT {given[0]})"
    if node.name == "neg":
        return f"(- {given[0]})"
    if node.name == "case":
        branches = " ".join(f"WHEN {when} THEN {then}" for when, then in zip(given[:-1:2], given[1:-1:2], strict=True))
        return f"CASE {branches} ELSE {given[-1]} END"
    if node.name == "to_float":
        return f"SAFE_CAST({given[0]} AS FLOAT64)"
    if node.name in ("json_value", "json_float"):
        return _json(node, given[0])
    return f"{FUNCTIONS[node.name].sql}({', '.join(given)})"


def _json(node: Operation, held: str) -> str:
    name = node.arguments[1]
    assert isinstance(name, Literal)
    key = str(name.value)
    path = f"$.{key}" if _PLAIN.fullmatch(key) else f'$."{key}"'
    text = f"JSON_VALUE({held}, {_text(path)})"
    return text if node.name == "json_value" else f"SAFE_CAST({text} AS FLOAT64)"


def _subquery(node: Subquery) -> str:
    sources = ", ".join(
        f"UNNEST({'.'.join((_scope(source.outer), *source.names))}) AS {_scope(number)}"
        for number, source in enumerate(node.sources, _innermost(node) - len(node.sources) + 1)
    )
    where = "" if node.where is None else f" WHERE {text_of(node.where)}"
    if node.name == "exists":
        return f"EXISTS(SELECT 1 FROM {sources}{where})"
    if node.name == "first":
        assert node.argument is not None
        assert node.order is not None
        order = f"ORDER BY {text_of(node.order)}{' DESC' * node.is_descending} LIMIT 1"
        return f"(SELECT {text_of(node.argument)} FROM {sources}{where} {order})"
    argument = "*" if node.argument is None else text_of(node.argument)
    return f"(SELECT {AGGREGATES[node.name].sql}({argument}) FROM {sources}{where})"


def _innermost(node: Subquery) -> int:
    """The number of the scope in which the parts of a subquery are."""
    return node.depth + len(node.sources)


def _scope(number: int) -> str:
    return "alerts" if number == 0 else f"e{number}"


def _constant(node: Literal) -> str:
    held = node.value
    if held is None:
        return "NULL"
    if isinstance(held, bool):
        return "TRUE" if held else "FALSE"
    if isinstance(held, str):
        return _text(held)
    if isinstance(held, datetime):
        return f"TIMESTAMP '{held.isoformat(sep=' ')}'"
    if isinstance(held, date):
        return f"DATE '{held.isoformat()}'"
    return repr(held)


def _text(held: str) -> str:
    escaped = held.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return f"'{escaped}'"
