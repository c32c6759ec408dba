"""Open a warehouse and ask it: SQL, a place on the sky, or an object.

>>> from broker import warehouse
>>> with warehouse.open("./warehouse") as night:
...     night.query("SELECT count(*) FROM ztf_alerts")
...     night.cone(ra_deg=150.1, dec_deg=2.2, radius_arcsec=5)
"""

from __future__ import annotations

import abc
import json
import operator
import re
from collections.abc import Iterator, Sequence
from datetime import date
from types import TracebackType
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY
from requests.exceptions import RequestException

from alerts import brightness
from alerts.positions import cone_ranges, separation_arcsec
from alerts.surveys import SURVEYS, Survey
from schemas.views import Dialect
from warehouses.folder.views import connect, tables
from warehouses.plain_columns import named_apart
from warehouses.reachable import ANSWER_SECS, why
from warehouses.result import Result

_SHOWN = (
    "survey, alert_id, object_id, object_kind, observed_at, night, ra_deg, dec_deg, "
    "schema_version, source, published_at, ingested_at"
)
MAX_RADIUS_ARCSEC = 180 * 3600.0
_ONE_SELECT = "give one SELECT; a warehouse is only read"
_BIGQUERY_TEXT = re.compile(
    r"'{3}(?:\\.|(?!'{3}).)*'{3}" + r'|"{3}(?:\\.|(?!"{3}).)*"{3}'
    r"|'(?:\\.|[^'\\\n])*'" + r'|"(?:\\.|[^"\\\n])*"'
    r"|`(?:\\.|[^`\\])*`|--[^\n]*|\#[^\n]*|/\*.*?\*/",
    re.DOTALL,
)
"""Texts, quoted names and comments in BigQuery's SQL ("Lexical structure and syntax")."""
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


class QueryError(ValueError):
    """The query cannot be answered; the message says why in one sentence."""


def ranges_sql(ranges: Sequence[tuple[int, int]]) -> str:
    """The condition that ``healpix29`` is in one of some ranges (first, last), which are in order."""
    near = " OR ".join(f"healpix29 BETWEEN {first} AND {last}" for first, last in ranges)
    # The one range around all of them is what statistics of files and row groups can be held against.
    return f"healpix29 BETWEEN {ranges[0][0]} AND {ranges[-1][1]} AND ({near})"


