"""Parity: the same packets from files and from Pub/Sub, into BigQuery by all methods and into a folder, give the same rows."""

from __future__ import annotations

import contextlib
import io
import math
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro
import pytest
from google.cloud import bigquery

from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from broker import warehouse
from pipelines.ingest import run
from tests.cloud.streams import HEARTBEAT, Topic, run_until
from tests.conftest import OURS, RealData
from tests.emulators import processes
from tests.emulators.cloud import Cloud

ZTF, RUBIN, LETTERS = 20, 14, 10
SEEN = ZTF + 2 * (ZTF + RUBIN)
"""By three filters, one of them of ZTF alone."""
_TABLES = ("ztf_alerts", "ztf_cutouts", "ztf_features", "lsst_alerts", "lsst_cutouts", "lsst_features")
# Where a row came from and when it was written differ from run to run; all else must not.
FILTERS = {
    "bright.sql": "-- surveys: ztf\nSELECT candidate.magpsf AS mag, observed_at FROM alerts WHERE candidate.magpsf < 19",
    "positive.sql": "-- surveys: ztf, lsst\nSELECT alert_id, features.r.mean_njy AS mean FROM alerts "
    "WHERE features.r.mean_njy > 0 OR features.g.mean_njy > 0",
    "odd.py": """# surveys: ztf, lsst
def passes(alerts):
    ids = alerts.column("alert_id").to_pylist()
    if any(number % 5 == 0 for number in ids):
        raise ValueError("five")
    return [number % 2 == 1 for number in ids]
""",
}
_PROVENANCE = {"decided_at", "run_id", "source", "published_at", "ingested_at", "computed_at", "failed_at", "attributes"}


def packets_of(archive: Path, most: int | None = None) -> list[Packet]:
    with archive.open("rb") as file:
        found = [item for item in read_input(file, archive.name, WireSchemas()) if isinstance(item, Packet)]
    return found[:most]


def damaged(good: bytes) -> list[bytes]:
    """Ten ways to be no alert."""
    wire = b"\x00" + (1000).to_bytes(4, "big")
    return [
        good[:100],
        good[: len(good) // 2],
        good[:-1],
        good[:-16] + bytes(16),
        b"<!DOCTYPE html><html>502 Bad Gateway</html>",
        b"no alert at all",
        b"\x00\x00\x01\xe2\x40" + b"unknown schema id",
        wire + b"\x01\x02\x03",
        wire,
        b"Obj\x01" + bytes(50),
    ]


@pytest.fixture(scope="module")
def messages(real_data: RealData) -> list[bytes]:
    """Of each kind some, all of the packets that the project keeps: ZTF of 4.02, 4.01 and 1.3 (with NaN), Rubin as wire messages
    of seven versions and as Spark rewrote one (with ``extra``), and ten damaged ones. What differs between ways of writing is
    kinds of values, not how many there are.
    """
    nights = {"ztf_public_20240715": 10, "ztf_public_20231012": 6, "ztf_commissioning_20171218_nan": 4}
    ztf = [
        packet.as_sent() for name, most in nights.items() for packet in packets_of(real_data / f"ztf/nightly/{name}.tar.gz", most)
    ]
    rubin = [path.read_bytes() for path in (*rubin_wire(), *(OURS / "lsst/spark_rewritten").glob("*.avro"))]
    assert (len(ztf), len(rubin)) == (ZTF, RUBIN)
    return [*ztf, *rubin, *damaged(ztf[0])]


def rubin_wire() -> list[Path]:
    """Rubin's messages among the packets that the project keeps."""
    return sorted((OURS / "lsst/wire_confluent").glob("*.bin"))


@pytest.fixture(scope="module")
def warehouses(messages: list[bytes], cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Counter]]:
    """The rows of eleven warehouses, by table."""
    if not cloud.has_pubsub:
        pytest.skip(str(processes.pubsub_missing()))
    folder = tmp_path_factory.mktemp("packets")
    for number, message in enumerate(messages):
        (folder / f"{number:04d}.bin").write_bytes(message)
    local = tmp_path_factory.mktemp("warehouses")
    for name, text in FILTERS.items():
        (local / "filters").mkdir(exist_ok=True)
        (local / "filters" / name).write_text(text)
    filters = ["--filters", f"{local}/filters"]
    places = {
        "files, folder": f"{local}/files",
        "files, inserts": f"bigquery://{cloud.project}/files_inserts",
        "files, loads": f"bigquery://{cloud.project}/files_loads",
        "files, appends": f"bigquery://{cloud.project}/files_appends",
        "stream, folder": f"{local}/stream",
        "stream, inserts": f"bigquery://{cloud.project}/stream_inserts",
        "stream, loads": f"bigquery://{cloud.project}/stream_loads",
        "stream, appends": f"bigquery://{cloud.project}/stream_appends",
        "rounds, folder": f"{local}/rounds",
        "rounds, loads": f"bigquery://{cloud.project}/rounds_loads",
        "rounds, appends": f"bigquery://{cloud.project}/rounds_appends",
    }
    flags = {name: [*_flags(name, place, cloud), *filters] for name, place in places.items()}
    for name in places:
        if name.startswith("files"):
            assert run(["--input", str(folder), *flags[name]]) == 0
        if name.startswith("rounds"):
            assert run(["--watch", str(folder), "--once", *flags[name]]) == 0
    streams = [name for name in places if name.startswith("stream")]
    topic = Topic(cloud.project, len(streams))
    topic.publish(messages)
    run_until(topic, [flags[name] for name in streams], lambda: all(_is_complete(places[name]) for name in streams))
    return {name: _contents(place) for name, place in places.items()}


