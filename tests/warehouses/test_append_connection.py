"""How a connection to the Storage Write API ends, whatever the service says with it: a server that ends each call so."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pyarrow as pa
import pytest
from google.cloud.bigquery_storage_v1 import types
from google.protobuf import any_pb2
from google.rpc import status_pb2

from warehouses.bigquery.append_answers import Verdict, judge_end, storage_error
from warehouses.bigquery.append_connection import Connection, Ended

CODES = types.StorageError.StorageErrorCode
ROWS = pa.record_batch({"id": [1]})


def with_details(code: grpc.StatusCode, message: str) -> bytes:
    detail = any_pb2.Any()
    detail.Pack(types.StorageError.pb(types.StorageError(code=CODES.STREAM_FINALIZED)))
    return bytes(status_pb2.Status(code=code.value[0], message=message, details=[detail]).SerializeToString())


class Ending(grpc.GenericRpcHandler):
    """Ends each call as FAILED_PRECONDITION, with these bytes for the details."""

    def __init__(self, details: bytes | None) -> None:
        self._details = details

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def ended(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            next(requests)
            if self._details is not None:
                context.set_trailing_metadata((("grpc-status-details-bin", self._details),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "words")
            yield b""

        return grpc.stream_stream_rpc_method_handler(ended)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (with_details(grpc.StatusCode.FAILED_PRECONDITION, "words"), CODES.STREAM_FINALIZED),
        # A proxy between may have changed the one and not the other.
        (with_details(grpc.StatusCode.FAILED_PRECONDITION, "other words"), CODES.STREAM_FINALIZED),
        (with_details(grpc.StatusCode.ABORTED, "words"), CODES.STREAM_FINALIZED),
        (b"\xff\xff no message", 0),
        (None, 0),
    ],
    ids=["the same", "other words", "another code", "nonsense", "none"],
)
def test_an_end_is_told_at_once_whatever_its_details(details: bytes | None, expected: int) -> None:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Ending(details)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        connection = Connection(channel, "projects/p/datasets/d/tables/t/streams/_default", ROWS.schema)
        connection.send(ROWS)
        with pytest.raises(Ended, match="FAILED_PRECONDITION: words") as ended:
            connection.answer(10)
        connection.close()
    server.stop(0).wait()
    assert storage_error(ended.value.details) == expected
    assert judge_end(ended.value).verdict is Verdict.NEVER
