"""The proxy before the Storage Write API that fails as it is told, asked by Google's client."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any

import google.cloud.bigquery_storage_v1 as storage_api
import grpc
import pyarrow as pa
import pytest
from google.api_core.exceptions import GoogleAPICallError, NotFound, ServiceUnavailable
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types
from google.rpc import status_pb2

from tests.emulators.cloud import Cloud
from tests.emulators.rpc_faults import FaultyRpcProxy

Code = grpc.StatusCode


@pytest.fixture
def client(proxy: FaultyRpcProxy) -> Iterator[Any]:
    client = storage_api.BigQueryWriteClient()
    yield client
    client.transport.close()


@pytest.fixture
def table(cloud: Cloud) -> str:
    client, dataset = cloud.client(), cloud.dataset()
    client.create_dataset(dataset)
    client.create_table(bigquery.Table(f"{cloud.project}.{dataset}.t", [bigquery.SchemaField("id", "INT64")]))
    return f"projects/{cloud.project}/datasets/{dataset}/tables/t"


def count(cloud: Cloud, table: str) -> int:
    (row,) = cloud.rows(f"SELECT COUNT(*) AS n FROM `{'.'.join(table.split('/')[1:6:2])}`")
    return int(row["n"])


class Call:
    """One AppendRows call, by which one row after the other goes."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._stream = client, f"{table}/streams/_default"
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: Any = None

    def append(self, text: str = "") -> Any:
        rows = pa.record_batch({"id": [1]})
        request = types.AppendRowsRequest(write_stream=self._stream, trace_id=text)
        request.arrow_rows.writer_schema.serialized_schema = rows.schema.serialize().to_pybytes()
        request.arrow_rows.rows.serialized_record_batch = rows.serialize().to_pybytes()
        self._requests.put(request)
        if self._answers is None:
            metadata = (("x-goog-request-params", f"write_stream={self._stream}"),)
            self._answers = self._client.append_rows(iter(self._requests.get, None), metadata=metadata, timeout=30, retry=None)
        return next(self._answers)

    def close(self) -> None:
        self._requests.put(None)


def test_forwards_what_it_is_not_told_to_fail(cloud: Cloud, proxy: FaultyRpcProxy, client: Any, table: str) -> None:
    calls = [Call(client, table) for _ in range(2)]
    for call in (calls[0], calls[1], calls[0]):
        assert not call.append("x" * 15_000).error.code
    stream = client.create_write_stream(parent=table, write_stream=types.WriteStream(type_="PENDING")).name
    with pytest.raises(NotFound, match="Requested entity"):
        client.get_write_stream(name=f"{table}/streams/0123456789abcdef")
    with pytest.raises(NotFound, match="Requested entity"):
        Call(client, f"{table}_not").append()
    for call in calls:
        call.close()
    assert [(one.method, one.place, one.call, one.failed) for one in proxy.exchanges] == [
        ("AppendRows", f"{table}/streams/_default", 1, False),
        ("AppendRows", f"{table}/streams/_default", 2, False),
        ("AppendRows", f"{table}/streams/_default", 1, False),
        ("CreateWriteStream", table, 0, False),
        ("GetWriteStream", f"{table}/streams/0123456789abcdef", 0, False),
        ("AppendRows", f"{table}_not/streams/_default", 3, False),
    ]
    assert all(one.size > 15_000 for one in proxy.exchanges[:3])
    assert stream.startswith(f"{table}/streams/")
    assert (proxy.calls, proxy.connections, count(cloud, table)) == (3, 1, 3)


@pytest.mark.parametrize(("after", "written"), [(False, 1), (True, 2)])
def test_a_status_ends_the_call(cloud: Cloud, proxy: FaultyRpcProxy, client: Any, table: str, after: bool, written: int) -> None:
    call = Call(client, table)
    call.append()
    fault = proxy.fail(1, "^AppendRows .*/tables/t/", Code.RESOURCE_EXHAUSTED, after=after)
    with pytest.raises(GoogleAPICallError) as found:
        call.append()
    assert found.value.grpc_status_code == Code.RESOURCE_EXHAUSTED
    assert (fault.met, [one.failed for one in proxy.seen("AppendRows")], count(cloud, table)) == (1, [False, True], written)


