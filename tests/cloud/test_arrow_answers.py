"""Answers of BigQuery by the Storage Read API: as text gives them, in order, in flat memory, and what if it fails."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.api_core.exceptions import NotFound
from google.cloud import bigquery_storage_v1
from google.cloud.bigquery_storage_v1.types import CreateReadSessionRequest, DataFormat, ReadRowsRequest, ReadSession

import warehouses
from broker import cli
from pipelines import ingest
from tests.emulators import settings
from tests.emulators.cloud import Cloud
from tests.emulators.read_faults import CREATE, READ, ReadProxy
from tests.nights import simulated
from warehouses.bigquery import arrow_rows
from warehouses.bigquery import warehouse as bigquery_warehouse
from warehouses.bigquery.tables import prepare
from warehouses.bigquery.warehouse import BigQueryWarehouse
from warehouses.errors import QueryError

COUNT = 16_000
NUMBERS = (
    f"SELECT n, CONCAT('{'x' * 600}', CAST(n AS STRING)) AS text FROM UNNEST(GENERATE_ARRAY(1, {COUNT})) AS n ORDER BY n DESC"
)
"""10 MB: some messages."""


@pytest.fixture(scope="module")
def place(cloud: Cloud) -> str:
    dataset = cloud.dataset()
    prepare(cloud.client(), dataset, ["ztf"])
    return f"bigquery://{cloud.project}/{dataset}"


@pytest.fixture
def proxy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadProxy]:
    with ReadProxy(cloud.variables[settings.BIGQUERY_READ]) as made:
        monkeypatch.setenv(settings.BIGQUERY_READ, made.host)
        yield made


@pytest.fixture
def opened(place: str, proxy: ReadProxy) -> Iterator[BigQueryWarehouse]:
    with contextlib.closing(warehouses.open(place)) as made:
        assert isinstance(made, BigQueryWarehouse)
        yield made


def as_text(place: str, sql: str) -> pa.Table:
    """An answer without the Storage Read API."""
    with contextlib.closing(warehouses.open(place)) as made:
        made._arrow_refused = True
        return made.read(sql).read()


def check_numbers(rows: pa.Table) -> None:
    assert rows.column("n").to_pylist() == list(range(COUNT, 0, -1))


def test_a_large_answer_is_read_as_arrow_in_its_order(opened: BigQueryWarehouse, place: str, proxy: ReadProxy) -> None:
    answer = opened.read(NUMBERS, rows_at_once=700)
    batches = list(answer)
    rows = pa.Table.from_batches(batches, schema=answer.schema)
    check_numbers(rows)
    assert max(batch.num_rows for batch in batches) <= 700
    assert proxy.calls == {CREATE: 1, READ: 1}
    assert proxy.messages > 3
    # More than one stream would come in no order.
    [asked] = [CreateReadSessionRequest.deserialize(request) for name, request in proxy.requests if name == CREATE]
    assert asked.max_stream_count == 1
    other = as_text(place, NUMBERS)
    assert rows.equals(other)
    assert rows.schema.equals(other.schema, check_metadata=True)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_a_small_answer_needs_no_session(opened: BigQueryWarehouse, proxy: ReadProxy, count: int) -> None:
    rows = opened.read(f"SELECT n, [n] AS l FROM UNNEST(GENERATE_ARRAY(1, 2000)) AS n WHERE n <= {count} ORDER BY n").read()
    assert rows.column("n").to_pylist() == list(range(1, count + 1))
    assert rows.schema.field("l").type == pa.list_(pa.int64())
    assert not proxy.calls


def test_who_stops_early_ends_the_stream(opened: BigQueryWarehouse, proxy: ReadProxy) -> None:
    # 80 MB, 40 messages.
    batches = iter(opened.read("SELECT n, REPEAT('x', 800) AS text FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS n"))
    assert next(batches).num_rows > 0
    del batches
    assert proxy.ended.acquire(timeout=60)
    assert proxy.messages < 20


_READING = """
import sys
import warehouses
from tests.emulators import settings
place, variables, count = sys.argv[1], eval(sys.argv[2]), int(sys.argv[3])
sql = f"SELECT n, REPEAT('x', 300) AS text FROM UNNEST(GENERATE_ARRAY(1, {count})) AS n"
with settings.point_clients(variables):
    seen = size = 0
    for batch in warehouses.open(place).read(sql):
        seen, size = seen + batch.num_rows, size + batch.nbytes
