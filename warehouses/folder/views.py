"""A warehouse folder as DuckDB sees it: one version of its files, a view for every table, and the views beside the tables."""

from __future__ import annotations

import functools
import os
import re
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.surveys import SURVEYS
from alerts.tables import derived_views, own_tables
from schemas import Table
from schemas.tables import SHARED_TABLES
from warehouses.files import files_below, is_remote, listed_files
from warehouses.folder import readers
from warehouses.folder.manifest import Manifest, first_of_each
from warehouses.folder.nights import Range
from warehouses.folder.parquet_files import partition_column

_NULLABLE_SINCE = {"cutouts": {"packet_digest": "BLOB"}}
"""By the last word of a table's name, the columns that it got after its first version, and their types in DuckDB."""
_FILE = "filename"
"""DuckDB's column with a row's file. Only under its own name DuckDB leaves files out by it."""
_TELL_OF_VIEWS = ("duckdb_", "information_schema", "sqlite_", "pragma_", "pg_", "show", "describe", "summarize", "u&")
"""What in a query may be about views that it does not name."""

_WORTH_NARROWING = 64
"""Of fewer files DuckDB leaves out in no time what is not asked for."""


def vocabulary() -> Iterator[Table]:
    """The tables that every warehouse has."""
    for survey in SURVEYS.values():
        yield from own_tables(survey)
    yield from SHARED_TABLES


def derived() -> dict[str, tuple[str, str]]:
    """The views beside the tables: the table that each shows, and its SQL."""
    return derived_views(SURVEYS, "duckdb")


def connect(warehouse: str) -> duckdb.DuckDBPyConnection:
    """A connection in which the tables of the folder are views. Times are shown in UTC, by its cursors too.

    Raises ``FileNotFoundError`` when the folder is none, or holds no table.
    """
    views = Views.newest(warehouse)
    views.make_all()
    # Until nobody has the connection any more its version is read.
    weakref.finalize(views.connection, views.let_go)
    return views.connection


