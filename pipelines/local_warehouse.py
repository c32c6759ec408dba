"""A warehouse folder as DuckDB sees it: one view per table, and the ``_unique`` views."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from alerts.surveys import SURVEYS
from schemas.views import newest_matches_sql, open_letters_sql, unique_alerts_sql


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
    # Queries may come from anywhere: they reach the warehouse's files and no others, and nothing on the network.
    folder = str(Path(warehouse).absolute()).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{folder}']")
    connection.execute("SET enable_external_access = false")
    for name in found:
        pattern = str(Path(warehouse).absolute() / name / "**" / "*.parquet").replace("'", "''")
        hive = "false" if name == "runs" else "true"
        # The folders' key is a column of the table, but for dead_letters, which BigQuery divides by a time.
        columns = "* EXCLUDE (failed_date)" if name == "dead_letters" else "*"
        files = f"read_parquet('{pattern}', hive_partitioning = {hive}, union_by_name = true)"
        connection.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM {files}")
    for survey in SURVEYS:
        if f"{survey}_alerts" in found:
            connection.execute(f"CREATE VIEW {survey}_alerts_unique AS {unique_alerts_sql(f'{survey}_alerts', 'duckdb')}")
    if "crossmatches" in found:
        connection.execute(f"CREATE VIEW crossmatches_unique AS {newest_matches_sql('crossmatches')}")
    if "dead_letters" in found:
        connection.execute(f"CREATE VIEW dead_letters_open AS {open_letters_sql('dead_letters', 'duckdb')}")
    connection.execute("SET lock_configuration = true")
    return connection