# Not ru_maxrss: that begins with the memory of who has started this process.
with open("/proc/self/status") as status:
    [most_kb] = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
print(seen, size, most_kb * 1024)
"""


def test_a_million_rows_are_read_in_flat_memory(place: str, cloud: Cloud) -> None:
    def reading(count: int) -> tuple[int, int]:
        command = [sys.executable, "-c", _READING, place, repr(cloud.variables), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        seen, size, most = map(int, done.stdout.split())
        assert seen == count
        return size, most

    (_, some), (size, most) = reading(20_000), reading(1_000_000)
    assert size > 300e6
    # Some messages of 2 MB, what gRPC has received ahead, and what the allocator keeps: 50 to 90 MB, of however many rows.
    assert most - some < size / 2


@pytest.fixture(scope="module")
def filled(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A dataset with rows of all kinds: two surveys, matches, dead letters, runs; and the packets of one of its nights."""
    place = f"bigquery://{cloud.project}/{cloud.dataset()}"
    for survey, count in (("ztf", "12"), ("lsst", "6")):
        night = simulated(
            tmp_path_factory.mktemp(survey),
            "--survey",
            survey,
            "--alerts",
            count,
            "--damaged",
            "2",
            "--duplicates",
            "1",
            "--seed",
            "5",
        )
        flags = ["--survey", survey, "--write_method", "streaming_inserts", "--crossmatch", f"file:{night / 'catalog.parquet'}"]
        assert ingest.run(["--input", str(night), "--warehouse", place, *flags]) == 0
    return place, night


def test_all_tables_are_the_same_as_arrow_and_as_text(
    filled: tuple[str, Path], proxy: ReadProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bigquery_warehouse, "_FIRST_ROWS", 1)
    with contextlib.closing(warehouses.open(filled[0])) as opened:
        some = 0
        for table in opened.tables:
            sql = f"SELECT * FROM {table}"
            answer, text = opened.read(sql).read(), as_text(filled[0], sql)
            assert answer.schema.equals(text.schema, check_metadata=True), table
            # NaN is not equal to itself, but is written like itself.
            assert Counter(map(repr, answer.to_pylist())) == Counter(map(repr, text.to_pylist()))
            some += answer.num_rows > 1
    assert some > 10
    assert proxy.calls == {CREATE: some, READ: some}


def test_an_audit_says_the_same_by_arrow_and_by_text(
    filled: tuple[str, Path], proxy: ReadProxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bigquery_warehouse, "_FIRST_ROWS", 1)
    place, night = filled

    def audited() -> tuple[int, Any]:
        capsys.readouterr()
        status = cli.main(["audit", "--input", str(night), "--survey", "lsst", "--warehouse", place, "--format", "json"])
        return status, json.loads(capsys.readouterr().out)["accounted_for"]

    by_arrow, read = audited(), proxy.calls[READ]
    assert read > 0
    proxy.fail(CREATE, grpc.StatusCode.PERMISSION_DENIED, times=100)
    assert audited() == by_arrow
    assert proxy.calls[READ] == read


EDGES = """
SELECT 1 AS number, 9223372036854775807 AS i, CAST('NaN' AS FLOAT64) AS f, 'é🔭' AS s, FROM_BASE64('AP8=') AS b, TRUE AS t,
  DATE '9999-12-31' AS d, TIMESTAMP '9999-12-31 23:59:59.999999+00' AS at, DATETIME '2026-01-02 03:04:05.000006' AS local,
  NUMERIC '123456789.125' AS n, JSON '{"a": [1, null]}' AS j, [1, 2] AS l, STRUCT(1.5 AS x, ['a', ''] AS l) AS r,
  [STRUCT(1 AS y, [0.1] AS z), STRUCT(2 AS y, [] AS z)] AS h
UNION ALL SELECT 2, -9223372036854775808, CAST('-inf' AS FLOAT64), '', FROM_BASE64(''), FALSE,
  DATE '0001-01-01', TIMESTAMP '0001-01-01 00:00:00+00', DATETIME '0001-01-01 00:00:00', NUMERIC '-0.001', JSON 'null', [],
  STRUCT(-0.0 AS x, [] AS l), []
UNION ALL SELECT 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
UNION ALL SELECT 4, 9007199254740993, 5e-324, 'x', FROM_BASE64('eA=='), TRUE, DATE '1970-01-01',
  TIMESTAMP '1969-12-31 23:59:59.999999+00', DATETIME '1970-01-01 00:00:00', NUMERIC '0', JSON '"é"', [-1],
  STRUCT(CAST(NULL AS FLOAT64) AS x, CAST(NULL AS ARRAY<STRING>) AS l), []
ORDER BY number
"""


