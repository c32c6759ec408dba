"""Filters asked about what is in BigQuery: the same verdicts as over a folder, and nothing is asked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import warehouses
from pipelines import ingest, refilter
from tests.emulators.cloud import Cloud
from tests.nights import simulated
from tests.pipelines.test_filters import BRIGHT, FADING, folder
from tests.pipelines.test_hits import received
from tests.pipelines.test_public_part import FILTERS, PRIVATE_BYTES, planted, told_of  # noqa: F401

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


def test_hits_of_what_is_in_bigquery_are_those_of_a_folder(
    cloud: Cloud,
    planted: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    """Also where everybody may know only a part of an alert."""
    filters = folder(tmp_path / "filters", **{name: FILTERS[name] for name in ("told", "only_with", "only_without")})
    there, here = f"bigquery://{cloud.project}/{cloud.dataset()}", str(tmp_path / "w")
    found = []
    for number, (uri, flags) in enumerate(((there, FLAGS), (here, ()))):
        words = ["--warehouse", uri, *flags]
        assert ingest.run(["--input", str(planted["with"]), *words, "--no_cutouts"]) == 0
        names = {"lite": "format=lite", "json": "format=json", "partners": "format=json&private"}
        outlets = [w for name, told in names.items() for w in ("--publish", f"folder:{tmp_path}/{number}/{name}?{told}")]
        assert refilter.run([*words, "--filters", str(filters), *outlets]) == 0
        found.append({name: told_of(tmp_path / str(number) / name, tmp_path) for name in names})
    assert found[0] == found[1]
    assert {name: len(told) > 20 for name, told in found[0].items()} == dict.fromkeys(found[0], True)


def test_features_of_histories_that_were_not_kept_again_go_nowhere_public(
    cloud: Cloud,
    planted: dict[str, Any],  # noqa: F811 - pytest's fixture
    tmp_path: Path,
) -> None:
    # The second run's rows stand, with histories that are empty, beside the first one's features.
    place = f"bigquery://{cloud.project}/{cloud.dataset()}"
    for flags in ((), ("--no_history",)):
        words = ["--input", str(planted["with"]), "--warehouse", place, "--survey", "ztf", "--no_cutouts", *flags]
        assert ingest.run([*words, *FLAGS]) == 0
    bright = "SELECT LEAST(features.g.brightest_mag, features.r.brightest_mag) AS m FROM alerts WHERE candidate.jd > 0"
    filters = folder(tmp_path / "filters", bright=bright)
    words = ["--warehouse", place, "--filters", str(filters), "--publish", f"folder:{tmp_path}/json?format=json"]
    assert refilter.run([*words, *FLAGS]) == 0
    came = received(tmp_path / "json")
    assert planted["mixed"] <= {headers["alert_id"] for headers, _, _ in came}
    assert not any(told in payload for _, _, payload in came for told in PRIVATE_BYTES)
