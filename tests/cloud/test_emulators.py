"""The emulators do what the tests beside this one take for granted, asked by Google's clients and by Beam's connectors."""

from __future__ import annotations

import base64
import io
import math
import os
import subprocess
import sys
import threading
import time
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.io.gcp.bigquery_tools import FileFormat
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery, pubsub_v1

from schemas.views import unique_alerts_sql
from tests.emulators import processes
from tests.emulators.cloud import Cloud

# Above 2^53, as survey ids are, and an id that a float would take for the same.
ID = 2**62 + 1
OTHER_ID = ID + 1
SEEN = datetime(2023, 10, 18, 3, 4, 5, 123457, tzinfo=timezone.utc)
STAMP = os.urandom(15_000)
FIELDS = [
    {"name": "alert_id", "type": "INT64", "mode": "REQUIRED"},
    {"name": "night", "type": "DATE", "mode": "REQUIRED"},
    {"name": "object_id", "type": "STRING", "mode": "NULLABLE"},
    {"name": "seen", "type": "TIMESTAMP", "mode": "NULLABLE"},
    {"name": "stamp", "type": "BYTES", "mode": "NULLABLE"},
    {"name": "mag", "type": "FLOAT64", "mode": "NULLABLE"},
    {
        "name": "candidate",
        "type": "RECORD",
        "mode": "NULLABLE",
        "fields": [{"name": "mag", "type": "FLOAT64"}, {"name": "stamp", "type": "BYTES"}],
    },
    {
        "name": "history",
        "type": "RECORD",
        "mode": "REPEATED",
        "fields": [{"name": "mag", "type": "FLOAT64"}, {"name": "seen", "type": "TIMESTAMP"}],
    },
    {"name": "flags", "type": "STRING", "mode": "REPEATED"},
]
ROW: dict[str, Any] = {
    "alert_id": ID,
    "night": date(2023, 10, 18),
    "object_id": "ZTF20é",
    "seen": SEEN,
    "stamp": STAMP,
    "mag": math.inf,
    "candidate": {"mag": -math.inf, "stamp": b"\x00\xff"},
    "history": [{"mag": 18.5, "seen": None}, {"mag": None, "seen": SEEN}],
    "flags": ["a", "b"],
}
EMPTY_ROW: dict[str, Any] = {
    **dict.fromkeys(ROW),
    "alert_id": OTHER_ID,
    "night": date(2023, 10, 19),
    "history": [],
    "flags": [],
}


@pytest.fixture
def table(cloud: Cloud) -> str:
    """A new table of ``FIELDS``: ``PROJECT.DATASET.alerts``."""
    return make(cloud, FIELDS)


def make(cloud: Cloud, fields: list[dict[str, Any]]) -> str:
    client, dataset = cloud.client(), cloud.dataset()
    client.create_dataset(dataset)
    made = bigquery.Table(f"{cloud.project}.{dataset}.alerts", [bigquery.SchemaField.from_api_repr(one) for one in fields])
    made.time_partitioning = bigquery.TimePartitioning(field="night")
    made.clustering_fields = ["object_id"]
    client.create_table(made)
    return str(made.reference)


def rows(cloud: Cloud, sql: str) -> list[dict[str, Any]]:
    return [dict(row.items()) for row in cloud.client().query(sql).result()]


def as_json(value: Any) -> Any:
    """As streaming inserts take it."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, date):
        return value.isoformat()
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, value) if isinstance(value, float) else value


def stored(row: dict[str, Any]) -> dict[str, Any]:
    """As BigQuery's client gives it."""
    return {**row, "history": [dict(item) for item in row["history"]]}


def test_tables_keep_their_schema_partitions_and_clusters(cloud: Cloud, table: str) -> None:
    made = cloud.client().get_table(table)
    assert made.schema == [bigquery.SchemaField.from_api_repr(one) for one in FIELDS]
    assert (made.time_partitioning.field, made.time_partitioning.type_) == ("night", "DAY")
    assert made.clustering_fields == ["object_id"]
    with pytest.raises(Conflict):
        cloud.client().create_table(made)
    with pytest.raises(NotFound):
        cloud.client().get_table(f"{table}_not")


