"""The emulated BigQuery's Storage Write API does what the tests of our own client take for granted, asked by Google's client."""

from __future__ import annotations

import datetime as dt
import queue
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import google.cloud.bigquery_storage_v1 as storage_api
import grpc
import pyarrow as pa
import pytest
from google.api_core.exceptions import InvalidArgument, NotFound
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from tests.emulators.cloud import Cloud

Code = types.StorageError.StorageErrorCode
TODAY = dt.datetime.now(dt.timezone.utc).date()
FIELDS = [
    {"name": "id", "type": "INT64", "mode": "REQUIRED"},
    {"name": "night", "type": "DATE"},
    {"name": "name", "type": "STRING"},
    {"name": "mag", "type": "FLOAT64"},
    {"name": "extra", "type": "JSON"},
    {"name": "flags", "type": "STRING", "mode": "REPEATED"},
    {
        "name": "history",
        "type": "RECORD",
        "mode": "REPEATED",
        "fields": [{"name": "mag", "type": "FLOAT64"}, {"name": "band", "type": "STRING", "mode": "REQUIRED"}],
    },
    {"name": "candidate", "type": "RECORD", "fields": [{"name": "mag", "type": "FLOAT64"}, {"name": "n", "type": "INT64"}]},
]
ITEM = pa.struct({"mag": pa.float64(), "band": pa.string()})
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "night": pa.date32(),
        "name": pa.string(),
        "mag": pa.float64(),
        "extra": pa.string(),
        "flags": pa.list_(pa.string()),
        "history": pa.list_(ITEM),
        "candidate": pa.struct({"mag": pa.float64(), "n": pa.int64()}),
    }
)
ROW = {
    "id": 2**62 + 1,
    "night": TODAY,
    "name": "é",
    "mag": -0.5,
    "extra": '{"a": 1}',
    "flags": ["a", "b"],
    "history": [{"mag": 1.5, "band": "g"}, {"mag": None, "band": "r"}],
    "candidate": {"mag": None, "n": 7},
}


@pytest.fixture
def table(cloud: Cloud) -> str:
    """``projects/P/datasets/D/tables/T``, new and empty."""
    client, dataset = cloud.client(), cloud.dataset()
    client.create_dataset(dataset)
    return make(cloud, dataset, "t", FIELDS)


def make(cloud: Cloud, dataset: str, name: str, fields: list[dict[str, Any]]) -> str:
    made = bigquery.Table(f"{cloud.project}.{dataset}.{name}", [bigquery.SchemaField.from_api_repr(one) for one in fields])
    if any(one["name"] == "night" for one in fields):
        made.time_partitioning = bigquery.TimePartitioning(field="night")
    cloud.client().create_table(made)
    return f"projects/{cloud.project}/datasets/{dataset}/tables/{name}"


def sql_name(table: str) -> str:
    return ".".join(table.split("/")[1:6:2])


def stored(cloud: Cloud, table: str) -> list[dict[str, Any]]:
    return cloud.rows(f"SELECT * FROM `{sql_name(table)}` ORDER BY id")


def ids(cloud: Cloud, table: str) -> list[int]:
    return [row["id"] for row in cloud.rows(f"SELECT id FROM `{sql_name(table)}` ORDER BY id")]


@pytest.fixture
def client(cloud: Cloud) -> Iterator[Any]:
    client = storage_api.BigQueryWriteClient()
    yield client
    client.transport.close()


class Call:
    """One AppendRows call."""

    def __init__(self, client: Any, stream: str, header: str | None = None) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.stream = stream
        self._client, self._header = client, header if header is not None else f"write_stream={stream}"
        self._answers: Any = None

    def send(self, rows: pa.RecordBatch | bytes | None, *, schema: pa.Schema | None = None, **request: Any) -> Any:
        """The answer."""
        request = types.AppendRowsRequest(**request)
        if schema is not None:
            request.arrow_rows.writer_schema.serialized_schema = schema.serialize().to_pybytes()
        serialized = rows if isinstance(rows, bytes) else rows.serialize().to_pybytes()
        request.arrow_rows.rows.serialized_record_batch = serialized
        self._requests.put(request)
        if self._answers is None:
            # The client gives the answers only when it has the first.
            metadata = (("x-goog-request-params", self._header),)
            self._answers = self._client.append_rows(iter(self._requests.get, None), metadata=metadata, timeout=60, retry=None)
        return next(self._answers)

    def first(self, rows: pa.RecordBatch, **request: Any) -> Any:
        """The answer to the first request of this call."""
        return self.send(rows, schema=rows.schema, write_stream=self.stream, **request)

    def close(self) -> None:
        self._requests.put(None)
        assert list(self._answers) == []


