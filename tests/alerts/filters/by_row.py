"""Filters row by row in plain Python: what columns at once are held against."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from alerts.filters.aggregates import LARGEST
from alerts.filters.row import RowField
from alerts.filters.tree import Entries, Literal, Node, Operation, Path, Subquery

Row = Mapping[str, Any]
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_TO_LOWER, _TO_UPPER = str.maketrans(_LOWER.upper(), _LOWER), str.maketrans(_LOWER, _LOWER.upper())


def value(node: Node, scopes: Sequence[Row]) -> Any:
    """An expression for one row of each scope, the alert's first; None for NULL."""
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Path):
        return _field(node, scopes[node.scope])
    if isinstance(node, Subquery):
        return _subquery(node, scopes)
    assert isinstance(node, Operation)
    return _operation(node, scopes)


def _field(node: Path, row: Row) -> Any:
    held: Any = row
    *above, last = node.names
    for name in above:
        held = None if held is None else held.get(name)
    held = None if held is None else held.get(last if node.last.scale is None else node.last.scale[0])
    return _seen(held, node.last)


def _seen(held: Any, field: RowField) -> Any:
    if held is None:
        return None
    if field.truths is not None and isinstance(held, str):
        return True if held in field.truths[0] else False if held in field.truths[1] else None
    if isinstance(held, float) and math.isnan(held):
        return None
    if any(
        (type(held) in (int, float) and type(none) in (int, float) and held == none) or held == none for none in field.missing
    ):
        return None
    if isinstance(held, datetime) and held.tzinfo is None:
        return held.replace(tzinfo=UTC)
    return held if field.scale is None else _number(held * field.scale[1])


def _entries(sources: Sequence[Entries], scopes: Sequence[Row]) -> list[list[Row]]:
    found: list[list[Row]] = [list(scopes)]
    for source in sources:
        found = [[*outer, entry] for outer in found for entry in _array(source, outer[source.outer])]
    return found


def _array(source: Entries, row: Row) -> list[Row]:
    held: Any = row
    for name in source.names:
        held = None if held is None else held.get(name)
    return held or []


def _subquery(node: Subquery, scopes: Sequence[Row]) -> Any:
    rows = _entries(node.sources, scopes[: node.depth + 1])
    kept = [inner for inner in rows if node.where is None or value(node.where, inner) is True]
    if node.name == "exists":
        return bool(kept)
    if node.name == "first":
        assert node.order is not None
        keyed = [(value(node.order, inner), inner) for inner in kept]
        known = [pair for pair in keyed if pair[0] is not None]
        best = None
        for key, inner in known:
            if best is None or (key > best[0] if node.is_descending else key < best[0]):
                best = (key, inner)
        chosen = best[1] if best else kept[0] if kept else None
        return None if chosen is None else value(node.argument, chosen)
    if node.argument is None:
        return len(kept)
    values = [held for inner in kept if (held := value(node.argument, inner)) is not None]
    return _aggregate(node.name, values)


def _aggregate(name: str, values: list[Any]) -> Any:
    if name == "count":
        return len(values)
    if name == "countif":
        return sum(values)
    if not values or (name == "stddev" and len(values) < 2):
        return None
    if name in ("min", "max"):
        return min(values) if name == "min" else max(values)
    if any(isinstance(each, float) and abs(each) > LARGEST for each in values):
        return None
    if name == "sum":
        return _number(sum(values))
    if name in ("logical_or", "logical_and"):
        return any(values) if name == "logical_or" else all(values)
    numbers = [float(each) for each in values]
    mean = min(max(sum(numbers) / len(numbers), min(numbers)), max(numbers))
    if name == "avg":
        return _number(mean)
    return _number(math.sqrt(sum((float(each) - mean) ** 2 for each in values) / (len(values) - 1)))


def _number(held: Any) -> Any:
    if isinstance(held, float) and not math.isfinite(held):
        return None
    if isinstance(held, int) and not isinstance(held, bool) and not -(2**63) <= held < 2**63:
        return None
    return held


