"""bqemulator 1.4.0's Storage Write API, put right: part of ``bigquery_server.py``, for rows that come as Arrow batches.

Each part's docstring says what BigQuery does and what bqemulator does without it. Nothing here has met the real service: its
words are those of Google's clients' own tests, and of reports of users; where only documentation tells it, the docstring says so.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
import grpc
import pyarrow as pa
from bqemulator.catalog.models import TableMeta
from bqemulator.grpc_api import read_servicer, write_servicer
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.storage.sql_identifiers import quoted_table_ref
from bqemulator.streaming.write_stream import WriteStream, WriteStreamState, WriteStreamType
from google.cloud.bigquery_storage_v1 import types

from tests.emulators import arrow_rows
from tests.emulators.arrow_rows import Code, Refused

LIMIT = "BIGQUERY_APPEND_BYTES"
"""The variable with the size limit of an AppendRows request, bytes."""
DEFAULT_LIMIT = 10 * 2**20
"""What the service's error messages of late 2025 say; its documentation has said 20 MB since 2026."""
_THREADS = 500
_ROUTED_BY = {
    "CreateWriteStream": "parent",
    "AppendRows": "write_stream",
    "GetWriteStream": "name",
    "FinalizeWriteStream": "name",
    "BatchCommitWriteStreams": "parent",
    "FlushRows": "write_stream",
}
_OPEN = {WriteStreamType.DEFAULT, WriteStreamType.COMMITTED}
_TABLE = ("project_id", "dataset_id", "table_id")