def append(client: Any, table: str, rows: pa.RecordBatch, stream: str = "_default", **request: Any) -> Any:
    call = Call(client, stream if "/" in stream else f"{table}/streams/{stream}")
    answer = call.first(rows, **request)
    call.close()
    return answer


def batch(rows: Sequence[dict[str, Any]], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=schema)


def numbered(first: int, count: int) -> pa.RecordBatch:
    return batch([{**ROW, "id": number} for number in range(first, first + count)])


def storage_error(answer: Any) -> Any:
    (detail,) = answer.error.details
    error = types.StorageError.pb()()
    assert detail.Unpack(error)
    return types.StorageError.wrap(error)


def new_stream(client: Any, table: str, kind: str = "PENDING") -> str:
    return str(client.create_write_stream(parent=table, write_stream=types.WriteStream(type_=kind)).name)


def test_records_keep_their_fields(cloud: Cloud, client: Any, table: str) -> None:
    assert not append(client, table, batch([ROW])).error.code
    (found,) = stored(cloud, table)
    assert {**found, "history": [dict(item) for item in found["history"]]} == {**ROW, "extra": {"a": 1}}


def test_columns_are_found_by_name_and_may_be_left_out(cloud: Cloud, client: Any, table: str) -> None:
    few = batch([ROW]).select(["candidate", "mag", "id"])
    inner = pa.StructArray.from_arrays([pa.array([9])], fields=[pa.field("n", pa.int64())])
    few = few.set_column(0, pa.field("candidate", inner.type), inner)
    assert not append(client, table, few).error.code
    expected = {
        **dict.fromkeys(ROW),
        "id": ROW["id"],
        "mag": -0.5,
        "flags": [],
        "history": [],
        "candidate": {"mag": None, "n": 9},
    }
    assert stored(cloud, table) == [expected]


@pytest.mark.parametrize("where", ["table", "candidate", "history"])
def test_an_unknown_column_is_an_error_of_the_request(cloud: Cloud, client: Any, table: str, where: str) -> None:
    kinds = {"candidate": pa.struct({"mag": pa.float64(), "x": pa.string()}), "history": pa.list_(pa.struct({"x": pa.string()}))}
    name = "new" if where == "table" else where
    rows = pa.record_batch({"id": pa.array([1]), name: pa.nulls(1, kinds.get(where, pa.string()))})
    answer = append(client, table, rows)
    assert (answer.error.code, list(answer.row_errors)) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], [])
    assert storage_error(answer).code == Code.SCHEMA_MISMATCH_EXTRA_FIELDS
    assert "extra fields" in storage_error(answer).error_message
    assert ids(cloud, table) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": None}, "id is REQUIRED"),
        ({"flags": None}, "flags is REPEATED"),
        ({"flags": ["a", None]}, "flags has a NULL"),
        ({"history": [None]}, "history has a NULL"),
        ({"history": [{"mag": 1.0, "band": "g"}, {"mag": 1.0, "band": None}]}, "history.band is REQUIRED"),
        ({"extra": "{"}, "extra is not valid JSON"),
        ({"night": TODAY - dt.timedelta(3700)}, "You can only stream to"),
        ({"night": TODAY + dt.timedelta(400)}, "You can only stream to"),
    ],
)
def test_wrong_rows_are_named_and_none_is_written(
    cloud: Cloud, client: Any, table: str, wrong: dict[str, Any], message: str
) -> None:
    numbers = {1, 3, 4}
    rows = [{**ROW, "id": number, **(wrong if number in numbers else {})} for number in range(6)]
    call = Call(client, f"{table}/streams/_default")
    answer = call.first(batch(rows))
    assert "row_errors" in answer.error.message
    assert {error.index for error in answer.row_errors} == numbers
    assert all(message in error.message and error.code == 1 for error in answer.row_errors)
    assert ids(cloud, table) == []
    # Without them; the schema of a request that was refused is not kept.
    good = batch([row for row in rows if row["id"] not in numbers and row["id"] is not None])
    assert "writer_schema" in call.send(good).error.message
    assert not call.send(good, schema=SCHEMA).error.code
    assert not call.send(good).error.code
    call.close()
    assert ids(cloud, table) == [0, 0, 2, 2, 5, 5]


def test_the_list_of_wrong_rows_may_be_incomplete(client: Any, table: str) -> None:
    answer = append(client, table, batch([{**ROW, "id": None}] * 200))
    assert 0 < len(answer.row_errors) < 200


