"""What our commands ask of BigQuery: each statement names the nights that it reads, or reads a few narrow columns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import select

import warehouses
from alerts.surveys import SURVEYS
from broker import cli, orm
from tests.cloud.statements import Reading, readings, sent
from tests.emulators.cloud import Cloud
from tests.nights import simulated
from warehouses.places import MAXIMUM_BYTES_BILLED
from warehouses.warehouse import Warehouse

NARROW = {
    # Who asks for an object, a place or an id knows no nights: they are asked for in these, of which the first is clustered.
    "alerts": {"object_id", "night", "alert_id", "healpix29"},
    # Which letters are open, and since when.
    "dead_letters": {"stage", "attributes", "failed_at"},
}
"""Columns that may be read of all nights, 8 to 20 bytes each, where a statement does not name them."""
BY_THE_VIEW = {"crossmatches of an alert of the ORM": "crossmatches_unique"}
"""What reads a view, of all nights. SQLAlchemy's relationship joins the view, and nothing of its condition passes the window."""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "12", "--damaged", "2", "--duplicates", "1", "--seed", "4")


@pytest.fixture(scope="module")
def place(cloud: Cloud, night: Path) -> str:
    made = f"bigquery://{cloud.project}/{cloud.dataset()}"
    assert ingested(made, night) == 0
    return made


def ingested(place: str, night: Path) -> int:
    catalog = f"file:{night / 'catalog.parquet'}"
    words = ("--input", str(night), "--survey", "ztf", "--crossmatch", catalog, "--write_method", "streaming_inserts")
    return cli.main(["ingest", *words, "--warehouse", place])


def is_narrow(reading: Reading) -> bool:
    kind = "alerts" if reading.table.endswith("_alerts") else reading.table
    return reading.columns <= NARROW.get(kind, set())


def test_every_statement_names_its_nights(
    cloud: Cloud, night: Path, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warehouses.open(place) as opened:
        alert = opened.query("SELECT * FROM ztf_alerts_unique ORDER BY alert_id LIMIT 1").to_pylist()[0]
    here, wanted = f"{alert['ra_deg']},{alert['dec_deg']}", str(alert["alert_id"])
    (tmp_path / "targets.csv").write_text(f"ra,dec\n{here}\n")
    (tmp_path / "ids").write_text(f"{wanted}\n")
    write = ("--survey", "ztf", "--write_method", "streaming_inserts")

    def command(*words: str, status: int = 0) -> Callable[[], None]:
        def run() -> None:
            assert cli.main([*words, "--warehouse", place]) == status, capsys.readouterr().err

        return run

    def plot(picture: str, *words: str, status: int = 0) -> Callable[[], None]:
        return command("plot", picture, *words, "--out", str(tmp_path / "plot.png"), status=status)

    def in_python(ask: Callable[[Warehouse], Any]) -> Callable[[], None]:
        def run() -> None:
            with warehouses.open(place) as opened:
                assert ask(opened)

        return run

    def by_orm(ask: Callable[[Any], Any]) -> Callable[[], None]:
        def run() -> None:
            with orm.Session(place) as session:
                # Which rows a model shows is the question of who asks; what belongs to one of them is ours.
                row = session.scalars(select(orm.ZTFAlertRow).where(orm.ZTFAlertRow.night == alert["night"]).limit(1)).one()
                assert ask(row) is not None

        return run

    commands = {
        "ingest": lambda: ingested(place, night),
        "an object": command("query", "--object", alert["object_id"]),
        "no object": command("query", "--object", "nobody's"),
        "a cone": command("query", "--cone", f"{here},5"),
        "a list of cones": command("query", "--cone", f"{tmp_path / 'targets.csv'},5"),
        "info": command("info", wanted),
        "stamps": plot("stamps", "--alert_id", wanted),
        "light curve of an alert": plot("light-curve", "--alert_id", wanted),
        "light curve of an object": plot("light-curve", "--object", alert["object_id"]),
        "sky": plot("sky", "--night", str(alert["night"])),
        "sky of another night": plot("sky", "--night", "2001-01-01", status=2),
        "rematch": command("rematch", "--crossmatch", f"file:{night / 'catalog.parquet'}", "--again", *write),
        "rematch of what failed": command("rematch", *write),
        "replay": command("replay", *write),
        "features again": command("features", "--night", str(alert["night"]), "--again"),
        "features": command("features", "--night", str(alert["night"])),
        "audit": command("audit", "--input", str(night), "--survey", "ztf", status=0),
        "audit by ids": command("audit", "--ids", str(tmp_path / "ids")),
        "the packet of a row": in_python(lambda opened: opened.packet(alert)),
        "stamps of an alert of the ORM": by_orm(lambda row: row.cutouts),
        "features of an alert of the ORM": by_orm(lambda row: row.features),
        "crossmatches of an alert of the ORM": by_orm(lambda row: row.crossmatches),
    }
    wrong = []
    for what, run in commands.items():
        with sent(cloud) as found:
            run()
        assert found.jobs, f"{what} asks BigQuery nothing"
        assert {job.get("maximumBytesBilled") for job in found.jobs} == {str(MAXIMUM_BYTES_BILLED)}, what
        for sql in found.statements:
            for reading in readings(sql):
                if not (reading.named or is_narrow(reading) or reading.table == BY_THE_VIEW.get(what)):
                    wrong.append(f"{what} reads {sorted(reading.columns)} of all nights of {reading.table}: {sql}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT * FROM ztf_alerts WHERE night = DATE '2026-11-23'", True),
        ("SELECT * FROM ztf_alerts WHERE alert_id = 1 AND (night IN (DATE '2026-11-23') AND TRUE)", True),
        ("SELECT * FROM ztf_alerts WHERE night BETWEEN @first AND @last", True),
        ("SELECT * FROM dead_letters WHERE failed_at >= @since", True),
        ("SELECT * FROM ztf_alerts WHERE night = DATE '2026-11-23' OR alert_id = 1", False),
        ("SELECT * FROM ztf_alerts WHERE night IN (SELECT night FROM ztf_alerts WHERE alert_id = 1)", False),
        ("SELECT * FROM ztf_alerts WHERE night IS NOT NULL", False),
        ("SELECT * FROM ztf_alerts WHERE night = other_night", False),
        ("SELECT * FROM ztf_alerts_unique WHERE night = DATE '2026-11-23'", False),
        ("SELECT * FROM (SELECT * FROM ztf_alerts) WHERE night = DATE '2026-11-23'", False),
    ],
)
def test_what_names_a_night_and_what_does_not(sql: str, named: bool) -> None:
    assert readings(sql)[0].named is named


