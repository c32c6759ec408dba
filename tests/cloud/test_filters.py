"""Filters over BigQuery and over a bucket say of the same alerts what they say over a folder of this machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import warehouses
from alerts.surveys import SURVEYS
from broker import cli
from tests.broker.test_filter_nights import FILTER, ingested_beside, word
from tests.conftest import RealData
from tests.emulators.cloud import Cloud
from tests.nights import ask, simulated
from tests.warehouses.filter_verdicts import of_packets, of_warehouse

ZTF = SURVEYS["ztf"]


@pytest.fixture(scope="module")
def here(night: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("filled") / "warehouse")
    ingested_beside(night, place)
    return place


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alerts of two nights, some of them sent twice, and one of a catalog's stars beside each third."""
    place = tmp_path_factory.mktemp("night")
    simulated(place / "new", "--alerts", "25", "--duplicates", "3", "--damaged", "0", "--seed", "7")
    simulated(place / "old", "--alerts", "10", "--damaged", "0", "--seed", "8", "--night", "2026-09-10")
    return place


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """What a command prints, without the place that it is of and what it took."""
    assert cli.main(["filter", *words]) == 0
    out = capsys.readouterr().out
    assert out
    return [re.sub(r"\s+\S+$", "", line) if line.startswith("2") else line for line in out.splitlines() if " over " not in line]


@pytest.mark.parametrize("kind", ["bigquery", "bucket"])
def test_the_same_is_said_over_each_kind_of_warehouse(
    kind: str, cloud: Cloud, night: Path, here: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wanted.sql").write_text(FILTER)
    there = cloud.folder() if kind == "bucket" else f"bigquery://{cloud.project}/{cloud.dataset()}"
    ingested_beside(night, there, *(("--write_method", "storage_write") if kind == "bigquery" else ()))
    capsys.readouterr()
    file, nights = str(tmp_path / "wanted.sql"), ("--night", "2026-09-01..30")
    first = int(ask(Path(here), "SELECT MIN(alert_id) FROM ztf_alerts")[0][0])
    for words in (("try", file, *nights, "--sample", "5"), ("explain", file, *nights), ("explain", file, str(first))):
        told = lines(capsys, *words, "--warehouse", here)
        assert told == lines(capsys, *words, "--warehouse", there)
        assert len(told) > 4
    passed = int(word(lines(capsys, "try", file, *nights, "--warehouse", there)[-1], 3).replace(",", ""))
    assert 0 < passed < 35
    with warehouses.open(here) as folder, warehouses.open(there) as other:
        expected, found = of_warehouse(folder, ZTF), of_warehouse(other, ZTF)
    assert expected == found
    assert {tuple, bool, type(None)} <= {type(value) for by_alert in found.values() for value in by_alert.values()}


@pytest.mark.parametrize(
    ("survey", "pattern"), [("ztf", "ztf/nightly/*nan.tar.gz"), ("lsst", "lsst/wire_confluent/v10*")], ids=["ztf", "lsst"]
)
def test_filters_say_of_what_bigquery_holds_what_they_say_of_real_packets(
    survey: str, pattern: str, cloud: Cloud, real_data: RealData
) -> None:
    files, place = real_data.glob(pattern), f"bigquery://{cloud.project}/{cloud.dataset()}"
    words = [word for path in files for word in ("--input", str(path))]
    assert cli.main(["ingest", *words, "--write_method", "storage_write", "--warehouse", place]) == 0
    with warehouses.open(place) as opened:
        assert of_warehouse(opened, SURVEYS[survey]) == of_packets(files, SURVEYS[survey])
