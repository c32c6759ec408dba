"""Half an hour on a real BigQuery, off by default: what it says to requests that the tests' server answers by documentation only.

``PITT_BROKER_BIGQUERY=PROJECT.DATASET pytest -m remote -n 0 -s tests/cloud/test_real_bigquery.py`` with credentials of one who
may make tables there (they are deleted again; it costs less than a cent). ``PITT_BROKER_BIGQUERY=emulated`` asks the tests' own
server: what is printed stands side by side with the service's words. What is asserted is what our client relies on.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import google.cloud.bigquery_storage_v1 as storage_api
import pyarrow as pa
import pytest
from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound
from google.api_core.retry import Retry, if_exception_type
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from tests.cloud.test_write_api_server import (
    FIELDS,
    ROW,
    SCHEMA,
    TODAY,
    Call,
    append,
    batch,
    make,
    new_stream,
    numbered,
    sql_name,
)
from warehouses.bigquery.append import Appender, RetryTimes
from warehouses.bigquery.append_answers import WRITTEN, Judgement, Verdict, judge, storage_error
from warehouses.bigquery.append_connection import channel_of, write_client
from warehouses.bigquery.pending import PendingStream, commit, committed_at

VARIABLE = "PITT_BROKER_BIGQUERY"
IDLE_SECS = 660
Code = types.StorageError.StorageErrorCode

pytestmark = [pytest.mark.remote, pytest.mark.timeout(2 * IDLE_SECS)]


@dataclass
class Place:
    """A dataset that may be written to."""

    project: str
    dataset: str
    made: list[str]
    emulated: bool

    def client(self) -> bigquery.Client:
        return bigquery.Client(project=self.project)

    def table(self, name: str = "t") -> str:
        """A new table, as the Storage Write API names it."""
        self.made.append(f"{name}_{uuid.uuid4().hex[:8]}")
        table = make(self, self.dataset, self.made[-1], FIELDS)
        # It takes a while until all servers know it.
        known = Retry(if_exception_type(NotFound), initial=0.5, timeout=120)
        with storage_api.BigQueryWriteClient() as write:
            write.get_write_stream(name=f"{table}/streams/_default", retry=known)
        return table

    def ids(self, table: str) -> list[int]:
        with contextlib.closing(self.client()) as client:
            return [row["id"] for row in client.query(f"SELECT id FROM `{sql_name(table)}` ORDER BY id").result()]


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    given = os.environ.get(VARIABLE)
    if not given:
        pytest.skip(f"set {VARIABLE} to PROJECT.DATASET where tables may be made, or to emulated, to ask BigQuery")
    if given == "emulated":
        cloud = request.getfixturevalue("cloud")
        dataset = cloud.dataset()
        cloud.client().create_dataset(dataset)
        yield Place(cloud.project, dataset, [], emulated=True)
        return
    project, dataset = given.split(".")
    place = Place(project, dataset, [], emulated=False)
    yield place
    with contextlib.closing(place.client()) as client:
        for table in place.made:
            client.delete_table(f"{project}.{dataset}.{table}", not_found_ok=True)


@pytest.fixture(scope="module")
def client(place: Place) -> Iterator[Any]:
    client = storage_api.BigQueryWriteClient()
    yield client
    client.transport.close()


@pytest.fixture
def say(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[str, Any], Judgement]:
    """Print what the service said; gives what our client makes of an answer."""

    def told(what: str, said: Any) -> Judgement:
        judgement = WRITTEN
        if isinstance(said, types.AppendRowsResponse):
            judgement = judge(types.AppendRowsResponse.pb(said))
            storage = Code(storage_error(said.error.details)).name if said.error.code else ""
            rows = [f"row {error.index} {error.code}: {error.message}" for error in said.row_errors]
            said = [
                f"code {said.error.code} {storage} {said.error.message!r}",
                *rows[:6],
                f"{len(rows)} rows named",
                judgement.verdict,
            ]
        with capsys.disabled():
            print(f"\n{request.node.name}: {what}", *(said if isinstance(said, list) else [said]), sep="\n    ")
        return judgement

    return told


WRONG = {
    "NULL in a REQUIRED column": {"id": None},
    "NULL for a REPEATED column": {"flags": None},
    "NULL among a REPEATED column's items": {"flags": ["a", None]},
    "NULL in a REQUIRED field of a record": {"history": [{"mag": 1.0, "band": None}]},
    "text that is no JSON": {"extra": "{"},
    "a partition 3,640 days back": {"night": TODAY - dt.timedelta(3640)},
    "a partition 3,660 days back": {"night": TODAY - dt.timedelta(3660)},
    "a partition 3,700 days back": {"night": TODAY - dt.timedelta(3700)},
    "a partition 360 days ahead": {"night": TODAY + dt.timedelta(360)},
    "a partition 400 days ahead": {"night": TODAY + dt.timedelta(400)},
}
TAKEN = {"a partition 3,640 days back", "a partition 360 days ahead"}


@pytest.mark.parametrize("kind", ["default", "PENDING"])
@pytest.mark.parametrize("what", WRONG)
def test_rows_that_are_wrong(place: Place, client: Any, say: Any, what: str, kind: str) -> None:
    table = place.table()
    stream = "_default" if kind == "default" else new_stream(client, table)
    answer = append(client, table, batch([{**ROW, "id": n, **(WRONG[what] if n in (1, 4) else {})} for n in range(6)]), stream)
    judgement = say(f"{what}, rows 1 and 4, {kind}", answer)
    if what in TAKEN:
        assert judgement.verdict is Verdict.WRITTEN
    elif judgement.verdict is not Verdict.WRITTEN:
        assert judgement.verdict in (Verdict.SOME_REFUSED, Verdict.ONE_REFUSED)
        assert set(judgement.rows) <= {1, 4}
        assert place.ids(table) == []


def test_many_wrong_rows(place: Place, client: Any, say: Any) -> None:
    """How long the list of a request is that has five thousand."""
    judgement = say(
        "5,000 rows with NULL in a REQUIRED column", append(client, place.table(), batch([{**ROW, "id": None}] * 5000))
    )
    assert judgement.verdict in (Verdict.SOME_REFUSED, Verdict.ONE_REFUSED)


@pytest.mark.parametrize("first", ["refused", "written"])
def test_what_an_error_leaves_of_a_call(place: Place, client: Any, say: Any, first: str) -> None:
    """Whether the schema outlives a request that is refused, the call's first or another; our client believes neither."""
    table = place.table()
    call = Call(client, f"{table}/streams/_default")
    if first == "written":
        assert not call.first(numbered(0, 1)).error.code
    bad = batch([{**ROW, "id": None}])
    say("a wrong row", call.send(bad) if first == "written" else call.first(bad))
    say("a good one behind it, without schema", call.send(numbered(1, 1)))
    assert say("with schema", call.send(numbered(2, 1), schema=SCHEMA)).verdict is Verdict.WRITTEN
    call.close()
    assert 2 in place.ids(table)


