"""A warehouse folder as DuckDB sees it: a view for every table of the vocabulary, and the views beside the tables."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import duckdb

from alerts.surveys import SURVEYS
from schemas import Table
from schemas.tables import CROSSMATCHES, DEAD_LETTERS, RUNS
from schemas.views import newest_matches_sql, open_letters_sql, unique_alerts_sql
from warehouses.files import files_below, is_remote, listed_files
from warehouses.folder.parquet_files import partition_column

_NULLABLE_SINCE = {"cutouts": {"packet_digest": "BLOB"}}
"""By the last word of a table's name, the columns that it got after its first version, and their types in DuckDB."""
_FILE = "filename"
"""DuckDB's column with a row's file. Only under its own name DuckDB leaves files out by it."""


def vocabulary() -> Iterator[Table]:
    """The tables that every warehouse has."""
    for survey in SURVEYS.values():
        yield from (survey.alerts_table, survey.cutouts_table)
    yield from (CROSSMATCHES, DEAD_LETTERS, RUNS)


def tables_with_files(warehouse: str) -> list[str]:
    """The tables that a warehouse folder holds rows of, in order of their names; none where there is no folder."""
    if is_remote(warehouse):
        below = (file.uri.removeprefix(f"{warehouse}/") for file in files_below(warehouse))
        found = {uri.partition("/")[0] for uri in below if uri.endswith(".parquet")}
        return sorted(name for name in found if not name.startswith("_"))
    if not os.path.isdir(warehouse):
        return []
    folders = [entry.name for entry in Path(warehouse).iterdir() if entry.is_dir() and not entry.name.startswith("_")]
    return sorted(name for name in folders if any(Path(warehouse, name).rglob("*.parquet")))


def connect(warehouse: str) -> duckdb.DuckDBPyConnection:
    """A connection in which the tables of the folder are views, and the other tables are there and empty.

    Times are shown in UTC, by its cursors too.
    Raises ``FileNotFoundError`` when the folder is none, or holds no table.
    """
    found = tables_with_files(warehouse)
    if not found:
        raise FileNotFoundError(f"{warehouse} holds no tables; fill it with: broker ingest --input ... --warehouse {warehouse}")
    connection = duckdb.connect()
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    _keep_within(connection, warehouse)
    _make_views(connection, warehouse, found)
    connection.execute("SET lock_configuration = true")
    return connection


def _keep_within(connection: duckdb.DuckDBPyConnection, warehouse: str) -> None:
    """Let queries, which may come from anywhere, reach the warehouse's files and no others, and no variable of ours.

    On the network they reach nothing but the bucket.
    """
    if is_remote(warehouse):
        connection.register_filesystem(listed_files(warehouse))
    # DuckDB compares a pattern as it is written.
    allowed = ", ".join(_quoted(f"{place}/") for place in dict.fromkeys((warehouse, _as_pattern(warehouse))))
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")


def _make_views(connection: duckdb.DuckDBPyConnection, warehouse: str, found: Collection[str]) -> None:
    known = {table.name: table for table in vocabulary()}
    views = {f"{survey}_alerts_unique": unique_alerts_sql(f"{survey}_alerts", "duckdb") for survey in SURVEYS}
    views |= {
        "crossmatches_unique": newest_matches_sql("crossmatches"),
        "dead_letters_open": open_letters_sql("dead_letters", "duckdb"),
    }
    # At once: each statement by itself is a transaction, and most of a warehouse's tables are empty.
    connection.execute("BEGIN TRANSACTION")
    for name in [*known, *(other for other in found if other not in known)]:
        if name in found:
            connection.execute(f"CREATE VIEW {_named(name)} AS {_rows_sql(connection, warehouse, name, known.get(name))}")
        else:
            connection.execute(_empty_sql(known[name]))
    for name, sql in views.items():
        connection.execute(f"CREATE VIEW {name} AS {sql}")
    connection.execute("COMMIT")


def _rows_sql(connection: duckdb.DuckDBPyConnection, warehouse: str, name: str, table: Table | None) -> str:
    """The rows of a table's files, with the folders' key as a column where it is one of the table's.

    The key is taken from the file's name, and not by ``hive_partitioning``, with which DuckDB 1.5.5 fails on ``max(night)`` of
    one file. It reads only the files of the nights asked for all the same.
    """
    below = _quoted(f"{_as_pattern(warehouse)}/{_as_pattern(name)}/**/*.parquet")
    files = f"read_parquet({below}, hive_partitioning = false, union_by_name = true, filename = true)"
    key = partition_column(table) if table is not None and table.partition_by else "night"
    columns = f"* EXCLUDE ({_FILE})"
    if table is None or key in table.by_name:
        columns += f", CAST(regexp_extract({_FILE}, '/{key}=([0-9-]+)/[^/]*$', 1) AS DATE) AS {key}"
    return f"SELECT {columns}{_newer_columns(connection, name, files)} FROM {files}"


def _empty_sql(table: Table) -> str:
    """A table without rows: of a view of NULLs DuckDB would look at each column again in whatever names it."""
    columns = ", ".join(f"{_named(name)} {kind}" for name, kind in _kinds(table.name))
    return f"CREATE TABLE {_named(table.name)} ({columns})"


@functools.lru_cache(maxsize=64)
def _kinds(name: str) -> tuple[tuple[str, str], ...]:
    """The columns of a table and their types in DuckDB, in the order in which its files have them."""
    table = next(table for table in vocabulary() if table.name == name)
    with duckdb.connect() as connection:
        empty = connection.from_arrow(table.arrow_schema.empty_table())
        return tuple(zip(empty.columns, map(str, empty.types), strict=True))


def _newer_columns(connection: duckdb.DuckDBPyConnection, name: str, files: str) -> str:
    """Columns of our own that the files of a table are too old to have, as NULL."""
    columns = _NULLABLE_SINCE.get(name.rpartition("_")[2])
    if columns is None:
        return ""
    held = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()}
    return "".join(f", NULL::{kind} AS {column}" for column, kind in columns.items() if column not in held)


def _as_pattern(path: str) -> str:
    """A glob for the one path, whose name may hold brackets and the like."""
    return re.sub(r"([*?[])", r"[\1]", path)


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
