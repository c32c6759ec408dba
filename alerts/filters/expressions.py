"""Expressions of a filter: each kind of the parser's nodes that is allowed, and what it is in ours. All others are refused.

Every function raises ``FilterError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sqlglot import exp

from alerts.filters import constants
from alerts.filters.errors import FilterError
from alerts.filters.functions import AGGREGATES
from alerts.filters.names import Name, NamedScope, ask_a_subquery, find
from alerts.filters.parsed import at, only, shown
from alerts.filters.tree import Literal, Node, Operation, Path
from alerts.filters.types import call, must_be

_MOST_WILD = 4
_KEY = re.compile(r"[^\x00-\x1f\x7f\"'\\`]{1,100}")
Read = Callable[[Any, Sequence[NamedScope]], Node]

_BINARY: dict[type, str] = {
    **{exp.Add: "add", exp.Sub: "sub", exp.Mul: "mul", exp.Div: "div", exp.Mod: "mod", exp.Pow: "pow", exp.Atan2: "atan2"},
    **{exp.EQ: "eq", exp.NEQ: "ne", exp.LT: "lt", exp.LTE: "le", exp.GT: "gt", exp.GTE: "ge"},
    **{exp.Nullif: "nullif", exp.StartsWith: "starts_with"},
}
_UNARY: dict[type, str] = {
    **{exp.Not: "not", exp.Abs: "abs", exp.Sqrt: "sqrt", exp.Ln: "ln", exp.Exp: "exp", exp.Floor: "floor"},
    **{exp.Ceil: "ceil", exp.Sin: "sin", exp.Cos: "cos", exp.Tan: "tan", exp.Lower: "lower", exp.Upper: "upper"},
}
_MANY: dict[type, str] = {exp.Coalesce: "coalesce", exp.Least: "least", exp.Greatest: "greatest"}
AGGREGATE_NAMES: dict[type, str] = {
    **{exp.Min: "min", exp.Max: "max", exp.Sum: "sum", exp.Avg: "avg", exp.Stddev: "stddev", exp.StddevSamp: "stddev"},
    **{exp.CountIf: "countif", exp.LogicalOr: "logical_or", exp.LogicalAnd: "logical_and", exp.Count: "count"},
}


def value(node: Any, scopes: Sequence[NamedScope]) -> Node:
    """An expression in the innermost of some scopes."""
    if node is None:
        raise FilterError("an operator or a function here lacks what it is of")
    kind = type(node)
    if kind is exp.Paren:
        return value(node.this, scopes)
    if kind in _SPECIAL:
        return _SPECIAL[kind](node, scopes)
    if kind in _BINARY:
        only(node, {"this", "expression", "typed", "safe"}, "it takes two values")
        return call(_BINARY[kind], [value(node.this, scopes), value(node.expression, scopes)], at(node))
    if kind in _UNARY:
        only(node, {"this"}, "it takes one value")
        return call(_UNARY[kind], [value(node.this, scopes)], at(node))
    if kind in _MANY:
        only(node, {"this", "expressions", "ignore_nulls"}, "it takes values and nothing else")
        return call(_MANY[kind], [value(each, scopes) for each in (node.this, *node.expressions)], at(node))
    if kind in AGGREGATE_NAMES:
        name = AGGREGATES[AGGREGATE_NAMES[kind]].sql
        raise FilterError(f"{name} stands in a subquery over an array: (SELECT ... FROM UNNEST(array) AS p)", at(node))
    raise FilterError(f"{shown(node)} is not allowed in a filter", at(node))


def path(node: Any, scopes: Sequence[NamedScope]) -> Path:
    """Dotted names, of a value or of an array."""
    parts = list(node.parts) if isinstance(node, (exp.Column, exp.Dot)) else []
    if not parts or not all(isinstance(part, exp.Identifier) for part in parts):
        raise FilterError(f"{shown(node)} is no field", at(node))
    return find([Name(part.name, at(part)) for part in parts], scopes, at(node))


def _column(node: Any, scopes: Sequence[NamedScope]) -> Node:
    found = path(node, scopes)
    if found.last.is_array:
        raise FilterError(ask_a_subquery(".".join(found.names)), found.at)
    return found


def _constant(node: Any, scopes: Sequence[NamedScope]) -> Node:
    del scopes
    return constants.literal(node, at(node))


def _negative(node: Any, scopes: Sequence[NamedScope]) -> Node:
    """A negative number is a constant as a positive one is."""
    held = value(node.this, scopes)
    if isinstance(held, Literal) and isinstance(held.value, (int, float)) and not isinstance(held.value, bool):
        return Literal(held.type, at(node), -held.value)
    return call("neg", [held], at(node))


def _cast(node: Any, scopes: Sequence[NamedScope]) -> Node:
    """DATE '...', TIMESTAMP '...', and SAFE_CAST to FLOAT64."""
    to = node.args["to"].sql(dialect="bigquery")
    only(node, {"this", "to", "safe"}, "a cast has a type and nothing else")
    if type(node) is exp.Cast and to in ("DATE", "TIMESTAMP") and isinstance(node.this, exp.Literal) and node.this.is_string:
        return constants.moment(node.this.this, to, at(node))
    if type(node) is exp.TryCast and to == "FLOAT64":
        held = value(node.this, scopes)
        if isinstance(held, Operation) and held.name == "json_value":
            # As a number it has all its digits, as a text only what all engines write alike.
            return call("json_float", held.arguments, at(node))
        return call("to_float", [held], at(node))
    raise FilterError("of casts there are SAFE_CAST(... AS FLOAT64), and constants: DATE '2026-11-29', TIMESTAMP '...'", at(node))


def _junction(node: Any, scopes: Sequence[NamedScope]) -> Node:
    """AND or OR of as many as there are: a long row of them is nested in the parser's tree."""
    kind, found, waiting = type(node), [], [node]
    while waiting:
        each = waiting.pop()
        if type(each) is kind:
            waiting += [each.expression, each.this]
        else:
            found.append(value(each, scopes))
    return call("and" if kind is exp.And else "or", found, at(node))


