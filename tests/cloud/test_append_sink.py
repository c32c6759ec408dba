"""The sink by the Storage Write API: each row once, whoever runs again; what is refused, old, or has been deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from alerts.surveys import SURVEYS
from broker import cli, warehouse
from pipelines.ingest import run
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth
from transforms import write_tables
from transforms.elements import TableBatch
from transforms.load_files import avro_file
from warehouses.bigquery.tables import prepare
from warehouses.bigquery.writing import AtOnce, ByStreams, Connected, Rows


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ("--alerts", "40", "--duplicates", "5", "--damaged", "6", "--seed", "6")
    return simulated(tmp_path_factory.mktemp("night"), *flags)


def words(cloud: Cloud, dataset: str, night: Path) -> list[str]:
    place = f"bigquery://{cloud.project}/{dataset}"
    return ["--input", str(night), "--warehouse", place, "--survey", "ztf", "--write_method", "storage_write"]


def count(cloud: Cloud, dataset: str, table: str, condition: str = "TRUE") -> int:
    return cloud.rows(f"SELECT COUNT(*) AS n FROM `{cloud.project}.{dataset}.{table}` WHERE {condition}")[0]["n"]


def test_the_same_night_again_writes_nothing_twice(cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = cloud.dataset()
    for number in range(3):
        assert run(words(cloud, dataset, night)) == 0
        out = capsys.readouterr().out
        assert "of them 5 copies and 0 conflicts" in out
        all_three = "had written the same rows of these inputs to dead_letters, ztf_alerts, ztf_cutouts, ztf_features: they stand"
        assert (all_three in out) == (number > 0)
        assert [count(cloud, dataset, table) for table in ("ztf_alerts", "ztf_cutouts", "ztf_features", "dead_letters")] == [
            45
        ] * 3 + [6]
    assert count(cloud, dataset, "runs", "records_read = 51 AND alerts_written = 45 AND dead_letters = 6") == 3
    assert count(cloud, dataset, "ztf_alerts_unique") == 40


def test_other_inputs_beside_bring_only_what_is_new(
    cloud: Cloud, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some files of a folder, then all: the account counts the rows of the first run for its files alone."""
    dataset, inputs = cloud.dataset(), tmp_path / "inputs"
    other = simulated(tmp_path / "other", "--alerts", "10", "--seed", "7")
    inputs.mkdir()
    for number, folder in enumerate((night, other)):
        archive = next(folder.glob("*.tar.gz"))
        (inputs / f"{number}.tar.gz").symlink_to(archive)
    first, second = sorted(inputs.glob("*.gz"))
    place = words(cloud, dataset, inputs)[2:]
    assert run(["--input", str(first), "--input", str(second), *place]) == 0
    assert count(cloud, dataset, "ztf_alerts") == 55
    capsys.readouterr()
    assert run(["--input", str(second), *place]) == 0
    out = capsys.readouterr().out
    assert "records read             10" in out
    assert "they stand" in out
    assert count(cloud, dataset, "ztf_alerts") == 55


