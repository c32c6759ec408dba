"""The answer to a question: rows as an Arrow table, and ways out of it that keep every id exact and every time's scale."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from warehouses.plain_columns import plain_columns

if TYPE_CHECKING:
    import astropy.table
    import pandas

_UNITS = {"deg": "deg", "arcsec": "arcsec", "mjd": "d", "jd": "d", "njy": "nJy", "mag": "mag", "secs": "s"}
"""What the last word of a column's name says of its unit; ``magpsf`` and the like are the surveys' own names."""
_TIME_COLUMNS = {"mjd_utc": ("mjd", "utc"), "jd_utc": ("jd", "utc"), "mjd_tai": ("mjd", "tai")}
"""Columns of ours that are times: astropy's format and scale."""


class Result:
    """Rows of an answer. All that a ``pyarrow.Table`` has (``to_pylist()``, ``column()``, ``num_rows``, ...) it has too.

    DuckDB, Polars and others take it as they take an Arrow table.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        """The rows as Arrow has them."""

    def __getattr__(self, name: str) -> Any:
        if name == "table":  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.table, name)

    def __getitem__(self, key: str | int) -> Any:
        return self.table[key]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"<{self.table.num_rows:,} rows of {', '.join(self.table.column_names)}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame whose integers are integers: columns with NULL are Int64, where pandas alone would make floats.

        Raises ``ImportError`` where pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - not everybody has it
        except ImportError as error:
            raise ImportError("pandas is not installed; pip install pandas, or use to_astropy(), to_pylist()") from error
        exact = {
            pa.int64(): pd.Int64Dtype(),
            pa.int32(): pd.Int32Dtype(),
            pa.uint64(): pd.UInt64Dtype(),
            pa.bool_(): pd.BooleanDtype(),
        }
        with_nulls = {
            field.type for field, column in zip(self.table.schema, self.table.columns, strict=True) if column.null_count
        }
        return self.table.to_pandas(types_mapper=lambda kind: exact.get(kind) if kind in with_nulls else None)

    def to_astropy(self, *, times: bool = True) -> astropy.table.Table:
        """An astropy Table with units; NULL is masked and NaN is NaN, nested values are objects.

        Timestamps, ``mjd_utc`` and ``jd_utc`` are ``Time`` in UTC, ``mjd_tai`` in TAI; numbers of days where ``times`` is false.
        """
        from astropy.table import Table  # noqa: PLC0415 - it takes half a second

        made, table = Table(), plain_columns(self.table)
        for field, column in zip(table.schema, table.columns, strict=True):
            made[field.name] = _astropy_column(field, column.combine_chunks(), times)
        return made

    def write(self, path: str | os.PathLike[str], form: str | None = None) -> None:
        """Write a file: its ending says what it is (``warehouses.forms.FORMATS``), or ``form`` does. Raises ``QueryError``."""
        from warehouses.answer_files import write_file  # noqa: PLC0415 - they name this class
        from warehouses.forms import form_of  # noqa: PLC0415

        write_file(self, form or form_of(os.fspath(path)), os.fspath(path))


def unit_of(name: str) -> str | None:
    """The unit that a column's name tells: ``separation_arcsec``, ``ra_deg``, ``mjd_utc``, ``flux_njy``."""
    bare = name.removesuffix("_err").removesuffix("_error")
    return _UNITS.get(bare if bare == "mag" else bare.rpartition("_")[2] if "_" in bare else "") or (
        "d" if bare in _TIME_COLUMNS else None
    )


def is_nested(kind: pa.DataType) -> bool:
    """Whether a column's values are lists or records."""
    return bool(kinds.is_nested(kind))


def _astropy_column(field: pa.Field, column: pa.Array, times: bool) -> Any:
    from astropy.table import Column, MaskedColumn  # noqa: PLC0415

    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
    missing = np.asarray(column.is_null().to_numpy(zero_copy_only=False), np.bool_)
    if times and kinds.is_timestamp(field.type):
        return _time(column.fill_null(0).to_numpy(zero_copy_only=False), missing, "datetime64", "utc")
    if times and field.name in _TIME_COLUMNS and kinds.is_floating(field.type):
        days = column.fill_null(0.0).to_numpy(zero_copy_only=False)
        return _time(np.where(np.isfinite(days), days, 0.0), missing | ~np.isfinite(days), *_TIME_COLUMNS[field.name])
    about = {
        "name": field.name,
        "unit": unit_of(field.name),
        "description": (field.metadata or {}).get(b"description", b"").decode(),
    }
    values = _values(field.type, column, missing)
    return MaskedColumn(values, mask=missing, **about) if missing.any() else Column(values, **about)


def _values(kind: pa.DataType, column: pa.Array, missing: np.ndarray[Any, Any]) -> Any:
    if kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind):
        # Never by way of a float, which rounds ids above 2^53.
        filled = pc.fill_null(column, pa.scalar(0, pa.int8()).cast(kind)) if missing.any() else column
        return filled.to_numpy(zero_copy_only=False)
    if kinds.is_string(kind) or kinds.is_large_string(kind):
        return np.array(["" if text is None else text for text in column.to_pylist()], np.str_)
    if kinds.is_date(kind):
        return np.array(["" if moment is None else moment.isoformat() for moment in column.to_pylist()], np.str_)
    values = np.empty(len(column), object)
    values[:] = column.to_pylist()
    return values


def _time(values: np.ndarray[Any, Any], missing: np.ndarray[Any, Any], form: str, scale: str) -> Any:
    from astropy.time import Time  # noqa: PLC0415

    times = Time(values, format=form, scale=scale)
    if missing.any():
        times[missing] = np.ma.masked
    return times
