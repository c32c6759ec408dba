"""bqemulator 1.4.0's Storage Read API, put right: part of ``bigquery_server.py``, for answers of queries that are read by Arrow.

Each part's docstring says what BigQuery does and what bqemulator does without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from bqemulator.api.routes.tabledata import _build_arrow_schema
from bqemulator.grpc_api import read_servicer
from bqemulator.jobs.executor import JOB_RESULTS, JOB_SCHEMAS
from bqemulator.streaming import read_session
from google.cloud.bigquery_storage_v1 import types

MAX_MESSAGE_BYTES = 2 * 2**20
"""Rows of one message: BigQuery sends up to 10 MiB, and mostly less."""
_ANSWERS = "_bqemu_anonymous"


class ReadApi(read_servicer.BigQueryReadHandler):
    """The service; what it does not override is bqemulator's own."""

    def __init__(self, context: Any) -> None:
        super().__init__(dataclasses.replace(context, engine=WithAnswers(context.engine)))

    def _handle_read_rows(self, request_bytes: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """A stream begins at the offset that is asked for, in messages of some MB.

        bqemulator begins anew, so that what was read is read again, and sends 65,536 rows at once, however large.
        """
        request = types.ReadRowsRequest.deserialize(request_bytes)
        session_name = request.read_stream.rpartition("/streams/")[0]
        found, session = read_session.get_stream_data(session_name, request.read_stream), read_session.get_session(session_name)
        if found is None or session is None or session.data_format != read_session.FORMAT_ARROW:
            yield from super()._handle_read_rows(request_bytes, context)
            return
        rest = found.slice(request.offset).combine_chunks()
        rows_at_once = max(1, MAX_MESSAGE_BYTES * rest.num_rows // max(rest.nbytes, 1))
        schema = types.ArrowSchema(serialized_schema=session.arrow_schema_bytes)
        for number, batch in enumerate(rest.to_batches(max_chunksize=rows_at_once)):
            message = types.ReadRowsResponse(
                row_count=batch.num_rows,
                arrow_record_batch=types.ArrowRecordBatch(serialized_record_batch=batch.serialize().to_pybytes()),
                arrow_schema=None if number else schema,
            )
            yield types.ReadRowsResponse.serialize(message)


class WithAnswers:
    """bqemulator's engine, and the anonymous tables that hold the answers of queries, all columns in BigQuery's own types.

    bqemulator names them as where an answer is, and has none.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def fetch_arrow(self, sql: str) -> pa.Table:
        """The rows of a table; raises where it is not there."""
        if _ANSWERS in sql:
            for job_id, rows in JOB_RESULTS.items():
                if f'"anon{job_id.replace("-", "")}"' in sql:
                    return _in_types(rows, _build_arrow_schema(JOB_SCHEMAS[job_id]))
        return self._engine.fetch_arrow(sql)


def _in_types(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [_in_type(column.combine_chunks(), field.type) for column, field in zip(rows.columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _in_type(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values as BigQuery has them; a REPEATED column that is NULL is empty."""
    if pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, _in_type(array.flatten(), kind.value_type), type=kind)
    if pa.types.is_struct(kind):
        fields = [_in_type(values, field.type) for values, field in zip(array.flatten(), kind, strict=True)]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=array.is_null())
    return array.cast(kind)


def put_right() -> None:
    """Change bqemulator in this process."""
    read_servicer.BigQueryReadHandler = ReadApi