def test_columns_in_another_order_and_left_out(place: Place, client: Any, say: Any) -> None:
    table = place.table()
    few = batch([ROW]).select(["candidate", "mag", "id"])
    record = pa.StructArray.from_arrays([pa.array([9]), pa.array([0.5])], names=["n", "mag"])
    few = few.set_column(0, pa.field("candidate", record.type), record)
    assert say("id last, a record's fields in another order", append(client, table, few)).verdict is Verdict.WRITTEN
    (row,) = place.client().query(f"SELECT * FROM `{sql_name(table)}`").result()
    assert (row["id"], row["mag"], row["candidate"], row["flags"], row["night"]) == (
        ROW["id"],
        -0.5,
        {"mag": 0.5, "n": 9},
        [],
        None,
    )


@pytest.mark.parametrize("where", ["table", "record"])
def test_a_column_that_the_table_lacks(place: Place, client: Any, say: Any, where: str) -> None:
    kind = pa.int64() if where == "table" else pa.struct({"mag": pa.float64(), "new": pa.int64()})
    rows = pa.record_batch({"id": pa.array([1]), "new" if where == "table" else "candidate": pa.nulls(1, kind)})
    judgement = say(f"an unknown field of the {where}", append(client, place.table(), rows))
    assert judgement.verdict in (Verdict.NOT_YET, Verdict.WRITTEN)


def test_a_column_that_comes_while_a_call_is_open(place: Place, client: Any, say: Any) -> None:
    """How long it takes until it is taken, on the open call and on new ones."""
    table = place.table()
    call, began = Call(client, f"{table}/streams/_default"), time.monotonic()
    assert not call.first(numbered(0, 1)).error.code
    there = place.client().get_table(sql_name(table))
    there.schema = [*there.schema, bigquery.SchemaField("new", "INT64")]
    place.client().update_table(there, ["schema"])
    rows = pa.record_batch({"id": pa.array([1]), "new": pa.array([1])})
    say("at once, on the open call", call.send(rows, schema=rows.schema))
    call.close()
    while append(client, table, rows).error.code:
        assert time.monotonic() - began < 300
        time.sleep(2)
    say("on a new call", f"taken after {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()], ids=str
)
def test_types_that_are_not_listed(place: Place, client: Any, say: Any, kind: pa.DataType) -> None:
    rows = pa.record_batch({"id": pa.array([1]), "name": pa.array(["a"]).cast(kind)})
    say(f"STRING from {kind}", append(client, place.table(), rows))


@pytest.mark.parametrize("megabytes", [9, 10.4, 15, 19, 21])
def test_the_size_of_a_request(place: Place, client: Any, say: Any, megabytes: float) -> None:
    table = place.table()
    rows = batch([{**ROW, "name": "x" * 100_000}] * int(megabytes * 10))
    try:
        judgement = say(f"{rows.serialize().size:,} bytes", append(client, table, rows))
    except GoogleAPICallError as error:
        say(f"{rows.serialize().size:,} bytes end the call", repr(error))
        assert megabytes > 10
    else:
        assert judgement.verdict is Verdict.WRITTEN or megabytes > 10


