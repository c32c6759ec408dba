"""A warehouse in a folder, of this machine or of a bucket, asked through DuckDB."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from alerts.surveys import Survey
from schemas import Table
from warehouses import files
from warehouses.answers import Answer
from warehouses.errors import QueryError
from warehouses.folder import claims
from warehouses.folder.commit import commit, unit_of
from warehouses.folder.parquet_files import TEMPORARY, UnitWriter, open_parquet
from warehouses.folder.views import connect, tables_with_files
from warehouses.reachable import Unreachable, check_bucket, check_reachable
from warehouses.sql import ONE_SELECT, pointed_at
from warehouses.units import STREAM
from warehouses.warehouse import ROWS_AT_ONCE, Warehouse, check_unicode, known_surveys

if TYPE_CHECKING:
    import sqlalchemy as sa

_NAMES = (
    "SELECT view_name FROM duckdb_views() WHERE NOT internal UNION ALL "
    "SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY 1"
)
_ROW_MAKERS = {
    "range",
    "generate_series",
    "repeat",
    "unnest",
    "json_each",
    "json_tree",
    "glob",
    "parquet_metadata",
    "parquet_schema",
    "parquet_scan",
    "read_parquet",
}
"""DuckDB's functions that stand in place of a table and do no more than give rows; duckdb_tables and its like do so too. Of
others some write files, run SQL of their own or follow addresses."""


class FolderWarehouse(Warehouse):
    """Parquet files by table and night below a folder (see ``warehouses.folder.parquet_files``)."""

    dialect = "duckdb"
    replaces = True
    write_methods = ("parquet",)

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderWarehouse, (self.uri,)

    @functools.cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        with self._reading():
            return connect(self.uri)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """What the disk or the bucket says, as a sentence."""
        try:
            # Whoever does not answer at once is not there.
            check_reachable(self.uri)
            yield
        except (FileNotFoundError, Unreachable, duckdb.Error) as error:
            raise QueryError(str(error)) from error
        except OSError as error:
            raise QueryError(f"{self.uri} cannot be read: {error}") from error

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Cursors read independently: of two threads on one connection either might get the other's rows."""
        with self._opening:
            connection = self._connection
        return connection.cursor()

    def holds_tables(self) -> bool:
        """See ``Warehouse``."""
        with self._reading():
            return bool(tables_with_files(self.uri))

    @functools.cached_property
    def tables(self) -> list[str]:
        """Names of the tables, with files or without, and not of the views."""
        with self._cursor() as cursor:
            found = cursor.execute(_NAMES).fetchall()
        return [name for (name,) in found]

    @functools.cached_property
    def surveys(self) -> list[Survey]:
        """Those whose tables have files."""
        return known_surveys(tables_with_files(self.uri))

    def columns_of(self, table: str) -> set[str]:
        """See ``Warehouse``; what old files lack reads NULL."""
        return set(self.ask(f"SELECT * FROM {table} LIMIT 0").schema.names)

    def read(self, sql: str, rows_at_once: int = ROWS_AT_ONCE) -> Answer:
        """See ``Warehouse``."""
        check_unicode(sql)
        try:
            # First, because it does no more than parse.
            self._refuse_functions(sql)
            with self._cursor() as cursor:
                statements = cursor.extract_statements(sql)
        except duckdb.Error as error:
            raise QueryError(str(error)) from error
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(ONE_SELECT)
        return self._answer(statements[0], {}, rows_at_once)

    def ask(self, sql: str, values: Mapping[str, Any] | None = None, rows_at_once: int = ROWS_AT_ONCE) -> Answer:
        """See ``Warehouse``."""
        named = {name: value for name, value in (values or {}).items() if f"{{{name}}}" in sql}
        for name, value in named.items():
            check_unicode(str(value))
            sql = sql.replace(f"{{{name}}}", f"${name}")
        return self._answer(sql, named, rows_at_once)

    def _answer(self, statement: Any, values: dict[str, Any], rows_at_once: int) -> Answer:
        cursor = self._cursor()
        try:
            # Rows are made as they are asked for, and no column of theirs need fit into one array of Arrow.
            reader = cursor.execute(statement, values or None).to_arrow_reader(rows_at_once)
        except duckdb.Error as error:
            cursor.close()
            raise QueryError(str(error)) from error
        return Answer(reader.schema, _batches(reader, cursor))

    def _refuse_functions(self, sql: str) -> None:
        with self._cursor() as cursor:
            [text] = cursor.execute("SELECT json_serialize_sql($sql::VARCHAR)", {"sql": sql}).fetchone() or [""]
        parsed = json.loads(text)
        if parsed["error"]:
            if parsed["error_type"] == "not implemented":
                raise QueryError(ONE_SELECT)
            before = sql[: int(parsed.get("position") or 0)]
            line, column = before.count("\n"), len(before.rpartition("\n")[2])
            raise QueryError(f"{parsed['error_message']}{pointed_at(sql, line, column)}")
        for name in _functions_for_tables(parsed):
            if name not in _ROW_MAKERS and not name.startswith("duckdb_"):
                raise QueryError(
                    f"the function {name} cannot stand for a table here; ask the warehouse's tables: {', '.join(self.tables)}"
                )

    def shown_otherwise(self, survey: str) -> bool:
        """Never: the views of a folder are made anew whenever it is opened."""
        return False

    def engine(self) -> sa.Engine:
        """See ``Warehouse``."""
        from warehouses.folder.engine import engine_of  # noqa: PLC0415 - SQLAlchemy takes half a second

        return engine_of(self.uri)

    def close(self) -> None:  # noqa: D102
        connection = self.__dict__.pop("_connection", None)
        self.__dict__.pop("tables", None)
        self.__dict__.pop("surveys", None)
        if connection is not None:
            connection.close()

    def check_writable(self) -> None:
        """See ``Warehouse``."""
        if files.is_remote(self.uri):
            check_bucket(self.uri)
            return
        # The folder is made with its first file: a run that is refused for another reason leaves nothing behind.
        place = Path(self.uri)
        with tempfile.TemporaryFile(dir=next(there for there in (place, *place.parents) if there.exists())):
            pass

    def prepare(self, surveys: Sequence[str]) -> None:
        """Nothing: folders are made as they are needed."""

    def add(self, table: Table, rows: pa.RecordBatch, run_id: str) -> None:
        """See ``Warehouse``."""
        if not rows.num_rows:
            return
        if table.partition_by is None:
            self._add_file(table, rows, run_id)
            return
        writer = UnitWriter(self.uri, run_id, STREAM)
        written = list(writer.write(table, rows))
        commit(self.uri, run_id, [], [*written, *writer.close()])

    def _add_file(self, table: Table, rows: pa.RecordBatch, run_id: str) -> None:
        temporary = f"{self.uri}/{TEMPORARY}/{run_id}.parquet"
        with files.create_file(temporary) as file, open_parquet(file, table.arrow_schema) as writer:
            writer.write_batch(rows)
        files.rename([(temporary, f"{self.uri}/{table.name}/{run_id}.parquet")])

    def claim(self, run_id: str, inputs: Collection[str]) -> contextlib.AbstractContextManager[None]:
        """See ``Warehouse``. Only a folder of this machine knows who lives; in a bucket nobody waits."""
        return contextlib.nullcontext() if files.is_remote(self.uri) else claims.claim(self.uri, run_id, inputs)

    def other_runs_of(self, run_id: str, units: Collection[str]) -> list[str]:
        """See ``Warehouse``. On this machine two runs over the same inputs are not let in at once."""
        if not files.is_remote(self.uri) or not units:
            return []
        found: set[str] = set()
        for file in files.files_below(self.uri):
            table = file.uri.removeprefix(f"{self.uri}/").partition("/")[0]
            if table.endswith("_alerts") and unit_of(file.uri) in units:
                with files.open_file(file.uri) as opened:
                    found.update(pq.ParquetFile(opened).read(columns=["run_id"]).column(0).unique().to_pylist())
        return sorted(found - {run_id})

    @property
    def when_interrupted(self) -> str:
        """See ``Warehouse``."""
        return f"{self.uri} holds each input as before or as now, none half; run the same command again for the rest"


def _batches(reader: pa.RecordBatchReader, cursor: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise QueryError(str(error)) from error
    finally:
        cursor.close()


def _functions_for_tables(parsed: Any) -> Iterator[str]:
    """Names of the functions that stand in place of a table anywhere in a statement that DuckDB has parsed."""
    waiting = [parsed]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("type") == "TABLE_FUNCTION":
                yield str(part["function"]["function_name"]).lower()
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