def test_fewer_or_other_rows_of_a_unit_are_no_repetition(cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = cloud.dataset()
    assert run([*words(cloud, dataset, night), "--max_alerts", "20"]) == 0
    some = count(cloud, dataset, "ztf_alerts")
    assert run(words(cloud, dataset, night)) == 0
    assert count(cloud, dataset, "ztf_alerts") == some + 45
    # Without their history alerts are other rows; their stamps are the same.
    capsys.readouterr()
    assert run([*words(cloud, dataset, night), "--no_history"]) == 0
    # The account does not say of the alerts that they were there.
    assert "to dead_letters, ztf_cutouts: they stand" in capsys.readouterr().out
    assert count(cloud, dataset, "ztf_alerts") == some + 90
    assert count(cloud, dataset, "ztf_cutouts") == some + 45
    assert count(cloud, dataset, "ztf_alerts_unique") == 40


def test_rows_that_somebody_deleted_come_again(cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = cloud.dataset()
    assert run(words(cloud, dataset, night)) == 0
    with contextlib.closing(cloud.client()) as client:
        gone = next(one["alert_id"] for one in truth(night) if one["kind"] == "good")
        client.query(f"DELETE FROM `{cloud.project}.{dataset}.ztf_alerts` WHERE alert_id = {gone}").result()
    assert count(cloud, dataset, "ztf_alerts_unique") == 39
    assert run(words(cloud, dataset, night)) == 0
    assert count(cloud, dataset, "ztf_alerts_unique") == 40
    # The letters are there, and stand.
    assert count(cloud, dataset, "dead_letters") == 6
    assert "they stand" in capsys.readouterr().out


def test_a_refused_row_becomes_a_dead_letter_and_all_others_are_there(
    cloud: Cloud, night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = cloud.dataset()
    poisoned = next(one["alert_id"] for one in truth(night) if one["kind"] == "good" and one["separation_arcsec"] is None)
    honest = write_tables.alert_rows

    def without_a_run(*given: Any) -> Iterator[TableBatch]:
        for batch in honest(*given):
            if batch.table == "ztf_alerts":
                ids = batch.rows.column("alert_id").to_pylist()
                runs = [None if own == poisoned else "run" for own in ids]
                place = batch.rows.schema.get_field_index("run_id")
                # As Arrow lets it be: only BigQuery knows that it is REQUIRED.
                field = batch.rows.schema.field("run_id").with_nullable(True)
                batch = replace(batch, rows=batch.rows.set_column(place, field, pa.array(runs, pa.string())))  # noqa: PLW2901
            yield batch

    monkeypatch.setattr(write_tables, "alert_rows", without_a_run)
    rows = sum(one["alert_id"] == poisoned for one in truth(night) if one["kind"] in ("good", "duplicate"))
    # The account looks for its own run's rows.
    assert run(words(cloud, dataset, night)) == 1
    assert count(cloud, dataset, "ztf_alerts") == 45 - rows
    assert count(cloud, dataset, "ztf_cutouts") == 45
    refused = "stage = 'write' AND message LIKE '%ztf_alerts%run_id%' AND payload IS NOT NULL AND survey = 'ztf'"
    assert count(cloud, dataset, "dead_letters", refused) == rows
    assert count(cloud, dataset, "dead_letters") == 6 + rows


def alert_batch(nights: list[date]) -> pa.RecordBatch:
    """Rows of ``ztf_cutouts``, which need nothing else."""
    table = SURVEYS["ztf"].cutouts_table.arrow_schema
    rows = [{"alert_id": 2**62 + number, "night": night, "science": b"\x00\xff"} for number, night in enumerate(nights)]
    return pa.RecordBatch.from_pylist(rows, schema=table)


@pytest.mark.parametrize("way", [AtOnce, ByStreams])
def test_nights_that_the_service_does_not_take_go_by_a_load_job(cloud: Cloud, way: type[Any]) -> None:
    dataset, today = cloud.dataset(), date.today()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, ["ztf"])
    rows = alert_batch([date(1999, 3, 1), today, date(1999, 3, 2), today + timedelta(days=700), today])
    connected = Connected(cloud.project, dataset)
    writing = way(connected, avro_file)
    assert writing.add([Rows("ztf_cutouts", "u", rows)]) == [[]]
    streams = writing.end()
    there = "SELECT alert_id, night, science FROM `{}.{}.ztf_cutouts` ORDER BY alert_id"
    if streams:
        # What goes by a stream is not seen before it is committed.
        assert [row["alert_id"] - 2**62 for row in cloud.rows(there.format(cloud.project, dataset))] == [0, 2, 3]
        assert [(stream.row_count, stream.nights) for stream in streams] == [(2, (today, today))]
        assert connected.unit_streams.commit("run", streams) == 2
    connected.close()
    assert cloud.rows(there.format(cloud.project, dataset)) == rows.select(["alert_id", "night", "science"]).to_pylist()


def test_a_stream_that_is_told_to_end_has_all_its_rows(cloud: Cloud, night: Path) -> None:
    """At once: rows are seen when the bundle ends, by whoever asks, and an answer that is lost is a row twice."""
    dataset = cloud.dataset()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, ["ztf"])
    connected = Connected(cloud.project, dataset)
    rows = alert_batch([date.today()] * 7)
    writing = AtOnce(connected, avro_file)
    cloud.write_faults.fail(1, f"AppendRows .*{dataset}/tables/ztf_cutouts", after=True)
    assert writing.add([Rows("ztf_cutouts", "stream", rows)]) == [[]]
    assert writing.end() == []
    connected.close()
    copies = cloud.rows(f"SELECT alert_id, COUNT(*) AS n FROM `{cloud.project}.{dataset}.ztf_cutouts` GROUP BY 1")
    assert sorted((row["alert_id"] - 2**62, row["n"]) for row in copies) == [(number, 2) for number in range(7)]


def test_a_replay_that_fails_again_marks_no_letter_replayed(
    cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The letters of a second replay are those of the first: they stand, and are still open."""
    dataset = cloud.dataset()
    place = words(cloud, dataset, night)[2:]
    assert run(words(cloud, dataset, night)) == 0
    for _ in range(2):
        cli.main(["replay", *place])
        assert count(cloud, dataset, "dead_letters_open") == 6
    assert count(cloud, dataset, "dead_letters", "stage = 'replayed'") == 0
    capsys.readouterr()
    with warehouse.open(place[1]) as opened:
        assert opened.query("SELECT COUNT(*) AS n FROM ztf_alerts").to_pylist() == [{"n": 45}]