def _operation(node: Operation, scopes: Sequence[Row]) -> Any:
    name = node.name
    if name == "case":
        for condition, result in zip(node.arguments[:-1:2], node.arguments[1:-1:2], strict=True):
            if value(condition, scopes) is True:
                return _as(node, value(result, scopes))
        return _as(node, value(node.arguments[-1], scopes))
    given = [value(argument, scopes) for argument in node.arguments]
    if name in ("and", "or"):
        decisive = name == "or"
        return decisive if decisive in given else None if None in given else not decisive
    if name == "coalesce":
        return _as(node, next((each for each in given if each is not None), None))
    if name in ("is_null", "is_true", "is_false"):
        return given[0] is {"is_null": None, "is_true": True, "is_false": False}[name]
    if name == "nullif":
        return None if None not in given and _equal(*given) else given[0]
    if None in given:
        return None
    return _known(node, given)


def _as(node: Operation, held: Any) -> Any:
    return float(held) if node.type == "FLOAT64" and isinstance(held, int) else held


def _known(node: Operation, given: list[Any]) -> Any:
    try:
        found = _KNOWN[node.name](node, *given)
        # What is picked is what it is, what is computed is a number or NULL.
        return found if node.name in ("least", "greatest") else _number(found)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None


def _real(held: Any) -> float:
    if isinstance(held, complex):
        raise ValueError(held)
    return float(held)


def _to_float(node: Operation, held: Any) -> Any:
    del node
    return float(held) if not isinstance(held, str) or _NUMBER.fullmatch(held) else None


def _json(node: Operation, text: str, name: str) -> Any:
    held = orjson.loads(text).get(name)
    if isinstance(held, (dict, list)) or held is None:
        return None
    if node.name == "json_float":
        return None if isinstance(held, bool) else _to_float(node, held)
    if isinstance(held, float) and held != 0 and not 1e-4 <= abs(held) < 1e15:
        return None
    return held if isinstance(held, str) else orjson.dumps(held).decode()


def _alike(first: Any, second: Any) -> tuple[Any, Any]:
    """A whole number and a float are held against each other as floats."""
    kinds = {type(first), type(second)}
    return (float(first), float(second)) if kinds == {int, float} else (first, second)


def _equal(first: Any, second: Any) -> bool:
    first, second = _alike(first, second)
    return first == second


def _in(node: Operation, held: Any, *others: Any) -> bool:
    del node
    return any(_equal(held, other) for other in (map(float, others) if float in map(type, others) else others))


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Operation, Any, Any], bool]:
    return lambda _, first, second: compare(*_alike(first, second))


def _like(node: Operation, text: str, pattern: str) -> bool:
    del node
    parts = {"%": ".*", "_": "."}
    return re.fullmatch("".join(parts.get(each, re.escape(each)) for each in pattern), text, re.DOTALL) is not None


def _power(node: Operation, base: float, exponent: float) -> float:
    del node
    return _real(float(base) ** exponent)


def _arithmetic(node: Operation, first: Any, second: Any) -> Any:
    if node.type == "FLOAT64":
        first, second = float(first), float(second)
    return {"add": first + second, "sub": first - second, "mul": first * second}[node.name]


def _function(call: Callable[[float], float]) -> Callable[[Operation, float], float]:
    return lambda _, held: call(held)


_KNOWN: dict[str, Any] = {
    **dict.fromkeys(("add", "sub", "mul"), _arithmetic),
    "div": lambda _, a, b: float(a) / float(b),
    "mod": lambda _, a, b: abs(a) % abs(b) * (1 if a >= 0 else -1),
    "neg": lambda _, a: -a,
    "abs": lambda _, a: abs(a),
    "pow": _power,
    # A zero has no sign.
    "atan2": lambda _, a, b: math.atan2(a + 0.0, b + 0.0),
    **{name: _function(getattr(math, name)) for name in ("sqrt", "log10", "exp", "sin", "cos", "tan")},
    "ln": _function(math.log),
    "floor": lambda _, a: float(math.floor(a)),
    "ceil": lambda _, a: float(math.ceil(a)),
    **{name: _comparison(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "in": _in,
    "not": lambda _, a: not a,
    "least": lambda node, *given: _as(node, min(given)),
    "greatest": lambda node, *given: _as(node, max(given)),
    "lower": lambda _, a: a.translate(_TO_LOWER),
    "upper": lambda _, a: a.translate(_TO_UPPER),
    "starts_with": lambda _, a, b: a.startswith(b),
    "like": _like,
    "to_float": _to_float,
    "json_value": _json,
    "json_float": _json,
}
