"""The truth and the warehouse side by side in a DuckDB file of the audit's own: memory is bounded, disk does the rest."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

_MEMORY = "1GB"
_ROWS_AT_ONCE = 10_000

_TABLES = """
    CREATE TABLE truth (
        origin INTEGER, source VARCHAR, survey VARCHAR, alert_id BIGINT, packet_digest BLOB, schema_version VARCHAR,
        night DATE, stamps UTINYINT
    );
    CREATE TABLE unreadable (
        origin INTEGER, source VARCHAR, payload_md5 VARCHAR, stage VARCHAR, error_type VARCHAR, message VARCHAR, records BIGINT
    );
    CREATE TABLE scopes (origin INTEGER, uri VARCHAR);
    CREATE TABLE rows (
        survey VARCHAR, alert_id BIGINT, packet_digest BLOB, schema_version VARCHAR, source VARCHAR, night DATE,
        on_sky BOOLEAN, from_file BOOLEAN, run_id VARCHAR
    );
    CREATE TABLE letters (
        stage VARCHAR, error_type VARCHAR, message VARCHAR, survey VARCHAR, source VARCHAR, payload_md5 VARCHAR,
        letter VARCHAR, refused_by VARCHAR
    );
    CREATE TABLE kept (letter VARCHAR, survey VARCHAR, alert_id BIGINT, packet_digest BLOB, schema_version VARCHAR);
    CREATE TABLE cutouts (survey VARCHAR, alert_id BIGINT, packet_digest BLOB, number BIGINT, stamps BIGINT);
    CREATE TABLE runs (run_id VARCHAR, cutouts BOOLEAN);
    CREATE TABLE matches (
        survey VARCHAR, alert_id BIGINT, night DATE, catalog VARCHAR, status VARCHAR, error VARCHAR, asked_at TIMESTAMPTZ
    );
    CREATE TABLE filter_counts (
        run_id VARCHAR, night DATE, survey VARCHAR, filter VARCHAR, filter_version VARCHAR,
        seen BIGINT, passed BIGINT, failed BIGINT, rejected BIGINT
    );
    CREATE TABLE verdicts (
        run_id VARCHAR, night DATE, survey VARCHAR, filter VARCHAR, filter_version VARCHAR, number BIGINT
    );
    CREATE TABLE passed (run_id VARCHAR, survey VARCHAR, filter VARCHAR, filter_version VARCHAR, alert_id BIGINT);
    CREATE TABLE outbox (id VARCHAR, topic VARCHAR, run_id VARCHAR, sent BOOLEAN, refused BOOLEAN);
    CREATE TABLE manifested (id VARCHAR, topic VARCHAR);
    CREATE TABLE promised (run_id VARCHAR, survey VARCHAR, filter VARCHAR, topic VARCHAR);
    CREATE TABLE withheld (run_id VARCHAR, topic VARCHAR, number BIGINT);
    CREATE TABLE wrongly_shown (survey VARCHAR, alert_id BIGINT, number BIGINT);
    CREATE TABLE faults (
        kind VARCHAR, survey VARCHAR, alert_id BIGINT, source VARCHAR, night DATE, expected_digest BLOB, found_digest BLOB,
        sent BIGINT, number BIGINT, catalog VARCHAR, filter VARCHAR, topic VARCHAR, stage VARCHAR, error_type VARCHAR,
        message VARCHAR
    );
"""


class Books:
    """The tables of one audit. Made by ``open_books``."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.statements = 0
        """How many were run, but for those that add rows: does not grow with the number of alerts."""

    def add(self, table: str, rows: pa.RecordBatch | pa.Table, **constants: int) -> None:
        """Add rows whose columns have the names of the table's; ``constants`` are columns with one value."""
        more = "".join(f", {value} AS {name}" for name, value in constants.items())
        self._connection.register("given", rows)
        try:
            self._connection.execute(f"INSERT INTO {table} BY NAME SELECT *{more} FROM given")
        finally:
            self._connection.unregister("given")

    def run(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Do something."""
        self.statements += 1
        self._connection.execute(sql, list(values))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a small answer."""
        self.statements += 1
        return self._connection.execute(sql).fetchall()

    def number(self, sql: str) -> int:
        """The one number of an answer."""
        return int(self.rows(sql)[0][0] or 0)

    def records(self, sql: str) -> Iterator[dict[str, Any]]:
        """The rows of an answer of any size, without the columns that are NULL."""
        self.statements += 1
        for batch in self._connection.cursor().execute(sql).to_arrow_reader(_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                yield {name: value for name, value in row.items() if value is not None}


@contextlib.contextmanager
def open_books() -> Iterator[Books]:
    """Empty tables in a folder of their own, which goes with the context."""
    with tempfile.TemporaryDirectory(prefix="broker-audit-") as folder, duckdb.connect(f"{folder}/audit.duckdb") as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'; SET preserve_insertion_order = false; SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = '{folder}/spilled'")
        connection.execute(_TABLES)
        yield Books(connection)
