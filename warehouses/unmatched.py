"""Alerts of a warehouse, local or BigQuery, that a catalog has not answered about."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

import pyarrow as pa
from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from alerts.catalogs.spec import CatalogSpec
from alerts.surveys import SURVEYS, Survey
from pipelines.job import Job
from schemas.tables import FAILED
from schemas.views import Dialect, newest_matches_sql, unique_alerts_sql
from transforms.read_positions import POSITIONS
from transforms.write_bigquery import WriteBigQuery
from warehouses.folder.views import connect, tables

_ROWS_AT_ONCE = 10_000
_TYPES = {date: "DATE", str: "STRING", float: "FLOAT64"}
_COLUMNS = ", ".join(POSITIONS.names)


FAILED_ONES, UNANSWERED, ALL = "failed", "unanswered", "all"


@dataclass(frozen=True)
class Wanted:
    """Alerts of one night to ask one catalog about."""

    survey: str
    night: date
    catalog: str
    radius_arcsec: float
    which: str
    """``FAILED_ONES`` of this radius, ``UNANSWERED`` ones, or ``ALL``."""


class Unmatched(Protocol):
    """What a rematch needs of a warehouse; goes to workers."""

    def failed_catalogs(self, first: date, last: date, survey: Survey | None) -> list[tuple[str, float]]:
        """Catalogs, and their radii in arcsec, that have failed and not answered since."""

    def wanted(self, specs: Sequence[CatalogSpec], first: date, last: date, which: str, survey: Survey | None) -> list[Wanted]:
        """What to ask, night by night."""

    def options_of(self, catalog: str) -> dict[str, Any]:
        """The options of the newest run that asked this catalog; empty where no run says."""

    def last_asked_at(self) -> datetime | None:
        """When a catalog was asked last, by the clocks of those who asked; None if none was."""

    def read(self, wanted: Wanted) -> Iterator[pa.RecordBatch]:
        """The positions of the alerts (``read_positions.POSITIONS``)."""


def open_unmatched(job: Job) -> Unmatched:
    """The alerts of the job's warehouse."""
    if isinstance(job.write, WriteBigQuery):
        return _InBigQuery(job.write.project, job.write.dataset)
    return _InFolder(job.warehouse)


