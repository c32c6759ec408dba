"""An answer's rows by the Storage Read API: Arrow as BigQuery sends it, a message at a time, in the answer's order."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pyarrow as pa
from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable
from google.api_core.retry import Retry, if_exception_type
from google.cloud import bigquery, bigquery_storage_v1
from google.cloud.bigquery_storage_v1.types import ArrowSerializationOptions, DataFormat, ReadRowsResponse, ReadSession

from warehouses.reachable import ANSWER_SECS

_SESSION_SECS = 60.0
"""Longer than any session takes to be made."""
_PATIENCE_SECS = 600.0
"""How long a call may last, after which the next goes on from its last row, and how long one that broke is asked for again.

As long as BigQuery's client asks by REST.
"""
_COMPRESSED = ArrowSerializationOptions(buffer_compression=ArrowSerializationOptions.CompressionCodec.LZ4_FRAME)


def read_rows(
    client: bigquery_storage_v1.BigQueryReadClient, project: str, table: bigquery.TableReference
) -> Generator[pa.RecordBatch, None, None]:
    """The rows of a table in messages of up to 10 MB, a few of which are in memory at a time; ``project`` pays.

    By one stream, without which an answer would not come in its order. Who closes it ends the stream. A stream that breaks is
    asked for again from the row where it broke. Raises ``GoogleAPIError``, at the first batch where there is no right to it.
    """
    session = client.create_read_session(
        parent=f"projects/{project}",
        read_session=ReadSession(
            table=table.to_bqstorage(),
            data_format=DataFormat.ARROW,
            read_options=ReadSession.TableReadOptions(arrow_serialization_options=_COMPRESSED),
        ),
        max_stream_count=1,
        retry=Retry(if_exception_type(ServiceUnavailable, DeadlineExceeded), initial=0.1, maximum=2.0, timeout=ANSWER_SECS),
        timeout=_SESSION_SECS,
    )
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    for stream in session.streams:
        with contextlib.closing(_messages(client, stream.name)) as messages:
            for message in messages:
                yield pa.ipc.read_record_batch(pa.py_buffer(message.arrow_record_batch.serialized_record_batch), schema)


def _messages(client: bigquery_storage_v1.BigQueryReadClient, stream: str) -> Generator[ReadRowsResponse, None, None]:
    """A stream's messages. Raises ``DeadlineExceeded`` where a whole call brings none."""
    again = Retry(if_exception_type(ServiceUnavailable), initial=0.1, maximum=10.0, timeout=_PATIENCE_SECS)
    rows = 0
    while True:
        begin = rows
        try:
            reading = client.read_rows(stream, rows, retry=again, timeout=_PATIENCE_SECS)
            try:
                for message in reading:
                    yield message
                    rows += message.row_count
                return
            finally:
                reading.cancel()
        except DeadlineExceeded:
            # A call ends after a time, also one that brings rows, or whose rows somebody takes slowly.
            if begin == rows:
                raise


def in_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch's columns by name, in the types and with the metadata of a schema."""
    columns = [batch.column(name) for name in schema.names]
    arrays = [array if array.type == field.type else array.cast(field.type) for array, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