def test_inserted_rows_come_back_as_they_were(cloud: Cloud, table: str) -> None:
    assert cloud.client().insert_rows_json(table, [as_json(ROW), as_json(EMPTY_ROW)]) == []
    assert rows(cloud, f"SELECT * FROM `{table}` ORDER BY alert_id") == [stored(ROW), stored(EMPTY_ROW)]
    assert [list(row.values()) for row in rows(cloud, f"SELECT h.mag FROM `{table}`, UNNEST(history) AS h")] == [[18.5], [None]]


def test_nan_is_a_number_at_every_depth(cloud: Cloud, table: str) -> None:
    row = {"alert_id": 1, "night": "2023-10-18", "mag": "NaN", "candidate": {"mag": "NaN"}, "history": [{"mag": "NaN"}]}
    assert cloud.client().insert_rows_json(table, [row]) == []
    (found,) = rows(cloud, f"SELECT mag, candidate, history FROM `{table}` WHERE IS_NAN(mag)")
    assert all(math.isnan(value) for value in (found["mag"], found["candidate"]["mag"], found["history"][0]["mag"]))


def test_json_columns_take_text(cloud: Cloud) -> None:
    table = make(cloud, [*FIELDS, {"name": "extra", "type": "JSON", "mode": "NULLABLE"}])
    assert cloud.client().insert_rows_json(table, [{"alert_id": 1, "night": "2023-10-18", "extra": '{"a": [1, "b"]}'}]) == []
    assert rows(cloud, f"SELECT extra, JSON_VALUE(extra, '$.a[1]') AS b FROM `{table}`") == [{"extra": {"a": [1, "b"]}, "b": "b"}]


@pytest.mark.parametrize(
    ("wrong", "location", "message"),
    [
        ({"mag": "bright"}, "mag", "Cannot convert"),
        ({"stamp": "***"}, "stamp", "Cannot convert"),
        ({"night": None}, "night", "Missing required field: night."),
        ({"nope": 1}, "nope", "no such field: nope."),
        ({"candidate": {"nope": 1}}, "candidate.nope", "no such field: candidate.nope."),
        ({"history": {"mag": 1}}, "history", "Repeated value"),
        ({"mag": [1.0]}, "mag", "Array specified"),
        ({"flags": ["a", None]}, "flags", "null element"),
        ({"object_id": {"a": 1}}, "object_id", "not a record"),
        ({"candidate": "bright"}, "candidate", "is a record"),
    ],
)
def test_wrong_rows_are_refused_by_themselves(
    cloud: Cloud, table: str, wrong: dict[str, Any], location: str, message: str
) -> None:
    good = {"alert_id": 1, "night": "2023-10-18"}
    sent = [good, {**good, "alert_id": 2, **wrong}, {**good, "alert_id": 3}]
    (refused,) = cloud.client().insert_rows_json(table, sent, skip_invalid_rows=True)
    (error,) = refused["errors"]
    assert (refused["index"], error["reason"], error["location"]) == (1, "invalid", location)
    assert message in error["message"]
    assert [row["alert_id"] for row in rows(cloud, f"SELECT alert_id FROM `{table}` ORDER BY 1")] == [1, 3]
    # Without the option, one stops all.
    refused = cloud.client().insert_rows_json(table, sent)
    assert [(one["index"], one["errors"][0]["reason"]) for one in refused] == [(1, "invalid"), (0, "stopped"), (2, "stopped")]
    assert rows(cloud, f"SELECT COUNT(*) AS n FROM `{table}`") == [{"n": 2}]


def test_requests_have_the_size_bigquery_allows(cloud: Cloud, table: str) -> None:
    row = {"alert_id": 1, "night": "2023-10-18", "object_id": "x" * 1_000_000}
    assert cloud.client().insert_rows_json(table, [row] * 9) == []
    with pytest.raises(GoogleAPICallError, match="413"):
        cloud.client().insert_rows_json(table, [row] * 11)


def avro(rows: list[dict[str, Any]], names: list[str] | None = None) -> bytes:
    """A load file, its fields in the order of ``names``."""
    kinds: dict[str, Any] = {
        "alert_id": "long",
        "night": {"type": "int", "logicalType": "date"},
        "object_id": ["null", "string"],
        "seen": ["null", {"type": "long", "logicalType": "timestamp-micros"}],
        "stamp": ["null", "bytes"],
        "mag": ["null", "double"],
    }
    fields = [{"name": name, "type": kinds[name]} for name in names or kinds]
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema({"type": "record", "name": "row", "fields": fields}), rows)
    return file.getvalue()


