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


LARGEST = 1e150
"""Of larger numbers there is no sum, mean or standard deviation: engines differ in where theirs end."""


def _reduced(name: str, values: Array, starts: Array, counts: Array, has: Mask) -> Vector:
    if name in ("sum", "avg", "stddev"):
        is_whole = name == "sum" and values.dtype != np.float64
        return (_whole_sums if is_whole else _of_floats)(name, values, starts, counts, has)
    reduce = {"min": np.minimum, "max": np.maximum, "logical_or": np.logical_or, "logical_and": np.logical_and}[name]
    out = np.zeros(len(counts), values.dtype)
    if len(starts):
        out[has] = reduce.reduceat(values, starts)
    return Vector(out, has)


def _of_floats(name: str, values: Array, starts: Array, counts: Array, has: Mask) -> Vector:
    out = np.zeros(len(counts))
    if not len(starts):
        return Vector(out, has)
    numbers, sizes = values.astype(np.float64), counts[has]
    known = has.copy()
    known[has] = np.logical_and.reduceat(np.abs(numbers) <= LARGEST, starts)
    with np.errstate(all="ignore"):
        sums = np.add.reduceat(numbers, starts)
        if name == "sum":
            out[has] = sums
        else:
            # A mean is none beyond its numbers, which rounding could make of it: that of equal ones is what they are.
            least, most = np.minimum.reduceat(numbers, starts), np.maximum.reduceat(numbers, starts)
            means = np.clip(sums / sizes, least, most)
            out[has] = means
        if name == "stddev":
            out[has] = np.sqrt(np.add.reduceat((numbers - np.repeat(means, sizes)) ** 2, starts) / (sizes - 1))
            known &= counts > 1
    return finite(out, known)


def _whole_sums(name: str, values: Array, starts: Array, counts: Array, has: Mask) -> Vector:
    """Sums of whole numbers, NULL where 64 bits do not hold them."""
    del name
    out, known = np.zeros(len(counts), np.int64), has.copy()
    if not len(starts):
        return Vector(out, known)
    out[has] = np.add.reduceat(values, starts)
    near = np.zeros(len(counts))
    near[has] = np.add.reduceat(np.abs(values.astype(np.float64)), starts)
    ends = np.cumsum(counts)
    for row in np.flatnonzero(near >= 2.0**62):
        exact = sum(values[ends[row] - counts[row] : ends[row]].tolist())
        known[row] = -(2**63) <= exact < 2**63
        out[row] = exact if known[row] else 0
    return Vector(out, known)


def _turned(key: Array) -> Array:
    """What is ordered the other way round."""
    # The least whole number is its own negative.
    return -key if key.dtype == np.float64 else ~key


def _first(  # noqa: PLR0917
    node: Subquery, length: int, around: Array, kept: Mask, argument: Vector, order: Vector
) -> Vector:
    """The argument of the first entry: NULL comes last, and of equal ones that which stands first in the array."""
    places = np.flatnonzero(kept)
    if not len(places):
        return null(node.type, length)
    key = order.data[places]
    by = np.lexsort((places, _turned(key) if node.is_descending else key, ~order.mask[places], around[places]))
    ordered = places[by]
    begins = np.flatnonzero(np.concatenate([[True], np.diff(around[ordered]) != 0]))
    found, rows = ordered[begins], around[ordered[begins]]
    where = np.full(length, -1)
    where[rows] = found
    taken = argument.take(np.maximum(where, 0))
    if taken.is_text:
        return Vector(pc.if_else(pa.array(where >= 0), taken.data, None))
    return Vector(taken.data, taken.mask & (where >= 0))