class WriteApi(write_servicer.BigQueryWriteHandler):
    """The service; what it does not override is bqemulator's own."""

    def __init__(self, context: Any, *arguments: Any) -> None:
        super().__init__(_apart(context), *arguments)
        self._committed: dict[str, dt.datetime] = {}
        self._created: dict[str, dt.datetime] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """A call says where it goes in its header too; outside the US nobody finds the table without. bqemulator takes any."""
        handler, name = super().service(details), details.method.rpartition("/")[2]
        if handler is None:
            return None
        sent = [value for key, value in details.invocation_metadata or () if key == "x-goog-request-params"]
        if any(f"{_ROUTED_BY[name]}=projects/" in value.replace("%2F", "/") for value in sent):
            return handler
        message = f"Missing {_ROUTED_BY[name]} in the x-goog-request-params header of {name}: {sent}."
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(lambda _, context: iter(_ended(context, message)))
        return grpc.unary_unary_rpc_method_handler(lambda _, context: b"".join(_ended(context, message)))

    def _handle_append_rows(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Each request has its answer, in their order, be it an error; the call goes on, without the schema it had.

        That an error costs the schema is not documented, and a client must live with it: one whose first request is refused
        has told none. bqemulator wants the stream's name in each request, and a call is dead when DuckDB refuses one.
        """
        name, schema = "", b""
        for raw in requests:
            request = types.AppendRowsRequest.pb().FromString(raw)
            if request.write_stream not in ("", name):
                name, schema = request.write_stream, b""
            stream = self._resolve_append_stream(name, context)
            if stream is None:
                return
            schema = request.arrow_rows.writer_schema.serialized_schema or schema
            try:
                yield self._append(stream, len(raw), request, schema)
                continue
            except Refused as refused:
                answer = refused
            except duckdb.TransactionException as error:
                answer = Refused(str(error), grpc.StatusCode.ABORTED)
            except Exception as error:
                answer = Refused(f"bqemulator: {type(error).__name__}: {error}")
            schema = b""
            yield answer.answer(name)

    def _resolve_append_stream(self, stream_name: str, context: grpc.ServicerContext) -> WriteStream | None:
        """A stream or table that is not there ends the call with NOT_FOUND; bqemulator looks for the table of a default one."""
        stream = super()._resolve_append_stream(stream_name, context)
        if stream is not None and self._table(stream) is not None:
            return stream
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details(f"Requested entity was not found. Entity: {stream_name}")
        return None

    def _append(self, stream: WriteStream, size: int, request: Any, schema: bytes) -> bytes:
        """The answer to a request whose rows are written, or kept for the commit; ``Refused`` where none is.

        The service limits the size of a request, and says INVALID_ARGUMENT; bqemulator RESOURCE_EXHAUSTED, which clients
        try again. Offsets move on once the rows are written, in bqemulator before, and answers of a default stream have none.
        """
        limit = int(os.environ.get(LIMIT, DEFAULT_LIMIT))
        if size > limit:
            raise Refused(f"AppendRows request too large: {size} limit {limit}")
        if not request.HasField("arrow_rows") or not schema:
            raise Refused("The first request of a connection, or after an error, needs arrow_rows with a writer_schema.")
        rows = arrow_rows.rows_of(self._table(stream), arrow_rows.read(schema, request.arrow_rows.rows.serialized_record_batch))
        with stream.lock:
            _check(stream, request.offset.value if request.HasField("offset") else None)
            if stream.stream_type in _OPEN:
                self._insert(stream, rows)
            else:
                stream.buffer.append(rows)
            offset = None if stream.stream_type is WriteStreamType.DEFAULT else stream.next_offset
            stream.next_offset += len(rows)
            stream.row_count += len(rows)
        result = types.AppendRowsResponse.AppendResult(offset=offset)
        return types.AppendRowsResponse.serialize(types.AppendRowsResponse(append_result=result, write_stream=stream.name))

    def _insert(self, stream: WriteStream, rows: pa.Table) -> None:
        """One statement, all rows or none."""
        reference = quoted_table_ref(*(getattr(stream, part) for part in _TABLE))
        with self._write_lock, self._ctx.engine.cursor() as cursor:
            cursor.register("appended", rows)
            cursor.execute(f"INSERT INTO {reference} BY NAME SELECT * FROM appended")
        self._ctx.snapshots.record_change(*(getattr(stream, part) for part in _TABLE))

    def _table(self, stream: WriteStream) -> TableMeta | None:
        return self._ctx.catalog.get_table(*(getattr(stream, part) for part in _TABLE))

    def _handle_create_write_stream(self, request_bytes: bytes, context: grpc.ServicerContext) -> bytes:
        made = types.WriteStream.deserialize(super()._handle_create_write_stream(request_bytes, context))
        self._created[made.name] = dt.datetime.now(dt.timezone.utc)
        return types.WriteStream.serialize(made)

    def _handle_get_write_stream(self, request_bytes: bytes, context: grpc.ServicerContext) -> bytes:
        """Tells when a stream was made and, of a PENDING one, when it was committed. bqemulator: now, and never."""
        found = types.WriteStream.deserialize(super()._handle_get_write_stream(request_bytes, context))
        created = self._created.get(found.name)
        if created is not None:
            found.create_time = created
            pending = found.type_ == types.WriteStream.Type.PENDING
            found.commit_time = self._committed.get(found.name) if pending else created
        return types.WriteStream.serialize(found)

    def _handle_batch_commit_write_streams(self, request_bytes: bytes, context: grpc.ServicerContext) -> bytes:
        """All streams, which are of one table, are committed in one step; where one is wrong, none is, and those are told.

        bqemulator commits one after the other, of whatever tables, forgets their rows before they are written, and calls a
        stream that is committed already one of a wrong state.
        """
        request = types.BatchCommitWriteStreamsRequest.deserialize(request_bytes)
        streams = {name: self._manager.get(name) for name in request.write_streams}
        with self._write_lock:
            errors = [error for name, stream in streams.items() if (error := _uncommittable(request.parent, name, stream))]
            if errors:
                return types.BatchCommitWriteStreamsResponse.serialize(
                    types.BatchCommitWriteStreamsResponse(stream_errors=errors)
                )
            tables = [rows for stream in streams.values() for rows in stream.buffer]
            if tables:
                self._insert(next(iter(streams.values())), pa.concat_tables(tables))
            now = dt.datetime.now(dt.timezone.utc)
            for name, stream in streams.items():
                stream.buffer.clear()
                stream.state = WriteStreamState.COMMITTED
                self._committed[name] = now
        return types.BatchCommitWriteStreamsResponse.serialize(types.BatchCommitWriteStreamsResponse(commit_time=now))


def _check(stream: WriteStream, offset: int | None) -> None:
    """Whether rows may be added there. The codes and words are the service's; bqemulator has others, and no StorageError."""
    if stream.state is not WriteStreamState.OPEN:
        raise Refused("Stream has been finalized and cannot be appended.", storage=Code.STREAM_FINALIZED)
    if offset is None:
        return
    if stream.stream_type is WriteStreamType.DEFAULT:
        raise Refused("Offset cannot be specified for the default stream.")
    received = f"expected offset {stream.next_offset}, received {offset}"
    if offset < stream.next_offset:
        already = grpc.StatusCode.ALREADY_EXISTS
        raise Refused(f"The offset is within stream, {received}", already, Code.OFFSET_ALREADY_EXISTS)
    if offset > stream.next_offset:
        raise Refused(f"The offset is beyond stream, {received}", grpc.StatusCode.OUT_OF_RANGE, Code.OFFSET_OUT_OF_RANGE)


def _uncommittable(parent: str, name: str, stream: WriteStream | None) -> types.StorageError | None:
    if stream is None or not name.startswith(f"{parent}/streams/"):
        code, message = Code.STREAM_NOT_FOUND, "Stream is not found"
    elif stream.stream_type is not WriteStreamType.PENDING:
        code, message = Code.INVALID_STREAM_TYPE, "Stream is not of type PENDING"
    elif stream.state is WriteStreamState.COMMITTED:
        code, message = Code.STREAM_ALREADY_COMMITTED, "Stream is already committed"
    elif stream.state is not WriteStreamState.FINALIZED:
        code, message = Code.INVALID_STREAM_STATE, "Stream is not finalized"
    else:
        return None
    return types.StorageError(code=code, entity=name, error_message=f"{message}. Entity: {name}")


def _ended(context: grpc.ServicerContext, message: str) -> list[bytes]:
    context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
    context.set_details(message)
    return []


class Engine:
    """DuckDB for threads beside the one of REST: a statement has a cursor of its own.

    bqemulator executes on one connection from all threads: between a query and the fetching of its rows comes another's.
    """

    def __init__(self, engine: DuckDBEngine) -> None:
        self._engine = engine

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A context manager; tables registered in it are its own."""
        cursor = self._engine.connection.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    def fetch_arrow(self, sql: str, parameters: list[Any] | None = None) -> pa.Table:
        """The answer to a query."""
        with self.cursor() as cursor:
            return cursor.execute(sql, parameters).to_arrow_table()


def _apart(context: Any) -> Any:
    return dataclasses.replace(context, engine=Engine(context.engine))


def reads_apart(make: Callable[..., None]) -> Callable[..., None]:
    """The Storage Read API's queries too have cursors of their own; see ``Engine``."""
    return lambda handler, context, *arguments: make(handler, _apart(context), *arguments)


def with_threads(make: Callable[..., Any]) -> Callable[..., Any]:
    """Calls that are open wait for nobody. In bqemulator each keeps one of CPUs + 4 threads; the next hangs, a read too."""
    return lambda **options: make(migration_thread_pool=ThreadPoolExecutor(_THREADS), **options)


def put_right() -> None:
    """Change bqemulator in this process."""
    grpc.aio.server = with_threads(grpc.aio.server)
    write_servicer.BigQueryWriteHandler = WriteApi
    read_servicer.BigQueryReadHandler.__init__ = reads_apart(read_servicer.BigQueryReadHandler.__init__)
