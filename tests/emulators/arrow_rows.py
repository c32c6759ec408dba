"""What BigQuery takes and refuses of Arrow rows that are appended to a table, for ``write_api_server.py``.

bqemulator casts what comes to the table's columns, and drops what has none. Where the service's words are known, from its
clients' own tests and from reports of users, they stand here; of the rest a docstring says that only documentation tells it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from bqemulator.api.routes.tabledata import _build_arrow_schema, _fields_raw_from_schema
from bqemulator.catalog.models import TableMeta
from google.cloud.bigquery_storage_v1.types import AppendRowsResponse, RowError, StorageError
from google.protobuf import any_pb2
from google.rpc import status_pb2

Code = StorageError.StorageErrorCode
Found = Iterator[tuple[int, str]]
"""Numbers of rows, and what is wrong with each."""
MOST_ROW_ERRORS = 50
"""So many rows are named in an answer: "the list may not be complete", without a number, say the service's own words."""
_ALSO_TAKEN = {pa.float64(): [pa.float32()]}
"""Arrow types that a column takes besides its own."""
YEARS_BACK, YEARS_AHEAD = 10, 1


class Refused(Exception):
    """None of a request's rows is written; ``answer`` says so to the client, which may go on with other requests."""

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT,
        storage: Code | None = None,
        rows: Sequence[tuple[int, str]] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.storage, self.rows = code, storage, rows

    def answer(self, stream: str) -> bytes:
        """The serialized AppendRowsResponse."""
        message = f"{self} Entity: {stream}"
        status = status_pb2.Status(code=self.code.value[0], message=message)
        if self.storage is not None:
            detail = any_pb2.Any()
            detail.Pack(StorageError.pb(StorageError(code=self.storage, entity=stream, error_message=str(self))))
            status.details.append(detail)
        errors = [RowError(index=row, code=RowError.RowErrorCode.FIELDS_ERROR, message=said) for row, said in self.rows]
        return AppendRowsResponse.serialize(AppendRowsResponse(write_stream=stream, error=status, row_errors=errors))


def read(schema: bytes, rows: bytes) -> pa.RecordBatch:
    """The rows of a request: the schema is one IPC message, the rows are another, and a whole IPC stream is refused."""
    try:
        return pa.ipc.read_record_batch(pa.py_buffer(rows), pa.ipc.read_schema(pa.py_buffer(schema)))
    except (pa.ArrowException, EOFError, OSError) as error:
        raise Refused(f"The Arrow data could not be parsed: {error}.") from error


def rows_of(table: TableMeta, batch: pa.RecordBatch) -> pa.Table:
    """The rows as they are stored, columns in the table's order.

    Raises ``Refused`` for columns that the table lacks, for types that it does not take, and for rows that are wrong.
    """
    fields = _fields_raw_from_schema(table.schema_.fields)
    columns = _conform(pa.StructArray.from_arrays(batch.columns, fields=list(batch.schema)), _build_arrow_schema(fields), "")
    found = dict(_wrong_rows(table, fields, columns))
    if found:
        raise Refused(
            "Errors found while processing rows. Please refer to the row_errors field for details. "
            "The list may not be complete because of the size limitations.",
            rows=sorted(found.items())[:MOST_ROW_ERRORS],
        )
    return pa.Table.from_batches([columns])


def _conform(records: pa.StructArray, fields: pa.Schema, prefix: str) -> pa.RecordBatch:
    """The records' fields by name; those that were left out are NULL, or empty where REPEATED.

    A field that the table lacks, at whatever depth, is an error of the whole request; bqemulator drops it.
    """
    extra = [field.name for field in records.type if fields.get_field_index(field.name) < 0]
    if extra:
        raise Refused("Schema mismatch due to extra fields in user schema.", storage=Code.SCHEMA_MISMATCH_EXTRA_FIELDS)
    given = {field.name: array for field, array in zip(records.type, records.flatten(), strict=True)}
    columns = [
        _conform_values(given[field.name], field.type, prefix + field.name)
        if field.name in given
        else _left_out(field, len(records))
        for field in fields
    ]
    return pa.RecordBatch.from_arrays(columns, schema=fields)


