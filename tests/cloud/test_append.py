"""Batches that are appended while the Storage Write API fails: no row is lost, and how often each is there.

Before a default stream's acknowledgement is lost a row is there once; each lost one may double the rows of its request.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from tests.cloud.appending import SOON, answering, copies, error, make, only_first_named, rows, unnamed
from tests.emulators.cloud import Cloud
from tests.emulators.rpc_faults import FaultyRpcProxy
from warehouses.bigquery.append import Appender, AppendRefused, TryAgain
from warehouses.bigquery.append_connection import Connection, channel_of, write_client

Code = grpc.StatusCode
Storage = types.StorageError.StorageErrorCode
IDS = range(60)
REQUEST_BYTES = 12_000
"""Of a request: the rows of ``IDS``, of 1 kB each, take six."""
ONCE, TWICE = {1}, {1, 2}


@pytest.fixture
def table(cloud: Cloud) -> str:
    return make(cloud)


@pytest.fixture
def made(proxy: FaultyRpcProxy) -> Iterator[Any]:
    """Makes appenders, by default with little patience between tries and small requests."""
    client, appenders = write_client(), []

    def make_one(request_bytes: int = REQUEST_BYTES, **patience: float) -> Appender:
        appender = Appender(channel_of(client), patience=dataclasses.replace(SOON, **patience), request_bytes=request_bytes)
        appenders.append(appender)
        return appender

    yield make_one
    for appender in appenders:
        appender.close()
    client.transport.close()


def test_requests_of_one_call(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    appender, other = made(), make(cloud, "other", table.split("/")[3])
    for _ in range(2):
        assert appender.append([(table, rows(IDS, 1000)), (other, rows(IDS)), (table, rows([]))]) == [[], [], []]
    assert copies(cloud, table) == copies(cloud, other) == dict.fromkeys(IDS, 2)
    # One call for each table, used again, by one connection; the schema is told once.
    assert (proxy.calls, proxy.connections) == (2, 1)
    sizes = [one.size for one in proxy.seen(f"{table}/")]
    assert len(sizes) == 12
    assert max(sizes) <= REQUEST_BYTES + 1000


PASSING = [
    Code.UNAVAILABLE,
    Code.ABORTED,
    Code.INTERNAL,
    Code.UNKNOWN,
    Code.CANCELLED,
    Code.DEADLINE_EXCEEDED,
    Code.RESOURCE_EXHAUSTED,
]


@pytest.mark.parametrize("spare", [0, 2], ids=["first", "third"])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("code", PASSING, ids=lambda code: code.name)
def test_what_passes_is_tried_again(
    cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str, code: grpc.StatusCode, times: int, spare: int
) -> None:
    """As the end of the call, and as an answer behind which the call goes on: what was not written is written, once."""
    for fault in ({"code": code}, {"answer": error(code)}):
        met = proxy.fail(times, "AppendRows", spare=spare, **fault)
        assert made().append([(table, rows(IDS, 1000))]) == [[]]
        assert met.met == times
    assert copies(cloud, table) == dict.fromkeys(IDS, 2)


@pytest.mark.parametrize("spare", [0, 2], ids=["first", "third"])
@pytest.mark.parametrize(
    ("fault", "there"),
    [
        ({"code": Code.UNAVAILABLE, "after": True}, TWICE),
        ({"answer": error(Code.INTERNAL), "after": True}, TWICE),
        ({"cut": True}, ONCE),
        ({"cut": True, "after": True}, TWICE),
        ({"silent": True}, ONCE),
        ({"silent": True, "after": True}, TWICE),
    ],
    ids=["answer lost", "error after the work", "cut before", "cut after", "silent before", "silent after"],
)
def test_an_answer_that_is_lost_is_a_row_twice(
    cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str, fault: dict[str, Any], there: set[int], spare: int
) -> None:
    met = proxy.fail(1, "AppendRows", spare=spare, **fault)
    appender = made(answer_secs=0.4 if "silent" in fault else 20.0)
    assert appender.append([(table, rows(IDS, 1000))]) == [[]]
    found = copies(cloud, table)
    assert set(found) == set(IDS)
    # Who cuts before a request takes the answers of those before it along that are on their way.
    along = spare if fault.get("cut") else 0
    assert there <= set(found.values()) <= (TWICE if along else there)
    # Only those of requests whose answer was lost.
    assert sum(found.values()) <= len(IDS) + 10 * (len(there - ONCE) + along)
    assert met.met == 1
    assert proxy.connections == (2 if "cut" in fault else 1)


def test_a_call_that_was_idle(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    proxy.idle_secs = 0.2
    for appender in (made(), made(idle_secs=0.3)):
        appender.append([(table, rows(IDS))])
        time.sleep(0.5)
        appender.append([(table, rows(IDS))])
    assert copies(cloud, table) == dict.fromkeys(IDS, 4)
    assert proxy.calls == 4


def test_a_connection_that_is_cut_while_idle(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    appender = made()
    for _ in range(3):
        appender.append([(table, rows(IDS))])
        proxy.cut()
    assert copies(cloud, table) == dict.fromkeys(IDS, 3)


@pytest.mark.parametrize(
    "fault", [{"code": Code.UNAVAILABLE}, {"answer": error(Code.RESOURCE_EXHAUSTED, "quota")}], ids=["away", "quota"]
)
def test_what_does_not_pass_is_given_up(
    cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str, fault: dict[str, Any]
) -> None:
    proxy.fail(None, "AppendRows", **fault)
    with pytest.raises(TryAgain, match=r"UNAVAILABLE|quota"):
        made(passing_secs=0.5).append([(table, rows(IDS))])
    # With pauses that grow.
    assert 3 < len(proxy.seen("AppendRows")) < 60
    assert copies(cloud, table) == {}
    proxy.heal()
    assert made().append([(table, rows(IDS))]) == [[]]
    assert copies(cloud, table) == dict.fromkeys(IDS, 1)


@pytest.mark.parametrize("code", [Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED])
def test_what_is_refused_is_asked_once(proxy: FaultyRpcProxy, made: Any, table: str, code: grpc.StatusCode) -> None:
    for fault in ({"code": code}, {"answer": error(code)}):
        proxy.fail(None, "AppendRows", **fault)
        before = len(proxy.seen("AppendRows"))
        with pytest.raises(AppendRefused, match=code.name):
            made().append([(table, rows(IDS))])
        assert len(proxy.seen("AppendRows")) == before + 1
        proxy.heal()


def with_new_column() -> pa.RecordBatch:
    return rows(IDS).append_column("new", pa.array([1] * len(IDS)))


def test_a_column_that_the_table_lacks(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    """It is no row's fault: tried again as long as it may be on its way, then raised."""
    with pytest.raises(AppendRefused, match="extra fields"):
        made(unknown_secs=0.4).append([(table, with_new_column())])
    assert len(proxy.seen("AppendRows")) > 2
    assert copies(cloud, table) == {}


