"""Columns of a warehouse as SQLAlchemy types, one code for DuckDB and BigQuery; parts of records and arrays in queries."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from schemas import Column
from warehouses.errors import QueryError

_Convert = Callable[[Any], Any]


def sql_type(column: Column) -> sa.types.TypeEngine[Any]:
    """The type of a column, or of a field of one."""
    nested = column.type == "RECORD" or column.mode == "REPEATED"
    return Nested(column) if nested else _TYPES[column.type]()


class Timestamp(sa.types.TypeDecorator[datetime]):
    """TIMESTAMP: datetimes in UTC that say so. One without a zone, in a query, is in UTC."""

    impl = sa.TIMESTAMP(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: D102
        return value.replace(tzinfo=timezone.utc) if value is not None and value.tzinfo is None else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: D102
        return _in_utc(value)


class Json(sa.types.TypeDecorator[Any]):
    """Text of JSON, which comes back parsed. ``column['key']`` is the text under a key, NULL where there is none."""

    impl = sa.String
    cache_ok = True

    class Comparator(sa.types.TypeDecorator.Comparator[Any]):  # noqa: D106
        def __getitem__(self, key: str) -> sa.ColumnElement[Any]:
            if not isinstance(key, str):
                raise QueryError(f"{self.expr}[{key!r}]: this is JSON, give the name of a key")
            return sa.type_coerce(Subfield(self.expr, key, is_json=True), sa.String())

    comparator_factory = Comparator

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:  # noqa: D102
        return _parsed(value)


class Nested(sa.types.UserDefinedType[Any]):
    """A RECORD (a dict), or a REPEATED column (a list). ``record['field']`` and ``array[0]`` can be used in queries."""

    cache_ok = True

    def __init__(self, column: Column) -> None:
        self.column = column

    def get_col_spec(self, **_: Any) -> str:  # noqa: D102
        return f"ARRAY<{self.column.type}>" if self.column.mode == "REPEATED" else "RECORD"

    class Comparator(sa.types.UserDefinedType.Comparator[Any]):  # noqa: D106
        def __getitem__(self, part: str | int) -> sa.ColumnElement[Any]:
            column: Column = self.type.column  # type: ignore[attr-defined]
            if column.mode == "REPEATED":
                if not isinstance(part, int) or part < 0:
                    raise QueryError(f"{self.expr}[{part!r}]: this is an array, take an item: [0] is the first")
                return sa.type_coerce(Subfield(self.expr, part), sql_type(replace(column, mode="NULLABLE")))
            if part not in column.by_name:
                raise QueryError(f"{self.expr} has no field {part!r}; it has {', '.join(column.by_name)}")
            return sa.type_coerce(Subfield(self.expr, part), sql_type(column.by_name[part]))

    comparator_factory = Comparator

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> _Convert | None:  # noqa: D102
        return _converter(self.column)


class Subfield(FunctionElement[Any]):
    """A field of a record, an item of an array (NULL beyond its end), or the text under a key of JSON.

    Give it a type by ``type_coerce``, which also keeps SQLAlchemy from taking it for a table in GROUP BY.
    """

    inherit_cache = False

    def __init__(self, whole: sa.ColumnElement[Any], part: str | int, is_json: bool = False) -> None:
        self.name, self.part, self.is_json = str(part), part, is_json
        super().__init__(whole)


@compiles(Subfield)
def _printed(element: Subfield, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{compiler.process(element.clauses.clauses[0], **kw)}[{element.part!r}]"


@compiles(Subfield, "duckdb")
def _duckdb(element: Subfield, compiler: SQLCompiler, **kw: Any) -> str:
    whole = compiler.process(element.clauses.clauses[0], **kw)
    if element.is_json:
        return f"json_extract_string({whole}, {_path(element, compiler)})"
    if isinstance(element.part, int):
        return f"list_extract({whole}, {element.part + 1})"
    return f"struct_extract({whole}, '{element.part}')"


@compiles(Subfield, "bigquery")
def _bigquery(element: Subfield, compiler: SQLCompiler, **kw: Any) -> str:
    whole = compiler.process(element.clauses.clauses[0], **kw)
    if element.is_json:
        return f"JSON_VALUE({whole}, {_path(element, compiler)})"
    return f"{whole}[SAFE_OFFSET({element.part})]" if isinstance(element.part, int) else f"{whole}.`{element.part}`"


def _path(element: Subfield, compiler: SQLCompiler) -> str:
    return compiler.render_literal_value(f"$.{json.dumps(element.part, ensure_ascii=False)}", sa.String())


def _converter(column: Column) -> _Convert | None:
    """What makes the value of a driver ours; None where it is already."""
    if column.mode == "REPEATED":
        item = _converter(replace(column, mode="NULLABLE"))
        return item and (lambda values: values and [item(value) for value in values])
    if column.type != "RECORD":
        return _CONVERTERS.get(column.type)
    parts = [(field.name, convert) for field in column.fields if (convert := _converter(field))]

    def converted(record: dict[str, Any] | None) -> dict[str, Any] | None:
        return record and {**record, **{name: convert(record[name]) for name, convert in parts if name in record}}

    return converted if parts else None


def _in_utc(value: datetime | None) -> datetime | None:
    return value and value.astimezone(timezone.utc)


def _parsed(value: str | None) -> Any:
    return None if value is None else json.loads(value)


_CONVERTERS: dict[str, _Convert] = {"TIMESTAMP": _in_utc, "JSON": _parsed}
_TYPES: dict[str, type[sa.types.TypeEngine[Any]]] = {
    "INT64": sa.BigInteger,
    "FLOAT64": sa.Double,
    "BOOL": sa.Boolean,
    "STRING": sa.String,
    "BYTES": sa.LargeBinary,
    "TIMESTAMP": Timestamp,
    "DATE": sa.Date,
    "JSON": Json,
}