def _is(node: Any, scopes: Sequence[NamedScope]) -> Node:
    held, what = value(node.this, scopes), node.expression
    if isinstance(what, exp.Null):
        return call("is_null", [held], at(node))
    if isinstance(what, exp.Boolean):
        return call("is_true" if what.this else "is_false", [held], at(node))
    raise FilterError("IS is followed by NULL, TRUE, FALSE, or NOT and one of these", at(node))


def _between(node: Any, scopes: Sequence[NamedScope]) -> Node:
    only(node, {"this", "low", "high"}, "write BETWEEN low AND high")
    held, low, high = (value(node.args[name], scopes) for name in ("this", "low", "high"))
    return call("and", [call("ge", [held, low], at(node)), call("le", [held, high], at(node))], at(node))


def _in(node: Any, scopes: Sequence[NamedScope]) -> Node:
    only(node, {"this", "expressions"}, "IN is followed by constants in parentheses")
    values = [value(each, scopes) for each in node.expressions]
    if not values or not all(isinstance(each, Literal) and each.value is not None for each in values):
        raise FilterError("IN is followed by constants in parentheses, and NULL is none of them", at(node))
    return call("in", [value(node.this, scopes), *values], at(node))


def _case(node: Any, scopes: Sequence[NamedScope]) -> Node:
    given: list[Node] = []
    # Read once: what is read anew for each branch, and there again, would never come to its end.
    held = None if node.this is None else value(node.this, scopes)
    for branch in node.args["ifs"]:
        if held is None:
            condition = must_be("BOOL", value(branch.this, scopes), "WHEN")
        else:
            condition = call("eq", [held, value(branch.this, scopes)], at(branch))
        given += [condition, value(branch.args["true"], scopes)]
    return call("case", [*given, _otherwise(node, "default", scopes)], at(node))


def _if(node: Any, scopes: Sequence[NamedScope]) -> Node:
    condition = must_be("BOOL", value(node.this, scopes), "IF")
    return call("case", [condition, value(node.args["true"], scopes), _otherwise(node, "false", scopes)], at(node))


def _otherwise(node: Any, name: str, scopes: Sequence[NamedScope]) -> Node:
    given = node.args.get(name)
    return value(given, scopes) if given is not None else Literal("NULL", at(node), None)


def _like(node: Any, scopes: Sequence[NamedScope]) -> Node:
    only(node, {"this", "expression", "negate"}, "LIKE takes a text and a pattern")
    pattern = value(node.expression, scopes)
    if isinstance(pattern, Literal) and (chr(92) in str(pattern.value) or str(pattern.value).count("%") > _MOST_WILD):
        raise FilterError(f"a pattern has {_MOST_WILD} % at most, and no backslash, which engines read differently", at(node))
    found = call("like", [value(node.this, scopes), pattern], at(node))
    return call("not", [found], at(node)) if node.args.get("negate") else found


def _log(node: Any, scopes: Sequence[NamedScope]) -> Node:
    base = node.this
    if node.expression is None or not (isinstance(base, exp.Literal) and not base.is_string and base.this == "10"):
        raise FilterError("of logarithms there are LN and LOG10", at(node))
    return call("log10", [value(node.expression, scopes)], at(node))


def _json_value(node: Any, scopes: Sequence[NamedScope]) -> Node:
    parts = node.expression.expressions if isinstance(node.expression, exp.JSONPath) else []
    if len(parts) != 2 or not isinstance(parts[1], exp.JSONPathKey) or not isinstance(parts[1].this, str):
        raise FilterError("JSON_VALUE takes the columns of a source and '$.NAME'", at(node))
    if not _KEY.fullmatch(parts[1].this):
        raise FilterError("a name of JSON_VALUE has no quotes, backslashes and control characters", at(node))
    return call("json_value", [value(node.this, scopes), Literal("STRING", at(node), parts[1].this)], at(node))


_SPECIAL: dict[type, Read] = {
    **{
        exp.Literal: _constant,
        exp.Boolean: _constant,
        exp.Null: _constant,
        exp.Neg: _negative,
        exp.Cast: _cast,
        exp.TryCast: _cast,
    },
    **{exp.And: _junction, exp.Or: _junction, exp.Column: _column, exp.Dot: _column, exp.Is: _is, exp.Between: _between},
    **{exp.In: _in, exp.Case: _case, exp.If: _if, exp.Log: _log, exp.Like: _like, exp.JSONExtractScalar: _json_value},
}


def special(kind: type) -> Callable[[Read], Read]:
    """That a kind of node is read by the function below it."""

    def kept(read: Read) -> Read:
        _SPECIAL[kind] = read
        return read

    return kept