def load(cloud: Cloud, table: str, content: bytes, job_id: str | None = None) -> bigquery.LoadJob:
    uri = f"{cloud.bucket}/{os.urandom(4).hex()}.avro"
    with FileSystems.create(uri) as file:
        file.write(content)
    settings = bigquery.LoadJobConfig(
        source_format="AVRO", use_avro_logical_types=True, create_disposition="CREATE_NEVER", write_disposition="WRITE_APPEND"
    )
    job = cloud.client().load_table_from_uri(uri, table, job_id=job_id, job_config=settings)
    job.result()
    return job


def test_load_files_find_their_columns_by_name(cloud: Cloud, table: str) -> None:
    load(cloud, table, avro([ROW]))
    load(cloud, table, avro([EMPTY_ROW], ["mag", "night", "alert_id", "stamp"]))
    expected = [{**stored(one), "candidate": None, "history": [], "flags": []} for one in (ROW, EMPTY_ROW)]
    assert rows(cloud, f"SELECT * FROM `{table}` ORDER BY alert_id") == expected
    made = cloud.client().get_table(table)
    assert (made.num_rows, made.time_partitioning.field, made.clustering_fields) == (2, "night", ["object_id"])


def test_loads_that_fail_say_so(cloud: Cloud, table: str) -> None:
    with pytest.raises(BadRequest, match="magic"):
        load(cloud, table, b"no Avro at all")
    with pytest.raises(BadRequest, match="NOT NULL"):
        load(cloud, table, avro([ROW], ["alert_id"]))
    with pytest.raises(BadRequest, match="does not exist"):
        load(cloud, f"{table}_not", avro([ROW]))
    assert rows(cloud, f"SELECT COUNT(*) AS n FROM `{table}`") == [{"n": 0}]


def test_a_job_is_done_once(cloud: Cloud, table: str) -> None:
    load(cloud, table, avro([ROW]), "once_" + cloud.dataset())
    job = load(cloud, table, avro([ROW]))
    client, sql = cloud.client(), f"INSERT INTO `{table}` (alert_id, night) VALUES (1, '2023-10-18')"
    append = bigquery.CopyJobConfig(write_disposition="WRITE_APPEND")
    ids = {name: f"{name}_{cloud.dataset()}" for name in ("query", "copy")}
    client.copy_table(table, f"{table}_too", job_id=ids["copy"], job_config=append).result()
    client.query(sql, job_id=ids["query"], job_retry=None).result()
    for again in (
        lambda: load(cloud, table, avro([ROW]), job.job_id),
        lambda: client.copy_table(table, f"{table}_too", job_id=ids["copy"], job_config=append),
        lambda: client.query(sql, job_id=ids["query"], job_retry=None),
    ):
        with pytest.raises(Conflict):
            again()
    assert rows(cloud, f"SELECT COUNT(*) AS n FROM `{table}`") == [{"n": 3}]
    assert rows(cloud, f"SELECT COUNT(*) AS n FROM `{table}_too`") == [{"n": 2}]


@pytest.mark.parametrize("sized", [True, False], ids=["at once", "resumable"])
def test_an_uploaded_file_is_loaded_once(cloud: Cloud, table: str, sized: bool) -> None:
    content, job_id = avro([ROW]), f"upload_{cloud.dataset()}"
    settings = bigquery.LoadJobConfig(
        source_format="AVRO", use_avro_logical_types=True, create_disposition="CREATE_NEVER", write_disposition="WRITE_APPEND"
    )

    def upload() -> bigquery.LoadJob:
        size = len(content) if sized else None
        return cloud.client().load_table_from_file(io.BytesIO(content), table, size=size, job_id=job_id, job_config=settings)

    assert upload().result().job_id == job_id
    with pytest.raises(Conflict):
        upload()
    assert cloud.client().get_job(job_id).state == "DONE"
    assert rows(cloud, f"SELECT alert_id, object_id FROM `{table}`") == [{"alert_id": ID, "object_id": ROW["object_id"]}]


