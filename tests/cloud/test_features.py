"""Features of alerts that are in BigQuery: what ``broker features`` computes is what ingest writes."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import pytest
from google.cloud import bigquery

from broker import cli, warehouse
from tests.alerts.features.test_table import fails_at
from tests.broker.test_features import account, features
from tests.cloud.test_parity import _rows
from tests.emulators.cloud import Cloud
from tests.nights import simulated


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alerts of two nights, the first far too long ago for what is streamed, and some of them twice."""
    place = tmp_path_factory.mktemp("night")
    simulated(place / "new", "--alerts", "20", "--duplicates", "3", "--damaged", "1", "--seed", "7")
    simulated(place / "old", "--alerts", "10", "--damaged", "0", "--seed", "8", "--night", "2018-06-01")
    return place


def ingested(cloud: Cloud, night: Path, dataset: str, *flags: str) -> str:
    place = f"bigquery://{cloud.project}/{dataset}"
    words = ("--input", str(night), "--survey", "ztf", "--write_method", "storage_write", "--warehouse", place)
    assert cli.main(["ingest", *words, *flags]) == 0
    return place


def in_table(place: str) -> Counter[str]:
    with warehouse.open(place) as opened:
        return _rows(opened, "ztf_features")


def test_features_of_stored_alerts_are_those_of_ingest(
    cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = in_table(ingested(cloud, night, cloud.dataset()))
    assert whole.total() == 33
    place = ingested(cloud, night, cloud.dataset(), "--no_features")
    assert in_table(place).total() == 0
    assert features(place, capsys, "--night", "2018-06-01") == account(10, computed=10)
    assert features(place, capsys, "--night", "2018-06-01..2026-12-31") == account(33, had=10, computed=23)
    assert in_table(place) == whole
    assert features(place, capsys) == account(33, had=33)
    assert in_table(place) == whole
    # Computed again they stand beside the old ones, and the newest are shown.
    assert features(place, capsys, "--again", "--night", "2018-06-01") == account(10, computed=10)
    dataset = place.rpartition("/")[2]
    counts = "SELECT COUNT(*) AS n, COUNT(DISTINCT run_id) AS runs FROM `{}.{}.{}` WHERE night = '2018-06-01'"
    assert cloud.rows(counts.format(cloud.project, dataset, "ztf_features")) == [{"n": 20, "runs": 2}]
    assert cloud.rows(counts.format(cloud.project, dataset, "ztf_features_unique")) == [{"n": 10, "runs": 1}]


def test_what_was_stored_without_its_history_has_no_features(
    cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, full = (cloud.dataset() for _ in range(2))
    place = ingested(cloud, night, bare, "--no_history")
    assert features(place, capsys) == account(33, without=33)
    # Nobody knows the run, as of a stream on Dataflow: rows tell what they can.
    cloud.rows(f"DELETE FROM `{cloud.project}.{bare}.runs` WHERE TRUE")
    assert features(place, capsys) == account(33, without=33)
    place = ingested(cloud, night, full, "--no_features")
    # As a dataset of an earlier version is.
    with contextlib.closing(bigquery.Client(project=cloud.project)) as client:
        for table in ("ztf_features_unique", "ztf_features"):
            client.delete_table(f"{cloud.project}.{full}.{table}")
    cloud.rows(f"DELETE FROM `{cloud.project}.{full}.runs` WHERE TRUE")
    [odd] = cloud.rows(f"SELECT MIN(alert_id) AS id FROM `{cloud.project}.{full}.ztf_alerts` WHERE night = '2018-06-01'")
    fails_at(monkeypatch, {odd["id"]})
    assert features(place, capsys) == account(33, computed=33, failed=1)


def test_features_of_what_is_stored_in_a_bucket(cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, place = cloud.folder(), cloud.folder()
    for folder, flags in ((whole, ()), (place, ("--no_features",))):
        assert cli.main(["ingest", "--input", str(night), "--survey", "ztf", "--warehouse", folder, *flags]) == 0
    assert features(place, capsys, "--night", "2026-09-17") == account(23, computed=23)
    assert features(place, capsys, "--again") == account(33, computed=33)
    assert features(place, capsys) == account(33, had=33)
    assert in_table(place) == in_table(whole)