@pytest.mark.parametrize(("after", "written"), [(False, 1), (True, 2)])
def test_an_answer_that_is_told(cloud: Cloud, proxy: FaultyRpcProxy, client: Any, table: str, after: bool, written: int) -> None:
    answer = types.AppendRowsResponse(error=status_pb2.Status(code=Code.INTERNAL.value[0], message="x"))
    proxy.fail(1, "AppendRows", answer=answer, after=after)
    call = Call(client, table)
    assert call.append().error.message == "x"
    assert not call.append().error.code
    call.close()
    assert (proxy.calls, count(cloud, table)) == (1, written)


@pytest.mark.parametrize(("after", "written"), [(False, 0), (True, 1)])
def test_a_cut_ends_all_calls(cloud: Cloud, proxy: FaultyRpcProxy, client: Any, table: str, after: bool, written: int) -> None:
    other = Call(client, table)
    other.append()
    proxy.fail(1, "AppendRows", cut=True, after=after)
    with pytest.raises(GoogleAPICallError):
        Call(client, table).append()
    with pytest.raises(GoogleAPICallError):
        other.append()
    assert not Call(client, table).append().error.code
    assert (proxy.connections, count(cloud, table)) == (2, 2 + written)


@pytest.mark.parametrize(("after", "made"), [(False, 0), (True, 1)])
def test_requests_that_are_no_streams_fail_too(
    cloud: Cloud, proxy: FaultyRpcProxy, client: Any, table: str, after: bool, made: int
) -> None:
    stream = client.create_write_stream(parent=table, write_stream=types.WriteStream(type_="PENDING")).name
    for failing in ({"code": Code.UNAVAILABLE}, {"cut": True}, {"silent": True}):
        proxy.fail(1, f"^FinalizeWriteStream {table}/", after=after, **failing)
        with pytest.raises(GoogleAPICallError):
            client.finalize_write_stream(name=stream, retry=None, timeout=1)
    finalized = client.batch_commit_write_streams({"parent": table, "write_streams": [stream]})
    assert bool(finalized.commit_time) == bool(made)


def test_silence_lasts_and_healing_ends_faults(proxy: FaultyRpcProxy, client: Any, table: str) -> None:
    proxy.fail(None, "AppendRows", silent=True)
    with pytest.raises(GoogleAPICallError, match="Deadline"):
        client.append_rows(iter([types.AppendRowsRequest()]), timeout=0.5, retry=None)
    proxy.heal()
    with pytest.raises(GoogleAPICallError, match="x-goog-request-params"):
        client.append_rows(iter([types.AppendRowsRequest()]), timeout=30, retry=None)
    assert not Call(client, table).append().error.code


def test_an_idle_call_is_ended(proxy: FaultyRpcProxy, client: Any, table: str) -> None:
    proxy.idle_secs = 0.2
    call = Call(client, table)
    call.append()
    time.sleep(0.6)
    with pytest.raises(GoogleAPICallError) as found:
        call.append()
    assert found.value.grpc_status_code == Code.ABORTED


def test_a_service_that_is_slow(proxy: FaultyRpcProxy, client: Any, table: str) -> None:
    proxy.delay_secs = 0.3
    begun = time.monotonic()
    Call(client, table).append()
    assert time.monotonic() - begun >= 0.3


def test_a_service_that_is_gone(client: Any, proxy: FaultyRpcProxy, table: str) -> None:
    proxy.close()
    with pytest.raises(ServiceUnavailable):
        client.get_write_stream(name=f"{table}/streams/_default", retry=None, timeout=5)
