"""A warehouse in a folder, of this machine or of a bucket, asked through DuckDB."""

from __future__ import annotations

import contextlib
import functools
import logging
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import pyarrow as pa

from alerts.extras import needs
from alerts.surveys import Survey
from schemas import Table
from schemas.views import nights_sql, unique_alerts_sql
from warehouses import files
from warehouses.answers import Answer
from warehouses.computed import Computed
from warehouses.errors import QueryError
from warehouses.folder import claims, compact, index, plans, readers
from warehouses.folder.add_features import add_features
from warehouses.folder.alert_rows import AlertRows, AskDatabase
from warehouses.folder.commit import commit
from warehouses.folder.manifest import Manifest
from warehouses.folder.nights import Range, nights_asked
from warehouses.folder.parquet_files import TEMPORARY, UnitWriter, write_rows
from warehouses.folder.queries import parsed_select
from warehouses.folder.rebuild import rebuild
from warehouses.folder.views import Views
from warehouses.reachable import Unreachable, check_bucket, check_reachable
from warehouses.sought import Sought, of_ids
from warehouses.sql import ONE_SELECT, check_unicode
from warehouses.units import STREAM, Unit, WrittenFile
from warehouses.warehouse import ROWS_AT_ONCE, AsAvro, Compacted, Warehouse, known_surveys

if TYPE_CHECKING:
    import sqlalchemy as sa

    from warehouses.counts import RunCounts, Wrote

_LOG = logging.getLogger(__name__)
_MOST_IDS = 5000
"""Of more alerts the ids are not written down."""
_FEW_FILES = 64
"""The rows of an object or of a place in so many files are read one file after the other."""


