"""Notes of which streams hold a unit, where runs meet: half of a note, two runs at the same time, a run that comes again."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, Literal

import grpc
import pyarrow as pa
import pytest

import warehouses
from schemas.tables import UNIT_STREAMS
from tests.cloud.appending import SOON, answering
from tests.emulators.cloud import Cloud
from tests.emulators.rpc_faults import FaultyRpcProxy
from tests.warehouses.commits import ZTF, alerts, from_input
from transforms.load_files import avro_file
from warehouses.bigquery.append import Appender, AppendRefused
from warehouses.bigquery.load_rows import load_avro
from warehouses.bigquery.tables import prepare
from warehouses.bigquery.unit_streams import UnitStreams
from warehouses.bigquery.writing import ByStreams, Connected, Rows
from warehouses.bigquery.written_streams import Choice, WrittenStream
from warehouses.standing import of_run_sql
from warehouses.units import Unit

UNIT = "unit-of-a-test"
TABLE = ZTF.alerts_table


@pytest.fixture
def connected(cloud: Cloud, proxy: FaultyRpcProxy) -> Iterator[Connected]:
    """To a dataset of its own, a row in each request."""
    dataset = cloud.dataset()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, ["ztf"])
    connected = Connected(cloud.project, dataset, patience=SOON)
    connected.appender = Appender(connected.appender._channel, patience=SOON, request_bytes=1)
    yield connected
    connected.close()


def written(connected: Connected, run: str) -> list[WrittenStream]:
    """The six alerts of a unit by three streams: three bundles' work."""
    found, streams = alerts().select(TABLE.arrow_schema.names), []
    place = found.schema.get_field_index("run_id")
    found = found.set_column(place, found.schema.field(place), pa.array([run] * found.num_rows))
    for begin in (0, 2, 4):
        writing = ByStreams(connected, avro_file)
        writing.add([Rows(TABLE.name, UNIT, found.slice(begin, 2))])
        streams += writing.end()
    return streams


def there(cloud: Cloud, connected: Connected) -> dict[int, int]:
    """How often each alert is there."""
    rows = cloud.rows(f"SELECT alert_id FROM `{cloud.project}.{connected.dataset}.{TABLE.name}`")
    return dict(Counter(row["alert_id"] for row in rows))


ONCE = dict.fromkeys(alerts().column("alert_id").to_pylist(), 1)


@pytest.mark.parametrize("noted", [1, 2])
def test_half_of_a_runs_notes_are_none(cloud: Cloud, connected: Connected, proxy: FaultyRpcProxy, noted: int) -> None:
    """Notes go by several requests, and the run dies between: what it has noted of a unit is not the unit."""
    proxy.fail(None, "AppendRows .*unit_streams", grpc.StatusCode.PERMISSION_DENIED, spare=noted)
    with pytest.raises(AppendRefused):
        connected.unit_streams.commit("first", written(connected, "first"))
    proxy.heal()
    notes = cloud.rows(f"SELECT DISTINCT write_stream FROM `{cloud.project}.{connected.dataset}.unit_streams`")
    assert len(notes) == noted
    assert there(cloud, connected) == {}
    assert connected.unit_streams.commit("second", written(connected, "second")) == 6
    assert there(cloud, connected) == ONCE


