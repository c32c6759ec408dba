"""What an audit reads of a warehouse, local or BigQuery: a few columns of some nights, a piece at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import duckdb
import pyarrow as pa
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY
from requests.exceptions import RequestException

from alerts.surveys import SURVEYS
from audit.truth import AuditError
from schemas.tables import CUTOUTS
from schemas.views import Dialect, json_text_sql, newest_matches_sql, open_letters_sql, unique_alerts_sql
from warehouses.folder.views import connect, tables
from warehouses.reachable import ANSWER_SECS, why

_BIGQUERY = "bigquery://"
_ROWS_AT_ONCE = 50_000
_LETTERS_AT_ONCE = 64
_MD5 = {"duckdb": "md5(payload)", "bigquery": "TO_HEX(MD5(payload))"}


@dataclass(frozen=True)
class Nights:
    """Nights from ``first`` to ``last``, or just ``each``; every night where neither is given."""

    first: date | None = None
    last: date | None = None
    each: tuple[date, ...] = ()

    @property
    def sql(self) -> str:
        """The condition on a column ``night``, in both dialects."""
        if self.first is not None and self.last is not None:
            return f"night BETWEEN DATE '{self.first}' AND DATE '{self.last}'"
        if self.each:
            days = ", ".join(f"DATE '{one}'" for one in self.each)
            return f"night IN ({days})"
        return "night IS NOT NULL"


class Stored(Protocol):
    """A warehouse, read only."""

    uri: str
    replaces: bool
    """Whether what a run writes for an input replaces what an earlier run wrote for it; else it is added."""

    def has(self, table: str) -> bool:
        """Whether there is such a table or view."""

    def has_column(self, table: str, column: str) -> bool:
        """Whether a table has the column: one that was made by an earlier version may lack it. Raises ``AuditError``."""

    def batches(self, sql: str, rows_at_once: int = _ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
        """The rows of a query. Raises ``AuditError``."""

    def dialect(self) -> Dialect:
        """The SQL it speaks."""

    def quoted(self, table: str) -> str:
        """The name of a table in a query."""

    def shown_otherwise(self, survey: str) -> bool:
        """Whether ``{survey}_alerts_unique`` is another query than ours, so that it may show an alert twice or not at all."""


@contextlib.contextmanager
def open_stored(uri: str) -> Iterator[Stored]:
    """The warehouse in a folder, or ``bigquery://PROJECT/DATASET``. Raises ``AuditError`` when there is none."""
    if uri.startswith(_BIGQUERY):
        project, _, dataset = uri.removeprefix(_BIGQUERY).partition("/")
        if not project or not dataset or "/" in dataset:
            raise AuditError(f"--warehouse {uri} is not of the form bigquery://PROJECT/DATASET")
        try:
            client = bigquery.Client(project=project)
        except GoogleAuthError as error:
            raise AuditError(f"{uri} cannot be opened: {why(error)}") from error
        with client:
            yield _InBigQuery(uri, client, f"{project}.{dataset}")
        return
    if "://" in uri:
        raise AuditError(
            f"--warehouse {uri} is not on this machine; copy it here, or give a folder or bigquery://PROJECT/DATASET"
        )
    try:
        connection = connect(uri)
    except (FileNotFoundError, duckdb.Error) as error:
        raise AuditError(str(error)) from error
    with connection:
        yield _InFolder(uri, connection)


