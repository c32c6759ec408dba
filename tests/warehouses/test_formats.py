"""Answers as files: what each form holds, read back by its own reader, bit for bit where the form can."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse
from astropy.table import Table
from astropy.time import Time

from broker import cli
from broker.warehouse import QueryError
from broker.warehouse import open as opened_at
from tests.nights import run, simulated
from warehouses.formats import write
from warehouses.forms import FORMATS, form_of
from warehouses.result import Result

BIG = 2**63 - 25
MOMENT = datetime(2026, 9, 17, 3, 4, 5, 123456, tzinfo=timezone.utc)


def answer() -> Result:
    """Ids that no float holds, each kind of nothing, times, and bytes."""
    schema = pa.schema(
        [
            pa.field("alert_id", pa.int64(), metadata={"description": "the id"}),
            ("object_id", pa.string()),
            ("observed_at", pa.timestamp("us", tz="UTC")),
            ("night", pa.date32()),
            ("ra_deg", pa.float64()),
            ("separation_arcsec", pa.float64()),
            ("mjd_utc", pa.float64()),
            ("flag", pa.bool_()),
            ("digest", pa.binary()),
            ("count", pa.int64()),
        ]
    )
    rows = [
        (BIG, "ZTF18aa,b", MOMENT, date(2026, 9, 17), 0.1, 1.5, 61300.1, True, b"\x00\xff", 999999),
        (-BIG, "", None, None, math.nan, -999.0, None, None, None, None),
        (2**53 + 1, None, MOMENT, date(2026, 9, 18), None, 0.1 + 0.2, 61301.5, False, b"", -999),
    ]
    return Result(pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema))


def written(form: str, given: Result | None = None) -> io.BytesIO:
    out = io.BytesIO()
    write(answer() if given is None else given, form, out)
    out.seek(0)
    return out


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return type(one) is type(other) and one == other


def test_csv_keeps_ids_and_tells_nothing_from_an_empty_text() -> None:
    text = written("csv").read().decode()
    lines = text.splitlines()
    assert lines[2].startswith(f'-{BIG},"",,,nan,-999,')
    assert lines[3].startswith(f'{2**53 + 1},,"2026-09-17T03:04:05.123456Z",2026-09-18,,0.30000000000000004,')
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["alert_id"]) for row in rows] == [BIG, -BIG, 2**53 + 1]
    assert [row["object_id"] for row in rows] == ["ZTF18aa,b", "", ""]
    assert [row["digest"] for row in rows] == ["AP8=", "", ""]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_keeps_all(form: str) -> None:
    text = written(form).read().decode()
    rows = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
    assert [int(row["alert_id"]) for row in rows] == [BIG, -BIG, 2**53 + 1]
    assert [row["ra_deg"] for row in rows] == [0.1, "NaN", None]
    assert [row["object_id"] for row in rows] == ["ZTF18aa,b", "", None]
    assert json.loads(written("json", Result(answer().table.slice(0, 0))).read()) == []


def test_parquet_is_the_answer_and_says_what_its_times_are() -> None:
    read = pq.read_table(written("parquet"))
    assert all(
        same(one, other)
        for row, sent in zip(read.to_pylist(), answer().to_pylist(), strict=True)
        for one, other in zip(row.values(), sent.values(), strict=True)
    )
    assert read.schema.metadata[b"TIMESYS"] == b"UTC"
    assert read.schema.metadata[b"TREFPOS"] == b"TOPOCENTER"
    assert b"start of the exposure for ztf" in read.schema.metadata[b"TIMEREF"]
    assert b"midpoint of the exposure for lsst" in read.schema.metadata[b"TIMEREF"]


def test_fits_keeps_ids_and_what_stands_for_nothing_is_no_number() -> None:
    read = Table.read(written("fits"), format="fits")
    assert read["alert_id"].dtype == np.dtype(">i8")
    assert [int(one) for one in read["alert_id"]] == [BIG, -BIG, 2**53 + 1]
    assert read["count"].mask.tolist() == [False, True, False]
    assert [int(one) for one in read["count"][~read["count"].mask]] == [999999, -999]
    assert read["flag"].mask.tolist() == [False, True, False]
    assert read["observed_at"].tolist()[0] == "2026-09-17T03:04:05.123456Z"
    assert str(read["ra_deg"].unit) == "deg"
    assert read["separation_arcsec"].tolist() == [1.5, -999.0, 0.1 + 0.2]
    assert (read.meta["TIMESYS"], read.meta["TREFPOS"]) == ("UTC", "TOPOCENTER")
    assert "start of the exposure for ztf" in str(read.meta["comments"])


def test_votable_keeps_ids_and_declares_its_times() -> None:
    votable = parse(written("votable"))
    table = votable.get_first_table()
    assert [int(one) for one in table.array["alert_id"]] == [BIG, -BIG, 2**53 + 1]
    assert table.array["count"].mask.tolist() == [False, True, False]
    # As astropy reads it NaN is masked, too; the file tells them apart.
    assert table.array["ra_deg"].mask.tolist() == [False, True, True]
    fields = {one.name: one for one in table.fields}
    assert (fields["alert_id"].datatype, fields["ra_deg"].ucd) == ("long", "pos.eq.ra;meta.main")
    systems = {one.ID: (one.timescale, one.refposition, one.timeorigin) for one in votable.resources[0].time_systems}
    assert systems["mjd_utc"] == ("UTC", "TOPOCENTER", "MJD-origin")
    assert (fields["mjd_utc"].ref, fields["observed_at"].ref, fields["observed_at"].xtype) == ("mjd_utc", "utc", "timestamp")
    assert "midpoint of the exposure for lsst" in table.description


def test_ecsv_keeps_ids() -> None:
    read = Table.read(written("ecsv").read().decode(), format="ascii.ecsv")
    assert [int(one) for one in read["alert_id"]] == [BIG, -BIG, 2**53 + 1]
    assert read["count"].mask.tolist() == [False, True, False]
    assert str(read["separation_arcsec"].unit) == "arcsec"
    assert read.meta["TIMESYS"] == "UTC"


@pytest.mark.parametrize("form", ["fits", "votable", "ecsv"])
def test_a_flat_form_names_the_nested_column_and_what_holds_it(form: str) -> None:
    nested = Result(pa.table({"a": [1], "candidate": [{"magpsf": 18.5}]}))
    with pytest.raises(QueryError, match=r"candidate is nested.*SELECT candidate.FIELD.*parquet, json or jsonl.*csv"):
        written(form, nested)
    [row] = csv.DictReader(io.StringIO(written("csv", nested).read().decode()))
    assert json.loads(row["candidate"]) == {"magpsf": 18.5}


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "table"])
def test_an_answer_without_rows_has_its_columns(form: str) -> None:
    data = written(form, Result(answer().table.slice(0, 0))).read()
    # JSON names columns in rows only.
    assert (b"alert_id" in data) == (form not in ("json", "jsonl"))


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.csv", "csv"), ("A.FITS", "fits"), ("a.b.vot", "votable"), ("x.ecsv", "ecsv"), ("x.jsonl", "jsonl"), ("x.txt", "table")],
)
def test_the_name_of_a_file_says_its_form(name: str, form: str) -> None:
    assert form_of(name) == form


def test_a_name_that_says_nothing_is_refused() -> None:
    with pytest.raises(QueryError, match=r"a.xlsx has an ending that says no format; end it with .csv, .*, or give --format"):
        form_of("a.xlsx")


def test_to_astropy_has_times_with_a_scale_units_and_exact_ids() -> None:
    made = answer().to_astropy()
    assert isinstance(made["observed_at"], Time)
    assert made["observed_at"].scale == "utc"
    assert made["observed_at"][0].isot == "2026-09-17T03:04:05.123"
    assert made["observed_at"].mask.tolist() == [False, True, False]
    assert [int(one) for one in made["alert_id"]] == [BIG, -BIG, 2**53 + 1]
    assert made["alert_id"].dtype == np.int64
    assert made["alert_id"].description == "the id"
    assert (str(made["ra_deg"].unit), str(made["separation_arcsec"].unit)) == ("deg", "arcsec")
    days = made["mjd_utc"]
    assert (type(days), days.format, days.scale) == (Time, "mjd", "utc")
    assert days[0].mjd == 61300.1
    assert days.mask.tolist() == [False, True, False]
    assert made["ra_deg"].mask.tolist() == [False, False, True]
    assert math.isnan(made["ra_deg"].data[1])


ODD = {
    "u": "'8f14e45f-ceea-4672-a4b5-3b1e2d6f9a10'::UUID",
    "tm": "'10:00:00'::TIME",
    "iv": "INTERVAL '1 month 3 days 1.5 seconds'",
    "e": "'x'::ENUM('x', 'y')",
    "b": "'\\xAA'::BLOB",
    "tn": "TIMESTAMP_NS '2020-01-01 00:00:00.123456789'",
    "far": "'infinity'::TIMESTAMP",
    "bc": "DATE '-0044-03-15'",
    "sum": "sum(9007199254740993::BIGINT)",
    "dec": "1.50::DECIMAL(38, 2)",
    "huge": "123456789012345678901234567890::HUGEINT",
    "u8": "200::UTINYINT",
    "i8": "-100::TINYINT",
    "u16": "60000::USMALLINT",
    "u64": "18446744073709551615::UBIGINT",
    "nothing": "NULL",
}


@pytest.fixture(scope="module")
def odd(warehouse: Path) -> Result:
    with opened_at(str(warehouse)) as opened:
        return opened.query("SELECT " + ", ".join(f"{sql} AS {name}" for name, sql in ODD.items()))


@pytest.mark.parametrize("form", FORMATS)
def test_whatever_kinds_sql_makes_have_a_place_in_every_form(odd: Result, form: str) -> None:
    told = written(form, odd).read()
    if form in ("csv", "json", "jsonl", "table", "ecsv"):
        for text in (b"P1M3DT1.5S", b"2020-01-01T00:00:00.123456789", b"294247-", b"-0044-03-15", b"9007199254740993", b"1.5"):
            assert text in told, text
    read = {"fits": "fits", "votable": "votable", "ecsv": "ascii.ecsv"}.get(form)
    if read:
        [row] = Table.read(io.BytesIO(told), format=read)
        numbers = {name: int(row[name]) for name in ("sum", "u8", "i8", "u16")}
        assert numbers == {"sum": 2**53 + 1, "u8": 200, "i8": -100, "u16": 60000}
        assert float(row["dec"]) == 1.5
        assert str(row["u64"]) == str(2**64 - 1)
        assert str(row["huge"]) == "123456789012345678901234567890"


def test_whatever_kinds_sql_makes_reach_astropy(odd: Result) -> None:
    [row] = odd.to_astropy()
    assert (int(row["sum"]), float(row["dec"]), row["e"], row["tn"]) == (2**53 + 1, 1.5, "x", "2020-01-01T00:00:00.123456789Z")


def test_columns_of_one_name_are_told_apart(warehouse: Path) -> None:
    with opened_at(str(warehouse)) as opened:
        found = opened.query("SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a")
    assert found.to_pylist() == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]


def test_what_fits_has_no_letters_for_is_refused_by_its_column() -> None:
    with pytest.raises(QueryError, match="fits holds ASCII alone, and column who has 'é'; write votable"):
        written("fits", Result(pa.table({"who": ["e", "é", None]})))


def test_to_pandas_keeps_integers_beside_null() -> None:
    # Not in the test extra: Beam imports it where it is, which costs every process of a test most of a second.
    pd = pytest.importorskip("pandas", reason="no pandas: pip install --constraint constraints.txt pandas")
    ids = pa.table({"id": pa.array([BIG, None, 2**53 + 1]), "n": pa.array([1, 2, 3])})
    frame = Result(ids).to_pandas()
    assert [int(frame["id"][0]), int(frame["id"][2])] == [BIG, 2**53 + 1]
    assert frame["id"][1] is pd.NA
    assert frame["n"].tolist() == [1, 2, 3]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warehouse")
    night = simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--seed", "3")
    assert run(folder, night) == 0
    return folder


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet", "fits", "vot", "ecsv", "txt"])
def test_out_writes_what_its_name_says(warehouse: Path, ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"alerts.{ending}"
    sql = "SELECT alert_id, object_id, observed_at, candidate.magpsf FROM ztf_alerts_unique ORDER BY alert_id"
    assert cli.main(["query", sql, "--warehouse", str(warehouse), "--out", str(out)]) == 0
    data = out.read_bytes()
    begins = {
        "csv": b'"alert_id","object_id"',
        "json": b'[{"alert_id"',
        "jsonl": b'{"alert_id"',
        "parquet": b"PAR1",
        "fits": b"SIMPLE",
        "vot": b"<?xml",
        "ecsv": b"# %ECSV",
        "txt": b"alert_id",
    }
    assert data.startswith(begins[ending])


def test_a_file_stays_where_the_answer_does_not_fit_its_form(
    warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "alerts.fits"
    out.write_bytes(b"mine")
    assert cli.main(["query", "SELECT * FROM ztf_alerts", "--warehouse", str(warehouse), "--out", str(out)]) == 2
    assert "nested" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    flags = ["--warehouse", str(warehouse), "--out", str(tmp_path / "a.dat")]
    assert cli.main(["query", "SELECT 1 AS a", *flags]) == 2
    assert cli.main(["query", "SELECT 1 AS a", *flags, "--format", "csv"]) == 0


def test_in_python_too_a_file_stays_where_the_answer_does_not_fit_its_form(tmp_path: Path) -> None:
    """An answer whose column FITS cannot hold is refused when its file has been begun."""
    path = tmp_path / "near.fits"
    Result(pa.table({"who": ["e"]})).write(path)
    before = path.read_bytes()
    with pytest.raises(QueryError, match="fits holds ASCII alone"):
        Result(pa.table({"who": ["é"]})).write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_answer_is_a_table_of_rows_and_columns() -> None:
    made = answer()
    assert (len(made), made[made.column_names[0]]) == (made.num_rows, made.column(0))
    assert repr(made) == f"<{made.num_rows:,} rows of {', '.join(made.column_names)}>"
    assert (pa.table(made).schema, pa.table(made).num_rows) == (made.schema, made.num_rows)


def test_without_pandas_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pandas is not installed; pip install pandas, or use to_astropy\(\), to_pylist\(\)"):
        answer().to_pandas()
