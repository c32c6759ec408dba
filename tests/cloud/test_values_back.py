"""Values that are appended come back bit for bit, by REST and by the Storage Read API: all types, edges, all real packets."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import google.cloud.bigquery_storage_v1 as storage_api
import pyarrow as pa
import pytest

from alerts.avro.decode import decode
from alerts.avro.inputs import in_batches, read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import SURVEYS, survey
from schemas import Table
from schemas.tables import CROSSMATCHES, DEAD_LETTERS
from tests.bits import differing_columns
from tests.conftest import RealData
from tests.emulators.cloud import Cloud
from transforms.load_files import avro_file
from warehouses.bigquery.tables import prepare
from warehouses.bigquery.writing import AtOnce, Connected, Rows

UTC = dt.timezone.utc
TODAY = dt.datetime.now(UTC).date()


@pytest.fixture(scope="module")
def dataset(cloud: Cloud) -> str:
    name = cloud.dataset()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, name, list(SURVEYS))
    return name


@pytest.fixture(scope="module")
def connected(cloud: Cloud, dataset: str) -> Iterator[Connected]:
    connected = Connected(cloud.project, dataset)
    yield connected
    connected.close()


def write(connected: Connected, parts: Sequence[tuple[Table, pa.RecordBatch]]) -> None:
    assert AtOnce(connected, avro_file).add([Rows(table.name, "", rows) for table, rows in parts]) == [[]] * len(parts)


def by_read_api(connected: Connected, table: str) -> pa.Table:
    client = storage_api.BigQueryReadClient()
    session = client.create_read_session(
        parent=f"projects/{connected.project}",
        read_session=storage_api.types.ReadSession(table=connected.path(table), data_format=storage_api.types.DataFormat.ARROW),
        max_stream_count=1,
    )
    (stream,) = session.streams
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    answers = [answer.arrow_record_batch.serialized_record_batch for answer in client.read_rows(stream.name)]
    return pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(answer), schema) for answer in answers], schema)


def by_rest(connected: Connected, table: Table, keys: Sequence[str]) -> pa.Table:
    """The rows in the order of ``keys``."""
    order = ", ".join(f"`{key}`" for key in keys)
    sql = f"SELECT * FROM `{connected.project}.{connected.dataset}.{table.name}` ORDER BY {order}"
    found = [dict(row.items()) for row in connected.client.query(sql).result()]
    for row in found:
        for column in table.columns:
            # The emulator's queries call some columns of JSON text.
            if column.type == "JSON" and not isinstance(row[column.name], str | None):
                row[column.name] = json.dumps(row[column.name])
    return pa.Table.from_pylist(found, schema=table.arrow_schema)


def in_order(rows: pa.Table, table: Table, keys: Sequence[str]) -> pa.Table:
    """Sorted, in the types of the table, JSON as Python writes it."""
    rows = rows.select(table.arrow_schema.names).cast(table.arrow_schema)
    rows = rows.take(pa.compute.sort_indices(rows, [(key, "ascending") for key in keys]))
    for number, column in enumerate(table.columns):
        if column.type == "JSON":
            told = [None if text is None else json.dumps(json.loads(text)) for text in rows.column(column.name).to_pylist()]
            rows = rows.set_column(number, rows.schema.field(number), pa.array(told, pa.string()))
    return rows


def assert_back(connected: Connected, table: Table, sent: pa.Table, keys: Sequence[str]) -> None:
    expected = in_order(sent, table, keys)
    found = in_order(by_read_api(connected, table.name), table, keys)
    assert found.num_rows == expected.num_rows > 0
    assert differing_columns(expected, found) == []
    some = by_rest(connected, table, keys)
    assert differing_columns(expected, in_order(some, table, keys)) == []


def decoded(files: Sequence[Path]) -> dict[str, list[pa.RecordBatch]]:
    """The rows of files by survey, in the batches of a pipeline."""
    packets: list[Packet] = []
    for file in files:
        with file.open("rb") as opened:
            packets += [item for item in read_input(opened, str(file), WireSchemas()) if isinstance(item, Packet)]
    found: dict[str, list[pa.RecordBatch]] = defaultdict(list)
    for batch in in_batches(packets, 256, 16 * 2**20):
        for name, rows in decode(batch, run_id="run").rows.items():
            found[name].append(rows)
    return found


@pytest.mark.parametrize("name", ["ztf", "lsst", "others"])
def test_all_real_packets(cloud: Cloud, dataset: str, connected: Connected, real_data: RealData, name: str) -> None:
    places = {"ztf": "ztf/**/*", "lsst": "lsst/**/*"}
    files = real_data.glob(places.get(name, "other_surveys/**/*"))
    packed = [file for file in files if file.name.endswith((".avro", ".bin", ".tar.gz"))]
    if name == "others" and real_data.larger is not None:
        packed += real_data.glob("elasticc/*.tar.gz")
    batches = decoded(packed)
    assert sum(rows.num_rows for some in batches.values() for rows in some) > 10
    for found, some in batches.items():
        facts = survey(found)
        sent = pa.Table.from_batches(some)
        for rows in some:
            write(
                connected, [(table, rows.select(table.arrow_schema.names)) for table in (facts.alerts_table, facts.cutouts_table)]
            )
        for table in (facts.alerts_table, facts.cutouts_table):
            # The same packet is in several archives.
            keys = ["alert_id", "packet_digest", *(["source", "ingested_at"] if table is facts.alerts_table else ["science"])]
            assert_back(connected, table, sent, keys)


MATCHES = [
    {
        "survey": "lsst",
        "alert_id": 2**63 - 1,
        "night": TODAY,
        "ra_deg": math.nan,
        "dec_deg": -0.0,
        "catalog": "simbad",
        "radius_arcsec": math.inf,
        "status": "matched",
        "asked_at": dt.datetime(2026, 3, 10, 1, 2, 3, 456789, tzinfo=UTC),
        "matches": [{"dec_deg": -math.inf, "separation_arcsec": 5e-324, "columns": '{"a": "\u00e9\\u0000 \u2603", "n": 1.5}'}]
        * 3,
    },
    {
        "survey": "ztf",
        "alert_id": -(2**63),
        "object_id": "",
        "night": TODAY - dt.timedelta(3640),
        "ra_deg": 1.7976931348623157e308,
        "dec_deg": 0.0,
        "catalog": "vizier:II/246/out",
        "radius_arcsec": 2.2250738585072014e-308,
        "status": "no_match",
        "asked_at": dt.datetime(1, 1, 1, tzinfo=UTC),
        "matches": [],
    },
]
LETTERS = [
    {
        "stage": "decode",
        "error_type": "X",
        "message": "m\n\U0001f52d" * 5000,
        "source": "s",
        "payload": bytes(range(256)) * 20,
        "failed_at": dt.datetime.now(UTC),
    },
    {
        "stage": "read",
        "error_type": "Y",
        "message": "",
        "source": "s",
        "payload": b"",
        "attributes": "{}",
        "failed_at": dt.datetime.now(UTC),
    },
    {"stage": "write", "error_type": "Z", "message": "", "source": "", "payload": None, "failed_at": dt.datetime.now(UTC)},
]


@pytest.mark.parametrize(
    ("table", "rows", "keys"),
    [(CROSSMATCHES, MATCHES, ["alert_id"]), (DEAD_LETTERS, LETTERS, ["stage"])],
    ids=["crossmatches", "dead_letters"],
)
def test_edges_of_the_other_tables(
    cloud: Cloud, dataset: str, connected: Connected, table: Table, rows: list[dict[str, Any]], keys: list[str]
) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=table.arrow_schema)
    write(connected, [(table, batch)])
    assert_back(connected, table, pa.Table.from_batches([batch]), keys)


NUMBERS = (math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1, 2.0**53 + 2)


@pytest.mark.parametrize("name", ["ztf", "lsst"])
def test_edges_of_alerts(cloud: Cloud, dataset: str, connected: Connected, real_data: RealData, name: str) -> None:
    """At every depth of a real alert: each number, the ends of INT64, no text and much, NULL records, empty and long arrays."""
    pattern = "ztf/nightly/ztf_public_20240715.tar.gz" if name == "ztf" else "lsst/wire_confluent/*.bin"
    files = real_data.glob(pattern)
    table = survey(name).alerts_table
    (first, *_) = decoded(files[-1:])[name]
    row, schema = first.select(table.arrow_schema.names).slice(0, 1).to_pylist()[0], table.arrow_schema
    made = [
        {
            **{field.name: edge(field, number) for field in schema},
            **{key: row[key] for key in ("packet_digest", "source", "run_id", "survey", "observed_at", "ingested_at")},
            "alert_id": 2**63 - 1 - number,
            "night": TODAY,
        }
        for number in range(12)
    ]
    batch = pa.RecordBatch.from_pylist(made, schema=schema)
    write(connected, [(table, batch)])
    ids = batch.column("alert_id")
    found = by_read_api(connected, table.name)
    found = found.filter(pa.compute.is_in(found.column("alert_id"), ids))
    assert (
        differing_columns(in_order(pa.Table.from_batches([batch]), table, ["alert_id"]), in_order(found, table, ["alert_id"]))
        == []
    )
    # A value that is another is seen.
    changed = pa.Table.from_batches([batch]).set_column(0, schema.field(0), pa.array([number.as_py() - 100 for number in ids]))
    assert differing_columns(in_order(changed, table, ["alert_id"]), in_order(found, table, ["alert_id"])) == ["alert_id"]


def edge(field: pa.Field, number: int) -> Any:
    """Value ``number`` of a column that is at some edge of its type."""
    kind = field.type
    if pa.types.is_list(kind):
        count = (0, 1, 2, 300)[number % 4]
        return [edge(pa.field("item", kind.value_type, nullable=False), number + item) for item in range(count)]
    if field.nullable and number % 5 == 4:
        return None
    if pa.types.is_struct(kind):
        return {inner.name: edge(inner, number) for inner in kind}
    if field.name == "extra":
        return ("{}", '{"a": [1, null, "\u2603"]}')[number % 2]
    if pa.types.is_floating(kind):
        return NUMBERS[number % len(NUMBERS)]
    if pa.types.is_integer(kind):
        return (2**63 - 1, -(2**63), 0, -1, 2**53 + 1)[number % 5]
    if pa.types.is_boolean(kind):
        return number % 2 == 0
    if pa.types.is_timestamp(kind):
        return (dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))[number % 2]
    if pa.types.is_date(kind):
        return (dt.date(1, 1, 1), dt.date(9999, 12, 31))[number % 2]
    text = ("", "\u00e9", '\n\t"\\', "\U0001f52d" * 2000)[number % 4]
    return text if pa.types.is_string(kind) else text.encode() + bytes([0, 255])