def _flags(name: str, place: str, cloud: Cloud) -> list[str]:
    given = ["--warehouse", place, *(["--load_every_secs", "3"] if name.startswith("stream") else [])]
    if "folder" in name:
        return given
    method = {"inserts": "streaming_inserts", "loads": "file_loads", "appends": "storage_write"}[name.rpartition(" ")[2]]
    return [*given, "--write_method", method, "--temp_location", f"{cloud.bucket}/loads"]


def _is_complete(place: str) -> bool:
    """Asked every second: by one query, and one more where all rows are there."""
    counts = ", ".join(f"(SELECT COUNT(*) FROM {table}) AS {table}" for table in _TABLES)
    try:
        with warehouse.open(place) as opened:
            [found] = opened.query(f"SELECT {counts}").to_pylist()
        rows = all(count >= _least(table) for table, count in found.items()) and _letters(place) >= LETTERS
        return rows and sum(_seen(place).values()) >= SEEN
    except warehouse.QueryError:
        return False


def _least(table: str) -> int:
    return ZTF if table.startswith("ztf") else RUBIN


def _seen(place: str) -> Counter:
    """How many alerts each filter has seen, passed and failed on, by survey and night."""
    with warehouse.open(place) as opened:
        sums = ", ".join(f"CAST(SUM({name}) AS INT64) AS {name}" for name in ("seen", "passed", "failed", "rejected"))
        keys = "survey, night, filter, filter_version"
        rows = opened.query(f"SELECT {keys}, {sums} FROM filter_counts_unique GROUP BY {keys}").to_pylist()
    return Counter({repr(_plain({**row, "seen": None})): int(row["seen"]) for row in rows})


def _letters(place: str) -> int:
    with warehouse.open(place) as opened:
        payloads = opened.query("SELECT payload FROM dead_letters").column("payload").to_pylist()
    return sum(bytes(payload) != HEARTBEAT for payload in payloads)


def _contents(place: str) -> dict[str, Counter]:
    with warehouse.open(place) as opened:
        found = {table: _rows(opened, table) for table in (*_TABLES, "dead_letters", "verdicts")}
    found["filter_counts"] = _seen(place)
    heart = repr(HEARTBEAT)
    found["dead_letters"] = Counter({row: n for row, n in found["dead_letters"].items() if heart not in row})
    return found


def _rows(opened: warehouse.Warehouse, table: str) -> Counter:
    rows = opened.query(f"SELECT * FROM {table}").to_pylist()
    return Counter(repr(_plain({name: value for name, value in row.items() if name not in _PROVENANCE})) for row in rows)


def _plain(value: Any) -> Any:
    """A value by which rows of different clients can be compared: sorted fields, NaN equal to NaN, times in one zone."""
    if isinstance(value, dict):
        return {name: _plain(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if hasattr(value, "astimezone"):
        return value.timestamp()
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else value


def test_parity_of_eleven_warehouses(warehouses: dict[str, dict[str, Counter]]) -> None:
    first = warehouses["files, folder"]
    expected = {**{table: _least(table) for table in _TABLES}, "dead_letters": LETTERS, "filter_counts": SEEN}
    assert {table: sum(rows.values()) for table, rows in first.items() if table != "verdicts"} == expected
    for name in FILTERS:
        assert any(f"'filter': '{name.partition('.')[0]}'" in row for row in first["verdicts"])
    assert any("'status': 'failed'" in row for row in first["verdicts"])
    for name, contents in warehouses.items():
        for table, rows in contents.items():
            assert rows == first[table], f"{table} of {name} differs from that of files, folder"


def test_parity_keeps_nan_ids_and_stamps(warehouses: dict[str, dict[str, Counter]]) -> None:
    """What the comparison rests on is really there: NaN in old packets, ids above 2^53, stamps."""
    for contents in warehouses.values():
        assert any("'sgscore': 'NaN'" in row for row in contents["ztf_alerts"])
        assert any("'alert_id': 170112073793011871" in row for row in contents["lsst_alerts"])
        assert any("'extra': '{" in row for row in contents["lsst_alerts"])
        assert any("SIMPLE  =" in row for row in contents["lsst_cutouts"])
        assert any("'slope_err_mag_per_day': 0." in row for row in contents["ztf_features"])
        assert any("'mean_njy_forced': " in row for row in contents["lsst_features"])


def test_lsst_wire_messages_arrive_byte_for_byte(cloud: Cloud, warehouses: Any) -> None:
    sent = Counter()
    for path in rubin_wire():
        data = path.read_bytes()
        schema = WireSchemas().get(int.from_bytes(data[1:5], "big"))
        record: Any = fastavro.schemaless_reader(io.BytesIO(data[5:]), schema.parsed, None)
        stamps = (record.get(name) for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference"))
        sent[(record["diaSource"]["diaSourceId"], *stamps)] += 1
    with contextlib.closing(bigquery.Client(project=cloud.project)) as client:
        for dataset in ("stream_inserts", "stream_loads", "stream_appends"):
            rows = client.query(
                f"SELECT alert_id, science, template, difference FROM `{cloud.project}.{dataset}.lsst_cutouts`"
            ).result()
            found = Counter((row.alert_id, row.science, row.template, row.difference) for row in rows)
            assert sum((found - sent).values()) == 1  # the one that Spark wrote is no wire message
            assert not sent - found