def test_fields_can_be_added_at_every_depth_and_none_dropped(cloud: Cloud, table: str) -> None:
    client = cloud.client()
    assert client.insert_rows_json(table, [as_json(ROW)]) == []
    made = client.get_table(table)
    fields = [one.to_api_repr() for one in made.schema]
    by_name = {one["name"]: one for one in fields}
    for name in ("candidate", "history"):
        by_name[name]["fields"].insert(0, {"name": "added", "type": "STRING"})
    made.schema = [bigquery.SchemaField.from_api_repr(one) for one in [{"name": "added", "type": "INT64"}, *fields]]
    client.update_table(made, ["schema"])
    added = {"added": 1, "candidate": {"added": "x"}, "history": [{"added": "y", "mag": 1.0}]}
    assert client.insert_rows_json(table, [{"alert_id": OTHER_ID, "night": "2023-10-19", **added}]) == []
    load(cloud, table, avro([{**ROW, "alert_id": OTHER_ID + 1}]))
    found = rows(cloud, f"SELECT added, candidate.added AS inner_added, history FROM `{table}` ORDER BY alert_id")
    assert [one["added"] for one in found] == [None, 1, None]
    assert [one["inner_added"] for one in found] == [None, "x", None]
    assert [[item["added"] for item in one["history"]] for one in found] == [[None, None], ["y"], []]
    made.schema = made.schema[:3]
    with pytest.raises(BadRequest, match="missing in new schema"):
        client.update_table(made, ["schema"])


def test_views_of_the_latest_row(cloud: Cloud) -> None:
    fields = [
        {"name": "alert_id", "type": "INT64"},
        {"name": "night", "type": "DATE"},
        {"name": "object_id", "type": "STRING"},
        {"name": "schema_version", "type": "STRING"},
        {"name": "published_at", "type": "TIMESTAMP"},
        {"name": "packet_digest", "type": "BYTES"},
    ]
    table = make(cloud, fields)
    sent = [(1, "3.9", None), (1, "3.10", None), (2, "1", None), (2, "0.9", "2023-10-18T00:00:00Z"), (3, None, None)]
    client = cloud.client()
    view = bigquery.Table(f"{table}_unique")
    view.view_query = unique_alerts_sql(f"`{table}`", "bigquery")
    client.create_table(view)
    client.query(f"CREATE VIEW `{table}_too` AS {view.view_query}").result()
    json_rows = [{"alert_id": alert, "schema_version": version, "published_at": at} for alert, version, at in sent]
    assert client.insert_rows_json(table, json_rows) == []
    for name in ("unique", "too"):
        found = rows(cloud, f"SELECT alert_id, schema_version FROM `{table}_{name}` ORDER BY 1")
        assert [tuple(one.values()) for one in found] == [(1, "3.10"), (2, "0.9"), (3, None)]
    assert client.get_table(f"{table}_unique").table_type == "VIEW"


def test_queries_that_fail_raise(cloud: Cloud, table: str) -> None:
    for ask in (cloud.client().query_and_wait, lambda sql: cloud.client().query(sql).result()):
        with pytest.raises(BadRequest, match="nope"):
            ask(f"SELECT nope FROM `{table}`")


def test_many_rows_with_stamps(cloud: Cloud, table: str) -> None:
    """Inserts do not slow down as a table grows, and a query takes no longer than it has more rows to give."""
    stamp, client = base64.b64encode(STAMP).decode(), cloud.client()
    batch = [{"alert_id": number, "night": "2023-10-18", "stamp": stamp} for number in range(100)]

    def insert_secs() -> float:
        begun = time.monotonic()
        assert client.insert_rows_json(table, batch) == []
        return time.monotonic() - begun

    def query_secs(expected: int) -> float:
        begun = time.monotonic()
        found = list(client.query(f"SELECT alert_id, stamp FROM `{table}`").result())
        took = time.monotonic() - begun
        assert len(found) == expected
        assert all(row["stamp"] == STAMP for row in found)
        return took

    # The least of several, as a busy machine only ever adds.
    inserts = [insert_secs()]
    few = min(query_secs(100) for _ in range(3))
    inserts += [insert_secs() for _ in range(11)]
    many = min(query_secs(1200) for _ in range(3))
    assert min(inserts[-4:]) < 4 * min(inserts[:4])
    assert many < 4 * 12 * few


