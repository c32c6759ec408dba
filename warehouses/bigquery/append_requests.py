"""Rows as the Storage Write API takes them: pieces that fit into a request, and the bytes of a request.

``AppendRowsRequest`` is described in ``google/cloud/bigquery/storage/v1/storage.proto``, its Arrow part in ``arrow.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

REQUEST_BYTES = 9_000_000
"""Of a request, at most, where it has more than one row: BigQuery takes 10 MB at least."""
_LARGE_BYTES = 1_000_000
"""Of a batch that is a request by itself."""
_INSERTED_ROWS, _INSERTED_BYTES = 500, 6_000_000
"""Of an insertAll request, as BigQuery advises, and less than the 10 MB that it takes: bytes are a third longer as text."""
MOST_BYTES = 20_000_000
"""Of a request, whatever it holds: a larger row is not sent, since a server may end the whole connection for it."""

AppendRowsRequest = types.AppendRowsRequest.pb()

# The tags of the fields that rows stand in: number << 3 | 2 (what is of a length that is told first).
_ROWS_OF_REQUEST, _BATCH_OF_ROWS, _BYTES_OF_BATCH = 5 << 3 | 2, 2 << 3 | 2, 1 << 3 | 2


def size_bytes(rows: pa.RecordBatch) -> int:
    """Bytes of the rows in a request, exactly; nothing is copied to know it."""
    return int(pa.ipc.get_record_batch_size(rows))


def joined(batches: Iterable[pa.RecordBatch], most_bytes: int = REQUEST_BYTES) -> Iterator[pa.RecordBatch]:
    """Batches of one schema, small ones joined to their neighbors as long as these fit into one request; none is cut.

    A request of many small batches is cheaper than many requests, but a large batch is not worth its copy. And of rows from the
    middle of a batch each nested column is rebuilt when it is written.
    """
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        more = size_bytes(batch)
        if waiting and (size + more > most_bytes or min(size, more) > _LARGE_BYTES):
            yield _together(waiting)
            waiting, size = [], 0
        waiting.append(batch)
        size += more
    if waiting:
        yield _together(waiting)


def insert_requests(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows in their order, cut so that each piece is one insertAll request."""
    for begin in range(0, rows.num_rows, _INSERTED_ROWS):
        yield from pieces(rows.slice(begin, _INSERTED_ROWS), _INSERTED_BYTES)


def _together(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def pieces(rows: pa.RecordBatch, most_bytes: int = REQUEST_BYTES) -> Iterator[pa.RecordBatch]:
    """The rows in their order, cut so that each piece has at most so many bytes in a request, or is one row."""
    size = size_bytes(rows)
    if size <= most_bytes or rows.num_rows <= 1:
        if rows.num_rows:
            yield rows
        return
    parts = min(rows.num_rows, -(-size // most_bytes))
    step = -(-rows.num_rows // parts)
    for begin in range(0, rows.num_rows, step):
        # Rows differ in size: a piece may still be too large.
        yield from pieces(rows.slice(begin, step), most_bytes)


def first_request(stream: str, schema: pa.Schema, trace_id: str) -> bytes:
    """What the first request of a connection says besides its rows."""
    request = AppendRowsRequest(write_stream=stream, trace_id=trace_id)
    request.arrow_rows.writer_schema.serialized_schema = schema.serialize().to_pybytes()
    return bytes(request.SerializeToString())


def with_rows(request: bytes, rows: pa.RecordBatch, offset: int | None = None) -> bytes:
    """A request, whatever it says already, with rows, and where they begin in the stream.

    A field of a message that comes twice is merged by whoever reads it, so the rows may stand behind the rest. Protobuf's own
    classes would copy them three times, which takes as long as all else together.
    """
    if offset is not None:
        told = AppendRowsRequest()
        told.offset.value = offset
        request += told.SerializeToString()
    message = rows.serialize()
    batch = bytes([_BYTES_OF_BATCH]) + _varint(message.size)
    of_rows = bytes([_BATCH_OF_ROWS]) + _varint(len(batch) + message.size)
    of_request = bytes([_ROWS_OF_REQUEST]) + _varint(len(of_rows) + len(batch) + message.size)
    return b"".join((request, of_request, of_rows, batch, message))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
