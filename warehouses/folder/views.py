"""A warehouse folder as DuckDB sees it: one view per table, and the ``_unique`` views."""

from __future__ import annotations

import os
import re
from pathlib import Path

import duckdb

from alerts.surveys import SURVEYS
from schemas.views import newest_matches_sql, open_letters_sql, unique_alerts_sql

_NULLABLE_SINCE = {"cutouts": {"packet_digest": "BLOB"}}
"""By the last word of a table's name, the columns that it got after its first version, and their types in DuckDB."""


def tables(warehouse: str) -> list[str]:
    """The tables that a warehouse folder holds rows of, in order of their names."""
    folders = [one.name for one in Path(warehouse).iterdir() if one.is_dir() and not one.name.startswith("_")]
    return sorted(name for name in folders if any(Path(warehouse, name).rglob("*.parquet")))


def connect(warehouse: str) -> duckdb.DuckDBPyConnection:
    """A connection in which the tables of the folder are views. Times are shown in UTC, by its cursors too.

    Raises ``FileNotFoundError`` when the folder is none, or holds no table.
    """
    found = tables(warehouse) if os.path.isdir(warehouse) else []
    if not found:
        raise FileNotFoundError(f"{warehouse} holds no tables; fill it with: broker ingest --input ... --warehouse {warehouse}")
    connection = duckdb.connect()
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    # Queries may come from anywhere: they reach the warehouse's files and no others, nothing on the network, and no
    # variable of ours. DuckDB compares a pattern as it is written.
    place = str(Path(warehouse).absolute())
    pattern = _as_pattern(place)
    connection.execute(f"SET allowed_directories = [{_quoted(place)}, {_quoted(pattern)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    for name in found:
        hive = "false" if name == "runs" else "true"
        # The folders' key is a column of the table, but for dead_letters, which BigQuery divides by a time.
        columns = "* EXCLUDE (failed_date)" if name == "dead_letters" else "*"
        below = _quoted(f"{pattern}/{_as_pattern(name)}/**/*.parquet")
        files = f"read_parquet({below}, hive_partitioning = {hive}, union_by_name = true)"
        connection.execute(
            f"CREATE VIEW {_named(name)} AS SELECT {columns}{_newer_columns(connection, name, files)} FROM {files}"
        )
    for survey in SURVEYS:
        if f"{survey}_alerts" in found:
            connection.execute(f"CREATE VIEW {survey}_alerts_unique AS {unique_alerts_sql(f'{survey}_alerts', 'duckdb')}")
    if "crossmatches" in found:
        connection.execute(f"CREATE VIEW crossmatches_unique AS {newest_matches_sql('crossmatches')}")
    if "dead_letters" in found:
        connection.execute(f"CREATE VIEW dead_letters_open AS {open_letters_sql('dead_letters', 'duckdb')}")
    connection.execute("SET lock_configuration = true")
    return connection


def _newer_columns(connection: duckdb.DuckDBPyConnection, name: str, files: str) -> str:
    """Columns of our own that the files of a table are too old to have, as NULL."""
    table = _NULLABLE_SINCE.get(name.rpartition("_")[2])
    if table is None:
        return ""
    held = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()}
    return "".join(f", NULL::{kind} AS {column}" for column, kind in table.items() if column not in held)


def _as_pattern(path: str) -> str:
    """A glob for the one path, whose name may hold brackets and the like."""
    return re.sub(r"([*?[])", r"[\1]", path)


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
