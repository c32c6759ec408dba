"""Features from the command line to their table: with the alerts' rows, by default where there is a history, and never a loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alerts.features.table import version
from alerts.surveys import SURVEYS
from pipelines.errors import OptionsError
from pipelines.job import Job
from pipelines.options import parse
from tests.alerts.features.test_table import fails_at
from tests.nights import ask, run, simulated


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "20", "--duplicates", "3", "--damaged", "2", "--seed", "7")


def test_an_alert_whose_features_fail_is_there_without_them_and_that_is_said(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, night) == 0
    copies = "SELECT alert_id, count(*) FROM ztf_features GROUP BY 1"
    assert sorted(ask(tmp_path, copies)) == sorted(ask(tmp_path, copies.replace("features", "alerts")))
    assert ask(tmp_path, "SELECT count(*), count(DISTINCT alert_id), any_value(version) FROM ztf_features_unique") == [
        (20, 20, version(SURVEYS["ztf"]))
    ]
    [(odd, count)] = ask(tmp_path, f"{copies} HAVING count(*) = 1 ORDER BY 1 LIMIT 1")
    capsys.readouterr()
    fails_at(monkeypatch, {odd})
    assert run(tmp_path, night) == 0
    assert f"warning: {count} ztf alerts have no features, which could not be computed" in capsys.readouterr().out
    assert ask(tmp_path, "SELECT count(*) FROM ztf_alerts") == [(23,)]
    assert ask(tmp_path, "SELECT count(*) FROM ztf_features") == [(23,)]
    assert ask(tmp_path, "SELECT alert_id FROM ztf_features WHERE features IS NULL") == [(odd,)]
    counts = [json.loads(text)["features_failed"] for (text,) in ask(tmp_path, "SELECT counts FROM runs ORDER BY started_at")]
    assert counts == [{}, {"ztf": 1}]


@pytest.mark.parametrize(
    ("flags", "written"),
    [([], True), (["--features"], True), (["--no_features"], False), (["--no_history"], False), (["--no_cutouts"], True)],
)
def test_features_are_written_where_the_history_is(flags: list[str], written: bool, tmp_path: Path) -> None:
    (tmp_path / "a.avro").touch()
    job = Job.from_options(parse(["--input", str(tmp_path / "a.avro"), "--warehouse", str(tmp_path / "w"), *flags]))
    job.clean_up()
    assert job.features == written
    assert ("lsst_features" in job.sink.tables) == written
    # As the runs table has it.
    assert job.options.get("features") == {"--features": True, "--no_features": False}.get(flags[0] if flags else "")


def test_features_without_history_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.avro").touch()
    words = ["--input", str(tmp_path / "a.avro"), "--warehouse", str(tmp_path / "w"), "--features", "--no_history"]
    with pytest.raises(OptionsError, match=r"--features is given with --no_history: .* leave one of the two out"):
        Job.from_options(parse(words))
