"""Which warehouse a URI names, and what every one of them has from its first run on."""

from __future__ import annotations

import os
import pickle
import shutil
import tracemalloc
from pathlib import Path

import pytest

import warehouses
from alerts.surveys import SURVEYS
from pipelines import status
from tests.nights import run, simulated
from warehouses import QueryError
from warehouses.formats import write
from warehouses.places import MAXIMUM_BYTES_BILLED


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("bigquery://p", "not of the form bigquery://PROJECT/DATASET"),
        ("bigquery://p/d/t", "not of the form bigquery://PROJECT/DATASET"),
        ("bigquery://p/d?limit=1", "not of the form bigquery://PROJECT/DATASET"),
        ("bigquery:///d", "not of the form bigquery://PROJECT/DATASET"),
        ("gs://", "not of the form gs://BUCKET/FOLDER"),
        ("s3://bucket/folder", "no place for a warehouse; give a folder"),
        ("https://example.org/w", "no place for a warehouse; give a folder"),
    ],
)
def test_what_is_no_place_is_refused(uri: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        warehouses.at(uri)


def test_a_place_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert warehouses.at("w/").uri == warehouses.at(f"file://{tmp_path}/w").uri == str(tmp_path / "w")
    assert warehouses.at("gs://bucket/w/").uri == "gs://bucket/w"
    assert warehouses.at("bigquery://p/d").uri == "bigquery://p/d"
    assert pickle.loads(pickle.dumps(warehouses.at("bigquery://p/d"))).uri == "bigquery://p/d"


def test_what_a_query_may_be_billed_stands_in_the_uri_too(tmp_path: Path) -> None:
    asked = warehouses.at("bigquery://p/d", 20_000_000_000)
    for one in (
        asked,
        warehouses.at(asked.uri),
        pickle.loads(pickle.dumps(asked)),
        warehouses.at(f"{asked.uri}9", 20_000_000_000),
    ):
        assert (one.uri, one.dataset, one.maximum_bytes_billed) == (asked.uri, "d", 20_000_000_000)
    assert warehouses.at("bigquery://p/d").maximum_bytes_billed == MAXIMUM_BYTES_BILLED
    for wrong in (lambda: warehouses.at("bigquery://p/d", 0), lambda: warehouses.at("bigquery://p/d?maximum_bytes_billed=1e9")):
        with pytest.raises(QueryError, match="give a number of bytes, 1 or more"):
            wrong()
    with pytest.raises(QueryError, match="is not in BigQuery, which alone bills queries; leave out --maximum_bytes_billed"):
        warehouses.at(str(tmp_path), 10**9)


def test_where_nothing_is_there_is_no_warehouse(tmp_path: Path) -> None:
    assert not warehouses.at(str(tmp_path / "none")).holds_tables()
    with pytest.raises(QueryError, match="holds no tables; fill it with"):
        warehouses.open(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "wrong", [("--write_method", "file_loads"), ("--write_method", "streaming_inserts"), ("--crossmatch", "file:none.parquet")]
)
def test_a_run_that_is_refused_leaves_no_folder(wrong: tuple[str, str], tmp_path: Path) -> None:
    night = simulated(tmp_path / "night", "--alerts", "2")
    place = tmp_path / "above" / "w"
    assert run(place, night, flags=wrong) == status.WRONG_OPTIONS
    assert not place.parent.exists()
    warehouses.at(str(place)).check_writable()
    assert not place.parent.exists()


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"")
    for place in (tmp_path / "w", tmp_path / "w" / "below"):
        with pytest.raises(NotADirectoryError):
            warehouses.at(str(place)).check_writable()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of one clean night: one file, no dead letters, no cross-match."""
    place = tmp_path_factory.mktemp("clean")
    assert run(place / "w", simulated(place / "night", "--alerts", "5")) == 0
    return place / "w"


KINDS = ("alerts", "alerts_unique", "cutouts", "features", "features_unique")


def test_every_table_is_there_from_the_first_run(clean: Path) -> None:
    names = [f"{survey}_{kind}" for survey in SURVEYS for kind in KINDS]
    names += ["crossmatches", "crossmatches_unique", "dead_letters", "dead_letters_open", "offsets", "runs", "watched_files"]
    names += ["runs_by_hour", "runs_by_night"]
    names += [f"{table}{unique}" for table in ("verdicts", "filter_counts", "filter_history") for unique in ("", "_unique")]
    names += ["outbox", "outbox_open"]
    with warehouses.open(str(clean)) as opened:
        assert sorted(opened.tables) == sorted(names)
        counts = {name: opened.query(f"SELECT COUNT(*) AS n FROM {name}").to_pylist()[0]["n"] for name in names}
        assert opened.query("SELECT error_type, message, COUNT(*) FROM dead_letters_open GROUP BY ALL").num_rows == 0
        assert [one.name for one in opened.surveys] == ["ztf"]
    assert {name: n for name, n in counts.items() if n} == {
        "ztf_alerts": 5,
        "ztf_alerts_unique": 5,
        "ztf_cutouts": 5,
        "ztf_features": 5,
        "ztf_features_unique": 5,
        "runs": 1,
        "runs_by_hour": 1,
        "runs_by_night": 1,
    }


def test_empty_tables_have_the_columns_and_types_that_full_ones_have(clean: Path, tmp_path: Path) -> None:
    with warehouses.open(str(clean)) as opened:
        full = opened.query("SELECT * FROM ztf_alerts").schema
        cutouts = opened.query("SELECT * FROM ztf_cutouts").schema
        features = opened.query("SELECT * FROM ztf_features").schema
    shutil.copytree(clean / "runs", tmp_path / "w" / "runs")
    with warehouses.open(str(tmp_path / "w")) as opened:
        for name, expected in (("ztf_alerts", full), ("ztf_cutouts", cutouts), ("ztf_features", features)):
            empty = opened.query(f"SELECT * FROM {name}").schema
            assert {one.name: one.type for one in empty} == {one.name: one.type for one in expected}


def test_the_newest_night_of_one_file(clean: Path) -> None:
    """DuckDB 1.5.5 fails on it with its own partitions."""
    with warehouses.open(str(clean)) as opened:
        [row] = opened.query("SELECT MAX(night) AS newest, MIN(night) AS oldest FROM ztf_alerts").to_pylist()
        [each] = opened.query("SELECT DISTINCT night FROM ztf_alerts").to_pylist()
    assert row == {"newest": each["night"], "oldest": each["night"]}


def test_a_night_is_read_from_its_own_files_alone(clean: Path, tmp_path: Path) -> None:
    """The night stands in the folder's name, by which files are left out before their rows are read."""
    shutil.copytree(clean / "ztf_alerts", tmp_path / "w" / "ztf_alerts")
    [file] = (tmp_path / "w").rglob("*.parquet")
    for day in range(1, 10):
        other = tmp_path / "w" / "ztf_alerts" / f"night=2000-01-0{day}"
        other.mkdir()
        shutil.copy(file, other)
    with warehouses.open(str(tmp_path / "w")) as opened:
        sql = "SELECT COUNT(DISTINCT alert_id) AS n FROM ztf_alerts WHERE night BETWEEN DATE '2000-01-02' AND DATE '2000-01-04'"
        assert opened.query(sql).to_pylist() == [{"n": 5}]
        plan = str(opened.ask(f"EXPLAIN ANALYZE {sql}").read().to_pylist())
    assert "Scanning Files: 3/10 " in plan


def test_an_answer_may_be_larger_than_an_array_of_arrow(clean: Path) -> None:
    """2.2 GB of one column, which nobody holds at once."""
    with warehouses.open(str(clean)) as opened:
        number = size = 0
        for batch in opened.read("SELECT repeat('x', 1000000) AS science FROM range(2200)", rows_at_once=64):
            number += batch.num_rows
            size += batch.column(0).nbytes
    assert number == 2200
    assert size > 2**31


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_text_takes_no_more_memory_for_more_rows(clean: Path, form: str) -> None:
    """Rows of some size, with a history, as Python objects and as bytes: eight times as many, and no more at once."""
    most = []
    with warehouses.open(str(clean)) as opened, Path(os.devnull).open("wb") as nowhere:
        for count in (300, 2400):
            sql = f"SELECT i, [{{'jd': i + x / 100, 'mag': 18.5}} FOR x IN range(20)] AS history FROM range({count}) AS r(i)"
            tracemalloc.start()
            write(opened.read(sql), form, nowhere)
            most.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert most[1] < 1.5 * most[0]