def test_partitions_of_ten_years_are_taken(cloud: Cloud, client: Any, table: str) -> None:
    nights = [TODAY - dt.timedelta(3640), TODAY + dt.timedelta(360), None]
    assert not append(client, table, batch([{**ROW, "night": night} for night in nights])).error.code
    assert len(ids(cloud, table)) == 3


def test_what_arrow_cannot_read_is_an_answer(cloud: Cloud, client: Any, table: str) -> None:
    call = Call(client, f"{table}/streams/_default")
    call.first(numbered(0, 1))
    whole = pa.BufferOutputStream()
    with pa.ipc.new_stream(whole, SCHEMA) as writer:
        writer.write_batch(numbered(1, 1))
    for data in (whole.getvalue().to_pybytes(), b"nonsense", b""):
        answer = call.send(data, schema=SCHEMA)
        assert answer.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert "could not be parsed" in answer.error.message
    assert not call.send(numbered(2, 1), schema=SCHEMA).error.code
    call.close()
    assert ids(cloud, table) == [0, 2]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()])
def test_types_that_the_service_does_not_list(cloud: Cloud, client: Any, table: str, kind: pa.DataType) -> None:
    rows = pa.record_batch({"id": pa.array([1]), "name": pa.array(["a"]).cast(kind)})
    answer = append(client, table, rows)
    # Without its values, which are a message of their own, a dictionary cannot even be read.
    assert re.search("Cannot convert|could not be parsed", answer.error.message)
    assert (list(answer.row_errors), list(answer.error.details)) == ([], [])
    assert not append(client, table, pa.record_batch({"id": pa.array([1]), "mag": pa.array([0.5], pa.float32())})).error.code
    assert ids(cloud, table) == [1]


def test_a_request_has_the_size_bigquery_allows(cloud: Cloud, client: Any, table: str) -> None:
    call = Call(client, f"{table}/streams/_default")
    answer = call.first(batch([{**ROW, "name": "x" * 2**20}] * 10))
    assert answer.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "AppendRows request too large" in answer.error.message
    assert answer.write_stream == call.stream
    assert not call.first(batch([{**ROW, "name": "x" * 2**20}] * 9)).error.code
    call.close()
    assert len(ids(cloud, table)) == 9


def test_many_calls_can_be_open(cloud: Cloud, client: Any, table: str) -> None:
    calls = [Call(client, f"{table}/streams/_default") for _ in range(40)]
    for number, call in enumerate(calls):
        assert not call.first(numbered(number, 1)).error.code
    # Whose name need not be said again.
    for number, call in enumerate(calls):
        assert not call.send(numbered(100 + number, 1)).error.code
    for call in calls:
        call.close()
    assert len(ids(cloud, table)) == 80


def test_queries_and_writes_do_not_meet(cloud: Cloud, client: Any, table: str) -> None:
    """Each query's answer is its own, whatever is written meanwhile."""
    stop, written = threading.Event(), []

    def write() -> None:
        call = Call(client, f"{table}/streams/_default")
        call.first(numbered(0, 1))
        while not stop.is_set():
            assert not call.send(numbered(0, 1)).error.code
            written.append(1)
        call.close()

    threads = [threading.Thread(target=write) for _ in range(2)]
    for one in threads:
        one.start()
    try:
        for number in range(25):
            found = cloud.rows(f"SELECT {number} AS n, COUNT(*) AS rows_there FROM `{sql_name(table)}` WHERE id >= 0")
            assert [(row["n"], row["rows_there"] >= 0) for row in found] == [(number, True)]
    finally:
        stop.set()
        for one in threads:
            one.join()
    assert len(ids(cloud, table)) == len(written) + 2


@pytest.mark.parametrize("header", ["", "write_stream=", "parent=projects/p"])
def test_a_call_says_where_it_goes(client: Any, table: str, header: str) -> None:
    with pytest.raises(InvalidArgument, match="x-goog-request-params"):
        Call(client, f"{table}/streams/_default", header).first(numbered(0, 1))


def test_what_is_not_there(client: Any, table: str) -> None:
    for stream in (f"{table}_not/streams/_default", f"{table}/streams/0123456789abcdef"):
        with pytest.raises(NotFound, match="Requested entity was not found"):
            Call(client, stream).first(numbered(0, 1))
    with pytest.raises(NotFound):
        client.get_write_stream(name=f"{table}/streams/0123456789abcdef")
    with pytest.raises(NotFound):
        client.finalize_write_stream(name=f"{table}/streams/0123456789abcdef")
    with pytest.raises(NotFound):
        new_stream(client, f"{table}_not")