class _InWarehouse:
    dialect: Dialect

    def _rows(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _batches(self, sql: str, values: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        raise NotImplementedError

    def _table(self, name: str) -> str:
        raise NotImplementedError

    def _has(self, table: str) -> bool:
        raise NotImplementedError

    def _parameter(self, name: str) -> str:
        return f"${name}" if self.dialect == "duckdb" else f"@{name}"

    def failed_catalogs(self, first: date, last: date, survey: Survey | None) -> list[tuple[str, float]]:
        if not self._has("crossmatches"):
            return []
        # By night first: the newest row of an alert is of the same night as its others.
        values: dict[str, Any] = {"first": first, "last": last}
        own_survey = ""
        if survey:
            values["survey"] = survey.name
            own_survey = f" AND survey = {self._parameter('survey')}"
        own = f"(SELECT * FROM {self._table('crossmatches')} WHERE {self._between()}{own_survey})"
        sql = f"SELECT DISTINCT catalog, radius_arcsec FROM ({newest_matches_sql(own)}) WHERE status = '{FAILED}' ORDER BY 1, 2"
        return [(str(name), float(radius)) for name, radius in self._rows(sql, values)]

    def wanted(self, specs: Sequence[CatalogSpec], first: date, last: date, which: str, survey: Survey | None) -> list[Wanted]:
        found = []
        for name in [survey.name] if survey else SURVEYS:
            if self._has(f"{name}_alerts"):
                sql = f"SELECT DISTINCT night FROM {self._table(f'{name}_alerts')} WHERE {self._between()} ORDER BY 1"
                nights = [row[0] for row in self._rows(sql, {"first": first, "last": last})]
                found += [Wanted(name, night, spec.name, spec.radius_arcsec, which) for night in nights for spec in specs]
        return found

    def last_asked_at(self) -> datetime | None:
        if not self._has("crossmatches"):
            return None
        found: datetime | None = self._rows(f"SELECT MAX(asked_at) FROM {self._table('crossmatches')}", {})[0][0]
        return found

    def read(self, wanted: Wanted) -> Iterator[pa.RecordBatch]:
        for batch in self._batches(*self._sql(wanted)):
            yield from pa.Table.from_batches([batch]).select(POSITIONS.names).cast(POSITIONS).combine_chunks().to_batches()

    def _between(self) -> str:
        return f"night BETWEEN {self._parameter('first')} AND {self._parameter('last')}"

    def _sql(self, wanted: Wanted) -> tuple[str, dict[str, Any]]:
        night, catalog, radius = (self._parameter(name) for name in ("night", "catalog", "radius"))
        alerts = unique_alerts_sql(
            f"(SELECT * FROM {self._table(f'{wanted.survey}_alerts')} WHERE night = {night})", self.dialect
        )
        sql = f"SELECT {_COLUMNS} FROM ({alerts}) WHERE healpix29 IS NOT NULL"
        values: dict[str, Any] = {"night": wanted.night}
        if wanted.which == ALL or not self._has("crossmatches"):
            return sql, values
        values |= {"catalog": wanted.catalog, "survey": wanted.survey, "radius": wanted.radius_arcsec}
        own = f"night = {night} AND catalog = {catalog} AND survey = {self._parameter('survey')}"
        newest = newest_matches_sql(f"(SELECT * FROM {self._table('crossmatches')} WHERE {own})")
        if wanted.which == FAILED_ONES:
            failed = f"SELECT alert_id FROM ({newest}) WHERE status = '{FAILED}' AND radius_arcsec = {radius}"
            return f"{sql} AND alert_id IN ({failed})", values
        answered = f"SELECT alert_id FROM ({newest}) WHERE status <> '{FAILED}' AND radius_arcsec = {radius}"
        return f"{sql} AND alert_id NOT IN ({answered})", values

    def options_of(self, catalog: str) -> dict[str, Any]:
        """The options of the newest run that asked this catalog; empty where the ``runs`` table has none."""
        if not self._has("runs"):
            return {}
        for (text,) in self._rows(f"SELECT options FROM {self._table('runs')} ORDER BY started_at DESC", {}):
            options: dict[str, Any] = json.loads(text)
            if any(one.partition("?")[0] == catalog for one in options.get("crossmatch") or []):
                return options
        return {}


class _InFolder(_InWarehouse):
    dialect: Dialect = "duckdb"

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def _table(self, name: str) -> str:
        return name

    def _has(self, table: str) -> bool:
        return table in tables(self._folder)

    def _rows(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with connect(self._folder) as connection:
            return list(connection.execute(sql, values).fetchall())

    def _batches(self, sql: str, values: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        with connect(self._folder) as connection:
            yield from connection.execute(sql, values).to_arrow_reader(_ROWS_AT_ONCE)


class _InBigQuery(_InWarehouse):
    dialect: Dialect = "bigquery"

    def __init__(self, project: str, dataset: str) -> None:
        self._project, self._dataset = project, dataset

    def _table(self, name: str) -> str:
        return f"`{self._project}.{self._dataset}.{name}`"

    def _has(self, table: str) -> bool:
        return table in self._present

    @functools.cached_property
    def _present(self) -> set[str]:
        with bigquery.Client(project=self._project) as client:
            try:
                return {item.table_id for item in client.list_tables(f"{self._project}.{self._dataset}")}
            except NotFound:
                return set()

    def _query(self, client: bigquery.Client, sql: str, values: dict[str, Any]) -> Any:
        parameters = [bigquery.ScalarQueryParameter(name, _TYPES[type(one)], one) for name, one in values.items()]
        return client.query(sql, job_config=bigquery.QueryJobConfig(query_parameters=parameters)).result()

    def _rows(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with bigquery.Client(project=self._project) as client:
            return [tuple(row.values()) for row in self._query(client, sql, values)]

    def _batches(self, sql: str, values: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        with bigquery.Client(project=self._project) as client:
            for page in self._query(client, sql, values).pages:
                rows = [dict(row.items()) for row in page]
                yield pa.RecordBatch.from_pylist(rows, schema=POSITIONS)
