"""What a filter may do with values: the names, the types they take, and the type they give. Nothing else is allowed.

What engines answer differently is written so that all agree (division by zero is NULL, LEAST of NULL is NULL), or left out
(ROUND, whose halves differ; what depends on a time zone or on the moment).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from alerts.filters.row import Type

Kind = Literal["number", "whole", "ordered", "number or text", "bool", "text", "any", "same", "json", "constant text"]
"""What an argument may be: ``same`` is what the first one is, numbers among each other."""


@dataclass(frozen=True)
class Function:
    """A function or an operator."""

    sql: str
    """As people write it, for messages."""
    takes: tuple[Kind, ...]
    """The last one is repeated where ``most`` is more than these."""
    gives: Type | Callable[[tuple[Type, ...]], Type]
    least: int
    most: int

    def kind(self, number: int) -> Kind:
        """What an argument may be."""
        return self.takes[min(number, len(self.takes) - 1)]


def _of_numbers(types: tuple[Type, ...]) -> Type:
    return "INT64" if all(kind == "INT64" for kind in types) else "FLOAT64"


def _of_values(types: tuple[Type, ...]) -> Type:
    known = [kind for kind in types if kind != "NULL"]
    if not known:
        return "NULL"
    return "FLOAT64" if "FLOAT64" in known else known[0]


def _of_branches(types: tuple[Type, ...]) -> Type:
    """Of CASE: condition, value, condition, value, ..., and what else."""
    return _of_values((*types[1:-1:2], types[-1]))


def _function(sql: str, *takes: Kind, gives: Type | Callable[[tuple[Type, ...]], Type], more: int = 0) -> Function:
    return Function(sql, takes, gives, len(takes), len(takes) + more)


_MANY = 50
FUNCTIONS: dict[str, Function] = {
    **{name: _function(sql, "number", "number", gives=_of_numbers) for name, sql in (("add", "+"), ("sub", "-"), ("mul", "*"))},
    "div": _function("/", "number", "number", gives="FLOAT64"),
    "mod": _function("MOD", "whole", "whole", gives="INT64"),
    "neg": _function("-", "number", gives=_of_numbers),
    "abs": _function("ABS", "number", gives=_of_numbers),
    **{
        name: _function(name.upper(), "number", gives="FLOAT64")
        for name in ("sqrt", "ln", "log10", "exp", "floor", "ceil", "sin", "cos", "tan")
    },
    "pow": _function("POW", "number", "number", gives="FLOAT64"),
    "atan2": _function("ATAN2", "number", "number", gives="FLOAT64"),
    **{
        name: _function(sql, "any", "same", gives="BOOL")
        for name, sql in (("eq", "="), ("ne", "!="), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="))
    },
    "in": _function("IN", "any", "same", gives="BOOL", more=_MANY * 10),
    "like": _function("LIKE", "text", "constant text", gives="BOOL"),
    "starts_with": _function("STARTS_WITH", "text", "constant text", gives="BOOL"),
    "lower": _function("LOWER", "text", gives="STRING"),
    "upper": _function("UPPER", "text", gives="STRING"),
    "is_null": _function("IS NULL", "any", gives="BOOL"),
    "is_true": _function("IS TRUE", "bool", gives="BOOL"),
    "is_false": _function("IS FALSE", "bool", gives="BOOL"),
    "and": _function("AND", "bool", "bool", gives="BOOL", more=_MANY * 10),
    "or": _function("OR", "bool", "bool", gives="BOOL", more=_MANY * 10),
    "not": _function("NOT", "bool", gives="BOOL"),
    "coalesce": _function("COALESCE", "any", "same", gives=_of_values, more=_MANY),
    "nullif": _function("NULLIF", "any", "same", gives=lambda types: types[0]),
    **{name: _function(name.upper(), "number", "number", gives=_of_numbers, more=_MANY) for name in ("least", "greatest")},
    "case": Function("CASE", ("any",), _of_branches, 3, 2 * _MANY + 1),
    "to_float": _function("SAFE_CAST(... AS FLOAT64)", "number or text", gives="FLOAT64"),
    "json_value": _function("JSON_VALUE", "json", "constant text", gives="STRING"),
    "json_float": _function("SAFE_CAST(JSON_VALUE(...) AS FLOAT64)", "json", "constant text", gives="FLOAT64"),
}
AGGREGATES: dict[str, Function] = {
    "count": Function("COUNT", ("any",), "INT64", 0, 1),
    "countif": _function("COUNTIF", "bool", gives="INT64"),
    **{name: _function(name.upper(), "ordered", gives=lambda types: types[0]) for name in ("min", "max")},
    "sum": _function("SUM", "number", gives=_of_numbers),
    "avg": _function("AVG", "number", gives="FLOAT64"),
    "stddev": _function("STDDEV", "number", gives="FLOAT64"),
    "logical_or": _function("LOGICAL_OR", "bool", gives="BOOL"),
    "logical_and": _function("LOGICAL_AND", "bool", gives="BOOL"),
}
