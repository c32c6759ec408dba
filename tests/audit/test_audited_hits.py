"""The audit of what is to be sent: a night whose hits were sent passes; what is lost, waits, or has no proof is named."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker import audit as command
from tests.nights import ask, by_hand, records, run, simulated
from tests.pipelines.test_filters import BRIGHT, FADING, folder
from tests.pipelines.test_hits_again import NEAR, publish, sources
from tests.pipelines.test_public_part import FILTERS, planted  # noqa: F401

Change = Callable[[pa.Table], pa.Table]
KINDS = {"not_in_outbox", "not_sent", "without_letter", "not_in_manifest"}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "40", "--duplicates", "4", "--seed", "3")


@pytest.fixture(scope="module")
def whole(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole")
    filters = folder(place / "filters", bright=BRIGHT, fading=FADING)
    publish = ("--publish", f"folder:{place}/{{filter}}?format=json", "--publish", f"folder:{place}/every?filter=all&format=json")
    assert run(place / "w", night, flags=("--filters", str(filters), "--no_cutouts", *publish)) == 0
    return place / "w"


def audited(capsys: pytest.CaptureFixture[str], night: Path, warehouse: Path, form: str = "json") -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    capsys.readouterr()
    words = ["--input", str(night), "--warehouse", str(warehouse), "--no_cutouts", "--format", form]
    return command.main(parser.parse_args(words)), capsys.readouterr().out


def changed(whole: Path, place: Path, sql: str) -> Path:
    """A copy of the warehouse in whose outbox stand only the rows that a question gives."""
    shutil.copytree(whole, place)
    files = sorted((place / "outbox").rglob("*.parquet"))
    # By what the rows are: each file keeps those of its own that are left.
    for file in files:
        outbox = pq.ParquetFile(file).read()
        with duckdb.connect() as connection:
            rows = connection.execute(sql).to_arrow_table().cast(outbox.schema)
        pq.write_table(rows, file)
    by_hand(place)
    return place


def faults(report: str) -> dict[str, list[dict]]:
    return {kind: found for kind, found in json.loads(report)["faults"].items() if found}


def test_a_night_whose_hits_were_sent_is_accounted_for(whole: Path, night: Path, capsys: pytest.CaptureFixture[str]):
    status, report = audited(capsys, night, whole)
    assert (status, faults(report)) == (0, {})
    told = json.loads(report)["counts"]["information"]
    assert told["hits"] > 40
    assert "hits_refused" not in told


HIT = "topic LIKE '%/bright' AND sent_at IS NULL"


@pytest.mark.parametrize(
    ("kept", "kind", "number"),
    [
        (f"NOT ({HIT}) OR id > (SELECT MIN(id) FROM outbox WHERE {HIT})", "not_in_outbox", 1),
        (
            "NOT (topic LIKE '%/every' AND sent_at IS NULL) OR id > (SELECT MIN(id) FROM outbox WHERE topic LIKE '%/every')",
            "not_in_outbox",
            1,
        ),
        ("sent_at IS NULL OR topic NOT LIKE '%/bright'", "not_sent", None),
        ("topic NOT LIKE '%/bright/_manifest'", "not_in_manifest", None),
    ],
    ids=["a hit gone", "one of all gone", "not closed", "no manifest"],
)
def test_what_is_lost_or_waits_or_is_not_proved_is_named(
    whole: Path, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: str, kind: str, number: int | None
):
    place = changed(whole, tmp_path / "w", f"SELECT * FROM outbox WHERE {kept}")
    status, report = audited(capsys, night, place)
    assert status == 1
    (fault,) = faults(report).pop(kind)
    assert fault["number"] == number or (number is None and fault["number"] > 1)
    assert fault["topic"].startswith("folder:")
    status, text = audited(capsys, night, place, "table")
    assert f"{fault['topic']}, messages: {fault['number']}" in text
    if kind == "not_sent":
        assert f"broker publish --outbox --warehouse {place}" in text


def test_a_message_that_was_refused_without_a_letter_is_named(
    whole: Path, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    sql = (
        "SELECT * REPLACE (CASE WHEN sent_at IS NULL OR topic NOT LIKE '%/bright' THEN sent_at END AS sent_at, "
        "CASE WHEN sent_at IS NOT NULL AND topic LIKE '%/bright' THEN 'too large' END AS error) FROM outbox"
    )
    place = changed(whole, tmp_path / "w", sql)
    status, report = audited(capsys, night, place)
    found = faults(report)
    assert (status, set(found)) == (1, {"without_letter"})
    assert json.loads(report)["counts"]["information"]["hits_refused"] == found["without_letter"][0]["number"]


def test_hits_of_other_nights_are_no_concern_of_this_one(
    whole: Path, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    now = datetime.now(UTC).isoformat()
    sql = (
        "SELECT * FROM outbox UNION ALL SELECT 'f' || substr(id, 2), topic, key, headers, payload, "
        f"TIMESTAMPTZ '{now}', NULL, NULL, '20990101T000000-ffffff' FROM outbox WHERE sent_at IS NULL"
    )
    place = changed(whole, tmp_path / "w", sql)
    assert audited(capsys, night, place)[0] == 0


def test_hits_whose_packets_nobody_has_are_accounted_for_by_their_letters(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ("--filters", str(folder(tmp_path / "filters", near=NEAR)), "--crossmatch", sources(night))
    kept = ("--no_cutouts", "--no_history", *publish(tmp_path, lite="format=lite"))
    assert run(tmp_path / "w", night, flags=(*flags, *kept)) == 0
    status, report = audited(capsys, night, tmp_path / "w")
    assert (status, faults(report)) == (0, {})
    letters = "SELECT source FROM dead_letters WHERE stage = 'publish'"
    assert len(ask(tmp_path / "w", letters)) > 1
    # A letter that is gone is a hit that is lost.
    first = min(file for file in (tmp_path / "w" / "dead_letters").rglob("*.parquet"))
    rows = pq.ParquetFile(first).read()
    pq.write_table(rows.slice(1), first)
    by_hand(tmp_path / "w")
    status, report = audited(capsys, night, tmp_path / "w")
    assert (status, [fault["number"] for fault in faults(report)["not_in_outbox"]]) == (1, [1])


def test_what_only_the_public_part_passes_hides_no_loss(
    planted: dict[str, Any],  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Left out as ``packet``, it is no hit that is left out: no verdict tells of it."""
    filters = folder(tmp_path / "filters", **{name: FILTERS[name] for name in ("told", "only_without")})
    flags = ("--filters", str(filters), "--no_cutouts", *publish(tmp_path, packets="format=packet"))
    assert run(tmp_path / "w", planted["with"], flags=flags) == 0
    status, report = audited(capsys, planted["with"], tmp_path / "w")
    assert (status, faults(report)) == (0, {})
    hits = "topic LIKE '%/packets' AND sent_at IS NULL"
    kept = f"SELECT * FROM outbox WHERE NOT ({hits}) OR id > (SELECT MIN(id) FROM outbox WHERE {hits})"
    status, report = audited(capsys, planted["with"], changed(tmp_path / "w", tmp_path / "lost", kept))
    assert (status, [fault["number"] for fault in faults(report)["not_in_outbox"]]) == (1, [1])