def meeting(connected: Connected, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """Let another run do all its work when the next one has written its notes, and has not looked at others' yet."""
    honest, streams = UnitStreams._chosen, written(connected, other)

    def after_the_other(units: UnitStreams, run_id: str, own: list[Choice]) -> list[Choice]:
        if run_id != other:
            connected.unit_streams.commit(other, streams)
        return honest(units, run_id, own)

    monkeypatch.setattr(UnitStreams, "_chosen", after_the_other)


def test_two_runs_that_see_each_others_notes_choose_alike(
    cloud: Cloud, connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither takes the other's for the first: the earlier note counts, one's own too."""
    streams = {run: written(connected, run) for run in ("one", "two")}
    meeting(connected, monkeypatch, "three")
    assert connected.unit_streams.commit("one", streams["one"]) == 6
    assert connected.unit_streams.commit("two", streams["two"]) == 0
    assert there(cloud, connected) == ONCE
    runs = cloud.rows(f"SELECT DISTINCT run_id FROM `{cloud.project}.{connected.dataset}.{TABLE.name}`")
    assert runs == [{"run_id": "one"}]


def test_a_run_that_comes_again_after_another_has_committed_its_streams(
    cloud: Cloud, connected: Connected, proxy: FaultyRpcProxy
) -> None:
    """Killed before its commit; another run commits its streams, and is killed before it says so; then the first comes again."""
    streams = {run: written(connected, run) for run in ("one", "two")}
    for run in ("one", "two"):
        if run == "one":
            proxy.fail(1, "^BatchCommitWriteStreams ", grpc.StatusCode.PERMISSION_DENIED)
        else:
            proxy.fail(None, "AppendRows .*unit_streams", grpc.StatusCode.PERMISSION_DENIED, spare=3)
        with pytest.raises(Exception, match="because a test wants it"):
            connected.unit_streams.commit(run, streams[run])
        proxy.heal()
    assert there(cloud, connected) == ONCE
    for _ in range(2):
        for run in ("one", "two"):
            connected.unit_streams.commit(run, [dataclasses.replace(stream) for stream in streams[run]])
            assert there(cloud, connected) == ONCE


SOURCES = [
    "gs://b/a.tar#1",
    "gs://b/a.tar",
    "gs://b/a.tar2",
    "gs://b/x#y.tar#z",
    "gs://b/x#y.tar",
    "gs://b/x#yz",
    r"/d/\xff.avro",
]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (("gs://b/a.tar",), [0, 1]),
        (("gs://b/x#y.tar",), [3, 4]),
        (("gs://b/a.tar2", "gs://b/x#y.tar"), [2, 3, 4]),
        # As a file system gives a name that is no UTF-8.
        (("/d/\udcff.avro",), [6]),
        (("gs://b/nothing",), []),
    ],
)
def test_rows_of_some_inputs_of_an_earlier_run_stand(
    cloud: Cloud, connected: Connected, inputs: tuple[str, ...], expected: list[int]
) -> None:
    """Those of the inputs that this run has too, whatever their names are; not those of its others."""
    of_both, of_first = Unit(inputs), Unit(("gs://b/other",))
    table, path = UNIT_STREAMS, connected.path
    notes = [
        {"unit": unit.key, "run_id": run, "written_by": "first", "committed": True, "table_name": TABLE.name}
        for unit, run in ((of_both, "first"), (of_first, "first"), (of_both, "second"))
    ]
    rest = {"write_stream": "s", "stream_count": 1, "row_count": 1, "digest": "0", "noted_at": datetime.now(timezone.utc)}
    batch = pa.RecordBatch.from_pylist([{**note, **rest} for note in notes], schema=table.arrow_schema)
    assert connected.appender.append([(path(table.name), batch)]) == [[]]
    rows = pa.concat_batches([from_input(alerts(1), source) for source in SOURCES]).select(TABLE.arrow_schema.names)
    place = rows.schema.get_field_index("run_id")
    rows = rows.set_column(place, rows.schema.field(place), pa.array(["first"] * rows.num_rows))
    assert connected.appender.append([(path(TABLE.name), rows)]) == [[]]
    with warehouses.at(f"bigquery://{cloud.project}/{connected.dataset}") as warehouse:
        standing = warehouse.standing("second", [of_both, Unit(("gs://b/new",))])
        values: dict[str, Any] = {"run_id": "second"}
        condition = of_run_sql("run_id", TABLE.name, standing, values)
        found = warehouse.ask(f"SELECT source FROM {TABLE.name} WHERE {condition}", values).read().column("source")
    assert sorted(found.to_pylist()) == sorted(SOURCES[number] for number in expected)


def test_a_bundle_that_failed_keeps_no_connection(connected: Connected) -> None:
    """Its streams are nobody's: who comes again makes others."""
    before, writing = answering(), ByStreams(connected, avro_file)
    writing.add([Rows(TABLE.name, unit, alerts().select(TABLE.arrow_schema.names)) for unit in ("one", "two")])
    assert answering() == before + 2
    writing.give_up()
    until = time.monotonic() + 20
    while answering() > before:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("cut", ["request", "answer"])
def test_a_load_job_whose_answer_is_lost_is_done_once(
    cloud: Cloud, connected: Connected, cut: Literal["request", "answer"]
) -> None:
    """It is found again by its id and its place, without which BigQuery looks in the US and EU alone."""
    rows = alerts().select(TABLE.arrow_schema.names)
    before = len(cloud.faults.exchanges)
    cloud.faults.fail(1, "POST /upload/", cut=cut)
    load_avro(connected.client, f"{cloud.project}.{connected.dataset}.{TABLE.name}", avro_file(TABLE, rows))
    assert there(cloud, connected) == ONCE
    asked = [seen.path for seen in cloud.faults.exchanges[before:] if seen.method == "GET" and "/jobs/broker-" in seen.path]
    assert bool(asked) == (cut == "answer")
    assert all("location=" in path for path in asked), asked