@pytest.mark.parametrize("header", ["", "write_stream=nowhere"])
def test_a_call_that_does_not_say_where_it_goes(place: Place, client: Any, say: Any, header: str) -> None:
    try:
        say(f"header {header!r}", Call(client, f"{place.table()}/streams/_default", header).first(numbered(0, 1)))
    except GoogleAPICallError as error:
        say(f"header {header!r} ends the call", repr(error))


def test_what_is_not_there(place: Place, client: Any, say: Any) -> None:
    table = place.table()
    for stream in (f"{table}_not/streams/_default", f"{table}/streams/0123456789abcdef"):
        with pytest.raises(GoogleAPICallError) as found:
            Call(client, stream).first(numbered(0, 1))
        say(stream, repr(found.value))
        with pytest.raises(GoogleAPICallError) as found:
            client.get_write_stream(name=stream)
        say(f"GetWriteStream {stream}", repr(found.value))


def test_a_stream_from_its_making_to_its_second_commit(place: Place, client: Any, say: Any) -> None:
    table = place.table()
    stream = new_stream(client, table)
    say("made", client.get_write_stream(name=stream))
    call = Call(client, stream)
    assert say("offset 0", call.first(numbered(0, 3), offset=0)).verdict is Verdict.WRITTEN
    assert say("offset 0 again", call.send(numbered(0, 3), schema=SCHEMA, offset=0)).verdict is Verdict.WRITTEN
    assert say("offset 1, overlapping", call.send(numbered(1, 5), schema=SCHEMA, offset=1)).verdict is Verdict.WRITTEN
    assert say("offset 7, beyond", call.send(numbered(7, 3), schema=SCHEMA, offset=7)).verdict is Verdict.AGAIN
    call.close()
    request = {"parent": table, "write_streams": [stream]}
    say("commit before it is finalized", client.batch_commit_write_streams(request))
    for _ in range(2):
        assert client.finalize_write_stream(name=stream).row_count == 3
    say("append to a finalized stream", append(client, table, numbered(3, 1), stream, offset=3))
    say("commit", client.batch_commit_write_streams(request))
    again = client.batch_commit_write_streams(request)
    say("commit again", again)
    assert [error.code for error in again.stream_errors] == [Code.STREAM_ALREADY_COMMITTED]
    with_one_gone = {"parent": table, "write_streams": [stream, f"{table}/streams/0123456789abcdef"]}
    say("commit with one that is not there", client.batch_commit_write_streams(with_one_gone))
    try:
        say("finalize after the commit", client.finalize_write_stream(name=stream))
    except GoogleAPICallError as error:
        say("finalize after the commit", repr(error))
    assert committed_at(client, stream) is not None
    assert place.ids(table) == [0, 1, 2]


def test_our_own_client(place: Place, say: Any) -> None:
    """Rows at once and by streams, wrong ones among them, in several requests."""
    connected, at_once, by_stream = write_client(), place.table("once"), place.table("stream")
    appender = Appender(channel_of(connected), patience=RetryTimes(), request_bytes=100_000)
    rows = batch([{**ROW, "id": None if n % 50 == 7 else n, "name": "x" * 5000} for n in range(200)])
    pending = PendingStream(connected, appender, by_stream)
    found = [*appender.append([(at_once, rows)]), *appender.append_to([(pending.stream, rows)])]
    pending.finalize()
    for _ in range(2):
        commit(connected, by_stream, [pending.name])
    appender.close()
    connected.transport.close()
    say("refused", [str([(row.number, row.message[:80]) for row in some]) for some in found])
    assert [[row.number for row in some] for some in found] == [[7, 57, 107, 157]] * 2
    assert place.ids(at_once) == place.ids(by_stream) == [n for n in range(200) if n % 50 != 7]


def test_a_load_is_done_once(place: Place, say: Any) -> None:
    table, job_id = place.table(), f"broker-test-{uuid.uuid4().hex}"
    settings = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND")
    content = b'{"id": 1}\n'
    with contextlib.closing(place.client()) as client:
        for again in (False, True):
            try:
                client.load_table_from_file(
                    io.BytesIO(content), sql_name(table), size=len(content), job_id=job_id, job_config=settings
                ).result()
            except Conflict as error:
                say("the same job id again", repr(error))
                assert again
    assert place.ids(table) == [1]


def test_a_call_that_idles_for_eleven_minutes(place: Place, client: Any, say: Any) -> None:
    if place.emulated:
        pytest.skip("the emulator ends no call by itself")
    call = Call(client, f"{place.table()}/streams/_default")
    assert not call.first(numbered(0, 1)).error.code
    time.sleep(IDLE_SECS)
    try:
        say("the request after it", call.send(numbered(1, 1)))
    except GoogleAPICallError as error:
        say("the request after it", repr(error))
