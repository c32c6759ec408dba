"""Which types go together: a call is made only where its values are what it takes."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.filters.errors import FilterError, Span
from alerts.filters.functions import AGGREGATES, FUNCTIONS, Kind
from alerts.filters.row import ID_NAMES, Type
from alerts.filters.tree import Literal, Node, Operation, Path

_NUMBERS: tuple[Type, ...] = ("INT64", "FLOAT64")
_TAKEN: dict[Kind, tuple[str, tuple[Type, ...]]] = {
    "number": ("numbers", _NUMBERS),
    "whole": ("whole numbers", ("INT64",)),
    "ordered": ("numbers and times", (*_NUMBERS, "TIMESTAMP", "DATE")),
    "number or text": ("numbers and texts", (*_NUMBERS, "STRING")),
    "bool": ("truth values", ("BOOL",)),
    "text": ("texts", ("STRING",)),
    "constant text": ("texts", ("STRING",)),
}
"""What is said of a kind of arguments, and the types that it has."""
_NULLS: dict[Kind, Type] = {"bool": "BOOL", "text": "STRING", "constant text": "STRING", "json": "JSON"}


def must_be(kind: Type, node: Node, where: str) -> Node:
    """The node, if it has that type, or is NULL. Raises ``FilterError``."""
    if node.type not in (kind, "NULL"):
        raise FilterError(f"{where} takes a {kind}, and this is {_a(node.type)}", node.at)
    return _null_of(kind, node)


def call(name: str, arguments: Sequence[Node], at: Span) -> Operation:
    """An operator or function of some values. Raises ``FilterError`` where it does not take them."""
    function = FUNCTIONS.get(name) or AGGREGATES[name]
    if not function.least <= len(arguments) <= function.most:
        raise FilterError(f"{function.sql} takes {function.least} to {function.most} values, and here are {len(arguments)}", at)
    if name == "case":
        # Its conditions are held by who reads them.
        _check_same(function.sql, [*arguments[1:-1:2], arguments[-1]])
    else:
        for number, argument in enumerate(arguments):
            _check(function.sql, function.kind(number), argument)
        if function.kind(1) == "same" and len(arguments) > 1:
            _check_same(function.sql, arguments)
        arguments = [_null_of(_NULLS.get(function.kind(number)), argument) for number, argument in enumerate(arguments)]
    gives = function.gives
    kind = gives if isinstance(gives, str) else gives(tuple(argument.type for argument in arguments))
    return Operation(kind, at, name, tuple(arguments))


def _null_of(kind: Type | None, node: Node) -> Node:
    """What has the type NULL is never anything else: where a kind of values is wanted, it is a NULL of that."""
    return Literal(kind, node.at, None) if node.type == "NULL" and kind is not None else node


def _check(sql: str, kind: Kind, node: Node) -> None:
    if node.type == "NULL":
        return
    if node.type == "RECORD":
        raise FilterError(f"{sql} takes values, and this is a record; name a field of it", node.at)
    if kind == "json":
        if node.type != "JSON":
            raise FilterError(f"{sql} takes the columns of a source, and this is {_a(node.type)}", node.at)
        return
    if node.type == "JSON":
        raise FilterError("JSON is asked by JSON_VALUE(..., '$.NAME')", node.at)
    if kind in _TAKEN and node.type not in _TAKEN[kind][1]:
        raise FilterError(f"{sql} takes {_TAKEN[kind][0]}, and this is {_a(node.type)}{_hint(node)}", node.at)
    if kind == "constant text" and not isinstance(node, Literal):
        raise FilterError(f"{sql} takes a constant text here", node.at)


def _check_same(sql: str, nodes: Sequence[Node]) -> None:
    """Refuse values of different types, and ids held against what has rounded them."""
    known = [node for node in nodes if node.type != "NULL"]
    other = next((node for node in known if _group(node.type) != _group(known[0].type)), None)
    if other is not None:
        here = f"{_a(known[0].type)} and {_a(other.type)}{_hint(known[0]) or _hint(other)}"
        raise FilterError(f"{sql} takes values of one type: here are {here}", other.at)
    if any(isinstance(node, Path) and node.type == "INT64" and node.names[-1] in ID_NAMES for node in known):
        rounded = next((node for node in known if node.type == "FLOAT64"), None)
        if rounded is not None:
            raise FilterError("an id is held against whole numbers: a FLOAT64 rounds beyond 2^53", rounded.at)


def _group(kind: Type) -> str:
    return "number" if kind in _NUMBERS else kind


def _hint(node: Node) -> str:
    """What is told of a text that is a truth value here."""
    if isinstance(node, Path) and node.last.truths is not None:
        return f"; {node.names[-1]} is TRUE or FALSE here, whatever the packet has for it"
    return ""


def _a(kind: Type) -> str:
    return {"INT64": "an INT64", "NULL": "NULL"}.get(kind, f"a {kind}")