class _InFolder:
    replaces = True

    def __init__(self, uri: str, connection: duckdb.DuckDBPyConnection) -> None:
        self.uri = os.path.normpath(uri)
        self._connection, self._tables = connection, set(tables(uri))

    def has(self, table: str) -> bool:
        return table in self._tables

    def has_column(self, table: str, column: str) -> bool:
        return True  # what old files lack reads NULL

    def batches(self, sql: str, rows_at_once: int = _ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
        try:
            with self._connection.cursor() as cursor:
                yield from cursor.execute(sql).to_arrow_reader(rows_at_once)
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            raise AuditError(f"{self.uri} cannot be read: {str(error).splitlines()[0]}") from error

    def dialect(self) -> Dialect:
        return "duckdb"

    def quoted(self, table: str) -> str:
        return table

    def shown_otherwise(self, survey: str) -> bool:
        return False  # the views of a folder are made anew whenever it is opened


class _InBigQuery:
    replaces = False

    def __init__(self, uri: str, client: bigquery.Client, dataset: str) -> None:
        self.uri, self._client, self._dataset = uri, client, dataset
        try:
            listed = client.list_tables(dataset, timeout=ANSWER_SECS, retry=DEFAULT_RETRY.with_timeout(ANSWER_SECS))
            self._tables = {item.table_id for item in listed}
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise AuditError(f"{uri} cannot be opened: {why(error)}") from error
        if not self._tables:
            raise AuditError(f"{uri} holds no tables; fill it with: broker ingest --input ... --warehouse {uri}")

    def has(self, table: str) -> bool:
        return table in self._tables

    def has_column(self, table: str, column: str) -> bool:
        return any(one.name == column for one in self._described(table).schema)

    def _described(self, table: str) -> bigquery.Table:
        try:
            return self._client.get_table(f"{self._dataset}.{table}")
        except GoogleAPICallError as error:
            raise AuditError(f"{self.uri} cannot be read: {error.message}") from error

    def batches(self, sql: str, rows_at_once: int = _ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._client.query(sql).result(page_size=rows_at_once).to_arrow_iterable()
        except GoogleAPICallError as error:
            raise AuditError(f"{self.uri} cannot be read: {error.message}") from error

    def dialect(self) -> Dialect:
        return "bigquery"

    def quoted(self, table: str) -> str:
        return f"`{self._dataset}.{table}`"

    def shown_otherwise(self, survey: str) -> bool:
        view = f"{survey}_alerts_unique"
        if not self.has(view):
            raise AuditError(f"{self.uri} has no view {view}; the next broker ingest into it makes one")
        query = self._described(view).view_query
        return bool(query != unique_alerts_sql(self.quoted(f"{survey}_alerts"), "bigquery"))


def surveys_with_rows(stored: Stored, nights: Nights) -> list[str]:
    """The surveys of which there are alerts in these nights."""
    return [
        name
        for name in SURVEYS
        if stored.has(f"{name}_alerts")
        and any(
            batch.num_rows
            for batch in stored.batches(f"SELECT 1 AS one FROM {stored.quoted(f'{name}_alerts')} WHERE {nights.sql} LIMIT 1")
        )
    ]


def rows_sql(stored: Stored, survey: str, nights: Nights) -> str:
    """Rows of ``{survey}_alerts``: who, with which contents, from where."""
    return (
        f"SELECT '{survey}' AS survey, alert_id, packet_digest, schema_version, source, night, "
        "healpix29 IS NOT NULL AS on_sky, published_at IS NULL AS from_file, run_id "
        f"FROM {stored.quoted(f'{survey}_alerts')} WHERE {nights.sql}"
    )


def cutouts_sql(stored: Stored, survey: str, nights: Nights, look: bool) -> str:
    """By packet the number of rows of ``{survey}_cutouts`` and, with ``look``, which stamps they hold (see ``RECORDS``)."""
    bits = [f"MAX(CASE WHEN {role} IS NULL THEN 0 ELSE {1 << number} END)" for number, role in enumerate(CUTOUTS)]
    table = f"{survey}_cutouts"
    digest = "packet_digest" if stored.has_column(table, "packet_digest") else "CAST(NULL AS BYTES) AS packet_digest"
    return (
        f"SELECT '{survey}' AS survey, alert_id, {digest}, COUNT(*) AS number, {' + '.join(bits) if look else '7'} AS stamps "
        f"FROM {stored.quoted(table)} WHERE {nights.sql} GROUP BY alert_id, packet_digest"
    )


def matches_sql(stored: Stored, nights: Nights) -> str:
    """Rows of ``crossmatches``, as far as they tell which is the newest of an alert and catalog, and what it says."""
    own = f"{stored.quoted('crossmatches')} WHERE {nights.sql}"
    if stored.dialect() == "duckdb":
        # The newest are sought in the audit's own file, which need not fit into memory.
        return f"SELECT survey, alert_id, night, catalog, status, error, asked_at FROM {own}"
    # Not all columns: what a catalog has told takes a hundred times the room of the rest.
    narrow = (
        f"SELECT survey, alert_id, night, catalog, status, error, asked_at, radius_arcsec, ra_deg, dec_deg, object_id FROM {own}"
    )
    return f"SELECT survey, alert_id, night, catalog, status, error FROM ({newest_matches_sql(f'({narrow})')})"


def letters_sql(stored: Stored) -> str:
    """The open dead letters, each payload by its MD5."""
    # As dead_letters_open, but nothing ever holds the payloads of all letters.
    narrow = (
        f"(SELECT stage, error_type, message, survey, source, {_MD5[stored.dialect()]} AS payload_md5, attributes, failed_at "
        f"FROM {stored.quoted('dead_letters')})"
    )
    letter, table = (json_text_sql("attributes", key, stored.dialect()) for key in ("letter", "table"))
    return (
        f"SELECT stage, error_type, message, survey, source, payload_md5, {letter} AS letter, {table} AS refused_by "
        f"FROM ({open_letters_sql(narrow, stored.dialect())})"
    )


def payloads(stored: Stored, wanted: set[str]) -> Iterator[pa.RecordBatch]:
    """Stage, source and payload of the dead letters with these ids; a letter that failed again may come again."""
    letter = json_text_sql("attributes", "letter", stored.dialect())
    sql = (
        f"SELECT stage, source, payload, {letter} AS letter FROM {stored.quoted('dead_letters')} "
        "WHERE payload IS NOT NULL AND stage <> 'replayed'"
    )
    for batch in stored.batches(sql, _LETTERS_AT_ONCE):
        chosen = pa.array([one in wanted for one in batch.column("letter").to_pylist()], pa.bool_())
        if chosen.true_count:
            yield batch.filter(chosen)


def runs_sql(stored: Stored) -> str:
    """The batch runs, and whether they wrote cutouts."""
    said = json_text_sql("options", "cutouts", stored.dialect())
    return f"SELECT run_id, COALESCE({said}, 'true') <> 'false' AS cutouts FROM {stored.quoted('runs')}"


def wrongly_shown_sql(stored: Stored, survey: str, nights: Nights) -> str:
    """Alerts that ``{survey}_alerts_unique`` shows more than once, or not at all."""
    return (
        f"SELECT '{survey}' AS survey, own.alert_id AS alert_id, COALESCE(shown.number, 0) AS number "
        f"FROM (SELECT DISTINCT alert_id FROM {stored.quoted(f'{survey}_alerts')} WHERE {nights.sql}) AS own "
        f"LEFT JOIN (SELECT alert_id, COUNT(*) AS number FROM {stored.quoted(f'{survey}_alerts_unique')} GROUP BY alert_id) "
        "AS shown ON own.alert_id = shown.alert_id WHERE COALESCE(shown.number, 0) <> 1"
    )
