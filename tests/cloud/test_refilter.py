"""Filters asked about what is in BigQuery: the same verdicts as over a folder, and nothing is asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

import warehouses
from pipelines import ingest, refilter
from tests.emulators.cloud import Cloud
from tests.nights import simulated
from tests.pipelines.test_filters import BRIGHT, FADING, folder

FLAGS = ("--write_method", "storage_write")


def verdicts(uri: str) -> list[dict]:
    """What readers see."""
    with warehouses.at(uri) as opened:
        return opened.query("SELECT alert_id, filter, status, columns FROM verdicts_unique ORDER BY 1, 2").to_pylist()


def test_a_refilter_of_bigquery_says_what_one_of_a_folder_says(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = simulated(tmp_path / "night", "--alerts", "25", "--duplicates", "3", "--seed", "7")
    filters = folder(tmp_path / "filters", bright=BRIGHT, fading=FADING)
    there, here = f"bigquery://{cloud.project}/{cloud.dataset()}", str(tmp_path / "w")
    for uri, flags in ((there, FLAGS), (here, ())):
        assert ingest.run(["--input", str(night), "--warehouse", uri, "--no_cutouts", *flags]) == 0
        for told in ("of 25 ztf alerts", "there is nothing to ask"):
            capsys.readouterr()
            assert refilter.run(["--warehouse", uri, "--filters", str(filters), *flags]) == 0
            assert told in capsys.readouterr().out
    assert verdicts(there) == verdicts(here)
    assert {row["filter"] for row in verdicts(there)} == {"bright", "fading"}