class Views:
    """Files of one version of a warehouse folder; views are made as queries come that name them.

    ``let_go`` is what ``close`` does besides.
    """

    def __init__(self, warehouse: str, manifest: Manifest, let_go: Callable[[], None]) -> None:
        self._warehouse, self.manifest, self.let_go = warehouse, manifest, let_go
        self._known = {table.name: table for table in vocabulary()}
        self._derived = derived()
        self._made: set[str] = set()
        self._making = threading.RLock()

    @classmethod
    def newest(cls, warehouse: str, run_id: str | None = None) -> Views:
        """The newest version, held as long as this is open; with ``run_id`` only the files in which rows of that run may be.

        Raises ``FileNotFoundError`` where there is no table.
        """
        found, let_go = readers.newest(warehouse)
        if run_id is not None:
            return cls(warehouse, found.of_run(run_id), let_go)
        if not found.tables:
            let_go()
            raise FileNotFoundError(
                f"{warehouse} holds no tables; fill it with: broker ingest --input ... --warehouse {warehouse}"
            )
        return cls(warehouse, found, let_go)

    def narrowed(self, manifest: Manifest) -> Views:
        """The same of fewer files; this one is to stay open as long."""
        return Views(self._warehouse, manifest, _nothing)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB, in which views are; made when it is first asked: it takes longer than reading the manifest."""
        with self._making:
            return self._connected

    @functools.cached_property
    def _connected(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        self._keep_within(connection)
        connection.execute("SET lock_configuration = true")
        return connection

    @property
    def names(self) -> list[str]:
        """The tables, with files or without, and the views beside them."""
        return sorted({*self._known, *self.manifest.tables, *self._derived})

    def close(self) -> None:
        """Let go of the version."""
        if (connection := self.__dict__.pop("_connected", None)) is not None:
            connection.close()
        self.let_go()

    def gone(self) -> list[str]:
        """Paths of files of this version that are not there any more, though nobody has taken them out."""
        there = {file.uri.removeprefix(f"{self._warehouse}/") for file in files_below(self._warehouse)}
        return [path for path in self.manifest.live.column("path").to_pylist() if path not in there]

    def make_all(self) -> None:
        """Make every view."""
        self._make(self.names)

    def make_for(self, sql: str, without: Collection[str] = ()) -> None:
        """Make the views that a query can mean, but for tables that stand for themselves where it is asked."""
        text = sql.lower()
        if any(words in text for words in _TELL_OF_VIEWS):
            self.make_all()
        else:
            self._make([name for name in self.names if name.lower() in text and name not in without])

    def narrow(self, cursor: duckdb.DuckDBPyConnection, asked: Mapping[str, Sequence[Range]]) -> list[str]:
        """Have tables be only of the files of some nights for who asks by this cursor, where that are far fewer; gives which."""
        narrowed = []
        for name in (name for name in self.manifest.tables if name.lower() in asked):
            files = self.manifest.of(name)
            if files.num_rows < _WORTH_NARROWING:
                continue
            some = _of_nights(files, asked[name.lower()])
            if 2 * some.num_rows <= files.num_rows:
                cursor.execute(self._table_sql(name, some, "TEMP VIEW"))
                narrowed.append(name)
        return narrowed

    def _make(self, names: list[str]) -> None:
        with self._making:
            missing = [name for name in names if name not in self._made]
            if not missing:
                return
            # At once: each statement by itself is a transaction.
            self.connection.execute("BEGIN TRANSACTION")
            try:
                made = self._create(missing)
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self._made |= made

    def _create(self, names: list[str]) -> set[str]:
        made: set[str] = set()
        for name in names:
            table, sql = self._derived.get(name, (name, ""))
            if table not in self._made | made:
                self.connection.execute(self._table_sql(table))
                made.add(table)
            if sql:
                self.connection.execute(f"CREATE VIEW {_named(name)} AS {sql}")
                made.add(name)
        return made

    def _keep_within(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let queries, which may come from anywhere, reach the warehouse's files and no others, and no variable of ours.

        On the network they reach nothing but the bucket.
        """
        if is_remote(self._warehouse):
            live = self.manifest.live
            sizes = zip(live.column("path").to_pylist(), live.column("bytes").to_pylist(), strict=True)
            connection.register_filesystem(listed_files({f"{self._warehouse}/{path}": size for path, size in sizes}))
        # DuckDB compares a pattern as it is written.
        places = [self._warehouse, _as_pattern(self._warehouse)]
        if not is_remote(self._warehouse):
            # A table's folder may be a link to another disk.
            places += [os.path.realpath(f"{self._warehouse}/{table}") for table in self.manifest.tables]
        allowed = ", ".join(_quoted(f"{place}/") for place in dict.fromkeys(places))
        connection.execute(f"SET allowed_directories = [{allowed}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET python_enable_replacements = false")

    def _table_sql(self, name: str, files: pa.Table | None = None, kind: str = "VIEW") -> str:
        files, table = self.manifest.of(name) if files is None else files, self._known.get(name)
        if not files.num_rows:
            return _empty_sql(name)
        # Files of one schema need not be opened to know their columns; by name, since others have more or fewer of them.
        schemas = dict.fromkeys(files.column("schema").to_pylist())
        parts = [self._rows_sql(name, table, files.filter(pc.equal(files.column("schema"), schema))) for schema in schemas]
        newer = _NULLABLE_SINCE.get(name.rpartition("_")[2], {})
        parts += [f"SELECT NULL::{kind} AS {column} WHERE false" for column, kind in newer.items()]
        return f"CREATE {kind} {_named(name)} AS {' UNION ALL BY NAME '.join(parts)}"

    def _rows_sql(self, name: str, table: Table | None, files: pa.Table) -> str:
        """The rows of files of one schema, with the folders' key as a column where it is one of the table's.

        The key is taken from the file's name, and not by ``hive_partitioning``, with which DuckDB 1.5.5 fails on ``max(night)``
        of one file. It reads only the files of the nights asked for all the same. It is taken by its place: to
        search every name for a pattern takes longer.
        """
        pattern = _as_pattern(self._warehouse)
        listed = ", ".join(_quoted(f"{pattern}/{_as_pattern(path)}") for path in files.column("path").to_pylist())
        key = partition_column(table) if table is not None and table.partition_by else "night"
        columns = f"* EXCLUDE ({_FILE})"
        if table is None or key in table.by_name:
            begin = len(f"{self._warehouse}/{name}/{key}=") + 1
            columns += f", CAST(substr({_FILE}, {begin}, 10) AS DATE) AS {key}"
        return f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false, filename = true)"


def _of_nights(files: pa.Table, ranges: Sequence[Range]) -> pa.Table:
    """The files of some nights, and one of each schema: by these it is known which columns there are."""
    nights = files.column("night")
    wanted = pa.array(np.zeros(files.num_rows, bool))
    for first, last in ranges:
        low, high = pa.scalar(first, pa.date32()), pa.scalar(last, pa.date32())
        wanted = pc.or_(wanted, pc.fill_null(pc.and_(pc.greater_equal(nights, low), pc.less_equal(nights, high)), True))
    return files.filter(pc.or_(wanted, pa.array(first_of_each(files.column("schema")))))


def _empty_sql(name: str) -> str:
    """A table without rows: of a view of NULLs DuckDB would look at each column again in whatever names it."""
    columns = ", ".join(f"{_named(column)} {kind}" for column, kind in _kinds(name))
    return f"CREATE TABLE {_named(name)} ({columns})"


@functools.lru_cache(maxsize=64)
def _kinds(name: str) -> tuple[tuple[str, str], ...]:
    """The columns of a table and their types in DuckDB, in the order in which its files have them."""
    table = next(table for table in vocabulary() if table.name == name)
    with duckdb.connect() as connection:
        empty = connection.from_arrow(table.arrow_schema.empty_table())
        return tuple(zip(empty.columns, map(str, empty.types), strict=True))


def _nothing() -> None:
    """Somebody else holds the version."""


def _as_pattern(path: str) -> str:
    """A glob for the one path, whose name may hold brackets and the like."""
    return re.sub(r"([*?[])", r"[\1]", path)


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
