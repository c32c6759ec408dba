"""A connection to the Storage Write API: one call of ``AppendRows``, by which the rows of one stream go.

Google's ``AppendRowsStream`` takes three times the CPU and looks for an answer but once a second; Beam's sink needs Java.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import Any

import grpc
import pyarrow as pa
from google.cloud import bigquery_storage_v1
from google.cloud.bigquery_storage_v1 import types
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from warehouses.bigquery.append_requests import first_request, with_rows

AppendRowsResponse = types.AppendRowsResponse.pb()

_APPEND_ROWS = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows"
# What Google's client for Java asks for: a network that forgets a quiet connection is noticed within two minutes.
_KEEP_ALIVE = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 60_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Ended(Exception):
    """The connection is at its end, or nothing comes by it: of what was not answered nobody knows whether it is written."""

    def __init__(self, code: grpc.StatusCode, message: str, details: Any = ()) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.details = details
        """Of the status that ended it, as ``google.protobuf.Any``."""


def write_client() -> bigquery_storage_v1.BigQueryWriteClient:
    """A client of the Storage Write API, with the credentials of the environment."""
    return bigquery_storage_v1.BigQueryWriteClient(transport=_transport)


def channel_of(client: bigquery_storage_v1.BigQueryWriteClient) -> grpc.Channel:
    """The channel that a client uses."""
    return client.transport.grpc_channel  # type: ignore[attr-defined]


def _transport(**settings: Any) -> BigQueryWriteGrpcTransport:
    return BigQueryWriteGrpcTransport(channel=_channel, **settings)


def _channel(host: str, *, options: Any = (), **settings: Any) -> grpc.Channel:
    return BigQueryWriteGrpcTransport.create_channel(host, options=[*options, *_KEEP_ALIVE], **settings)


class Connection:
    """One ``AppendRows`` call; not for several threads at once.

    Requests are sent without waiting, and answered in their order.
    """

    def __init__(self, channel: grpc.Channel, stream: str, schema: pa.Schema, trace_id: str = "") -> None:
        self.schema = schema
        self.used_at = time.monotonic()
        self._begin = first_request(stream, schema, trace_id)
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        call = channel.stream_stream(_APPEND_ROWS, request_serializer=None, response_deserializer=AppendRowsResponse.FromString)
        # By the header requests find the region that the stream is in; without it they end in the US.
        self._call = call(iter(self._requests.get, None), metadata=(("x-goog-request-params", f"write_stream={stream}"),))
        # What a call gives can be waited for only without an end: a thread of its own waits.
        threading.Thread(target=self._listen, name=f"answers of {stream}", daemon=True).start()

    def _listen(self) -> None:
        try:
            for answer in self._call:
                self._answers.put(answer)
            self._answers.put(Ended(grpc.StatusCode.UNAVAILABLE, "BigQuery has ended the connection"))
        except grpc.RpcError as error:
            self._answers.put(Ended(error.code(), error.details(), _details(error)))

    @property
    def open(self) -> bool:
        """Whether it is not known to have ended."""
        return bool(self._call.is_active())

    def send(self, rows: pa.RecordBatch, offset: int | None = None) -> None:
        """Send rows of its schema, to stand in the stream from ``offset`` on; the default stream has no offsets."""
        begin, self._begin = self._begin, b""
        self._requests.put(with_rows(begin, rows, offset))

    def answer(self, secs: float) -> Any:
        """The ``AppendRowsResponse`` to the next request. Raises ``Ended``, also where none comes in so many seconds."""
        try:
            found = self._answers.get(timeout=secs)
        except queue.Empty:
            raise Ended(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer from BigQuery in {secs:g} s") from None
        self.used_at = time.monotonic()
        if isinstance(found, Ended):
            raise found
        return found

    def close(self) -> None:
        """End the call; what was sent and not answered may be written or not."""
        self._requests.put(None)
        self._call.cancel()


def _details(error: grpc.RpcError) -> Any:
    # As they are: grpc_status raises where code or words are others there, as behind a proxy that changes them.
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            with contextlib.suppress(DecodeError):
                return status_pb2.Status.FromString(value).details
    return ()