def test_an_object_and_a_place_are_looked_for_by_the_column_of_the_clustering(cloud: Cloud, place: str) -> None:
    """The wide statements hold ``object_id`` against constants, whether an object was asked for, a place or an alert."""
    with warehouses.open(place) as opened:
        alert = opened.query("SELECT * FROM ztf_alerts_unique ORDER BY alert_id LIMIT 1").to_pylist()[0]
        asked = {
            "object": lambda: opened.alerts_of(alert["object_id"]),
            "cone": lambda: opened.cone(alert["ra_deg"], alert["dec_deg"], 5),
            "light curve": lambda: opened.light_curve(alert["object_id"]),
            "features": lambda: opened.features(alert["object_id"]),
            "info": lambda: opened.info(alert["alert_id"]),
            "packet": lambda: opened.packet(alert["alert_id"]),
        }
        for what, ask in asked.items():
            with sent(cloud) as found:
                assert len(ask())
            wide = [sql for sql in found.statements for one in readings(sql) if "ztf" in one.table and not is_narrow(one)]
            assert wide
            for sql in wide:
                assert f"object_id IN ('{alert['object_id']}')" in sql or "object_id = @object_id" in sql, f"{what}: {sql}"


def with_rows_in_other_nights(place: str, alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of three alerts in a night more: a newer one of another object, a newer one of the same, an older one of another."""
    table = SURVEYS["ztf"].alerts_table
    with warehouses.open(place) as opened:
        found = {}
        for one in alerts:
            sql = f"SELECT * FROM ztf_alerts WHERE alert_id = {one['alert_id']} LIMIT 1"
            found[one["alert_id"]] = opened.query(sql).table.to_pylist()[0]
    first, second, third = (found[one["alert_id"]] for one in alerts)
    day = first["night"] + timedelta(days=1)
    made = [
        {
            **first,
            "night": day,
            "object_id": "ZTF99moved",
            "ra_deg": 10.0,
            "dec_deg": -10.0,
            "healpix29": 1,
            "schema_version": "9.9",
        },
        {**second, "night": day, "schema_version": "9.9"},
        {**third, "night": day, "object_id": "ZTF99older", "schema_version": "0.1"},
    ]
    rows = pa.RecordBatch.from_pylist(made, schema=table.arrow_schema)
    warehouses.at(place).add(table, rows, "20261124T000000Z-00000000")
    return made


def test_an_alert_with_rows_in_two_nights_is_shown_as_in_a_folder(
    cloud: Cloud, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [str(tmp_path / "warehouse"), f"bigquery://{cloud.project}/{cloud.dataset()}"]
    told: list[dict[str, Any]] = []
    for place in places:
        method = () if place == places[0] else ("--write_method", "streaming_inserts")
        assert cli.main(["ingest", "--input", str(night), "--survey", "ztf", "--warehouse", place, *method]) == 0
        with warehouses.open(place) as opened:
            alerts = opened.query("SELECT * FROM ztf_alerts_unique ORDER BY alert_id LIMIT 3").to_pylist()
        with_rows_in_other_nights(place, alerts)
        said: dict[str, Any] = {}
        with warehouses.open(place) as opened:
            for name in [*(one["object_id"] for one in alerts), "ZTF99moved", "ZTF99older"]:
                said[f"object {name}"] = ours(opened.alerts_of(name).to_pylist())
            for one in alerts:
                said[f"cone {one['alert_id']}"] = ours(opened.cone(one["ra_deg"], one["dec_deg"], 5).to_pylist())
                known = opened.info(one["alert_id"])[0]
                said[f"info {one['alert_id']}"] = known["rows"], known["alert"]["object_id"], known["alert"]["night"]
                packet = opened.packet(one["alert_id"], stamps=False)[0]
                said[f"packet {one['alert_id']}"] = packet["objectId"], packet["candidate"]["jd"]
            said["curve"] = opened.light_curve(alerts[1]["object_id"]).to_pylist()
        told.append(said)
    folder, bigquery = told
    assert len(folder["object ZTF99moved"]) == 1
    assert folder["object ZTF99older"] == []
    for what, answer in folder.items():
        assert bigquery[what] == answer, what


def ours(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("source", "ingested_at")} for row in rows]


def test_a_query_that_would_be_billed_too_much_is_refused_with_what_it_would_be(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (("SELECT * FROM ztf_alerts",), ("--object", "ZTF18a"), ("--cone", "10,10,5")):
        assert cli.main(["query", *asked, "--warehouse", place, "--maximum_bytes_billed", "1000"]) == 2
        said = capsys.readouterr().err
        assert "by its estimate the query reads 10.5 MB (less than 0.01 USD), and the limit is 1 kB" in said
        assert "name a night in its WHERE, or allow it with --maximum_bytes_billed 10485760" in said
    assert cli.main(["query", "SELECT COUNT(*) FROM ztf_alerts", "--warehouse", place, "--maximum_bytes_billed", "10485760"]) == 0
    for command in (("info", "1"), ("plot", "sky", "--night", "2026-11-23", "--out", "sky.png")):
        assert cli.main([*command, "--warehouse", place, "--maximum_bytes_billed", "1000"]) == 2
    too_much = pytest.raises(warehouses.QueryError, match="--maximum_bytes_billed 10485760")
    with orm.Session(f"{place}?maximum_bytes_billed=1000") as session, too_much:
        session.scalars(select(orm.ZTFAlertRow)).all()


def test_a_run_whose_account_would_be_billed_too_much_says_so(
    cloud: Cloud, night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"bigquery://{cloud.project}/{cloud.dataset()}"
    words = ["--input", str(night), "--survey", "ztf", "--write_method", "streaming_inserts", "--warehouse", place]
    assert cli.main(["ingest", *words, "--maximum_bytes_billed", "1000"]) == 1
    assert "--maximum_bytes_billed 10485760" in capsys.readouterr().err
    with contextlib.closing(warehouses.open(place)) as opened:
        assert opened.query("SELECT COUNT(*) AS n FROM ztf_alerts").to_pylist() == [{"n": 13}]