def test_all_types_and_edges_are_the_same_as_arrow_and_as_text(
    opened: BigQueryWarehouse, place: str, proxy: ReadProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bigquery_warehouse, "_FIRST_ROWS", 1)
    answer, text = opened.read(EDGES).read(), as_text(place, EDGES)
    assert proxy.calls == {CREATE: 1, READ: 1}
    assert answer.schema.equals(text.schema, check_metadata=True)
    for name in answer.column_names:
        assert repr(answer.column(name).to_pylist()) == repr(text.column(name).to_pylist()), name
    first, second, nothing, _ = answer.to_pylist()
    assert (first["i"], second["i"], first["s"], first["b"]) == (2**63 - 1, -(2**63), "é🔭", b"\x00\xff")
    assert math.isnan(first["f"])
    assert first["at"] == datetime(9999, 12, 31, 23, 59, 59, 999999, timezone.utc)
    assert math.copysign(1, second["r"]["x"]) == -1
    assert (first["h"], second["l"]) == ([{"y": 1, "z": [0.1]}, {"y": 2, "z": []}], [])
    assert [name for name, value in nothing.items() if value is not None] == ["number", "l", "h"]


REFUSED = "Permission 'bigquery.readsessions.create' denied on resource 'projects/pitt-broker-emulated'."


