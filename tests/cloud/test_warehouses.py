"""Each command on each kind of warehouse: the same answers from a folder, from a bucket and from BigQuery."""

from __future__ import annotations

import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from google.cloud import storage
from sqlalchemy import select

import warehouses
from broker import cli, orm
from tests.broker.features_page import questions
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth

KINDS = ("folder", "bucket", "bigquery")
_OF_THE_RUN = ("run_id", "ingested_at", "asked_at", "failed_at", "started_at", "ended_at", "source")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "20", "--damaged", "2", "--duplicates", "1", "--seed", "3")


class Broker:
    """The command line on one warehouse; each command gives its status and what it wrote."""

    def __init__(self, place: str, out: Path, write: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self.out, self.write, self.capsys = place, out, write, capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        self.capsys.readouterr()
        status = cli.main([*words, "--warehouse", self.place])
        return status, self.capsys.readouterr().out

    def asked(self, *words: str) -> list[dict[str, Any]]:
        status, out = self("query", "--format", "json", *words)
        assert status == 0
        return [{name: value for name, value in row.items() if name not in _OF_THE_RUN} for row in json.loads(out)]


def told(broker: Broker, night: Path) -> dict[str, Any]:
    """What all the commands say of a night that is ingested here."""
    assert broker("ingest", "--input", str(night), "--survey", "ztf", *broker.write)[0] == 0
    found: dict[str, Any] = {}
    [first, *_] = broker.asked("SELECT alert_id, object_id, ra_deg, dec_deg FROM ztf_alerts_unique ORDER BY alert_id")
    found["rows"] = broker.asked("SELECT alert_id, night, candidate FROM ztf_alerts_unique ORDER BY alert_id")
    found["object"] = broker.asked("--object", first["object_id"])
    found["cone"] = broker.asked("--cone", f"{first['ra_deg']},{first['dec_deg']},3600")
    found["lines of features"] = [broker.asked(f"{line} ORDER BY object_id") for line in questions()["ztf"]]
    found["rematch"] = broker("rematch", "--survey", "ztf", "--crossmatch", f"file:{night / 'catalog.parquet'}", *broker.write)[0]
    found["matches"] = broker.asked("SELECT alert_id, status FROM crossmatches_unique ORDER BY alert_id")
    found["nothing to ask"] = broker("rematch", "--survey", "ztf", *broker.write)
    found["replay"] = broker("replay", "--survey", "ztf", *broker.write)[0]
    found["letters"] = broker.asked("SELECT stage, error_type, message FROM dead_letters_open ORDER BY message")
    status, text = broker("info", str(first["alert_id"]), "--json")
    info = json.loads(text)
    found["info"] = status, info["stamps"], info["brightness"], info["features"]["features"], len(info["crossmatches"])
    status, text = broker("audit", "--input", str(night), "--survey", "ztf", "--format", "json")
    found["audit"] = status, json.loads(text)["accounted_for"]
    for picture, what in (("sky", ("--night", found["rows"][0]["night"])), ("light-curve", ("--object", first["object_id"]))):
        assert broker("plot", picture, *what, "--out", str(broker.out / f"{picture}.png"))[0] == 0
        found[picture] = (broker.out / f"{picture}.png").read_bytes()[:8]
    with warehouses.open(broker.place) as opened:
        found["light curve"] = opened.light_curve(first["object_id"]).to_pylist()
        found["features"] = [row["features"] for row in opened.features(first["object_id"]).to_pylist()]
        found["runs"] = [row["status"] for row in opened.query("SELECT status FROM runs ORDER BY started_at").to_pylist()]
    with orm.Session(broker.place) as session:
        found["models"] = sorted(alert.alert_id for alert in session.scalars(select(orm.ZTFAlert)))
    return found


def test_each_command_says_the_same_of_each_kind(
    cloud: Cloud, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "folder": str(tmp_path / "warehouse"),
        "bucket": cloud.folder(),
        "bigquery": f"bigquery://{cloud.project}/{cloud.dataset()}",
    }
    answers = {}
    for kind in KINDS:
        out = tmp_path / kind
        out.mkdir()
        write = ("--write_method", "streaming_inserts") if kind == "bigquery" else ()
        answers[kind] = told(Broker(places[kind], out, write, capsys), night)
    folder = answers["folder"]
    assert len(folder["rows"]) == len(folder["matches"]) == len(folder["models"]) == 20
    assert {int(one["alert_id"]) for one in folder["rows"]} <= {one["alert_id"] for one in truth(night)}
    assert folder["audit"] == (0, True)
    assert folder["features"][0]["age_history_days"] is not None
    # A night of 20 alerts has one fader planted.
    assert folder["lines of features"][0]
    for kind in KINDS[1:]:
        for what, said in folder.items():
            assert answers[kind][what] == said, f"{what} of a {kind}"


@pytest.mark.parametrize("method", ["parquet", "file_loads"])
def test_a_bucket_that_is_not_there_is_told_before_anything_is_read(
    method: str, cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = {"parquet": "gs://nobody-made-this/w", "file_loads": f"bigquery://{cloud.project}/{cloud.dataset()}"}[method]
    loads = ("--write_method", method, "--temp_location", "gs://nobody-made-this/loads") if method == "file_loads" else ()
    words = ["ingest", "--input", str(night), "--warehouse", place, *loads]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert "there is no bucket gs://nobody-made-this; make it, or name another one" in said
    assert said.count("\n") == 1


def test_a_bucket_that_was_made_after_it_was_missed_is_found(cloud: Cloud) -> None:
    bucket = f"made-later-{uuid.uuid4().hex[:8]}"
    place = warehouses.at(f"gs://{bucket}/w")
    with pytest.raises(OSError, match=f"there is no bucket gs://{bucket}"):
        place.check_writable()
    with contextlib.closing(storage.Client(project=cloud.project)) as client:
        client.create_bucket(bucket)
    place.check_writable()