def _left_out(field: pa.Field, count: int) -> pa.Array:
    return pa.array([[]] * count, field.type) if pa.types.is_list(field.type) else pa.nulls(count, field.type)


def _conform_values(array: pa.Array, kind: pa.DataType, at: str) -> pa.Array:
    """The values in the column's own type.

    Of Arrow's types the service lists those of its columns and float32, and no other forms of them (large, view, dictionary,
    other units of time). That others are an error of the request is of documentation only.
    """
    if pa.types.is_list(kind) and pa.types.is_list(array.type):
        items = _conform_values(array.values, kind.value_type, at)
        return pa.ListArray.from_arrays(array.offsets, items, type=kind, mask=array.is_null() if array.null_count else None)
    if pa.types.is_struct(kind) and pa.types.is_struct(array.type):
        fields = _conform(array, pa.schema(list(kind)), f"{at}.")
        mask = array.is_null() if array.null_count else None
        return pa.StructArray.from_arrays(fields.columns, fields=list(kind), mask=mask)
    if array.type != kind and array.type not in _ALSO_TAKEN.get(kind, []):
        raise Refused(f"Cannot convert Arrow type {array.type} of field {at} to {kind}.")
    return array.cast(kind)


def _wrong_rows(table: TableMeta, fields: Sequence[Any], columns: pa.RecordBatch) -> Found:
    numbers = np.arange(len(columns))
    for field, column in zip(fields, columns.columns, strict=True):
        yield from _wrong_values(field, column, numbers, "")
    partitioning = table.time_partitioning
    if partitioning is not None and partitioning.field is not None:
        yield from _out_of_bounds(table, partitioning.field, columns.column(partitioning.field))


def _wrong_values(field: Any, array: pa.Array, numbers: np.ndarray, prefix: str) -> Found:
    """Rows with NULL where a column is REQUIRED or REPEATED, or among a REPEATED one's items, or text that is no JSON.

    bqemulator takes the NULL of a REQUIRED column or ends the call with DuckDB's error.
    """
    at, missing = prefix + field["name"], array.is_null().to_numpy(zero_copy_only=False)
    if field["mode"] == "REPEATED":
        yield from ((int(row), f"Field {at} is REPEATED and NULL: it must be an empty list.") for row in numbers[missing])
        parents = pc.list_parent_indices(array).to_numpy()
        item = {**field, "mode": "REQUIRED", "item": True}
        yield from _wrong_values(item, array.flatten(), numbers[parents], prefix)
        return
    if field["mode"] == "REQUIRED":
        said = f"Field {at} has a NULL among its items." if "item" in field else f"Field {at} is REQUIRED and NULL."
        yield from ((int(row), said) for row in numbers[missing])
    if "fields" in field:
        there = array.filter(array.is_valid())
        for inner, values in zip(field["fields"], there.flatten(), strict=True):
            yield from _wrong_values(inner, values, numbers[~missing], f"{at}.")
    elif field["type"] == "JSON":
        yield from (
            (int(row), f"Field {at} is not valid JSON.") for row, text in zip(numbers, array, strict=True) if not _json(text)
        )


def _json(text: pa.Scalar) -> bool:
    try:
        json.loads(text.as_py() or "null")
    except ValueError:
        return False
    return True


def _out_of_bounds(table: TableMeta, name: str, column: pa.Array) -> Found:
    """Rows of a partition older than 10 years, or more than one ahead, are refused; bqemulator takes any.

    The words are those of ``tabledata.insertAll`` of the time when it took five years. That AppendRows says the same, and of
    each row, is of documentation only, which tells the years alone.
    """
    now = dt.datetime.now(dt.timezone.utc).date()
    first, last = now - dt.timedelta(365 * YEARS_BACK), now + dt.timedelta(366 * YEARS_AHEAD)
    days = column.cast(pa.date32())
    for row, day in enumerate(days.to_pylist()):
        if day is not None and not first <= day <= last:
            yield (
                row,
                f"Value {day} for partition column {name} of the destination table "
                f"{table.project_id}:{table.dataset_id}.{table.table_id} is outside the allowed bounds. You can only stream to "
                f"partitions of date range within {365 * YEARS_BACK} days in the past and {366 * YEARS_AHEAD} days in the future "
                "relative to the current date.",
            )
