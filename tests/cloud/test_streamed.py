"""What a warehouse tells of the streams that fill it, in a folder and in BigQuery, without whoever sends or reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import warehouses
from broker import cli
from schemas.tables import OFFSETS, RUNS
from tests.emulators.cloud import Cloud
from tests.nights import run, simulated
from warehouses import streamed
from warehouses.offsets import offset_rows
from warehouses.warehouse import Warehouse


@pytest.fixture(params=["folder", "BigQuery"])
def place(request: pytest.FixtureRequest, cloud: Cloud, tmp_path: Path) -> str:
    return str(tmp_path / "w") if request.param == "folder" else f"bigquery://{cloud.project}/{cloud.dataset()}"


def add_run(place: Warehouse, number: int, ended: datetime, status: str = "done", **options: Any) -> None:
    row = {
        "run_id": f"run{number}",
        "version": "1",
        "options": json.dumps(options),
        "status": status,
        "started_at": ended - timedelta(seconds=2),
        "ended_at": ended,
        "records_read": 100 + number,
        "inputs_skipped": 0,
        "alerts_written": 99 + number,
        "copies": 0,
        "conflicts": 0,
        "dead_letters": 1,
        "counts": "{}",
    }
    place.add(RUNS, pa.RecordBatch.from_pylist([row], schema=RUNS.arrow_schema), f"run{number}")


def filled(uri: str) -> datetime:
    """A warehouse into which three streams write, and a batch; one stream has not since long."""
    now = datetime.now(UTC)
    place = warehouses.at(uri)
    place.prepare(["ztf"])
    catalogs = ["vizier:II/246/out?radius_arcsec=1.0"]
    for number, age in enumerate((timedelta(hours=30), timedelta(hours=2), timedelta(minutes=9), timedelta(minutes=4))):
        add_run(place, number, now - age, "failed" if number == 2 else "done", kafka_group="g", crossmatch=catalogs)
    add_run(place, 4, now - timedelta(minutes=3), watch="/data/incoming")
    add_run(place, 5, now - timedelta(days=20), kafka_group="gone")
    add_run(place, 6, now - timedelta(minutes=1), input=["night.tar.gz"])
    ranges = [("", -1, 0, 0), ("ztf", 0, 0, 10), ("ztf", 0, 10, 25), ("ztf", 1, 0, 7)]
    place.add(OFFSETS, offset_rows("cluster", "g", ranges, "unit", "run3"), "run3")
    place.add(OFFSETS, offset_rows("cluster", "gone", [("lsst", 0, 0, 3)], "unit", "run5"), "run5")
    return now


def test_streams_are_told_by_their_rounds(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    filled(place)
    assert cli.main(["stream", "status", "--warehouse", place, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["kind"], one["name"], one["last"]["run_id"]) for one in told["streams"]] == [
        ("kafka_group", "g", "run3"),
        ("watch", "/data/incoming", "run4"),
    ]
    assert told["streams"][0]["hour"] == {"rounds": 2, "failed": 1, "records": 205, "alerts": 203, "letters": 2}
    assert told["streams"][0]["day"] == {"rounds": 3, "failed": 1, "records": 306, "alerts": 303, "letters": 3}
    assert [(one["group"], one["done"]) for one in told["groups"]] == [("g", {"ztf/0": 25, "ztf/1": 7}), ("gone", {"lsst/0": 3})]
    assert told["backlogs"] == [{"catalog": "vizier:II/246/out", "unanswered": 0, "alerts": 0}]
    assert cli.main(["stream", "status", "--warehouse", place, "--kafka_group", "g"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "group g of Kafka"
    assert lines[1].endswith(" UTC, 4 min ago: 103 read, 102 alerts, 1 dead letters, 2.0 s")
    assert lines[2:] == [
        "  last hour    2 rounds (1 failed), 205 read (0.06/s), 203 alerts, 2 dead letters",
        "  last day     3 rounds (1 failed), 306 read (0.00/s), 303 alerts, 3 dead letters",
        "  read         2 partitions of 1 topics of cluster cluster",
        "dead letters of a week  none",
        "vizier:II/246/out  0 of 0 alerts of a week have no answer",
    ]


def test_what_catalogs_have_not_answered_is_counted(tmp_path: Path) -> None:
    night = simulated(tmp_path / "night", "--alerts", "12", "--damaged", "2")
    stars = f"file:{night}/catalog.parquet"
    assert run(tmp_path / "w", night, flags=("--crossmatch", stars)) == 0
    soon = datetime(2026, 9, 20, tzinfo=UTC)
    with warehouses.open(str(tmp_path / "w")) as opened:
        found = streamed.backlogs(opened, ["simbad", stars], soon)
        assert [(one.catalog, one.unanswered, one.alerts) for one in found] == [("simbad", 12, 12), (stars, 0, 12)]
        # Of nights that are long over it says nothing.
        assert streamed.backlogs(opened, ["simbad"], soon + timedelta(days=30))[0].alerts == 0
        assert streamed.letters(opened, datetime.now(UTC)) == {"read": 2}


def test_a_warehouse_without_a_stream_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "w", simulated(tmp_path / "night", "--alerts", "2")) == 0
    capsys.readouterr()
    assert cli.main(["stream", "status", "--warehouse", str(tmp_path / "w")]) == 1
    assert capsys.readouterr().err == f"broker stream: {tmp_path / 'w'} knows of no stream\n"
    assert cli.main(["stream", "status", "--warehouse", str(tmp_path / "none")]) == 2
    assert "holds no tables" in capsys.readouterr().err
