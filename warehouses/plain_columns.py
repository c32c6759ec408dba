"""Columns of the rarer kinds that SQL can make, as what files and astropy can hold: nothing rounded, nothing left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

_EXACT_DIGITS = 15
"""Digits that a float64 gives back as they were."""
_WIDER = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.float16(): pa.float32(),
}


def names_apart(given: Sequence[str]) -> list[str]:
    """The names, each once: of two columns ``a`` the second is ``a_1``, as DuckDB's own tables have it."""
    names: list[str] = []
    for name in given:
        number, apart = 0, name
        while apart in names or (number and apart in given):
            number += 1
            apart = f"{name}_{number}"
        names.append(apart)
    return names


def plain_columns(table: pa.Table) -> pa.Table:
    """Decimals as numbers where those are exact, else as text; enumerations, intervals, nanoseconds and far years as text."""
    return _each(table, _plain)


def flat_columns(table: pa.Table) -> pa.Table:
    """``plain_columns`` whose numbers are of the kinds that FITS and VOTable have, and whose other values are text or times."""
    return _each(plain_columns(table), _flat)


def iso(column: pa.Array) -> pa.Array:
    """Times as ISO 8601 with microseconds, or the nanoseconds that they have, in UTC."""
    moments = column if column.type.unit == "ns" else column.cast(pa.timestamp("us", column.type.tz))
    values = moments.to_numpy(zero_copy_only=False)
    return pa.array([f"{text}Z" for text in np.datetime_as_string(values).tolist()], pa.string(), mask=np.isnat(values))


def _each(table: pa.Table, change: Any) -> pa.Table:
    columns = [change(column) for column in table.columns]
    fields = [field.with_type(column.type) for field, column in zip(table.schema, columns, strict=True)]
    return pa.table(columns, schema=pa.schema(fields, table.schema.metadata))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if kinds.is_dictionary(kind):
        return column.cast(kind.value_type)
    if kinds.is_decimal(kind):
        return column.cast(_number_for(column))
    if kinds.is_interval(kind):
        return _texts(column, lambda chunk: pa.array(map(_duration, chunk.to_pylist()), pa.string()))
    if kinds.is_timestamp(kind) and (kind.unit == "ns" or not _in_python(column, datetime.min, datetime.max)):
        return _texts(column, iso)
    if kinds.is_date(kind) and not _in_python(column, date.min, date.max):
        return column.cast(pa.date32()).cast(pa.string())
    return column


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if kind in _WIDER:
        return column.cast(_WIDER[kind])
    if kind == pa.uint64():
        return column.cast(pa.int64() if (pc.max(column).as_py() or 0) < 2**63 else pa.string())
    return column


def _number_for(column: pa.ChunkedArray) -> pa.DataType:
    """What holds decimals exactly. DuckDB's sums of integers are decimals of 38 digits."""
    scale, extremes = column.type.scale, [value for value in pc.min_max(column).as_py().values() if value is not None]
    if scale <= 0:
        return pa.int64() if all(-(2**63) <= extreme < 2**63 for extreme in extremes) else pa.string()
    return pa.float64() if all(abs(extreme) < 10 ** (_EXACT_DIGITS - scale) for extreme in extremes) else pa.string()


def _in_python(column: pa.ChunkedArray, first: date, last: date) -> bool:
    """Whether Python's own dates, of the years 1 to 9999, hold all values."""
    unit = "D" if kinds.is_date(column.type) else column.type.unit
    numbers = pc.min_max(column.cast(pa.int32() if column.type == pa.date32() else pa.int64()))
    if column.type == pa.date64():
        unit = "ms"
    low, high = (np.datetime64(limit).astype(f"datetime64[{unit}]").astype(np.int64) for limit in (first, last))
    return all(extreme is None or low <= extreme <= high for extreme in numbers.as_py().values())


def _texts(column: pa.ChunkedArray, change: Any) -> pa.ChunkedArray:
    return pa.chunked_array([change(chunk) for chunk in column.chunks], pa.string())


def _duration(value: Any) -> str | None:
    """An interval in ISO 8601, whose months, days and seconds are not made into each other: P1M3DT0.5S."""
    if value is None:
        return None
    months, days, nanoseconds = value
    seconds = f"{'-' * (nanoseconds < 0)}{abs(nanoseconds) // 10**9}.{abs(nanoseconds) % 10**9:09d}".rstrip("0").rstrip(".")
    return f"P{months}M{days}DT{seconds}S"
