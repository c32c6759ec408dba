"""The BigQuery sink by itself: tables made and widened, refused rows, and a service that is away for a while."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from google.cloud import bigquery

from alerts.surveys import SURVEYS
from broker import cli, warehouse
from pipelines.ingest import run
from schemas import Table
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth
from transforms import write_bigquery
from transforms.files import files_below
from warehouses.bigquery.tables import prepare, tables_of
from warehouses.folder import readers


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ("--alerts", "40", "--duplicates", "5", "--damaged", "6", "--seed", "6")
    return simulated(tmp_path_factory.mktemp("night"), *flags)


def flags(cloud: Cloud, dataset: str, method: str) -> list[str]:
    place = ["--warehouse", f"bigquery://{cloud.project}/{dataset}", "--survey", "ztf"]
    return [*place, "--write_method", method, "--temp_location", f"{cloud.bucket}/loads"]


def count(cloud: Cloud, dataset: str, table: str, condition: str = "TRUE") -> int:
    rows = cloud.client().query(f"SELECT COUNT(*) AS n FROM `{cloud.project}.{dataset}.{table}` WHERE {condition}").result()
    return next(iter(rows)).n


def test_tables_are_what_the_schemas_say(cloud: Cloud) -> None:
    dataset, client = cloud.dataset(), cloud.client()
    prepare(client, dataset, list(SURVEYS))
    for table in tables_of(SURVEYS):
        made = client.get_table(f"{cloud.project}.{dataset}.{table.name}")
        assert [field.to_api_repr() for field in made.schema] == [
            bigquery.SchemaField.from_api_repr(field).to_api_repr() for field in table.to_bigquery()["fields"]
        ]
        if table.partition_by:
            assert made.time_partitioning.field == table.partition_by
        assert (made.clustering_fields or []) == list(table.cluster_by)
    # Again, and nothing changes.
    prepare(client, dataset, list(SURVEYS))
    assert count(cloud, dataset, "lsst_alerts_unique") == 0


def test_a_column_that_is_missing_is_added_and_none_is_dropped(cloud: Cloud) -> None:
    dataset, client = cloud.dataset(), cloud.client()
    client.create_dataset(dataset)
    whole = SURVEYS["ztf"].alerts_table
    older = Table(whole.name, tuple(column for column in whole.columns if column.name not in ("fp_hists", "extra")))
    fields = [bigquery.SchemaField.from_api_repr(field) for field in older.to_bigquery()["fields"]]
    fields.append(bigquery.SchemaField("somebodys_own", "STRING"))
    client.create_table(bigquery.Table(f"{cloud.project}.{dataset}.{whole.name}", schema=fields))
    prepare(client, dataset, ["ztf"])
    names = [field.name for field in client.get_table(f"{cloud.project}.{dataset}.{whole.name}").schema]
    assert set(names) == {*(column.name for column in whole.columns), "somebodys_own"}


def test_cutouts_of_before_do_not_say_whose_they_are_and_can_be_read(cloud: Cloud) -> None:
    """The column comes with the next ingest, and NULL in the rows that are there; audits and stamps do without it till then."""
    dataset, client, survey = cloud.dataset(), cloud.client(), SURVEYS["ztf"]
    client.create_dataset(dataset)
    whole, day = survey.cutouts_table, date(2026, 9, 17)
    older = Table(whole.name, tuple(column for column in whole.columns if column.name != "packet_digest"))
    fields = [bigquery.SchemaField.from_api_repr(field) for field in older.to_bigquery()["fields"]]
    place = f"{cloud.project}.{dataset}.{whole.name}"
    client.create_table(bigquery.Table(place, schema=fields))
    row = {"alert_id": "2560123456789012345", "object_id": "ZTF18a", "night": str(day), "science": "AP8="}
    assert client.insert_rows_json(place, [row]) == []
    expected = {"science": b"\x00\xff", "template": None, "difference": None}
    uri = f"bigquery://{cloud.project}/{dataset}"
    with warehouse.open(uri) as opened:
        assert opened.stamps(survey, 2560123456789012345, day, b"any") == expected
    prepare(client, dataset, ["ztf"])
    assert "packet_digest" in {field.name for field in client.get_table(place).schema}
    with warehouse.open(uri) as opened:
        assert opened.stamps(survey, 2560123456789012345, day, b"any") == expected


@pytest.mark.parametrize("method", ["file_loads", "streaming_inserts"])
def test_the_same_night_twice_shows_each_alert_once(
    cloud: Cloud, night: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = cloud.dataset()
    for _ in range(2):
        assert run(["--input", str(night), *flags(cloud, dataset, method)]) == 0
        assert "of them 5 copies and 0 conflicts" in capsys.readouterr().out
    good = {one["alert_id"] for one in truth(night) if one["kind"] == "good"}
    assert len(good) == 40
    assert count(cloud, dataset, "ztf_alerts") == 90
    assert count(cloud, dataset, "ztf_alerts_unique") == 40
    assert count(cloud, dataset, "dead_letters_open") == 6
    assert count(cloud, dataset, "runs", "records_read = 51 AND alerts_written = 45 AND dead_letters = 6") == 2
    for view in ("runs_by_hour", "runs_by_night"):
        assert count(cloud, dataset, view, "failed = 0 AND records_read = 51 * runs AND longest_secs <= run_secs") in (1, 2)
    # And asked by the command a person would use.
    place = f"bigquery://{cloud.project}/{dataset}"
    assert cli.main(["query", "--warehouse", place, "SELECT alert_id FROM ztf_alerts_unique", "--format", "csv"]) == 0
    assert {int(line) for line in capsys.readouterr().out.splitlines()[1:]} == good


def test_a_row_that_bigquery_refuses_becomes_a_dead_letter(cloud: Cloud, night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = cloud.dataset()
    poisoned = next(one["alert_id"] for one in truth(night) if one["kind"] == "good" and one["separation_arcsec"] is None)
    honest = write_bigquery.json_rows

    def with_a_bad_value(batch):
        # As if the packet held what its column does not take: real BigQuery, and the emulator, refuse the row.
        rows = honest(batch)
        for row in rows:
            if row.get("alert_id") in (poisoned, str(poisoned)) and "candidate" in row:
                row["ra_deg"] = "not a number"
        return rows

    monkeypatch.setattr(write_bigquery, "json_rows", with_a_bad_value)
    rows = sum(one["alert_id"] == poisoned for one in truth(night) if one["kind"] in ("good", "duplicate"))
    assert run(["--input", str(night), *flags(cloud, dataset, "streaming_inserts")]) == 0
    assert count(cloud, dataset, "ztf_alerts") == 45 - rows
    assert (
        count(cloud, dataset, "dead_letters", "stage = 'write' AND message LIKE '%ztf_alerts%' AND payload IS NOT NULL") == rows
    )
    assert count(cloud, dataset, "dead_letters") == 6 + rows


def test_folder_is_no_dataset(capsys: pytest.CaptureFixture[str], night: Path) -> None:
    assert run(["--input", str(night), "--warehouse", "bigquery://only-a-project"]) == 2
    assert "bigquery://PROJECT/DATASET" in capsys.readouterr().err
    assert run(["--input", str(night), "--warehouse", "bigquery://project/dataset"]) == 2
    assert "--temp_location gs://" in capsys.readouterr().err


def test_bigquery_away_for_a_while_delays_and_loses_nothing(cloud: Cloud, night: Path) -> None:
    """Inserts answered by 503 again and again: they are tried again until they pass."""
    dataset = cloud.dataset()
    cloud.faults.fail(4, rf"POST .*{dataset}/tables/ztf_alerts/insertAll")
    assert run(["--input", str(night), *flags(cloud, dataset, "streaming_inserts")]) == 0
    assert len([one for one in cloud.faults.failed if dataset in one]) == 4
    assert count(cloud, dataset, "ztf_alerts") == 45
    assert count(cloud, dataset, "dead_letters") == 6


def test_an_insert_whose_answer_is_lost_is_there_again_and_the_account_knows_it(
    cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BigQuery would mostly know the rows again by their insert ids; the emulator never does."""
    dataset = cloud.dataset()
    cloud.faults.fail(1, rf"POST .*{dataset}/tables/ztf_alerts/insertAll", cut="answer")
    cloud.faults.fail(1, rf"POST .*{dataset}/tables/dead_letters/insertAll", cut="answer")
    assert run(["--input", str(night), *flags(cloud, dataset, "streaming_inserts")]) == 0
    out = capsys.readouterr().out
    assert "of them 5 copies and 0 conflicts" in out
    again = count(cloud, dataset, "ztf_alerts") + count(cloud, dataset, "dead_letters") - 51
    assert f"warning: {again} rows are in the tables twice" in out
    assert again > 6
    assert count(cloud, dataset, "ztf_alerts_unique") == 40
    assert count(cloud, dataset, "dead_letters_open") == 6