def test_a_private_alert_that_comes_twice_hides_no_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    simulated(tmp_path / "made", "--alerts", "20", "--seed", "4")
    (tmp_path / "night").mkdir()
    for number, (_, schema, record) in enumerate(records(next((tmp_path / "made").glob("*.tar.gz")))):
        record["candidate"]["programid"] = 2 if number == 0 else 1
        for copy in range(2 if number == 0 else 1):
            with (tmp_path / "night" / f"{number}_{copy}.avro").open("wb") as out:
                fastavro.writer(out, schema, [record])
    filters = folder(tmp_path / "filters", every="SELECT alert_id FROM alerts WHERE candidate.jd > 0")
    publish = ("--publish", f"folder:{tmp_path}/hits?format=json", "--publish", f"folder:{tmp_path}/all?filter=all&format=json")
    assert run(tmp_path / "w", tmp_path / "night", flags=("--filters", str(filters), "--no_cutouts", *publish)) == 0
    assert audited(capsys, tmp_path / "night", tmp_path / "w")[0] == 0
    for topic in ("hits", "all"):
        own = f"topic LIKE '%/{topic}'"
        kept = f"NOT ({own}) OR id > (SELECT MIN(id) FROM outbox WHERE {own} AND sent_at IS NULL)"
        place = changed(tmp_path / "w", tmp_path / topic / "w", f"SELECT * FROM outbox WHERE {kept}")
        (fault,) = faults(audited(capsys, tmp_path / "night", place)[1])["not_in_outbox"]
        assert fault["number"] == 1
