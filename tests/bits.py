"""Whether two Arrow tables hold the same values, bit for bit: -0.0 is not 0.0, and NaN is NaN, whatever its payload."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NAN = np.int64(np.float64("nan").view(np.int64))


def differing_columns(first: pa.Table, second: pa.Table) -> list[str]:
    """The columns whose values differ, or their types, or that only one of them has."""
    names = sorted({*first.column_names, *second.column_names})
    return [name for name in names if not _same(first, second, name)]


def _same(first: pa.Table, second: pa.Table, name: str) -> bool:
    if name not in first.column_names or name not in second.column_names:
        return False
    one, other = (as_bits(table.column(name).combine_chunks()) for table in (first, second))
    return bool(one.equals(other))


def as_bits(array: pa.Array) -> pa.Array:
    """The array with the bits of its floats in their place, at whatever depth."""
    kind = array.type
    if pa.types.is_float64(kind):
        bits = array.view(pa.int64())
        return pc.if_else(pc.is_nan(array), pa.scalar(_NAN, pa.int64()), bits)
    if pa.types.is_list(kind):
        # Without what lies behind a NULL, or before the first item.
        return pa.ListArray.from_arrays(_offsets(array), as_bits(array.flatten()), mask=array.is_null())
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays(
            [as_bits(values) for values in array.flatten()], names=[field.name for field in kind], mask=array.is_null()
        )
    return array


def _offsets(array: pa.ListArray) -> pa.Array:
    sizes = pc.fill_null(array.value_lengths(), 0).to_numpy()
    return pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