@pytest.mark.parametrize("method", [CREATE, READ])
def test_without_the_right_answers_come_as_text_and_it_is_said_once(
    opened: BigQueryWarehouse, proxy: ReadProxy, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    proxy.fail(method, grpc.StatusCode.PERMISSION_DENIED, REFUSED, times=9)
    with caplog.at_level(logging.WARNING, "warehouses"):
        for _ in range(2):
            check_numbers(opened.read(NUMBERS).read())
    assert proxy.calls[method] == 1
    [said] = [record.getMessage() for record in caplog.records]
    for words in (opened.uri, REFUSED, "role BigQuery Read Session User (roles/bigquery.readSessionUser)", opened.project):
        assert words in said
    assert "\n" not in said


def test_the_note_is_for_stderr_and_the_rows_for_stdout(place: str, proxy: ReadProxy, capsys: pytest.CaptureFixture[str]) -> None:
    proxy.fail(CREATE, grpc.StatusCode.PERMISSION_DENIED, REFUSED)
    assert cli.main(["query", "--warehouse", place, "--format", "jsonl", NUMBERS]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["n"] for line in said.out.splitlines()] == list(range(COUNT, 0, -1))
    assert said.err.count("roles/bigquery.readSessionUser") == 1


def test_a_service_that_is_not_there_is_not_waited_for_long(
    opened: BigQueryWarehouse, proxy: ReadProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(arrow_rows, "ANSWER_SECS", 0.3)
    proxy.fail(CREATE, grpc.StatusCode.UNAVAILABLE, "connection refused", times=10**6)
    check_numbers(opened.read(NUMBERS).read())
    assert proxy.calls[CREATE] > 1
    assert "connection refused" in caplog.text
    assert "role" not in caplog.text


def test_what_is_not_there_for_a_moment_is_asked_again(opened: BigQueryWarehouse, proxy: ReadProxy, caplog: Any) -> None:
    proxy.fail(CREATE, grpc.StatusCode.UNAVAILABLE, times=2)
    proxy.fail(READ, grpc.StatusCode.UNAVAILABLE, times=2)
    check_numbers(opened.read(NUMBERS).read())
    assert proxy.calls == {CREATE: 3, READ: 3}
    assert not caplog.records


@pytest.mark.parametrize(
    ("code", "words"),
    [(grpc.StatusCode.UNAVAILABLE, "moved"), (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")],
)
def test_a_stream_that_breaks_goes_on_where_it_broke(
    opened: BigQueryWarehouse, proxy: ReadProxy, code: grpc.StatusCode, words: str
) -> None:
    proxy.fail(READ, code, words, after=2)
    check_numbers(opened.read(NUMBERS).read())
    offsets = [ReadRowsRequest.deserialize(request).offset for name, request in proxy.requests if name == READ]
    assert offsets[0] == 0 < offsets[1]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            grpc.StatusCode.FAILED_PRECONDITION,
            "there was an error operating on 'projects/p/locations/us/sessions/s': session expired",
        ),
        (grpc.StatusCode.PERMISSION_DENIED, "Permission 'bigquery.tables.getData' denied"),
        (grpc.StatusCode.INTERNAL, "An internal error occurred."),
    ],
)
def test_an_error_after_the_first_rows_is_told(
    opened: BigQueryWarehouse, proxy: ReadProxy, code: grpc.StatusCode, words: str
) -> None:
    proxy.fail(READ, code, words, after=1)
    batches = iter(opened.read(NUMBERS))
    next(batches)
    with pytest.raises(QueryError, match=words):
        list(batches)
    # It was no refusal: the next answer is asked for in the same way.
    check_numbers(opened.read(NUMBERS).read())
    assert proxy.calls == {CREATE: 2, READ: 2}


def test_a_stream_that_is_silent_at_first_is_given_up_for_text(
    opened: BigQueryWarehouse, proxy: ReadProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(arrow_rows, "_PATIENCE_SECS", 0.5)
    proxy.fail(READ, None)
    check_numbers(opened.read(NUMBERS).read())
    assert "Deadline Exceeded" in caplog.text


def test_a_call_that_ends_in_time_is_followed_by_the_next(opened: BigQueryWarehouse, proxy: ReadProxy) -> None:
    proxy.fail(READ, grpc.StatusCode.DEADLINE_EXCEEDED, after=2)
    proxy.fail(READ, grpc.StatusCode.DEADLINE_EXCEEDED, after=1)
    check_numbers(opened.read(NUMBERS).read())
    assert proxy.calls == {CREATE: 1, READ: 3}


def test_a_call_that_brings_no_more_rows_is_the_last(opened: BigQueryWarehouse, proxy: ReadProxy) -> None:
    for after in (2, 0):
        proxy.fail(READ, grpc.StatusCode.DEADLINE_EXCEEDED, "in time no row", after=after)
    with pytest.raises(QueryError, match="in time no row"):
        opened.read(NUMBERS).read()
    offsets = [ReadRowsRequest.deserialize(request).offset for name, request in proxy.requests if name == READ]
    assert offsets[0] == 0 < offsets[1]


@pytest.mark.parametrize("after", [0, 2])
def test_rows_that_are_missing_at_the_end_are_an_error(opened: BigQueryWarehouse, proxy: ReadProxy, after: int) -> None:
    proxy.fail(READ, grpc.StatusCode.OK, after=after)
    with pytest.raises(QueryError, match=rf"gave \d+ of an answer's {COUNT} rows"):
        opened.read(NUMBERS).read()


def test_the_emulator_has_answers_as_tables_in_messages_from_any_row(opened: BigQueryWarehouse, cloud: Cloud) -> None:
    """As BigQuery; see ``read_api_server``."""
    job = cloud.client().query(NUMBERS)
    job.result()
    client = bigquery_storage_v1.BigQueryReadClient()
    wanted = ReadSession(table=job.destination.to_bqstorage(), data_format=DataFormat.ARROW)
    session = client.create_read_session(parent=f"projects/{cloud.project}", read_session=wanted, max_stream_count=1)
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    assert schema.field("n").type == pa.int64()
    messages = list(client.read_rows(session.streams[0].name, COUNT - 9000))
    rows = [
        pa.ipc.read_record_batch(pa.py_buffer(message.arrow_record_batch.serialized_record_batch), schema) for message in messages
    ]
    assert pa.Table.from_batches(rows).column("n").to_pylist() == list(range(9000, 0, -1))
    assert len(messages) > 1
    assert max(len(message.arrow_record_batch.serialized_record_batch) for message in messages) < 10 * 2**20
    with pytest.raises(NotFound):
        client.create_read_session(
            parent=f"projects/{cloud.project}",
            read_session=ReadSession(table=f"{wanted.table}x", data_format=DataFormat.ARROW),
            max_stream_count=1,
        )
