"""What the operators and functions of filters do with whole columns; NULL in, NULL out, unless told otherwise.

A number that is none (0/0, ln 0, an overflow) is NULL: engines raise, or go on with it, each in its own way.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.filters.json_numbers import number_at, number_of, text_at
from alerts.filters.tree import Literal, Node, Operation
from alerts.filters.vectors import Array, Vector, both, finite

Run = Callable[[Operation, Sequence[Vector]], Vector]

_COMPARE: dict[str, tuple[Any, Any]] = {
    "eq": (np.equal, pc.equal),
    "ne": (np.not_equal, pc.not_equal),
    "lt": (np.less, pc.less),
    "le": (np.less_equal, pc.less_equal),
    "gt": (np.greater, pc.greater),
    "ge": (np.greater_equal, pc.greater_equal),
}
_FLOATS: dict[str, Any] = {
    **{"sqrt": np.sqrt, "ln": np.log, "log10": np.log10, "exp": np.exp, "floor": np.floor, "ceil": np.ceil},
    **{"sin": np.sin, "cos": np.cos, "tan": np.tan, "pow": np.power, "div": np.divide},
    **{"add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.abs},
}
_FEW = 8
_SURE = 2.0**62
"""Whole numbers that are smaller by their floats do fit; others are looked at one by one."""
_EXACT: dict[str, Callable[..., int]] = {
    **{"add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg, "abs": abs},
}


WITH_CONSTANTS = frozenset({*_COMPARE, *_FLOATS})
"""Operations that take a constant as it is, without a row for each alert."""


def scalar(node: Node) -> Vector | None:
    """A constant number, once; None for all else."""
    if isinstance(node, Literal) and node.type in ("INT64", "FLOAT64"):
        return Vector(np.int64(node.value) if node.type == "INT64" else np.float64(node.value))  # type: ignore[arg-type]
    return None


def run(node: Operation, given: Sequence[Vector]) -> Vector:
    """The values of an operation, from those of its arguments."""
    if node.name in _COMPARE:
        return compare(node.name, given[0], given[1])
    if node.name in _FLOATS:
        return _whole(node, given) if node.type == "INT64" else _floats(node, given)
    return _OTHERS[node.name](node, given)


def compare(name: str, first: Vector, second: Vector) -> Vector:
    """One of ``eq ne lt le gt ge``."""
    numeric, textual = _COMPARE[name]
    if isinstance(first.data, pa.Array) or isinstance(second.data, pa.Array):
        texts = [vector.data if vector.is_text else pa.nulls(len(vector.data), pa.string()) for vector in (first, second)]
        return _truths(textual(*texts))
    known = first.known
    if second.known is not None:
        known = second.known if known is None else known & second.known
    return Vector(numeric(first.data, second.data), known)


def _truths(found: pa.Array) -> Vector:
    known = found.is_valid().to_numpy(zero_copy_only=False) if found.null_count else None
    return Vector(np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), np.bool_), known)


def _floats(node: Operation, given: Sequence[Vector]) -> Vector:
    with np.errstate(all="ignore"):
        return finite(_FLOATS[node.name](*(vector.data.astype(np.float64) for vector in given)), both(*given))


def _whole(node: Operation, given: Sequence[Vector]) -> Vector:
    """Whole numbers that are more than 64 bits hold are NULL."""
    with np.errstate(all="ignore"):
        near = _FLOATS[node.name](*(vector.data.astype(np.float64) for vector in given))
        data = _FLOATS[node.name](*(vector.data for vector in given))
    known = both(*given)
    fits = np.abs(near) < _SURE
    for row in np.flatnonzero(~fits):
        exact = _EXACT[node.name](*(int(np.broadcast_to(vector.data, fits.shape)[row]) for vector in given))
        fits[row] = -(2**63) <= exact < 2**63
    return Vector(data, known if fits.all() else fits if known is None else known & fits)


def _mod(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    first, second = given
    zero = second.data == 0
    data = np.fmod(first.data, np.where(zero, 1, second.data))
    known = both(*given)
    return Vector(data, known if not zero.any() else ~zero if known is None else known & ~zero)


def _and(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    # One after the other: of batches that fit into a cache a reduction over a list takes three times as long.
    data = given[0].data
    for vector in given[1:]:
        data = data & vector.data
    unknown = [vector for vector in given if vector.known is not None]
    if not unknown:
        return Vector(data)
    # TRUE where all are, FALSE where one that is known is FALSE.
    true, false = data, np.zeros(len(data), np.bool_)
    for vector in given:
        if vector.known is None:
            false = false | ~vector.data
        else:
            true = true & vector.known
            false = false | (vector.known & ~vector.data)
    return Vector(true, true | false)


def _or(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    true = given[0].true()
    for vector in given[1:]:
        true = true | vector.true()
    known = both(*given)
    return Vector(true, None if known is None else known | true)


def _not(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    return Vector(~given[0].data, given[0].known)


def _is_null(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    return Vector(~given[0].mask)


def _is_true(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    return Vector(given[0].true())


def _is_false(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    return Vector(~given[0].data & given[0].mask)


def _in(node: Operation, given: Sequence[Vector]) -> Vector:
    held = given[0]
    constants = [argument.value for argument in node.arguments[1:] if isinstance(argument, Literal)]
    if held.is_text:
        found = pc.is_in(held.data, pa.array(constants, pa.string())).to_numpy(zero_copy_only=False)
        return Vector(np.asarray(found, np.bool_), both(held))
    if held.data.dtype == np.int64 and any(isinstance(each, float) for each in constants):
        # All are held against each other as floats, as engines do.
        held = Vector(held.data.astype(np.float64), held.known)
    if held.data.dtype == np.bool_ or len(constants) <= _FEW:
        return Vector(np.logical_or.reduce([compare("eq", held, vector).data for vector in given[1:]]), held.known)
    return Vector(np.isin(held.data, [vector.data[0] for vector in given[1:]] if len(held.data) else []), held.known)


def _matching(match: Callable[[pa.Array, str], pa.Array]) -> Run:
    def matched(node: Operation, given: Sequence[Vector]) -> Vector:
        pattern = node.arguments[1]
        assert isinstance(pattern, Literal)
        return _truths(match(given[0].data, str(pattern.value)))

    return matched


def _changed(change: Callable[[pa.Array], pa.Array]) -> Run:
    return lambda node, given: Vector(change(given[0].data))


def _coalesce(node: Operation, given: Sequence[Vector]) -> Vector:
    found = _as(node, given[0])
    for vector in given[1:]:
        found = choose(found.mask, found, _as(node, vector))
    return found


def _nullif(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    equal = compare("eq", *given).true()
    if given[0].is_text:
        return Vector(pc.if_else(pa.array(~equal), given[0].data, None))
    return Vector(given[0].data, given[0].mask & ~equal)


def _extreme(pick: Any) -> Run:
    def picked(node: Operation, given: Sequence[Vector]) -> Vector:
        return Vector(pick.reduce([_as(node, vector).data for vector in given]), both(*given))

    return picked


def _case(node: Operation, given: Sequence[Vector]) -> Vector:
    found = _as(node, given[-1])
    for condition, value in reversed(list(zip(given[:-1:2], given[1:-1:2], strict=True))):
        found = choose(condition.true(), _as(node, value), found)
    return found


def choose(where: Array, first: Vector, second: Vector) -> Vector:
    """The first one's where it is so, else the second one's; both are of one type."""
    if first.is_text:
        return Vector(pc.if_else(pa.array(where), first.data, second.data))
    known = None if first.known is None and second.known is None else np.where(where, first.mask, second.mask)
    return Vector(np.where(where, first.data, second.data), known)


def _as(node: Operation, vector: Vector) -> Vector:
    """A value among others of a type: whole numbers among floats are floats, NULL is a NULL of the type."""
    if node.type in ("STRING", "JSON"):
        return vector if vector.is_text else Vector(pa.nulls(len(vector.data), pa.string()))
    kinds = {"BOOL": np.bool_, "FLOAT64": np.float64, "NULL": np.float64}
    return Vector(vector.data.astype(kinds.get(node.type, np.int64)), vector.known)


def _to_float(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    held = given[0]
    if not held.is_text:
        return Vector(held.data.astype(np.float64), held.known)
    return finite(np.array([number_of(text) for text in held.data.to_pylist()], np.float64), None)


def _json_value(node: Operation, given: Sequence[Vector]) -> Vector:
    name = node.arguments[1]
    assert isinstance(name, Literal)
    return Vector(pa.array([text_at(text, str(name.value)) for text in given[0].data.to_pylist()], pa.string()))


def _json_float(node: Operation, given: Sequence[Vector]) -> Vector:
    name = node.arguments[1]
    assert isinstance(name, Literal)
    return finite(np.array([number_at(text, str(name.value)) for text in given[0].data.to_pylist()], np.float64), None)


def _atan2(node: Operation, given: Sequence[Vector]) -> Vector:
    del node
    # A zero has no sign here: engines differ in which of their zeros have one.
    first, second = (vector.data.astype(np.float64) + 0.0 for vector in given)
    return Vector(np.arctan2(first, second), both(*given))


_OTHERS: dict[str, Run] = {
    **{"mod": _mod, "and": _and, "or": _or, "not": _not, "is_null": _is_null, "is_true": _is_true, "is_false": _is_false},
    **{"in": _in, "coalesce": _coalesce, "nullif": _nullif, "case": _case, "to_float": _to_float},
    **{"json_value": _json_value, "json_float": _json_float, "atan2": _atan2},
    **{"least": _extreme(np.minimum), "greatest": _extreme(np.maximum)},
    "like": _matching(pc.match_like),
    "starts_with": _matching(pc.starts_with),
    # Of other letters engines make different ones.
    "lower": _changed(pc.ascii_lower),
    "upper": _changed(pc.ascii_upper),
}
