"""PENDING streams while the Storage Write API fails, and while their writer dies: every row is there once, or none is."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from tests.cloud.appending import SOON, copies, error, make, rows
from tests.emulators.cloud import Cloud
from tests.emulators.rpc_faults import FaultyRpcProxy
from tests.warehouses.commits import ZTF, Struck, alerts, dying
from transforms.load_files import avro_file
from warehouses.bigquery.append import Appender, AppendRefused, RetryTimes, TryAgain
from warehouses.bigquery.pending import PendingStream, commit, committed_at
from warehouses.bigquery.tables import prepare
from warehouses.bigquery.unit_streams import UnitStreams
from warehouses.bigquery.writing import ByStreams, Connected, Rows
from warehouses.bigquery.written_streams import WrittenStream

Code = grpc.StatusCode
IDS = range(60)


@pytest.fixture
def table(cloud: Cloud) -> str:
    return make(cloud)


@pytest.fixture
def connected(cloud: Cloud, proxy: FaultyRpcProxy) -> Iterator[Connected]:
    connected = Connected(cloud.project, "nowhere", patience=SOON)
    connected.appender = small_requests(connected)
    yield connected
    connected.close()


def small_requests(connected: Connected, **patience: float) -> Appender:
    return Appender(connected.appender._channel, patience=dataclasses.replace(SOON, **patience), request_bytes=12_000)


def written(connected: Connected, table: str, some: pa.RecordBatch | None = None) -> PendingStream:
    pending = PendingStream(connected.write, connected.appender, table, SOON)
    assert connected.appender.append_to([(pending.stream, rows(IDS, 1000) if some is None else some)]) == [[]]
    return pending


def test_rows_are_there_when_their_stream_is_committed(cloud: Cloud, connected: Connected, table: str) -> None:
    streams = [written(connected, table, rows(range(at, at + 10))) for at in (0, 10, 20)]
    for pending in streams:
        assert pending.row_count == 10
        pending.finalize()
        assert committed_at(connected.write, pending.name) is None
    assert copies(cloud, table) == {}
    commit(connected.write, table, [pending.name for pending in streams[:2]], SOON)
    assert copies(cloud, table) == dict.fromkeys(range(20), 1)
    assert committed_at(connected.write, streams[1].name) is not None
    # Again, and with another: what is committed stays so.
    commit(connected.write, table, [pending.name for pending in streams], SOON)
    commit(connected.write, table, [pending.name for pending in streams], SOON)
    assert copies(cloud, table) == dict.fromkeys(range(30), 1)


FAULTS: list[dict[str, Any]] = [
    {"code": Code.UNAVAILABLE},
    {"code": Code.UNAVAILABLE, "after": True},
    {"answer": error(Code.ABORTED)},
    {"answer": error(Code.INTERNAL), "after": True},
    {"answer": error(Code.RESOURCE_EXHAUSTED)},
    # A server that does not know yet how far the stream is; Google's own tests wait five seconds for it.
    {"answer": error(Code.OUT_OF_RANGE, "beyond stream", types.StorageError.StorageErrorCode.OFFSET_OUT_OF_RANGE)},
    {"cut": True},
    {"cut": True, "after": True},
    {"silent": True},
    {"silent": True, "after": True},
]


def name_of(fault: dict[str, Any]) -> str:
    return " ".join(getattr(value, "name", key) for key, value in fault.items())


@pytest.mark.parametrize("spare", [0, 2, 5], ids=["first", "third", "last"])
@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_an_answer_that_is_lost_is_no_row_twice(
    cloud: Cloud, proxy: FaultyRpcProxy, connected: Connected, table: str, fault: dict[str, Any], spare: int
) -> None:
    met = proxy.fail(1, "AppendRows", spare=spare, **fault)
    connected.appender = small_requests(connected, answer_secs=0.4 if "silent" in fault else 20.0)
    pending = written(connected, table)
    pending.finalize()
    assert met.met == 1
    commit(connected.write, table, [pending.name], SOON)
    assert copies(cloud, table) == dict.fromkeys(IDS, 1)


def test_wrong_rows_leave_no_gap(cloud: Cloud, proxy: FaultyRpcProxy, connected: Connected, table: str) -> None:
    bad = {0, 7, 31, 59}
    proxy.fail(1, "AppendRows", Code.UNAVAILABLE, after=True, spare=3)
    pending = PendingStream(connected.write, connected.appender, table, SOON)
    (found,) = connected.appender.append_to([(pending.stream, rows([None if n in bad else n for n in IDS], 1000))])
    assert {row.number for row in found} == bad
    pending.finalize()
    commit(connected.write, table, [pending.name], SOON)
    assert copies(cloud, table) == dict.fromkeys(set(IDS) - bad, 1)


def test_answers_that_are_all_lost(cloud: Cloud, connected: Connected, table: str) -> None:
    """Requests of one call whose rows are there already, each: that is no error of the next, nor of any row."""
    pending = PendingStream(connected.write, connected.appender, table, SOON)
    lost = small_requests(connected)
    assert lost.append_to([(dataclasses.replace(pending.stream), rows(IDS[:50], 1000))]) == [[]]
    lost.close()
    assert connected.appender.append_to([(pending.stream, rows(IDS, 1000))]) == [[]]
    pending.finalize()
    commit(connected.write, table, [pending.name], SOON)
    assert copies(cloud, table) == dict.fromkeys(IDS, 1)


def all_steps(connected: Connected, table: str, patience: RetryTimes) -> None:
    pending = PendingStream(connected.write, connected.appender, table, patience)
    pending.finalize()
    commit(connected.write, table, [pending.name], patience)


STEPS = ["CreateWriteStream", "FinalizeWriteStream", "BatchCommitWriteStreams"]
PLAIN = [
    {"code": Code.UNAVAILABLE},
    {"code": Code.UNAVAILABLE, "after": True},
    {"code": Code.ABORTED},
    {"code": Code.INTERNAL, "after": True},
    {"code": Code.RESOURCE_EXHAUSTED},
    {"cut": True},
    {"cut": True, "after": True},
    {"silent": True, "after": True},
]


@pytest.mark.parametrize("fault", PLAIN, ids=name_of)
def test_each_step_is_asked_again(
    cloud: Cloud, proxy: FaultyRpcProxy, connected: Connected, table: str, fault: dict[str, Any]
) -> None:
    patience = dataclasses.replace(SOON, answer_secs=0.4) if "silent" in fault else SOON
    met = [proxy.fail(2, f"^{step} ", **fault) for step in STEPS]
    pending = PendingStream(connected.write, connected.appender, table, patience)
    connected.appender.append_to([(pending.stream, rows(IDS))])
    pending.finalize()
    commit(connected.write, table, [pending.name], patience)
    assert [one.met for one in met] == [2, 2, 2]
    assert copies(cloud, table) == dict.fromkeys(IDS, 1)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_never_goes_is_given_up(proxy: FaultyRpcProxy, connected: Connected, table: str, step: str) -> None:
    patience = dataclasses.replace(SOON, passing_secs=0.3)
    proxy.fail(None, f"^{step} ")
    with pytest.raises((TryAgain, exceptions.RetryError)):
        all_steps(connected, table, patience)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_forbidden_says_so(proxy: FaultyRpcProxy, connected: Connected, table: str, step: str) -> None:
    proxy.fail(None, f"^{step} ", Code.PERMISSION_DENIED)
    with pytest.raises(exceptions.PermissionDenied):
        all_steps(connected, table, SOON)
    assert len(proxy.seen(f"^{step} ")) == 1


def test_streams_that_cannot_be_committed_hold_back_the_others(cloud: Cloud, connected: Connected, table: str) -> None:
    good, unfinished = written(connected, table), written(connected, table)
    good.finalize()
    for bad in (unfinished.name, f"{table}/streams/0123456789abcdef"):
        with pytest.raises(AppendRefused, match="cannot be committed"):
            commit(connected.write, table, [good.name, bad], SOON)
        assert copies(cloud, table) == {}
    with pytest.raises(exceptions.NotFound):
        committed_at(connected.write, f"{table}/streams/0123456789abcdef")


def test_a_stream_that_somebody_ends_or_writes_to(cloud: Cloud, connected: Connected, table: str) -> None:
    """What is acknowledged is what is there, or it is no stream to commit."""
    ended, shared = written(connected, table), written(connected, table)
    connected.write.finalize_write_stream(name=ended.name)
    with pytest.raises(AppendRefused, match="finalized"):
        connected.appender.append_to([(ended.stream, rows(IDS))])
    twin = dataclasses.replace(shared.stream)
    assert connected.appender.append_to([(twin, rows([1]))]) == [[]]
    with pytest.raises(AppendRefused, match="61 rows of 60"):
        shared.finalize()


def test_threads_write_streams_of_their_own(cloud: Cloud, proxy: FaultyRpcProxy, connected: Connected, table: str) -> None:
    names: list[str] = []
    proxy.fail(3, "AppendRows", Code.UNAVAILABLE, after=True, spare=10)
    proxy.fail(1, "AppendRows", cut=True, after=True, spare=30)

    def write(at: int) -> None:
        pending = PendingStream(connected.write, connected.appender, table, SOON)
        for part in range(3):
            ids = range(at * 100 + part * 30, at * 100 + part * 30 + 30)
            connected.appender.append_to([(pending.stream, rows(ids, 1000))])
        pending.finalize()
        names.append(pending.name)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    commit(connected.write, table, names, SOON)
    assert copies(cloud, table) == {at * 100 + number: 1 for at in range(6) for number in range(90)}


UNIT = "unit-of-a-test"


class UnitRun:
    """A run that writes the rows of ``alerts`` for a unit, and commits it; what was written is not written again."""

    def __init__(self, cloud: Cloud, dataset: str, run_id: str) -> None:
        self._place, self._run_id = (cloud.project, dataset, run_id), run_id
        self._streams: list[WrittenStream] | None = None

    def work(self) -> None:
        connected = Connected(*self._place, SOON)
        try:
            if self._streams is None:
                self._streams = self._write(connected)
            connected.unit_streams.commit(self._run_id, self._streams)
        finally:
            connected.close()

    def _write(self, connected: Connected) -> list[WrittenStream]:
        writing, found = ByStreams(connected, avro_file), alerts()
        place = found.schema.get_field_index("run_id")
        found = found.set_column(place, found.schema.field(place), pa.array([self._run_id] * found.num_rows))
        tables = (ZTF.alerts_table, ZTF.cutouts_table)
        writing.add([Rows(table.name, UNIT, found.select(table.arrow_schema.names)) for table in tables])
        return writing.end()


@contextlib.contextmanager
def struck_before(step: int) -> Iterator[list[str]]:
    """The process is dead before its request number ``step`` (from 0) to BigQuery; gives those that it made."""
    made: list[str] = []
    write = "google.cloud.bigquery_storage_v1.services.big_query_write.client.BigQueryWriteClient"
    with pytest.MonkeyPatch.context() as patched:
        for name in ("create_write_stream", "finalize_write_stream", "batch_commit_write_streams", "get_write_stream"):
            change = getattr(types_client(write), name)
            patched.setattr(types_client(write), name, dying(made, step, name, change))
        patched.setattr(Appender, "append_to", dying(made, step, "append", Appender.append_to))
        patched.setattr(bigquery.Client, "query_and_wait", dying(made, step, "ask", bigquery.Client.query_and_wait))
        patched.setattr(bigquery.Client, "query", dying(made, step, "ask", bigquery.Client.query))
        with contextlib.suppress(Struck):
            yield made


def types_client(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(__import__(module, fromlist=[name]), name)


def counted(cloud: Cloud, dataset: str) -> list[Counter[int]]:
    """How often each alert is there, in the alerts and in the cutouts."""
    found = []
    for table in (ZTF.alerts_table, ZTF.cutouts_table):
        there = cloud.rows(f"SELECT alert_id FROM `{cloud.project}.{dataset}.{table.name}`")
        found.append(Counter(row["alert_id"] for row in there))
    return found


@pytest.mark.parametrize("again", ["the same run", "another run"])
def test_a_run_that_dies_at_any_step_leaves_each_row_once(cloud: Cloud, again: str) -> None:
    """Before each of its requests. It is begun again with the streams that it has, or another run writes the unit anew."""
    expected = Counter(alerts().column("alert_id").to_pylist())
    for step in range(60):
        dataset = cloud.dataset()
        with contextlib.closing(cloud.client()) as client:
            prepare(client, dataset, ["ztf"])
        first = UnitRun(cloud, dataset, "first")
        with struck_before(step) as made:
            first.work()
        for found in counted(cloud, dataset):
            assert found in (Counter(), expected), (step, made)
        for run in (first if again == "the same run" else UnitRun(cloud, dataset, "second"), UnitRun(cloud, dataset, "third")):
            run.work()
            assert counted(cloud, dataset) == [expected, expected], (step, made)
        if len(made) < step:
            assert len(made) > 6
            return
    raise AssertionError("the run has not ended after 60 requests")


def test_two_runs_of_a_unit_at_once(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have noted their streams before either looks who else has: they choose alike."""
    dataset, both, look = cloud.dataset(), threading.Barrier(2, timeout=60), UnitStreams._chosen

    def look_together(streams: UnitStreams, *given: Any) -> Any:
        both.wait()
        return look(streams, *given)

    monkeypatch.setattr(UnitStreams, "_chosen", look_together)
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, ["ztf"])
    threads = [threading.Thread(target=UnitRun(cloud, dataset, f"run{number}").work) for number in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    expected = Counter(alerts().column("alert_id").to_pylist())
    assert counted(cloud, dataset) == [expected, expected]


def test_old_nights_go_by_load_jobs(cloud: Cloud) -> None:
    """Nights that the Storage Write API does not take, among others, at once and by streams."""
    dataset, today = cloud.dataset(), date.today()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, ["ztf"])
    found = alerts().select(ZTF.cutouts_table.arrow_schema.names)
    nights = [today, today - timedelta(4000), today + timedelta(500), today - timedelta(3600), today, today - timedelta(20_000)]
    place = found.schema.get_field_index("night")
    found = found.set_column(place, found.schema.field(place), pa.array(nights[: found.num_rows], pa.date32()))
    connected = Connected(cloud.project, dataset, "run", SOON)
    writing = ByStreams(connected, avro_file)
    assert writing.add([Rows(ZTF.cutouts_table.name, UNIT, found)]) == [[]]
    connected.unit_streams.commit("run", writing.end())
    connected.close()
    there = cloud.rows(f"SELECT night, COUNT(*) AS n FROM `{cloud.project}.{dataset}.{ZTF.cutouts_table.name}` GROUP BY 1")
    assert {row["night"]: row["n"] for row in there} == dict(Counter(found.column("night").to_pylist()))
