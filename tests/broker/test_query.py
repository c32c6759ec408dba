"""``broker query``: the answers of SQL, cones and objects, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import astropy.units as u
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord

from broker import cli
from broker import warehouse as warehouses
from broker.warehouse import QueryError
from tests.nights import run, simulated, truth


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "120", "--duplicates", "10", "--seed", "3")


@pytest.fixture(scope="module")
def warehouse(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warehouse")
    assert run(folder, night) == 0
    return folder


def query(warehouse: Path, *words: str) -> int:
    return cli.main(["query", "--warehouse", str(warehouse), *words])


def test_ids_survive_every_format(warehouse: Path, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT alert_id, object_id FROM ztf_alerts_unique ORDER BY alert_id"
    expected = sorted({one["alert_id"] for one in truth(night)})
    assert query(warehouse, sql, "--format", "csv") == 0
    assert [int(row["alert_id"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == expected
    assert query(warehouse, sql, "--format", "json") == 0
    assert [int(row["alert_id"]) for row in json.loads(capsys.readouterr().out)] == expected
    assert query(warehouse, sql, "--format", "parquet", "--out", str(tmp_path / "a.parquet")) == 0
    assert pq.read_table(tmp_path / "a.parquet").column("alert_id").to_pylist() == expected
    assert query(warehouse, sql) == 0
    assert str(expected[0]) in capsys.readouterr().out


def test_cone_finds_what_astropy_finds(warehouse: Path, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alerts = {one["alert_id"]: one for one in truth(night)}
    sky = SkyCoord([one["ra_deg"] for one in alerts.values()], [one["dec_deg"] for one in alerts.values()], unit="deg")
    center = sky[0]
    for radius_arcsec in (0.5, 60, 7200):
        near = center.separation(sky).to_value(u.arcsec)
        expected = {name for name, separation in zip(alerts, near, strict=True) if separation <= radius_arcsec}
        cone = f"{center.ra.deg},{center.dec.deg},{radius_arcsec}"
        assert query(warehouse, f"--cone={cone}", "--format", "json") == 0
        found = json.loads(capsys.readouterr().out)
        assert {int(row["alert_id"]) for row in found} == expected
        assert [row["separation_arcsec"] for row in found] == sorted(row["separation_arcsec"] for row in found)


def test_object_gives_its_alerts_in_order_of_time(warehouse: Path, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alerts = {one["alert_id"]: one for one in truth(night)}
    wanted = next(iter(alerts.values()))["object_id"]
    assert query(warehouse, "--object", wanted, "--format", "json") == 0
    found = [int(row["alert_id"]) for row in json.loads(capsys.readouterr().out)]
    own = [one for one in alerts.values() if one["object_id"] == wanted]
    assert found == [one["alert_id"] for one in sorted(own, key=lambda one: one["observed_at"])]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give one of SQL, --cone and --object"),
        (["SELECT * FROM nothing"], "nothing"),
        (["SELECT 1; SELECT 2"], "give one SELECT"),
        (["COPY (SELECT 1) TO 'x.csv'"], "give one SELECT"),
        (["SELECT * FROM read_parquet('/etc/hostname')"], "Permission Error"),
        (["--cone=400,0,5"], "not on the sky"),
        (["--cone=1,2"], "RA,DEC,RADIUS_ARCSEC"),
    ],
)
def test_what_cannot_be_answered_is_said(
    warehouse: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert query(warehouse, *words) == 2
    assert says in capsys.readouterr().err


def test_binary_forms_are_not_shown_on_a_terminal(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert query(warehouse, "SELECT 1", "--format", "parquet") == 2
    assert "parquet is no text for a terminal; give --out FILE, or send it on with > FILE" in capsys.readouterr().err


def test_an_empty_warehouse_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert query(tmp_path / "none", "SELECT 1") == 2
    assert "broker ingest --input" in capsys.readouterr().err


def test_an_error_in_sql_is_pointed_at(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake of grammar, which is found before DuckDB is asked, and one of names, which DuckDB finds."""
    for sql, line, at in (
        ("SELECT *\nFORM ztf_alerts, x", "FORM ztf_alerts, x", "ztf_alerts"),
        ("SELECT é, 1 FORM x", "SELECT é, 1 FORM x", "x"),
        ("SELECT alert_i\nFROM ztf_alerts", "LINE 1: SELECT alert_i", "alert_i"),
    ):
        assert query(warehouse, sql) == 2
        said = capsys.readouterr().err.splitlines()
        assert said[said.index(line) + 1] == " " * line.index(at) + "^"


def test_an_object_may_be_the_packets_integer(warehouse: Path) -> None:
    with warehouses.open(str(warehouse)) as opened:
        assert opened.alerts_of(170_591_234_123_456_789).num_rows == 0
        with pytest.raises(QueryError, match=r"object id 1.5 is no integer and no text"):
            opened.alerts_of(1.5)  # type: ignore[arg-type]


def test_who_reads_no_further_is_no_error(warehouse: Path) -> None:
    """``broker query ... | head -1``, whose reader goes away."""
    command = [sys.executable, "-m", "broker", "query", "--format", "csv", "--warehouse", str(warehouse)]
    sql = "SELECT a.alert_id FROM ztf_alerts a, range(2000)"
    with subprocess.Popen([*command, sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == '"alert_id"\n'
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


def test_threads_on_one_warehouse_get_their_own_rows(warehouse: Path) -> None:
    with warehouses.open(str(warehouse)) as opened, ThreadPoolExecutor(6) as threads:

        def asked(number: int) -> bool:
            rows = opened.query(f"SELECT {number} AS n FROM range(5000)")
            return set(rows.column("n").to_pylist()) == {number} and rows.num_rows == 5000

        assert all(threads.map(asked, range(120)))
