"""A warehouse in a dataset of BigQuery. Table names without a dataset are of this one."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, PermissionDenied
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery, bigquery_storage_v1
from google.cloud.bigquery.retry import DEFAULT_RETRY
from requests.exceptions import RequestException

from alerts.extras import needs
from alerts.rows import json_rows
from alerts.surveys import Survey
from schemas import Table
from schemas.tables import ROUND_PLANS
from schemas.views import unique_alerts_sql
from warehouses.answers import Answer
from warehouses.bigquery import nights
from warehouses.bigquery.append_requests import insert_requests
from warehouses.bigquery.arrow_rows import in_schema, read_rows
from warehouses.bigquery.billing import too_much
from warehouses.bigquery.notes import standing_for
from warehouses.bigquery.tables import prepare
from warehouses.computed import Computed
from warehouses.errors import QueryError
from warehouses.reachable import ANSWER_SECS, why
from warehouses.sql import ONE_SELECT, check_unicode, pointed_at, without_texts
from warehouses.warehouse import ROWS_AT_ONCE, AsAvro, Compacted, Warehouse, known_surveys

if TYPE_CHECKING:
    import sqlalchemy as sa

    from warehouses.standing import Standing
    from warehouses.units import Unit

_LOG = logging.getLogger(__name__)
_FIRST_ROWS = 1000
"""Rows that come with the answer itself, as text; of more, all are read as Arrow, and these are not used."""
_AS_TEXT = "%s: large answers come as text, which takes far longer, since the Storage Read API says: %s%s"
_WHO_MAY = (
    "; who administers the project %s gives the right bigquery.readsessions.create with the role BigQuery Read Session User "
    "(roles/bigquery.readSessionUser)"
)
_TYPES = {
    bool: "BOOL",
    int: "INT64",
    float: "FLOAT64",
    str: "STRING",
    bytes: "BYTES",
    date: "DATE",
    datetime: "TIMESTAMP",
    type(None): "STRING",
}


class BigQueryWarehouse(Warehouse):
    """The tables of a dataset, which ``prepare`` makes."""

    dialect = "bigquery"
    replaces = False
    write_methods = ("file_loads", "streaming_inserts", "storage_write")
    # Each round makes some streams, of which a project may make 10,000 an hour and region; or load jobs, 1,500 a day and table.
    round_secs: ClassVar[Mapping[str, float]] = {"storage_write": 30.0, "file_loads": 90.0}
    rows_at_once_asked = 10_000

    def __init__(self, uri: str, project: str, dataset: str, maximum_bytes_billed: int) -> None:
        super().__init__(uri)
        self.project, self.dataset = project, dataset
        self.maximum_bytes_billed = maximum_bytes_billed
        self._arrow_refused = False

    def __reduce__(self) -> tuple[Any, ...]:
        return BigQueryWarehouse, (self.uri, self.project, self.dataset, self.maximum_bytes_billed)

    @property
    def _reference(self) -> bigquery.DatasetReference:
        return bigquery.DatasetReference(self.project, self.dataset)

    @functools.cached_property
    def _client(self) -> bigquery.Client:
        with self._opening():
            return bigquery.Client(project=self.project)

    @functools.cached_property
    def _reader(self) -> bigquery_storage_v1.BigQueryReadClient:
        return bigquery_storage_v1.BigQueryReadClient()

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise QueryError(f"{self.uri} cannot be opened: {why(error)}") from error

    def holds_tables(self) -> bool:
        """See ``Warehouse``."""
        return bool(self._listed)

    @functools.cached_property
    def _listed(self) -> list[str]:
        with self._opening():
            # Whoever does not answer at once is not there: the client alone would try for ten minutes.
            retry = DEFAULT_RETRY.with_timeout(ANSWER_SECS)
            listed = self._client.list_tables(self._reference, timeout=ANSWER_SECS, retry=retry)
            return sorted(item.table_id for item in listed)

    @property
    def tables(self) -> list[str]:
        """See ``Warehouse``."""
        found = self._listed
        if not found:
            raise QueryError(f"{self.uri} holds no tables; fill it with: broker ingest --input ... --warehouse {self.uri}")
        return found

    @property
    def surveys(self) -> list[Survey]:
        """Those that have tables, with rows or without."""
        return known_surveys(self.tables)

    def columns_of(self, table: str) -> set[str]:
        """See ``Warehouse``."""
        return {field.name for field in self._described(table).schema}

    def _described(self, table: str) -> bigquery.Table:
        try:
            return self._client.get_table(self._reference.table(table))
        except GoogleAPICallError as error:
            raise QueryError(str(error.message)) from error

    def read(self, sql: str, rows_at_once: int = ROWS_AT_ONCE) -> Answer:
        """See ``Warehouse``."""
        check_unicode(sql)
        # Whoever may only read needs no more rights than that; here only the form is checked.
        if not re.match(r"\s*(SELECT|WITH)\b", sql, re.IGNORECASE):
            raise QueryError(ONE_SELECT)
        # Behind a semicolon anything may follow.
        if ";" in without_texts(sql).rstrip("; \t\r\n"):
            raise QueryError(ONE_SELECT)
        return self._answer(sql, [], rows_at_once)

    def ask(self, sql: str, values: Mapping[str, Any] | None = None, rows_at_once: int = ROWS_AT_ONCE) -> Answer:
        """See ``Warehouse``."""
        parameters: list[Any] = []
        for name, value in (values or {}).items():
            if f"{{{name}}}" in sql:
                texts = isinstance(value, list)  # for IN UNNEST
                check_unicode("".join(value) if texts else str(value))
                parameter = bigquery.ArrayQueryParameter if texts else bigquery.ScalarQueryParameter
                parameters.append(parameter(name, "STRING" if texts else _TYPES[type(value)], value))
                sql = sql.replace(f"{{{name}}}", f"@{name}")
        return self._answer(sql, parameters, rows_at_once)

    def _answer(self, sql: str, parameters: Sequence[Any], rows_at_once: int) -> Answer:
        settings = bigquery.QueryJobConfig(
            query_parameters=parameters,
            default_dataset=self._reference,
            maximum_bytes_billed=self.maximum_bytes_billed,
        )
        with self._asking(sql):
            job = self._client.query(sql, job_config=settings)
            rows = job.result(page_size=min(rows_at_once, _FIRST_ROWS))
            first = next(rows.to_arrow_iterable(), None)
            # An answer without rows has its columns, too.
            schema = first.schema if first is not None else rows.to_arrow(create_bqstorage_client=False).schema
            if first is None or first.num_rows >= rows.total_rows:
                return Answer(schema, iter([first] if first is not None else []))
            return Answer(schema, self._batches(sql, job, schema, rows.total_rows, rows_at_once))

    def _batches(
        self, sql: str, job: bigquery.QueryJob, schema: pa.Schema, count: int, rows_at_once: int
    ) -> Generator[pa.RecordBatch, None, None]:
        """All rows of an answer. Raises ``QueryError`` where they end before there are as many as there should be."""
        given = 0
        with self._asking(sql), contextlib.closing(self._rows(job, rows_at_once)) as rows:
            for batch in rows:
                told = in_schema(batch, schema)
                given += told.num_rows
                yield from (told.slice(begin, rows_at_once) for begin in range(0, told.num_rows, rows_at_once))
        if given != count:
            raise QueryError(f"{self.uri} gave {given} of an answer's {count} rows and no error; ask again")

    def _rows(self, job: bigquery.QueryJob, rows_at_once: int) -> Generator[pa.RecordBatch, None, None]:
        """By the Storage Read API, or as text where that gives none, which is logged once."""
        if not self._arrow_refused:
            with contextlib.closing(read_rows(self._reader, self.project, job.destination)) as rows:
                try:
                    first = next(rows, None)
                except GoogleAPIError as error:
                    self._arrow_refused = True
                    remedy = _WHO_MAY % self.project if isinstance(error, PermissionDenied) else ""
                    _LOG.warning(_AS_TEXT, self.uri, why(error), remedy)
                else:
                    yield from [] if first is None else [first]
                    yield from rows
                    return
        yield from job.result(page_size=rows_at_once).to_arrow_iterable()

    @contextlib.contextmanager
    def _asking(self, sql: str) -> Iterator[None]:
        try:
            yield
        except GoogleAPIError as error:
            if refusal := too_much(error, self.maximum_bytes_billed):
                raise QueryError(refusal) from error
            message = str(error.message) if isinstance(error, GoogleAPICallError) else why(error)
            place = re.search(r"at \[(\d+):(\d+)\]", message)
            pointed = pointed_at(sql, int(place[1]) - 1, int(place[2]) - 1) if place else ""
            raise QueryError(f"{message}{pointed}") from error
        except (GoogleAuthError, RequestException) as error:
            raise QueryError(f"{self.uri} cannot be read: {why(error)}") from error

    def standing(self, run_id: str, units: Iterable[Unit]) -> tuple[Standing, ...]:
        """See ``Warehouse``."""
        return standing_for(self, run_id, units)

    def shown_otherwise(self, survey: str) -> bool:
        """See ``Warehouse``."""
        view = f"{survey}_alerts_unique"
        if view not in self.tables:
            raise QueryError(f"{self.uri} has no view {view}; the next broker ingest into it makes one")
        table = f"`{self.project}.{self.dataset}.{survey}_alerts`"
        return bool(self._described(view).view_query != unique_alerts_sql(table, "bigquery"))

    def engine(self) -> sa.Engine:
        """See ``Warehouse``."""
        needs("sqlalchemy_bigquery")
        from warehouses.bigquery.engine import engine_of  # noqa: PLC0415 - SQLAlchemy takes half a second

        return engine_of(self.uri, self.project, self.dataset, self.maximum_bytes_billed)

    def _shown_alerts(self, surveys: Sequence[str], condition: str, values: Mapping[str, Any]) -> dict[str, str]:
        return nights.shown_alerts(self, surveys, condition, values)

    def rows_of_alert(self, survey: Survey, alert_id: int) -> str:
        """See ``Warehouse``."""
        return nights.rows_of_alert(self, survey.name, alert_id)

    def close(self) -> None:  # noqa: D102
        client = self.__dict__.pop("_client", None)
        self.__dict__.pop("_listed", None)
        if client is not None:
            client.close()
        reader = self.__dict__.pop("_reader", None)
        if reader is not None:
            reader.transport.close()

    def check_writable(self) -> None:
        """Nothing yet: ``prepare`` tells."""

    def prepare(self, surveys: Sequence[str]) -> None:
        """See ``Warehouse``. Makes the dataset, tables and views that are missing, and adds columns that tables lack."""
        with bigquery.Client(project=self.project) as client:
            prepare(client, self.dataset, surveys)

    def add(self, table: Table, rows: pa.RecordBatch, run_id: str) -> None:
        """See ``Warehouse``. Raises ``RuntimeError`` where BigQuery refuses them."""
        with bigquery.Client(project=self.project) as client:
            for some in insert_requests(rows):
                if errors := client.insert_rows_json(f"{self.project}.{self.dataset}.{table.name}", json_rows(some)):
                    raise RuntimeError(f"BigQuery refuses rows for {table.name}: {errors}")

    def claim(self, run_id: str, inputs: Collection[str]) -> contextlib.AbstractContextManager[None]:
        """Nothing: no run replaces rows of another."""
        return contextlib.nullcontext()

    def other_runs_of(self, run_id: str, units: Collection[str]) -> list[str]:
        """None: no run replaces rows of another."""
        return []

    def keep_plan(self, stream: str, plan: str) -> None:
        """See ``Warehouse``."""
        row = {"stream": stream, "plan": plan, "planned_at": datetime.now(timezone.utc)}
        self.add(ROUND_PLANS, pa.RecordBatch.from_pylist([row], schema=ROUND_PLANS.arrow_schema), "")

    def kept_plan(self, stream: str) -> str | None:
        """See ``Warehouse``."""
        if ROUND_PLANS.name not in self.tables:
            return None
        sql = f"SELECT plan FROM {ROUND_PLANS.name} WHERE stream = {{stream}} ORDER BY planned_at DESC LIMIT 1"
        found = self.ask(sql, {"stream": stream}).read().column("plan").to_pylist()
        return str(found[0]) if found else None

    def compact(self, nights: tuple[date, date] | None = None, at_least: int = 2) -> Compacted:
        """See ``Warehouse``. BigQuery keeps its tables in order by itself."""
        raise QueryError(f"{self.uri} is kept in order by BigQuery; only a folder or gs://BUCKET/FOLDER is compacted")

    def rebuild(self) -> int:
        """See ``Warehouse``."""
        raise QueryError(f"{self.uri} is kept in order by BigQuery; only a folder or gs://BUCKET/FOLDER has a manifest")

    def tidy(self, run_id: str, in_rounds: bool = False) -> Compacted | None:
        """See ``Warehouse``."""
        return None

    def add_features(
        self, survey: Survey, nights: tuple[date, date], run_id: str, as_avro: AsAvro, *, again: bool = False
    ) -> Iterator[Computed]:
        """See ``Warehouse``."""
        from warehouses.bigquery.add_features import add_features  # noqa: PLC0415 - it opens connections to write

        return add_features(self, survey, nights, run_id, as_avro, again=again)

    @property
    def when_interrupted(self) -> str:
        """See ``Warehouse``."""
        return "what BigQuery has taken stays there; run the same command again, the views show copies once"
