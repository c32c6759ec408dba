"""Subqueries of a filter: over the entries of an array of the alert, and at most over an array of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from alerts.filters.errors import FilterError
from alerts.filters.expressions import AGGREGATE_NAMES, path, special, value
from alerts.filters.names import NamedScope
from alerts.filters.parsed import at, only, shown
from alerts.filters.row import RowField
from alerts.filters.tree import Entries, Node, Subquery
from alerts.filters.types import call, must_be

_MOST_SOURCES = 2
_FORM = "a subquery is SELECT ... FROM UNNEST(array) AS p WHERE ..."
_OF_THE_ENTRY = "a subquery within another one goes over an array of the other one's entries"
_OF_THE_FIRST = "the second array of a subquery is one of the first one's entries"
_ORDERED = ("INT64", "FLOAT64", "TIMESTAMP", "DATE")


@special(exp.ArraySize)
def _array_length(node: Any, scopes: Sequence[NamedScope]) -> Node:
    only(node, {"this"}, "it takes an array")
    array = path(node.this, scopes)
    if not array.last.is_array:
        raise FilterError(f"{shown(node.this)} is no array", array.at)
    return Subquery("INT64", at(node), "count", len(scopes) - 1, (Entries(array.scope, array.names),), None)


@special(exp.Exists)
def _exists(node: Any, scopes: Sequence[NamedScope]) -> Node:
    only(node, {"this"}, _FORM)
    select = node.this.this if isinstance(node.this, exp.Subquery) else node.this
    sources, _, where = _entries(select, scopes)
    if select.args.get("order") or select.args.get("limit"):
        raise FilterError("EXISTS has no ORDER BY and LIMIT", at(node))
    return Subquery("BOOL", at(node), "exists", len(scopes) - 1, sources, where)


@special(exp.Subquery)
def _subquery(node: Any, scopes: Sequence[NamedScope]) -> Node:
    only(node, {"this"}, "a subquery has no name here")
    if isinstance(node.this, exp.Subquery):
        # It stands in parentheses of its own, as arguments of functions do.
        return _subquery(node.this, scopes)
    select = node.this
    sources, inner, where = _entries(select, scopes)
    if len(select.expressions) != 1:
        raise FilterError("a subquery gives one value", at(node))
    wanted = select.expressions[0].unalias()
    order, limit = select.args.get("order"), select.args.get("limit")
    if type(wanted) in AGGREGATE_NAMES:
        if order or limit:
            raise FilterError("an aggregate is one value, and has no ORDER BY and LIMIT", at(node))
        return _aggregate(wanted, sources, inner, where)
    first = limit is not None and isinstance(limit.expression, exp.Literal) and limit.expression.this == "1"
    if not (first and order and len(order.expressions) == 1):
        raise FilterError("a subquery gives an aggregate (COUNT, MIN, ...), or the first entry: ORDER BY ... LIMIT 1", at(node))
    by = order.expressions[0]
    argument, key = value(wanted, inner), value(by.this, inner)
    if key.type not in _ORDERED:
        raise FilterError("entries are ordered by a number or a time", key.at)
    return Subquery(argument.type, at(node), "first", len(scopes) - 1, sources, where, argument, key, bool(by.args.get("desc")))


def _aggregate(node: Any, sources: tuple[Entries, ...], inner: Sequence[NamedScope], where: Node | None) -> Node:
    name, depth = AGGREGATE_NAMES[type(node)], len(inner) - len(sources) - 1
    only(node, {"this", "big_int"}, "it takes one value")
    if name == "count" and isinstance(node.this, exp.Star):
        return Subquery("INT64", at(node), "count", depth, sources, where)
    called = call(name, [value(node.this, inner)], at(node))
    return Subquery(called.type, at(node), name, depth, sources, where, called.arguments[0])


def _entries(select: Any, scopes: Sequence[NamedScope]) -> tuple[tuple[Entries, ...], Sequence[NamedScope], Node | None]:
    """What a subquery goes over, the scopes in it, and its condition."""
    if not isinstance(select, exp.Select):
        raise FilterError(_FORM, at(select))
    only(select, {"kind", "expressions", "from_", "where", "joins", "order", "limit"}, _FORM)
    begin, joins = select.args.get("from_"), select.args.get("joins") or []
    for join in joins:
        only(join, {"this", "kind"} if join.args.get("kind") == "CROSS" else {"this"}, "arrays are joined by a comma")
    read = [*([begin.this] if begin is not None else []), *(join.this for join in joins)]
    if not 0 < len(read) <= _MOST_SOURCES:
        raise FilterError("a subquery reads an array, and at most one of its entries' own", at(select))
    inner, sources = list(scopes), list[Entries]()
    for unnest in read:
        source, scope = _source(unnest, inner)
        if source.outer != len(inner) - 1:
            raise FilterError(_OF_THE_ENTRY if not sources else _OF_THE_FIRST, at(unnest))
        inner.append(scope)
        sources.append(source)
    where = select.args.get("where")
    return tuple(sources), inner, None if where is None else must_be("BOOL", value(where.this, inner), "WHERE")


def _source(node: Any, scopes: Sequence[NamedScope]) -> tuple[Entries, NamedScope]:
    if not isinstance(node, exp.Unnest) or len(node.expressions) != 1:
        raise FilterError("a subquery reads UNNEST(array) AS p", at(node))
    only(node, {"expressions", "alias"}, "a subquery reads UNNEST(array) AS p")
    array, alias = path(node.expressions[0], scopes), node.args.get("alias")
    told = ".".join(array.names)
    name = alias.columns[0].name if alias is not None and alias.columns else node.alias
    if not array.last.is_array or array.type != "RECORD":
        raise FilterError(f"{told} is no array of records", array.at)
    if not name:
        raise FilterError(f"give the entries of {told} a name: UNNEST({told}) AS p", array.at)
    if name.casefold() in {scope.alias.casefold() for scope in scopes}:
        raise FilterError(f"{name} is already the name of something else here", at(node))
    return Entries(array.scope, array.names), NamedScope(name, RowField(name, "RECORD", fields=array.last.fields))