def test_a_column_that_the_table_gets_meanwhile(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    found: list[Any] = []
    writing = threading.Thread(target=lambda: found.append(made().append([(table, with_new_column())])))
    writing.start()
    while len(proxy.seen("AppendRows")) < 2:
        time.sleep(0.01)
    there = cloud.client().get_table(".".join(table.split("/")[1:6:2]))
    there.schema = [*there.schema, bigquery.SchemaField("new", "INT64")]
    cloud.client().update_table(there, ["schema"])
    writing.join(60)
    assert found == [[[]]]
    assert copies(cloud, table) == dict.fromkeys(IDS, 1)


def test_a_table_that_is_not_there(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    with pytest.raises(AppendRefused, match="not found"):
        made(unknown_secs=0.4).append([(f"{table}_not", rows(IDS))])
    before = len(proxy.seen("AppendRows"))
    assert before > 2
    # One that is made just now.
    proxy.fail(2, "AppendRows", Code.NOT_FOUND)
    proxy.fail(2, "AppendRows", answer=error(Code.INVALID_ARGUMENT, "no table", Storage.TABLE_NOT_FOUND))
    assert made().append([(table, rows(IDS))]) == [[]]
    assert copies(cloud, table) == dict.fromkeys(IDS, 1)


BAD = [0, 7, 8, 31, 59]


def refused(found: list[list[Any]]) -> list[int]:
    (some,) = found
    return [row.number for row in some]


@pytest.mark.parametrize("edit", [None, only_first_named, unnamed], ids=["all named", "one named", "none named"])
@pytest.mark.parametrize("request_bytes", [REQUEST_BYTES, 1_000_000], ids=["six requests", "one request"])
def test_wrong_rows_are_refused_and_the_others_written_once(
    cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str, edit: Any, request_bytes: int
) -> None:
    """Whatever else goes by the call behind a request that is refused."""
    proxy.edit = edit
    some = rows([None if number in BAD else number for number in IDS], 1000)
    appender = made(request_bytes)
    if edit is unnamed:
        # Where a row was taken before, the columns are right, and it is some row's fault.
        appender.append([(table, rows([-1], 1000))])
    found = appender.append([(table, some)])
    assert refused(found) == BAD
    assert all(row.message for row in found[0])
    expected = set(IDS) - set(BAD) | ({-1} if edit is unnamed else set())
    assert copies(cloud, table) == dict.fromkeys(expected, 1)


def test_many_wrong_rows(cloud: Cloud, made: Any, table: str) -> None:
    """More than one answer names."""
    some = rows([None if number % 2 else number for number in range(500)])
    assert refused(made().append([(table, some)])) == list(range(1, 500, 2))
    assert copies(cloud, table) == dict.fromkeys(range(0, 500, 2), 1)


def test_wrong_rows_while_the_service_fails(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    proxy.fail(2, "AppendRows", Code.UNAVAILABLE, spare=1)
    proxy.fail(1, "AppendRows", answer=error(Code.ABORTED), spare=3)
    some = rows([None if number in BAD else number for number in IDS], 1000)
    assert refused(made().append([(table, some)])) == BAD
    assert copies(cloud, table) == dict.fromkeys(set(IDS) - set(BAD), 1)


def test_columns_of_another_type_are_no_rows_fault(cloud: Cloud, made: Any, table: str) -> None:
    some = pa.record_batch({"id": pa.array(list(IDS)), "name": pa.array(list(IDS))})
    with pytest.raises(AppendRefused, match="Cannot convert"):
        made().append([(table, some)])
    assert copies(cloud, table) == {}


@pytest.mark.parametrize("known", [True, False])
def test_requests_and_rows_that_are_too_large(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str, known: bool) -> None:
    """The server takes 10 MiB: requests that are larger are cut, and a row that is does not hold up the others."""
    sizes = np.full(30, 600_000)
    sizes[7], sizes[8] = 11_000_000, 21_000_000
    some = pa.record_batch({"id": pa.array(range(30)), "data": pa.array([b"x" * int(size) for size in sizes])})
    appender = made(15_000_000)
    if known:
        appender.append([(table, pa.record_batch({"id": pa.array([-1]), "data": pa.array([b""])}))])
    found = appender.append([(table, some)])
    assert [(row.number, "large" in row.message or "bytes" in row.message) for row in found[0]] == [(7, True), (8, True)]
    assert copies(cloud, table) == dict.fromkeys([*range(7), *range(9, 30), *([-1] if known else [])], 1)
    assert max(one.size for one in proxy.exchanges) < 20_000_000


@pytest.mark.parametrize("count", [1, 3, 5])
def test_rows_that_are_too_large_are_no_columns_fault(cloud: Cloud, made: Any, table: str, count: int) -> None:
    """Also where nothing else was written yet: by their size it is known what is wrong."""
    some = pa.record_batch({"id": pa.array(range(count)), "data": pa.array([b"x" * 11_000_000] * count)})
    found = made(REQUEST_BYTES * 1000).append([(table, some), (table, pa.record_batch({"id": [-1], "data": [b""]}))])
    assert [[row.number for row in rows] for rows in found] == [list(range(count)), []]
    assert copies(cloud, table) == {-1: 1}
    assert len(made().append([(table, some)])[0]) == count


def test_threads(cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    appender, failed = made(), []
    proxy.fail(3, "AppendRows", spare=10)
    proxy.fail(1, "AppendRows", spare=30, cut=True)

    def write(thread: int) -> None:
        for part in range(5):
            ids = [thread * 1000 + part * 100 + number for number in range(20)]
            failed.extend(appender.append([(table, rows([*ids, None], 1000))])[0])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(failed) == 40
    assert {row.number for row in failed} == {20}
    found = copies(cloud, table)
    assert len(found) == 8 * 5 * 20
    # A cut ends all calls, of which some had been done.
    assert set(found.values()) <= TWICE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's memory in a file")
def test_memory_does_not_grow_with_what_a_slow_service_has_not_taken(proxy: FaultyRpcProxy, made: Any, table: str) -> None:
    """As much as is given at once, however much has gone: here 320 MB by 8 at a time, in less than 160, proxy and all."""
    proxy.delay_secs = 0.005
    appender, some = made(REQUEST_BYTES * 100), rows(range(8), 10**6)
    before, seen = resident_bytes(), [0]
    for _ in range(40):
        assert appender.append([(table, some)]) == [[]]
        seen.append(resident_bytes())
    assert len(proxy.seen("AppendRows")) == 40 * 8
    assert max(seen) - before < 160 * 2**20


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_table_that_is_not_known_yet_when_the_service_is_back(
    cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str
) -> None:
    """Each kind of patience begins with what it is for."""
    proxy.fail(40, "AppendRows")
    proxy.fail(2, "AppendRows", Code.NOT_FOUND)
    assert made(unknown_secs=0.3, most_delay_secs=0.02).append([(table, rows(IDS))]) == [[]]
    assert copies(cloud, table) == dict.fromkeys(IDS, 1)


def test_a_service_that_takes_a_little_each_time_is_not_given_up(
    cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str
) -> None:
    """Patience is for what does not go on at all."""
    for number in range(40):
        proxy.fail(1, "AppendRows", spare=number + 1)
    assert made(1, passing_secs=0.4, most_delay_secs=0.02).append([(table, rows(IDS))]) == [[]]
    assert proxy.calls > 20
    assert copies(cloud, table) == dict.fromkeys(IDS, 1)


def test_what_fails_here_leaves_no_connection(
    cloud: Cloud, proxy: FaultyRpcProxy, made: Any, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, other = answering(), make(cloud, "other", table.split("/")[3])
    appender, send = made(), Connection.send

    def send_to_one(connection: Connection, some: pa.RecordBatch, offset: int | None = None) -> None:
        if some.column("id")[0].as_py() == 7:
            raise MemoryError
        send(connection, some, offset)

    monkeypatch.setattr(Connection, "send", send_to_one)
    with pytest.raises(MemoryError):
        appender.append([(table, rows(IDS)), (other, rows([7]))])
    until = time.monotonic() + 20
    while answering() > before:
        assert time.monotonic() < until
        time.sleep(0.01)
