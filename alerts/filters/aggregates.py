"""What a subquery makes of the entries of an array: one value for each row that has the array."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.filters.tree import Subquery
from alerts.filters.vectors import Array, Mask, Vector, finite, null


def aggregate(  # noqa: PLR0917
    node: Subquery, length: int, around: Array, kept: Mask, argument: Vector | None, order: Vector | None
) -> Vector:
    """The value of a subquery for each of ``length`` rows, of the entries that are ``kept``.

    ``around``: the row that each entry belongs to, in order.
    """
    if node.name == "exists":
        return Vector(np.bincount(around[kept], minlength=length) > 0)
    if node.name == "first":
        assert argument is not None
        assert order is not None
        return _first(node, length, around, kept, argument, order)
    used = kept if argument is None else kept & argument.mask
    counts = np.bincount(around[used], minlength=length)
    if node.name == "count":
        return Vector(counts)
    assert argument is not None
    if node.name == "countif":
        return Vector(np.bincount(around[kept & argument.true()], minlength=length))
    values, has = argument.data[used], counts > 0
    starts = (np.cumsum(counts) - counts)[has]
    return _reduced(node.name, values, starts, counts, has)


def _reduced(name: str, values: Array, starts: Array, counts: Array, has: Mask) -> Vector:
    reduce = {"min": np.minimum, "max": np.maximum, "logical_or": np.logical_or, "logical_and": np.logical_and}.get(name, np.add)
    floats = name in ("avg", "stddev")
    out = np.zeros(len(counts), np.float64 if floats else values.dtype)
    if not len(starts):
        return Vector(out, has)
    with np.errstate(all="ignore"):
        if not floats:
            out[has] = reduce.reduceat(values, starts)
            return Vector(out, has) if name != "sum" or out.dtype != np.float64 else finite(out, has)
        numbers = values.astype(np.float64)
        mean = np.add.reduceat(numbers, starts) / counts[has]
        if name == "avg":
            out[has] = mean
            return finite(out, has)
        squares = np.add.reduceat((numbers - np.repeat(mean, counts[has])) ** 2, starts)
        out[has] = np.sqrt(squares / (counts[has] - 1))
    return finite(out, has & (counts > 1))


def _first(  # noqa: PLR0917
    node: Subquery, length: int, around: Array, kept: Mask, argument: Vector, order: Vector
) -> Vector:
    """The argument of the first entry: NULL comes last, and of equal ones that which stands first in the array."""
    places = np.flatnonzero(kept)
    if not len(places):
        return null(node.type, length)
    key = order.data[places]
    by = np.lexsort((places, -key if node.is_descending else key, ~order.mask[places], around[places]))
    ordered = places[by]
    begins = np.flatnonzero(np.concatenate([[True], np.diff(around[ordered]) != 0]))
    found, rows = ordered[begins], around[ordered[begins]]
    where = np.full(length, -1)
    where[rows] = found
    taken = argument.take(np.maximum(where, 0))
    if taken.is_text:
        return Vector(pc.if_else(pa.array(where >= 0), taken.data, None))
    return Vector(taken.data, taken.mask & (where >= 0))