@pytest.mark.parametrize("table", ["ztf_alerts", "dead_letters"])
def test_a_quota_that_is_used_up_fails_the_run_and_makes_no_dead_letters_of_good_rows(
    cloud: Cloud, night: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = cloud.dataset()
    cloud.faults.fail(1, rf"POST .*{dataset}/tables/{table}/insertAll", 403, "quotaExceeded")
    assert run(["--input", str(night), *flags(cloud, dataset, "streaming_inserts")]) == 1
    assert f"BigQuery takes no rows for {table}" in capsys.readouterr().err
    assert run(["--input", str(night), *flags(cloud, dataset, "streaming_inserts")]) == 0
    assert count(cloud, dataset, "ztf_alerts_unique") == 40
    assert count(cloud, dataset, "dead_letters_open") == count(cloud, dataset, "dead_letters_open", "stage <> 'write'") == 6


def test_a_load_that_cannot_begin_at_first_is_tried_again(cloud: Cloud, night: Path) -> None:
    dataset = cloud.dataset()
    before = len(cloud.faults.failed)
    cloud.faults.fail(2, r"POST .*/projects/[^/]+/jobs\b", 503)
    assert run(["--input", str(night), *flags(cloud, dataset, "file_loads")]) == 0
    assert len(cloud.faults.failed) == before + 2
    assert count(cloud, dataset, "ztf_alerts") == 45


def test_a_load_that_fails_for_good_fails_the_run_and_run_again_it_is_whole(
    cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is lost in silence: the run says that it failed, and the same command again brings everything."""
    dataset = cloud.dataset()
    cloud.faults.fail(1, r"POST .*/projects/[^/]+/jobs\b", 400, "invalid")
    assert run(["--input", str(night), *flags(cloud, dataset, "file_loads")]) == 1
    assert "the run failed" in capsys.readouterr().err
    assert run(["--input", str(night), *flags(cloud, dataset, "file_loads")]) == 0
    assert count(cloud, dataset, "ztf_alerts_unique") == 40
    assert count(cloud, dataset, "dead_letters_open") == 6


def test_a_folder_on_cloud_storage_is_a_warehouse_too(cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = f"{cloud.bucket}/warehouse"
    for _ in range(2):
        assert run(["--input", str(night), "--warehouse", place]) == 0
        out = capsys.readouterr().out
        assert "records read             51" in out
        assert "of them 5 copies and 0 conflicts" in out
    files = [file.uri for file in files_below(place)]
    # Nobody can tell who is still reading what was replaced: it stays for an hour, and is no part of the table.
    assert sum("/ztf_alerts/night=" in uri for uri in files) == 2
    assert readers.begun(place).of("ztf_alerts").num_rows == 1
    assert sum("/runs/" in uri for uri in files) == 2
    assert not [uri for uri in files if "/_tmp/" in uri]
