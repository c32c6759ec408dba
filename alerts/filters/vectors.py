"""Values of many rows at once, some of them NULL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.filters.row import RowField, Type

Array = np.ndarray[Any, Any]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_NUMPY: dict[str, Any] = {
    **{"BOOL": np.bool_, "INT64": np.int64, "FLOAT64": np.float64, "TIMESTAMP": np.int64, "DATE": np.int64, "NULL": np.float64},
}


@dataclass(slots=True, eq=False)
class Vector:
    """Numbers, truth values or times (microseconds, days) with the rows that have one; or texts, which are Arrow's.

    ``data`` is an array of numpy, or of Arrow where these are texts. Never changed; not frozen, which would take as long as a
    comparison of a batch.
    """

    data: Any
    known: Mask | None = None
    """Which are not NULL; None: all of them. Arrow's texts know themselves."""

    @property
    def is_text(self) -> bool:
        """Whether these are texts."""
        return isinstance(self.data, pa.Array)

    @property
    def mask(self) -> Mask:
        """Which are not NULL."""
        if self.is_text:
            return np.asarray(self.data.is_valid().to_numpy(zero_copy_only=False), np.bool_)
        return np.ones(len(self.data), np.bool_) if self.known is None else self.known

    def take(self, rows: Array) -> Vector:
        """Those of some rows, each as often as it stands there."""
        if self.is_text:
            return Vector(self.data.take(pa.array(rows)))
        return Vector(self.data[rows], None if self.known is None else self.known[rows])

    def true(self) -> Mask:
        """Which are TRUE, and neither FALSE nor NULL."""
        found: Mask = self.data if self.known is None else self.data & self.known
        return found


def null(kind: Type, length: int) -> Vector:
    """As many NULL."""
    if kind in ("STRING", "JSON"):
        return Vector(pa.nulls(length, pa.string()))
    return Vector(np.zeros(length, _NUMPY[kind]), np.zeros(length, np.bool_))


def constant(value: Any, kind: Type, length: int) -> Vector:
    """The same value for all rows."""
    if value is None:
        return null(kind, length)
    if kind == "STRING":
        return Vector(pa.repeat(pa.scalar(value, pa.string()), length))
    if kind == "TIMESTAMP":
        value = pa.scalar(value, pa.timestamp("us", "UTC")).value
    elif kind == "DATE":
        value = pa.scalar(value, pa.date32()).value
    return Vector(np.full(length, value, _NUMPY[kind]))


def finite(data: Array, known: Mask | None) -> Vector:
    """Numbers of which those that are none are NULL: engines differ in what they make of them."""
    good = np.isfinite(data)
    if good.all():
        return Vector(data, known)
    return Vector(np.where(good, data, 0.0), good if known is None else known & good)


def both(*vectors: Vector) -> Mask | None:
    """Where all are known."""
    masks = [vector.mask if vector.is_text else vector.known for vector in vectors]
    found = [mask for mask in masks if mask is not None and not mask.all()]
    if not found:
        return None
    known = found[0]
    for mask in found[1:]:
        known = known & mask
    return known


def of_column(values: pa.Array, field: RowField) -> Vector:
    """The values of a column as filters see them: what stands for none is NULL, truth values are BOOL."""
    if field.truths is not None and not pa.types.is_boolean(values.type):
        return _of_truths(values, field)
    if field.type in ("STRING", "JSON"):
        missing = [value for value in field.missing if isinstance(value, str)]
        texts = values.cast(pa.string())
        return Vector(texts if not missing else pc.if_else(pc.is_in(texts, pa.array(missing)), None, texts))
    if field.type in ("TIMESTAMP", "DATE"):
        # A NULL of a time is no number to numpy.
        whole = values.cast(pa.timestamp("us", "UTC") if field.type == "TIMESTAMP" else pa.date32())
        values = whole.cast(pa.int64() if field.type == "TIMESTAMP" else pa.int32())
    known = values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else None
    filled = pc.fill_null(values, False if field.type == "BOOL" else 0) if values.null_count else values
    data = np.asarray(filled.to_numpy(zero_copy_only=False), _NUMPY[field.type])
    if field.type == "FLOAT64":
        known = _without(known, np.isnan(data))
    for value in field.missing:
        known = _without(known, data == value)
    if field.scale is not None:
        with np.errstate(over="ignore"):
            return finite(data * field.scale[1], known)
    return Vector(data, known)


def _without(known: Mask | None, left_out: Mask) -> Mask | None:
    if not left_out.any():
        return known
    return ~left_out if known is None else known & ~left_out


def _of_truths(values: pa.Array, field: RowField) -> Vector:
    assert field.truths is not None
    texts = values.cast(pa.string())
    true, false = (pc.is_in(texts, pa.array(sorted(told))).to_numpy(zero_copy_only=False) for told in field.truths)
    return Vector(np.asarray(true, np.bool_), None if (true | false).all() else np.asarray(true | false, np.bool_))