class Warehouse(abc.ABC):
    """A warehouse, read only. The tables and views are those of ``docs/tables.md``."""

    tables: list[str]
    dialect: ClassVar[Dialect]

    def query(self, sql: str) -> Result:
        """The answer to one SELECT, in the SQL of DuckDB or of BigQuery. Raises ``QueryError``."""
        return Result(named_apart(self._query(sql)))

    @abc.abstractmethod
    def _query(self, sql: str) -> pa.Table:
        """See ``query``."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of it."""

    @abc.abstractmethod
    def _select(self, sql: str, object_id: str) -> pa.Table:
        """The answer to our own SQL, with a parameter written ``{object_id}``."""

    def cone(self, ra_deg: float, dec_deg: float, radius_arcsec: float) -> Result:
        """Alerts within a radius of a position (ICRS), one row per alert id, nearest first.

        Has a column ``separation_arcsec`` before those of the envelope. Raises ``QueryError`` for a position off the sky.
        """
        if not (0 <= ra_deg <= 360 and -90 <= dec_deg <= 90 and 0 < radius_arcsec <= MAX_RADIUS_ARCSEC):
            raise QueryError(
                f"cone {ra_deg:g},{dec_deg:g},{radius_arcsec:g} is not on the sky: 0 <= RA <= 360 deg, -90 <= Dec <= 90 deg, "
                f"0 < radius <= {MAX_RADIUS_ARCSEC:g} arcsec"
            )
        ra_deg %= 360
        found = self.in_ranges(cone_ranges(ra_deg, dec_deg, radius_arcsec))
        ra, dec = (found.column(name).to_numpy(zero_copy_only=False) for name in ("ra_deg", "dec_deg"))
        separations = separation_arcsec(ra, dec, ra_deg, dec_deg)
        order = np.argsort(separations, kind="stable")
        order = order[separations[order] <= radius_arcsec]
        return Result(found.take(order).add_column(0, "separation_arcsec", pa.array(separations[order], pa.float64())))

    def in_ranges(self, ranges: Sequence[tuple[int, int]]) -> pa.Table:
        """Alerts whose ``healpix29`` is in one of some ranges (first, last), which are in order; one row per alert id."""
        return self._alerts(ranges_sql(ranges))

    def alerts_of(self, object_id: str | int) -> Result:
        """Alerts of an object, in order of time, one row per alert id. The id is a text, or the packet's integer."""
        return Result(self._alerts("object_id = {object_id}", _id_text(object_id)))

    def stamps(self, survey: Survey, alert_id: int, night: date, packet_digest: bytes) -> dict[str, bytes | None]:
        """The stamps of one packet by their role, bytes as sent; None for each that it had not, or that was not kept.

        Raises ``QueryError`` where packets of one id have different stamps and were written before rows said whose they are.
        """
        table = survey.cutouts_table.name
        if table not in self.tables:
            return dict.fromkeys(survey.stamps)
        # All columns: an old table has no digests to ask for.
        rows = self.query(f"SELECT * FROM {table} WHERE night = DATE '{night}' AND alert_id = {int(alert_id)}").to_pylist()
        own = [row for row in rows if row.get("packet_digest") == packet_digest]
        nameless = [row for row in rows if row.get("packet_digest") is None]
        found = {tuple(row[role] for role in survey.stamps) for row in own or nameless}
        if len(found) > 1:
            raise QueryError(
                f"alert {alert_id} was sent with {len(found)} different sets of stamps before {table} said whose they are; "
                "ingest its night again to see them"
            )
        return dict(zip(survey.stamps, next(iter(found), (None,) * len(survey.stamps)), strict=True))

    def light_curve(self, object_id: str | int, survey: str | None = None) -> Result:
        """All that the alerts of an object tell of its brightness, one row per point, in order of time.

        Columns as ``alerts.light_curve.SCHEMA`` describes them. Raises ``QueryError`` when there is no such object, or it is
        of several surveys and none is named.
        """
        from warehouses.history import curve_of_object  # noqa: PLC0415 - it asks warehouses

        return Result(curve_of_object(self, _id_text(object_id), survey).table)

    def _alerts(self, condition: str, object_id: str = "") -> pa.Table:
        """Envelope columns and brightness (``alerts.brightness``) of the alerts of all surveys that meet a condition."""
        surveys = [one for name, one in SURVEYS.items() if f"{name}_alerts" in self.tables]
        if not surveys:
            raise QueryError("the warehouse holds no alerts")
        # Alerts are picked first: finding the newest of each id over a whole year would read all of it.
        held = {one.name: self._columns_of(f"{one.name}_alerts") for one in surveys}
        own = {one.name: brightness.own_sql(one, held[one.name], self.dialect) for one in surveys}
        parts = [
            f"SELECT {_SHOWN}, {columns} FROM {name}_alerts_unique "
            f"WHERE alert_id IN (SELECT alert_id FROM {name}_alerts WHERE {condition}) AND ({condition})"
            for name, columns in own.items()
        ]
        found = self._select(" UNION ALL ".join(parts) + " ORDER BY observed_at, alert_id", object_id)
        return brightness.complete(found, held, self.dialect, lambda sql: self._select(sql, ""))

    @abc.abstractmethod
    def _columns_of(self, table: str) -> set[str]:
        """The names of a table's columns."""

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _id_text(object_id: str | int) -> str:
    """An object's id as the tables have it. Raises ``QueryError`` for a float, which has rounded it."""
    if isinstance(object_id, str):
        return object_id
    try:
        return str(operator.index(object_id))
    except TypeError:
        raise QueryError(
            f"object id {object_id!r} is no integer and no text; ids exceed 2^53, which a float rounds: take it from the table"
        ) from None


class LocalWarehouse(Warehouse):
    """A warehouse in a folder, asked through DuckDB."""

    dialect = "duckdb"

    def __init__(self, folder: str) -> None:
        self._connection = connect(folder)
        self.tables = tables(folder)

    def _query(self, sql: str) -> pa.Table:
        _check_unicode(sql)
        try:
            # First, because it does no more than parse.
            self._refuse_functions(sql)
            statements = self._connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryError(_ONE_SELECT)
            # Cursors read independently: of two threads on one connection either might get the other's rows.
            with self._connection.cursor() as cursor:
                return cursor.execute(statements[0]).to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

    def _refuse_functions(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            [text] = cursor.execute("SELECT json_serialize_sql($sql::VARCHAR)", {"sql": sql}).fetchone() or [""]
        parsed = json.loads(text)
        if parsed["error"]:
            if parsed["error_type"] == "not implemented":
                raise QueryError(_ONE_SELECT)
            before = sql[: int(parsed.get("position") or 0)]
            line, column = before.count("\n"), len(before.rpartition("\n")[2])
            raise QueryError(f"{parsed['error_message']}{_pointed_at(sql, line, column)}")
        for name in _functions_for_tables(parsed):
            if name not in _ROW_MAKERS and not name.startswith("duckdb_"):
                raise QueryError(
                    f"the function {name} cannot stand for a table here; ask the warehouse's tables: {_listed(self)}"
                )

    def _select(self, sql: str, object_id: str) -> pa.Table:
        _check_unicode(object_id)
        named = {"object_id": object_id} if "{object_id}" in sql else {}
        with self._connection.cursor() as cursor:
            return cursor.execute(sql.format(object_id="$object_id"), named).to_arrow_table()

    def _columns_of(self, table: str) -> set[str]:
        return {str(row[0]) for row in self._connection.execute(f"DESCRIBE {table}").fetchall()}

    def close(self) -> None:  # noqa: D102
        self._connection.close()


def _functions_for_tables(parsed: Any) -> Iterator[str]:
    """Names of the functions that stand in place of a table anywhere in a statement that DuckDB has parsed."""
    waiting = [parsed]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("type") == "TABLE_FUNCTION":
                yield str(one["function"]["function_name"]).lower()
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"{text[:60]!r} is no Unicode text") from error


