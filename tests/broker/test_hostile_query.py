"""``broker query`` and its like, asked to do more than to read the warehouse."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from broker import cli, warehouse
from broker.warehouse import QueryError, Warehouse
from tests.nights import run, simulated

QUOTES = """it's "the" `night`; --"""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "20", "--damaged", "2", "--seed", "3")


@pytest.fixture(scope="module")
def folder(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("warehouses") / QUOTES
    assert run(place, night) == 0
    (place.parent / "secret.csv").write_text("a\n1\n")
    return place


@pytest.fixture(scope="module")
def opened(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """The warehouse, open while it is asked for what it must not do; nothing is changed or made meanwhile."""
    here = tmp_path_factory.mktemp("here")
    before, cwd = contents(folder), Path.cwd()
    os.chdir(here)
    try:
        with warehouse.open(str(folder)) as one:
            yield one
    finally:
        os.chdir(cwd)
    assert contents(folder) == before
    assert not list(here.iterdir())


def contents(folder: Path) -> dict[str, str]:
    """Every file beside and in a warehouse, and what is in it."""
    files = (one for one in folder.parent.rglob("*") if one.is_file())
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


def text(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"


ONE_SELECT = "give one SELECT; a warehouse is only read"
STATEMENTS = [
    "COPY ztf_alerts TO {outside}",
    "COPY (SELECT 1) TO {inside}",
    "COPY ztf_alerts FROM {secret}",
    "EXPORT DATABASE {outside}",
    "IMPORT DATABASE {outside}",
    "ATTACH {outside}",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD {outside}",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET lock_configuration = false",
    "RESET allowed_directories",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL enable_logging('QueryLog')",
    "CREATE TABLE x AS SELECT 1",
    "CREATE SECRET s (TYPE s3)",
    "INSERT INTO ztf_alerts SELECT * FROM ztf_alerts",
    "DELETE FROM ztf_alerts",
    "UPDATE ztf_alerts SET alert_id = 1",
    "DROP VIEW ztf_alerts",
    "ALTER VIEW ztf_alerts RENAME TO other",
    "USE memory",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "PREPARE q AS SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "PIVOT ztf_alerts ON night USING count(*)",
    "SELECT 1; DROP VIEW ztf_alerts",
    "",
    ";",
]
FUNCTIONS = [
    "FROM read_csv('/etc/passwd')",
    "FROM read_csv({secret})",
    "FROM read_text('/etc/passwd')",
    "FROM read_blob('/proc/self/environ')",
    "FROM READ_TEXT('/etc/passwd')",
    "FROM main.read_text('/etc/passwd')",
    "FROM read_json('/etc/hostname')",
    "FROM read_duckdb('/etc/passwd')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "FROM query_table('ztf_alerts')",
    "FROM json_execute_serialized_sql('{{}}')",
    "FROM enable_logging('QueryLog', storage = 'file', storage_path = {inside})",
    "FROM enable_profiling()",
    "FROM checkpoint()",
    "FROM arrow_scan(1::UBIGINT, 2::UBIGINT, 3::UBIGINT)",
    "FROM python_map_function(1)",
    "FROM sqlite_scan({outside}, 'x')",
    "WITH x AS (FROM enable_logging()) SELECT * FROM x",
    "SELECT (SELECT max(content) FROM read_text('/etc/passwd'))",
    "SELECT 1 WHERE EXISTS (FROM read_text('/etc/passwd'))",
    "FROM ztf_alerts, LATERAL (SELECT * FROM read_text(source))",
]
FILES = [
    "FROM '/etc/passwd'",
    "FROM {secret}",
    "FROM 'http://127.0.0.1:9/x.parquet'",
    "FROM 's3://bucket/x.parquet'",
    "FROM read_parquet('/etc/passwd')",
    "FROM read_parquet({above})",
    "FROM glob('/etc/*')",
    "FROM parquet_metadata('/etc/passwd')",
    "SELECT getenv('HOME')",
    "SELECT * FROM answer",  # a variable of Python's
    "SELECT \ud800",
    "SELEC 1",
    "SELECT 1 +",
    "'",
    "SELECT " + "(" * 5000,
]


def filled(sql: str, folder: Path) -> str:
    outside, inside = text(folder.parent / "x.parquet"), text(folder / "ztf_alerts" / "x.parquet")
    secret, above = text(folder.parent / "secret.csv"), text(folder / ".." / "secret.csv")
    return sql.format(outside=outside, inside=inside, secret=secret, above=above)


@pytest.mark.parametrize(
    ("sql", "says"),
    [(one, ONE_SELECT) for one in STATEMENTS]
    + [(one, "cannot stand for a table") for one in FUNCTIONS]
    + [(one, "") for one in FILES],
)
def test_what_does_more_than_read_the_warehouse_is_refused(folder, opened, sql, says):
    answer = pa.table({"x": [1]})
    with pytest.raises(QueryError) as refused:
        opened.query(filled(sql, folder))
    assert says in str(refused.value)
    assert opened.query("SELECT count(*) AS n FROM ztf_alerts").to_pylist() == [{"n": 20}], answer


def test_nothing_is_left_of_what_was_refused_that_would_end_the_process(folder):
    # DuckDB's file log, once it is on and cannot be written, ends the process when the connection is closed.
    sql = "FROM enable_logging('QueryLog', storage = 'file', storage_path = '/nonexistent')"
    command = [sys.executable, "-c", "from broker.cli import console; console()", "query", "--warehouse", str(folder), sql]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("broker query: the function enable_logging cannot stand for a table here")


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT * FROM ztf_alerts_unique", 20),
        ("FROM ztf_alerts SELECT alert_id LIMIT 3", 3),
        ("WITH a AS (SELECT alert_id FROM ztf_alerts) SELECT * FROM a;", 20),
        ("SELECT night, count(*) FROM ztf_alerts GROUP BY ALL", 1),
        ("SELECT unnest(prv_candidates) FROM ztf_alerts LIMIT 5", 5),
        ("SELECT p.jd FROM ztf_alerts AS a, UNNEST(a.prv_candidates) AS entries(p) LIMIT 5", 5),
        ("SELECT a.alert_id, b.value FROM ztf_alerts a, json_each('[1,2]') b", 40),
        ("FROM range(7)", 7),
        ("SELECT * FROM generate_series(1, 4)", 4),
        ("VALUES (1), (2)", 2),
        ("TABLE dead_letters", 2),
        ("DESCRIBE ztf_alerts", 27),
        ("SELECT ';' AS a, '--' AS b", 1),
        ("SELECT 'read_text(''/etc/passwd'')' AS a", 1),
        ("FROM duckdb_views() WHERE view_name = 'ztf_alerts'", 1),
        ("FROM read_parquet({files})", 20),
    ],
)
def test_what_reads_the_warehouse_is_answered(folder, opened, sql, rows):
    assert opened.query(sql.replace("{files}", text(folder / "ztf_alerts" / "*" / "*.parquet"))).num_rows == rows


@pytest.mark.parametrize("name", ["a[bc]d", "a*b", "a?b", "a{b,c}", "a'b", 'a"b', "a b", "ünï", "[", "**"])
def test_a_warehouse_may_be_named_as_one_likes(night, folder, tmp_path, name):
    # Neighbors that the name would match, were it a pattern.
    for neighbor in ("aXb", "abd"):
        shutil.copytree(folder, tmp_path / neighbor)
    if name == "a[bc]d":
        assert run(tmp_path / name, night) == 0
    else:
        shutil.copytree(folder, tmp_path / name)
    with warehouse.open(str(tmp_path / name)) as opened:
        assert opened.query("SELECT count(*) AS n FROM ztf_alerts").to_pylist() == [{"n": 20}]
        assert opened.query("SELECT count(*) AS n FROM dead_letters_open").to_pylist() == [{"n": 2}]


@pytest.mark.parametrize(
    "name", ["x' OR '1'='1", "x'; DROP VIEW ztf_alerts; --", "{object_id}", "{0}", "$object_id", "%", "\0", "\\", "' || '"]
)
def test_an_object_is_a_value_and_no_sql(folder, name, capsys):
    assert cli.main(["query", "--warehouse", str(folder), "--format", "json", f"--object={name}"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["plot", "light-curve", "--warehouse", str(folder), f"--object={name}", "--out", "never.png"]) == 2
    assert "holds no" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["query", "--object=\udcff"],
        ["query", "--cone=1,2,3); DROP VIEW ztf_alerts"],
        ["query", "--cone=1,1,nan"],
        ["query", "--cone=inf,1,1"],
        ["info", "1 OR 1=1"],
        ["info", "--", "-1); DROP VIEW ztf_alerts"],
        ["plot", "sky", "--night", "2026-01-01' OR '1'='1", "--out", "never.png"],
        ["plot", "sky", "--night", "2026-01-01", "--survey", "ztf'; --", "--out", "never.png"],
        ["plot", "stamps", "--alert_id", "1 OR 1=1", "--out", "never.png"],
        ["audit", "--ids", "{ids}", "--night", "2026-01-01' OR '1'='1"],
        ["audit", "--ids", "{ids}", "--survey", "ztf'; DROP VIEW ztf_alerts; --"],
        ["ingest", "--input", "{ids}", "--survey", "ztf'; --"],
    ],
    ids=" ".join,
)
def test_what_is_no_value_of_its_kind_is_refused_in_a_sentence(folder, words, tmp_path, capsys):
    before = contents(folder)
    ids = tmp_path / "ids.csv"
    ids.write_text("alert_id\n1\n")
    words = [str(ids) if one == "{ids}" else one for one in words]
    try:
        status = cli.main(
            [words[0], "--warehouse", str(folder), *words[1:]] if words[0] != "plot" else [*words, "--warehouse", str(folder)]
        )
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.err.strip()
    assert contents(folder) == before


@pytest.mark.parametrize("alert_id", [10**30, -(10**18), 0])
def test_an_alert_id_of_any_size_is_no_alert(folder, alert_id, capsys):
    assert cli.main(["info", "--warehouse", str(folder), "--", str(alert_id)]) == 1
    assert "holds no alert" in capsys.readouterr().err
