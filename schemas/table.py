"""One definition of a table, from which come its BigQuery and its Arrow/Parquet form.

The types are BigQuery's. Arrow follows them (INT64 for every Avro integer, FLOAT64 for every Avro float), so that a row
is the same in every sink and no value is rounded when a rewritten packet carries a field wider than the survey does.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa
from fastavro.read import LOGICAL_READERS

from schemas.avro_files import AvroSchema, named_types, resolve, without_null

Type = Literal["INT64", "FLOAT64", "BOOL", "STRING", "BYTES", "TIMESTAMP", "DATE", "JSON", "RECORD"]
Mode = Literal["NULLABLE", "REQUIRED", "REPEATED"]

_AVRO: dict[str, Type] = {
    "int": "INT64",
    "long": "INT64",
    "float": "FLOAT64",
    "double": "FLOAT64",
    "boolean": "BOOL",
    "string": "STRING",
    "enum": "STRING",
    "bytes": "BYTES",
    "fixed": "BYTES",
    "record": "RECORD",
}
_AVRO_LOGICAL: dict[str, Type] = {"long-timestamp-micros": "TIMESTAMP", "long-timestamp-millis": "TIMESTAMP", "int-date": "DATE"}
_ARROW: dict[Type, pa.DataType] = {
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "BOOL": pa.bool_(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "DATE": pa.date32(),
    "JSON": pa.string(),
}


@dataclass(frozen=True)
class Column:
    """A column, or a field of a RECORD column. A REPEATED column is never NULL, as BigQuery has no NULL arrays."""

    name: str
    type: Type
    mode: Mode = "NULLABLE"
    description: str = ""
    fields: tuple[Column, ...] = ()
    sent_as: str = ""
    """The name of the packet's field, where the column has another (see ``schemas.tables.alerts_table``)."""

    @property
    def field_name(self) -> str:
        """What the packet calls it."""
        return self.sent_as or self.name

    @functools.cached_property
    def by_name(self) -> dict[str, Column]:
        """The fields of a RECORD by their name."""
        return {field.name: field for field in self.fields}

    @functools.cached_property
    def arrow(self) -> pa.Field:
        """The column as an Arrow field, its description as metadata."""
        kind = pa.struct([field.arrow for field in self.fields]) if self.type == "RECORD" else _ARROW[self.type]
        if self.mode == "REPEATED":
            kind = pa.list_(kind)
        metadata = {"description": self.description} if self.description else None
        return pa.field(self.name, kind, nullable=self.mode == "NULLABLE", metadata=metadata)

    def to_bigquery(self) -> dict[str, Any]:
        """The column as BigQuery's REST API describes it (``TableFieldSchema``)."""
        # JSON is kept as text, which BigQuery's JSON functions read too: Beam cannot put its JSON type into load files.
        kind = "STRING" if self.type == "JSON" else self.type
        field: dict[str, Any] = {"name": self.name, "type": kind, "mode": self.mode}
        if self.description:
            field["description"] = self.description
        if self.fields:
            field["fields"] = [child.to_bigquery() for child in self.fields]
        return field


@dataclass(frozen=True)
class Table:
    """A table of the warehouse: its columns, and how BigQuery and the local folders divide it."""

    name: str
    columns: tuple[Column, ...]
    description: str = ""
    partition_by: str | None = None
    cluster_by: tuple[str, ...] = ()

    @functools.cached_property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of a RecordBatch of this table."""
        return pa.schema([column.arrow for column in self.columns])

    @functools.cached_property
    def by_name(self) -> dict[str, Column]:
        """The columns by their name."""
        return {column.name: column for column in self.columns}

    def to_bigquery(self) -> dict[str, Any]:
        """The table's columns as BigQuery's REST API (``TableSchema``) and Beam's ``WriteToBigQuery`` take them."""
        return {"fields": [column.to_bigquery() for column in self.columns]}


def columns_from_avro(record: AvroSchema, names: Mapping[str, AvroSchema] | None = None) -> tuple[Column, ...]:
    """The columns for the fields of an Avro record, every one NULLABLE or REPEATED.

    A field of a type that has no column (a map, a union of several types, an array of arrays) is left out: its values
    go into the ``extra`` column like those of any field the table lacks, and so does a field whose name differs from that of one
    before it in upper and lower case only, which BigQuery and DuckDB take for the same. A field that stands twice counts once.
    """
    names = named_types(record) if names is None else names
    record = resolve(record, names)
    columns = {field["name"]: _column(field["name"], field["type"], names) for field in record["fields"]}
    return _without_case_twins(column for column in columns.values() if column is not None)


def _without_case_twins(columns: Iterable[Column]) -> tuple[Column, ...]:
    kept: dict[str, Column] = {}
    for column in columns:
        kept.setdefault(column.name.casefold(), column)
    return tuple(kept.values())


def _column(name: str, schema: AvroSchema, names: Mapping[str, AvroSchema]) -> Column | None:
    schema, _ = without_null(schema, names)
    mode: Mode = "NULLABLE"
    if isinstance(schema, dict) and schema["type"] == "array":
        mode = "REPEATED"
        # Items that may be null are no obstacle: a packet's array with one that is goes into ``extra``.
        schema, _ = without_null(schema["items"], names)
    kind = avro_type(schema)
    if kind is None:
        return None
    return Column(name, kind, mode, fields=columns_from_avro(schema, names) if kind == "RECORD" else ())


def avro_type(schema: AvroSchema) -> Type | None:
    """The column type for a resolved Avro type other than an array; None where there is none."""
    if isinstance(schema, list):
        return None
    if isinstance(schema, str):
        return _AVRO.get(schema)
    logical = f"{schema['type']}-{schema.get('logicalType')}"
    if logical in LOGICAL_READERS:
        # fastavro makes decimals, UUIDs and times of day into objects that no column takes.
        return _AVRO_LOGICAL.get(logical)
    return _AVRO.get(schema["type"])


def union(versions: Iterable[Collection[Column]]) -> tuple[Column, ...]:
    """The columns of all ``versions`` of a record in one list; a column stands where it was first seen.

    Raises ``ValueError`` when two versions give one name different types: no row could hold both.
    """
    merged: dict[str, Column] = {}
    for columns in versions:
        for column in columns:
            known = merged.get(column.name, column)
            if (known.type, known.mode) != (column.type, column.mode):
                raise ValueError(
                    f"field {column.name!r} is {known.mode} {known.type} in one version of the schema and "
                    f"{column.mode} {column.type} in another; give the survey's table one type for it"
                )
            merged[column.name] = replace(known, fields=union([known.fields, column.fields]))
    return _without_case_twins(merged.values())


def drop(columns: Iterable[Column], paths: Collection[str], prefix: str = "") -> tuple[Column, ...]:
    """``columns`` without those at the dotted ``paths``; a record that loses its last field goes with it."""
    kept = []
    for column in columns:
        path = prefix + column.name
        if path in paths:
            continue
        if column.fields:
            fields = drop(column.fields, paths, path + ".")
            if fields:
                kept.append(replace(column, fields=fields))
        else:
            kept.append(column)
    return tuple(kept)