def _listed(opened: Warehouse) -> str:
    return ", ".join(opened.tables)


class BigQueryWarehouse(Warehouse):
    """A warehouse in a BigQuery dataset. Table names without a dataset are of this one."""

    dialect = "bigquery"

    def __init__(self, project: str, dataset: str) -> None:
        self._dataset = bigquery.DatasetReference(project, dataset)
        uri = f"bigquery://{project}/{dataset}"
        try:
            self._client = bigquery.Client(project=project)
            # Whoever does not answer at once is not there: the client alone would try for ten minutes.
            listed = self._client.list_tables(self._dataset, timeout=ANSWER_SECS, retry=DEFAULT_RETRY.with_timeout(ANSWER_SECS))
            self.tables = sorted(item.table_id for item in listed)
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise QueryError(f"{uri} cannot be opened: {why(error)}") from error

    def _query(self, sql: str) -> pa.Table:
        _check_unicode(sql)
        # Whoever may only read needs no more rights than that; here only the form is checked.
        if not re.match(r"\s*(SELECT|WITH)\b", sql, re.IGNORECASE):
            raise QueryError(_ONE_SELECT)
        # Behind a semicolon anything may follow.
        if ";" in _BIGQUERY_TEXT.sub(" ", sql).rstrip("; \t\r\n"):
            raise QueryError(_ONE_SELECT)
        return self._ask(sql, [])

    def _select(self, sql: str, object_id: str) -> pa.Table:
        _check_unicode(object_id)
        parameter = bigquery.ScalarQueryParameter("object_id", "STRING", object_id)
        return self._ask(sql.format(object_id="@object_id"), [parameter] if "{object_id}" in sql else [])

    def _ask(self, sql: str, parameters: list[bigquery.ScalarQueryParameter]) -> pa.Table:
        settings = bigquery.QueryJobConfig(query_parameters=parameters, default_dataset=self._dataset)
        try:
            return self._client.query(sql, job_config=settings).result().to_arrow(create_bqstorage_client=False)
        except GoogleAPICallError as error:
            raise QueryError(str(error.message)) from error

    def _columns_of(self, table: str) -> set[str]:
        try:
            return {field.name for field in self._client.get_table(self._dataset.table(table)).schema}
        except GoogleAPICallError as error:
            raise QueryError(str(error.message)) from error

    def close(self) -> None:  # noqa: D102
        self._client.close()


def _place_in(message: str) -> tuple[int, int]:
    """Line and column, from 0, that a message of BigQuery names (``at [1:8]``); a line of -1 where it names none."""
    place = re.search(r"at \[(\d+):(\d+)\]", message)
    return (int(place[1]) - 1, int(place[2]) - 1) if place else (-1, 0)


def _pointed_at(sql: str, line: int, column: int) -> str:
    """That line of the SQL, and a caret below the place; nothing where there is no such line."""
    lines = sql.splitlines()
    return f"\n\n{lines[line]}\n{' ' * column}^" if 0 <= line < len(lines) else ""


def open(uri: str = "./warehouse") -> Warehouse:  # noqa: A001 - read as warehouse.open
    """The warehouse in a folder, or ``bigquery://PROJECT/DATASET``. Raises ``QueryError`` when there is none."""
    if uri.startswith("bigquery://"):
        project, _, dataset = uri.removeprefix("bigquery://").partition("/")
        if not project or not dataset or "/" in dataset:
            raise QueryError(f"{uri} is not of the form bigquery://PROJECT/DATASET")
        return BigQueryWarehouse(project, dataset)
    try:
        return LocalWarehouse(uri)
    except (FileNotFoundError, duckdb.Error) as error:
        raise QueryError(str(error)) from error