def test_beam_reads_writes_renames_and_deletes_objects(cloud: Cloud) -> None:
    folder = f"{cloud.bucket}/files"
    with FileSystems.create(f"{folder}/a") as file:
        file.write(STAMP)
    FileSystems.rename([f"{folder}/a"], [f"{folder}/b"])
    assert [one.path for one in FileSystems.match([f"{folder}/*"])[0].metadata_list] == [f"{folder}/b"]
    with FileSystems.open(f"{folder}/b") as file:
        assert file.read() == STAMP
    FileSystems.delete([f"{folder}/b"])
    assert not FileSystems.exists(f"{folder}/b")


def options(cloud: Cloud, *flags: str) -> PipelineOptions:
    given = ["--runner=FnApiRunner", f"--project={cloud.project}", f"--temp_location={cloud.bucket}/temp", *flags]
    return PipelineOptions(given, pickle_library="cloudpickle")


@pytest.mark.parametrize("method", ["STREAMING_INSERTS", "FILE_LOADS"])
@pytest.mark.parametrize("processes", [1, 2])
def test_beam_writes_to_bigquery(cloud: Cloud, table: str, method: str, processes: int) -> None:
    sent = [ROW, EMPTY_ROW]
    if method == "STREAMING_INSERTS":
        sent = [as_json(one) for one in sent]
    plugin = "--beam_plugins=tests.emulators.worker"
    workers = ("--direct_running_mode=multi_processing", "--direct_num_workers=2", plugin, "--runner=DirectRunner")
    with beam.Pipeline(options=options(cloud, *(workers if processes == 2 else ()))) as pipeline:
        written = (
            pipeline
            | beam.Create(sent)
            | WriteToBigQuery(
                table=table.replace(".", ":", 1),
                schema={"fields": FIELDS},
                method=method,
                create_disposition=BigQueryDisposition.CREATE_NEVER,
                write_disposition=BigQueryDisposition.WRITE_APPEND,
                temp_file_format=FileFormat.AVRO,
            )
        )
        assert written is not None
    assert rows(cloud, f"SELECT * FROM `{table}` ORDER BY alert_id") == [stored(ROW), stored(EMPTY_ROW)]


_received: list[Any] = []
"""By the pipeline of the next test: the runner works in this process, on copies of what is no module's."""


def test_beam_reads_from_pubsub(pubsub: Cloud) -> None:
    name = pubsub.dataset()
    topic, subscription = (f"projects/{pubsub.project}/{kind}/{name}" for kind in ("topics", "subscriptions"))
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)
        sent = {publisher.publish(topic, STAMP + bytes([n]), number=str(n)).result() for n in range(12)}
        pipeline = beam.Pipeline(options=options(pubsub, "--runner=BundleBasedDirectRunner", "--streaming"))
        messages = pipeline | "Read" >> beam.io.ReadFromPubSub(subscription=subscription, with_attributes=True)
        _ = messages | "Keep" >> beam.Map(_keep)
        result = pipeline.run()
        deadline = time.monotonic() + 120
        while len(_received) < 12 and time.monotonic() < deadline:
            time.sleep(0.1)
        # The runner's pull goes on for half a minute, unless there is something to pull.
        cancelling = threading.Thread(target=result.cancel)
        cancelling.start()
        while cancelling.is_alive():
            publisher.publish(topic, b"end").result()
            cancelling.join(1)
    messages = {one.message_id: one for one in _received[:12]}
    assert set(messages) == sent
    assert {(one.attributes["number"], one.data) for one in messages.values()} == {
        (str(n), STAMP + bytes([n])) for n in range(12)
    }


def _keep(message: Any) -> None:
    _received.append(message)


_HOLDER = """
import pathlib, sys, time
from tests.emulators import processes
emulator = processes.storage(pathlib.Path(sys.argv[1]))
emulator.spawn()
emulator.wait()
print(emulator.hosts[0], flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_emulators_end_with_the_process_that_is_killed(cloud: Cloud, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        host = holder.stdout.readline().strip()
        assert processes._answers(f"http://{host}/")
        holder.kill()
    deadline = time.monotonic() + 60
    while processes._answers(f"http://{host}/"):
        assert time.monotonic() < deadline
