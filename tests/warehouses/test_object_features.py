"""An object's features over its alerts in time, and what ``broker info`` tells of an alert's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import warehouses
from broker import cli
from tests.nights import ask, run, simulated
from warehouses import QueryError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a night's alerts, some of them twice, and their features."""
    night = simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--duplicates", "4", "--damaged", "0", "--seed", "7")
    place = tmp_path_factory.mktemp("warehouse")
    assert run(place, night) == 0
    return place


def several(place: Path) -> str:
    """An object with several alerts."""
    return str(ask(place, "SELECT object_id FROM ztf_alerts_unique GROUP BY 1 HAVING count(*) > 1 ORDER BY 1")[0][0])


def test_an_objects_features_are_those_of_its_alerts_in_time(place: Path) -> None:
    name = several(place)
    with warehouses.open(str(place)) as opened:
        told = opened.features(name).to_pylist()
        alerts = opened.alerts_of(name).to_pylist()
        stored = {row["alert_id"]: row["features"] for row in opened.query("SELECT * FROM ztf_features_unique").to_pylist()}
    assert [row["alert_id"] for row in told] == [alert["alert_id"] for alert in alerts]
    assert [row["observed_at"] for row in told] == sorted(row["observed_at"] for row in told)
    assert [row["features"] for row in told] == [stored[alert["alert_id"]] for alert in alerts]
    ages = [row["features"]["age_history_days"] for row in told]
    assert ages == sorted(ages)


def test_alerts_without_features_are_shown_without(place: Path, tmp_path: Path) -> None:
    night = simulated(tmp_path / "night", "--alerts", "60", "--seed", "7")
    assert run(tmp_path / "w", night, flags=("--no_features",)) == 0
    with warehouses.open(str(tmp_path / "w")) as opened:
        told = opened.features(several(place)).to_pylist()
        assert len(told) > 1
        assert {(row["features"], row["computed_at"], row["version"]) for row in told} == {(None, None, None)}
        assert opened.info(told[0]["alert_id"])[0]["features"] is None


def test_an_object_that_is_not_there(place: Path) -> None:
    with warehouses.open(str(place)) as opened, pytest.raises(QueryError, match="no alerts of object 'ZTF99nothing'"):
        opened.features("ZTF99nothing")


def test_info_tells_them_with_units(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (alert_id, age) = ask(place, "SELECT alert_id, features.age_history_days FROM ztf_features_unique ORDER BY 2 DESC")[0]
    words = ["info", str(alert_id), "--warehouse", str(place)]
    assert cli.main(words) == 0
    short = capsys.readouterr().out
    assert f"  features         {age:.4g} d old or more" in short
    assert "age_history_days" not in short
    assert cli.main([*words, "--features"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["age_history_days", "d", f"{age:.4g}"] in lines
    assert any(line[:2] == ["mean_mag", "mag"] for line in lines)
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"]["features"]["age_history_days"] == age


def test_info_says_where_none_were_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night = simulated(tmp_path / "night", "--alerts", "3", "--seed", "7")
    assert run(tmp_path / "w", night, flags=("--no_features",)) == 0
    (alert_id,) = ask(tmp_path / "w", "SELECT alert_id FROM ztf_alerts")[0]
    assert cli.main(["info", str(alert_id), "--warehouse", str(tmp_path / "w")]) == 0
    assert "  features         none are stored; broker features computes them" in capsys.readouterr().out
