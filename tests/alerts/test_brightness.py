"""Brightness and time of alerts in columns that are the same for all surveys, as cones, objects and ``broker info`` show them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from alerts import brightness
from alerts.brightness import COLUMNS, OWN, complete, in_words, of_packet, own_paths, own_sql, points_sql
from alerts.surveys import SURVEYS
from broker import cli
from broker import warehouse as warehouses
from broker.info import text
from tests.alerts.test_cutouts import records
from tests.conftest import RealData
from tests.nights import run

SENT = {
    "ztf": "ztf/nightly/ztf_public_20240715.tar.gz",
    "lsst": "lsst/nightly/lsst_20260310_v10_0.tar.gz",
    "winter": "other_surveys/winter/3608701.avro",
    "pgir": "other_surveys/pgir/114310898.avro",
    "decam": "other_surveys/decam/alert.avro",
}


@pytest.fixture(scope="module")
def folder(real_data: RealData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("warehouse")
    assert run(found, *(real_data / path for path in SENT.values())) == 0
    return found


def first(real_data: RealData, survey: str) -> dict[str, Any]:
    return next(iter(records(real_data / SENT[survey])))


@pytest.mark.parametrize("survey", SENT)
def test_a_cone_tells_the_brightness_of_each_survey(real_data: RealData, folder: Path, survey: str) -> None:
    packet, facts = first(real_data, survey), SURVEYS[survey]
    own = packet.get("candidate") or packet["diaSource"]
    with warehouses.open(str(folder)) as opened:
        found = opened.cone(own["ra"], own["dec"], 0.5).to_pylist()
    [row] = [one for one in found if one["alert_id"] in (packet.get("candid"), own.get("diaSourceId"))]
    assert row["separation_arcsec"] == pytest.approx(0, abs=1e-6)
    told = of_packet(packet, facts)
    assert told is not None
    for name in COLUMNS.names:
        if name != "n_points":
            assert row[name] == told[name], name
    assert row["n_points"] == 1 + sum(len(packet.get(one.name) or []) for one in facts.photometry.series[1:])
    assert (row["band"], row["measures"]) == (
        {"ztf": "g", "lsst": "g", "winter": "H", "pgir": "J", "decam": "g"}[survey],
        "difference",
    )
    if facts.photometry.quantity == "magnitude":
        assert (row["mag"], row["mag_err"]) == (own["magpsf"], own["sigmapsf"])
    else:
        assert (row["flux_njy"], row["flux_err_njy"]) == (pytest.approx(own["psfFlux"]), pytest.approx(own["psfFluxErr"]))


def test_what_faded_is_negative_in_an_objects_rows(real_data: RealData, folder: Path) -> None:
    packet = first(real_data, "ztf")
    assert packet["candidate"]["isdiffpos"] == "f"
    with warehouses.open(str(folder)) as opened:
        [row] = [one for one in opened.alerts_of(packet["objectId"]).to_pylist() if one["alert_id"] == packet["candid"]]
    assert row["is_negative"] is True
    assert row["flux_njy"] < 0
    assert row["jd_utc"] == packet["candidate"]["jd"]


def test_the_answer_of_a_command_has_it(folder: Path, real_data: RealData, capsys: pytest.CaptureFixture[str]) -> None:
    packet = first(real_data, "lsst")
    number = packet["diaSource"]["diaObjectId"]
    assert cli.main(["query", "--object", str(number), "--warehouse", str(folder), "--format", "json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["flux_njy"] == packet["diaSource"]["psfFlux"]
    assert (row["time_reference"], row["n_points"]) == ("midpoint", 1 + 1 + 1)


def test_info_tells_it_in_words(real_data: RealData, folder: Path) -> None:
    lines = {}
    for survey in SENT:
        packet = first(real_data, survey)
        alert_id = packet.get("candid") or packet["diaSource"]["diaSourceId"]
        with warehouses.open(str(folder)) as opened:
            [found] = [one for one in opened.info(alert_id) if one["alert"]["survey"] == survey]
        lines[survey] = text(found)
        assert json.dumps(found["brightness"])
    assert "6,055 ± 345 nJy, g band (difference, AB)" in lines["lsst"]
    assert "midpoint of the exposure" in lines["lsst"]
    assert "fainter than the template)" in lines["ztf"]
    assert "start of the exposure" in lines["ztf"]
    assert "8.27 ± 0.01 mag, J band (difference, the survey does not say whether AB or Vega)" in lines["pgir"]
    assert "3 detections" in lines["winter"]


def test_what_is_not_known_is_said() -> None:
    packet = {"candid": 1, "candidate": {"jd": 2460230.5, "fid": 1, "magpsf": None, "sigmapsf": None, "isdiffpos": "t"}}
    told = of_packet(packet, SURVEYS["ztf"])
    assert told is not None
    assert (told["mag"], told["flux_njy"], told["is_negative"]) == (None, None, None)
    assert in_words(told) == "none told, g band (difference, AB)"
    assert of_packet({"candid": 1}, SURVEYS["ztf"]) is None


def test_a_warehouse_without_histories_can_be_asked(real_data: RealData, tmp_path: Path) -> None:
    assert run(tmp_path, real_data / SENT["ztf"], flags=("--no_history",)) == 0
    packet = first(real_data, "ztf")
    with warehouses.open(str(tmp_path)) as opened:
        [row] = opened.alerts_of(packet["objectId"]).to_pylist()
    assert (row["n_points"], row["mag"]) == (1, packet["candidate"]["magpsf"])


def test_both_dialects_ask_for_the_same_columns() -> None:
    for facts in SURVEYS.values():
        held = {path.partition(".")[0] for path in own_paths(facts).values()}
        for dialect in ("duckdb", "bigquery"):
            sql = own_sql(facts, held, dialect)
            assert sql.count(" AS own_") == 6


def test_a_survey_that_nobody_has_told_the_brightness_of_has_times_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = replace(SURVEYS["ztf"], photometry=None)
    assert own_paths(silent) == {"own_time": "candidate.jd"}
    assert of_packet({"candid": 1, "candidate": {"jd": 2460230.5}}, silent) is None
    monkeypatch.setitem(brightness.SURVEYS, "ztf", silent)
    found = {"survey": "ztf", "night": date(2023, 10, 13), "object_id": "a", "alert_id": 1, "dec_deg": 2.0} | dict.fromkeys(OWN)
    table = pa.Table.from_pylist([found | {"own_time": 2460230.5}])
    [row] = complete(table, [silent], lambda *_: {}).to_pylist()
    assert (row["mjd_utc"], row["n_points"], row["mag"], row["band"]) == (60230.0, 1, None, None)
    assert points_sql(silent, ["candidate"], "duckdb", [found]) is None


def test_times_in_seconds_are_dates_too() -> None:
    """As some of Rubin's packets have had them (``time_in_seconds_from``); TAI is 37 s ahead of UTC."""
    own = {"midpointMjdTai": (61109.25 - 40587) * 86400, "psfFlux": 1000.0, "psfFluxErr": 10.0, "band": "g"}
    told = of_packet({"diaSource": own}, SURVEYS["lsst"])
    assert told is not None
    assert told["mjd_utc"] == pytest.approx(61109.25 - 37 / 86400, abs=1e-9)