@pytest.mark.parametrize("kind", ["COMMITTED", "PENDING"])
def test_a_row_is_taken_once_at_its_offset(cloud: Cloud, client: Any, table: str, kind: str) -> None:
    stream = new_stream(client, table, kind)
    call = Call(client, stream)
    assert call.first(numbered(0, 3), offset=0).append_result.offset == 0
    again = call.send(numbered(0, 3), schema=SCHEMA, offset=0)
    assert again.error.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
    assert "expected offset 3, received 0" in again.error.message
    assert storage_error(again).code == Code.OFFSET_ALREADY_EXISTS
    beyond = call.send(numbered(3, 3), schema=SCHEMA, offset=4)
    assert beyond.error.code == grpc.StatusCode.OUT_OF_RANGE.value[0]
    assert "expected offset 3, received 4" in beyond.error.message
    assert storage_error(beyond).code == Code.OFFSET_OUT_OF_RANGE
    # A request that is refused takes no offset.
    assert call.send(batch([{**ROW, "id": None}]), schema=SCHEMA, offset=3).row_errors
    assert call.send(numbered(3, 3), schema=SCHEMA, offset=3).append_result.offset == 3
    call.close()
    assert client.finalize_write_stream(name=stream).row_count == 6
    if kind == "PENDING":
        assert ids(cloud, table) == []
        assert client.batch_commit_write_streams({"parent": table, "write_streams": [stream]}).commit_time
    assert ids(cloud, table) == [0, 1, 2, 3, 4, 5]


def test_a_default_stream_has_no_offsets(cloud: Cloud, client: Any, table: str) -> None:
    assert append(client, table, numbered(0, 1), offset=0).error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    answer = append(client, table, numbered(0, 1))
    assert not types.AppendRowsResponse.pb(answer).append_result.HasField("offset")
    assert ids(cloud, table) == [0]


def test_a_finalized_stream_takes_nothing(client: Any, table: str) -> None:
    stream = new_stream(client, table)
    assert not append(client, table, numbered(0, 1), stream).error.code
    for _ in range(2):
        assert client.finalize_write_stream(name=stream).row_count == 1
    answer = append(client, table, numbered(1, 1), stream)
    assert answer.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert storage_error(answer).code == Code.STREAM_FINALIZED


def test_a_commit_is_of_all_streams_or_none(cloud: Cloud, client: Any, table: str) -> None:
    streams = [new_stream(client, table) for _ in range(3)]
    for number, stream in enumerate(streams):
        assert not append(client, table, numbered(number * 10, 2), stream).error.code
    other = new_stream(client, make(cloud, table.split("/")[3], "other", FIELDS))
    client.finalize_write_stream(name=other)
    committed = new_stream(client, table, "COMMITTED")
    client.finalize_write_stream(name=committed)
    for stream in streams[:2]:
        client.finalize_write_stream(name=stream)

    def commit(*names: str) -> Any:
        return client.batch_commit_write_streams({"parent": table, "write_streams": names})

    gone = f"{table}/streams/0123456789abcdef"
    for bad, code in (
        (streams[2], Code.INVALID_STREAM_STATE),
        (gone, Code.STREAM_NOT_FOUND),
        (other, Code.STREAM_NOT_FOUND),
        (committed, Code.INVALID_STREAM_TYPE),
    ):
        answer = commit(streams[0], bad, streams[1])
        assert [(error.code, error.entity) for error in answer.stream_errors] == [(code, bad)]
        assert not answer.commit_time
        assert ids(cloud, table) == []
        assert not client.get_write_stream(name=streams[0]).commit_time
    answer = commit(*streams[:2])
    assert answer.commit_time
    assert not answer.stream_errors
    assert ids(cloud, table) == [0, 1, 10, 11]
    assert client.get_write_stream(name=streams[0]).commit_time == answer.commit_time
    client.finalize_write_stream(name=streams[2])
    answer = commit(streams[2], streams[0])
    assert [(error.code, error.entity) for error in answer.stream_errors] == [(Code.STREAM_ALREADY_COMMITTED, streams[0])]
    assert ids(cloud, table) == [0, 1, 10, 11]
    assert commit(streams[2]).commit_time
    assert len(ids(cloud, table)) == 6


def test_a_stream_tells_when_it_was_made(client: Any, table: str) -> None:
    made = client.create_write_stream(parent=table, write_stream=types.WriteStream(type_="COMMITTED"))
    first, second = (client.get_write_stream(name=made.name) for _ in range(2))
    assert first.create_time == second.create_time == first.commit_time