class FolderWarehouse(Warehouse):
    """Parquet files by table and night below a folder (see ``warehouses.folder.parquet_files``)."""

    dialect = "duckdb"
    replaces = True
    write_methods = ("parquet",)
    round_secs: ClassVar[Mapping[str, float]] = {"parquet": 0.0}

    def __init__(self, folder: str, run_id: str | None = None) -> None:
        super().__init__(folder)
        self._run_id = run_id
        self._alert_ids: str | None = None
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderWarehouse, (self.uri, self._run_id)

    @functools.cached_property
    def _views(self) -> Views:
        with self._reading():
            return Views.newest(self.uri, self._run_id)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise QueryError(self._what_failed(error)) from error

    def _what_failed(self, error: duckdb.Error) -> str:
        """What DuckDB says, or that files have been taken away, which is seen only now: asking for each takes its time."""
        gone = self._opened().gone() if "No files found" in str(error) or "FileNotFoundError" in str(error) else []
        if not gone:
            return str(error)
        return (
            f"{len(gone):,} files that the manifest of {self.uri} names are gone, {gone[0]} among them; put them back, or go on "
            f"without them: broker compact --rebuild --warehouse {self.uri}"
        )

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

    def _opened(self) -> Views:
        with self._opening:
            return self._views

    def holding(self, sought: Sought) -> contextlib.AbstractContextManager[Warehouse]:
        """See ``Warehouse``."""
        return self._holding(sought) or contextlib.nullcontext(self)

    def _holding(self, sought: Sought) -> FolderWarehouse | None:
        """The warehouse of the files that the index names; None where it names none, or looking there is not worth it."""
        whole = self._opened().manifest
        if not self._has_index(whole) or sought.is_wide:
            return None
        try:
            found = index.narrowed(self.uri, whole, sought)
            some = self._of(found)
            if sought.column == "alert_id":
                return some._with_all_rows_of([first for first, _ in sought.ranges])
            # Of an alert that is found all rows count, in whichever files they are: the newest is shown.
            parts = [f"SELECT alert_id FROM {facts.alerts_table.name} WHERE {sought.condition}" for facts in some.surveys]
            ids = some.ask(" UNION ".join(parts), sought.values).read().column("alert_id").to_pylist()
            every = index.narrowed(self.uri, whole, of_ids(ids))
            if not all(map(found.is_live, every.live.column("path").to_pylist())):
                some.close()
                some = self._of(every)
            return some._with_all_rows_of(ids)
        except (OSError, pa.ArrowException) as error:
            self._warn_of_index(error)
            return None

    def _has_index(self, whole: Manifest) -> bool:
        return self._run_id is None and bool(whole.index.num_rows)

    def _warn_of_index(self, error: Exception) -> None:
        _LOG.warning(
            "what the index names cannot be read by itself (%s), so that all files are; a damaged index is made anew by: "
            "broker compact --rebuild --warehouse %s",
            error,
            self.uri,
        )

    def _of(self, manifest: Manifest) -> FolderWarehouse:
        """The warehouse of some files of the version that this one reads, as long as it does."""
        some = FolderWarehouse(self.uri)
        some.__dict__["_views"] = self._opened().narrowed(manifest)
        return some

    def _with_all_rows_of(self, alert_ids: Collection[int]) -> FolderWarehouse:
        """The same, which is asked for no alerts but these, and has all of their rows."""
        self._alert_ids = f"alert_id IN ({', '.join(map(str, alert_ids)) or 'NULL'})" if len(alert_ids) <= _MOST_IDS else None
        return self

    def _shown_alerts(self, surveys: Sequence[str], condition: str, values: Mapping[str, Any]) -> dict[str, str]:
        """See ``Warehouse``. Where the ids are known, rows are read once."""
        if self._alert_ids is None:
            return super()._shown_alerts(surveys, condition, values)
        rows = {name: unique_alerts_sql(f"(SELECT * FROM {name}_alerts WHERE {self._alert_ids})", "duckdb") for name in surveys}
        return {name: f"({sql}) AS a WHERE ({condition})" for name, sql in rows.items()}

    def rows_of_alert(self, survey: Survey, alert_id: int) -> str:
        """See ``Warehouse``. Where few files are to be looked into, its nights are asked for, so that few others are, too."""
        this = super().rows_of_alert(survey, alert_id)
        if self._alert_ids is None:
            return this
        found = self.ask(f"SELECT DISTINCT night FROM {survey.alerts_table.name} WHERE {this}").read()
        return f"{nights_sql(found.column('night').to_pylist())} AND {this}"

    def _alerts(self, sought: Sought) -> pa.Table:
        """See ``Warehouse``. Of few files the rows are read without DuckDB, which takes longer to begin than they to be read."""
        whole = self._opened().manifest
        if self._has_index(whole) and not sought.is_wide:
            try:
                with AlertRows(self.uri, _FEW_FILES) as few:
                    ids = few.ids_of(sought, index.narrowed(self.uri, whole, sought))
                    return few.shown(sought, ids, index.narrowed(self.uri, whole, of_ids(ids)))
            except AskDatabase:
                pass
            except Exception as error:  # a bucket's errors are of many kinds
                self._warn_of_index(error)
        return super()._alerts(sought)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Cursors read independently: of two threads on one connection either might get the other's rows."""
        return self._opened().connection.cursor()

    def _manifest(self) -> Manifest:
        """The newest version, of which no file is looked at."""
        with self._reading():
            found, let_go = readers.newest(self.uri)
            let_go()
            return found

    def holds_tables(self) -> bool:
        """See ``Warehouse``."""
        return bool(self._manifest().tables)

    @property
    def tables(self) -> list[str]:
        """Names of the tables, with files or without, and of the views beside them."""
        return self._opened().names

    @property
    def surveys(self) -> list[Survey]:
        """Those whose tables have files."""
        opened = self.__dict__.get("_views") if self._run_id is None else self._opened()
        return known_surveys((opened.manifest if opened is not None else self._manifest()).tables)

    def columns_of(self, table: str) -> set[str]:
        """See ``Warehouse``; what old files lack reads NULL."""
        return set(self.ask(f"SELECT * FROM {table} LIMIT 0").schema.names)

    def read(self, sql: str, rows_at_once: int = ROWS_AT_ONCE) -> Answer:
        """See ``Warehouse``."""
        check_unicode(sql)
        try:
            # First, because it does no more than parse.
            with self._cursor() as cursor:
                parsed = parsed_select(cursor, sql, self.tables)
                statements = cursor.extract_statements(sql)
        except duckdb.Error as error:
            raise QueryError(str(error)) from error
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(ONE_SELECT)
        return self._answer(statements[0], {}, rows_at_once, nights_asked(parsed))

    def ask(self, sql: str, values: Mapping[str, Any] | None = None, rows_at_once: int = ROWS_AT_ONCE) -> Answer:
        """See ``Warehouse``."""
        named = {name: value for name, value in (values or {}).items() if f"{{{name}}}" in sql}
        for name, value in named.items():
            check_unicode(str(value))
            sql = sql.replace(f"{{{name}}}", f"${name}")
        return self._answer(sql, named, rows_at_once, {})

    def _answer(self, statement: Any, values: dict[str, Any], rows_at_once: int, nights: Mapping[str, Sequence[Range]]) -> Answer:
        opened = self._opened()
        cursor = opened.connection.cursor()
        with self._failing():
            narrowed = opened.narrow(cursor, nights) if nights else []
            opened.make_for(statement if isinstance(statement, str) else statement.query, narrowed)
        try:
            # Rows are made as they are asked for, and no column of theirs need fit into one array of Arrow.
            reader = cursor.execute(statement, values or None).to_arrow_reader(rows_at_once)
        except duckdb.Error as error:
            cursor.close()
            raise QueryError(self._what_failed(error)) from error
        return Answer(reader.schema, _batches(reader, cursor))

    def shown_otherwise(self, survey: str) -> bool:
        """Never: the views of a folder are made anew whenever it is opened."""
        return False

    def engine(self) -> sa.Engine:
        """See ``Warehouse``."""
        needs("duckdb_sqlalchemy")
        from warehouses.folder.engine import engine_of  # noqa: PLC0415 - SQLAlchemy takes half a second

        return engine_of(self.uri)

    def close(self) -> None:  # noqa: D102
        opened = self.__dict__.pop("_views", None)
        if opened is not None:
            opened.close()

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
        name = f"{table.name}/{run_id}.parquet"
        place = WrittenFile(STREAM, f"{self.uri}/{TEMPORARY}/{run_id}/{name}", f"{self.uri}/{name}", 0)
        commit(self.uri, run_id, [], [write_rows(place, pa.Table.from_batches([rows]).cast(table.arrow_schema))])

    def counts(self, run_id: str, units: Iterable[Unit], wrote: Wrote | None = None) -> RunCounts:
        """See ``Warehouse``. Only of the files that the run has written: after years, too, it costs what the run does."""
        with FolderWarehouse(self.uri, run_id) as own:
            return Warehouse.counts(own, run_id, units, wrote)

    def claim(self, run_id: str, inputs: Collection[str]) -> contextlib.AbstractContextManager[None]:
        """See ``Warehouse``."""
        return claims.claim(self.uri, run_id, inputs)

    def other_runs_of(self, run_id: str, units: Collection[str]) -> list[str]:
        """See ``Warehouse``. None: two runs over the same inputs are not let in at once, and who lost its claim cannot commit."""
        return []

    def keep_plan(self, stream: str, plan: str) -> None:
        """See ``Warehouse``."""
        plans.keep(self.uri, stream, plan)

    def kept_plan(self, stream: str) -> str | None:
        """See ``Warehouse``."""
        return plans.kept(self.uri, stream)

    def compact(self, nights: tuple[date, date] | None = None, at_least: int = 2) -> Compacted:
        """See ``Warehouse``."""
        if not self.holds_tables():
            raise QueryError(f"{self.uri} holds no tables; fill it with: broker ingest --input ... --warehouse {self.uri}")
        return Compacted(*compact.compact(self.uri, nights, at_least))

    def rebuild(self) -> int:
        """See ``Warehouse``."""
        return rebuild(self.uri).live.num_rows

    def tidy(self, run_id: str, in_rounds: bool = False) -> Compacted | None:
        """See ``Warehouse``."""
        if not self.holds_tables():
            return None
        many = compact.MANY_ROUNDS if in_rounds else compact.MANY_FILES
        before, after = compact.compact(self.uri, at_least=many, run_id=run_id, whole_units=in_rounds)
        return Compacted(before, after) if before != after else None

    def add_features(
        self, survey: Survey, nights: tuple[date, date], run_id: str, as_avro: AsAvro, *, again: bool = False
    ) -> Iterator[Computed]:
        """See ``Warehouse``."""
        return add_features(self.uri, survey, nights, run_id, again=again)

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
