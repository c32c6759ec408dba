"""The dead letters of a warehouse, local or BigQuery: read for a replay, and marked after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa
from google.cloud import bigquery

from alerts.rows import json_rows
from pipelines.job import Job
from schemas.tables import DEAD_LETTERS
from schemas.views import json_text_sql
from transforms.elements import STREAM
from transforms.write_bigquery import WriteBigQuery
from warehouses.folder.commit import commit
from warehouses.folder.parquet_files import UnitWriter
from warehouses.folder.views import connect, tables

_COLUMNS = "stage, source, payload, attributes, failed_at"
_REQUEST_ROWS = 500
"""Rows of one insertAll request, as BigQuery advises."""


class Letters(Protocol):
    """What a replay needs of a warehouse."""

    def read(self, stage: str | None, most: int) -> list[dict[str, Any]]:
        """Open letters, oldest first: stage, source, payload, attributes (JSON text) and ``failed_at``."""

    def failed_in(self, run_id: str) -> set[str]:
        """Ids of the letters of a run."""

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows to ``dead_letters``."""


def open_letters(job: Job) -> Letters:
    """The letters of the job's warehouse."""
    if isinstance(job.write, WriteBigQuery):
        return _BigQueryLetters(job.write.project, job.write.dataset)
    return _LocalLetters(job.warehouse, job.run_id)


class _LocalLetters:
    def __init__(self, folder: str, run_id: str) -> None:
        self._folder, self._run_id = folder, run_id

    def read(self, stage: str | None, most: int) -> list[dict[str, Any]]:
        if "dead_letters" not in tables(self._folder):
            return []
        condition = "WHERE stage = $stage" if stage else "WHERE $stage IS NULL"
        sql = f"SELECT {_COLUMNS} FROM dead_letters_open {condition} ORDER BY failed_at LIMIT {int(most)}"
        with connect(self._folder) as connection:
            return list(connection.execute(sql, {"stage": stage}).to_arrow_table().to_pylist())

    def failed_in(self, run_id: str) -> set[str]:
        if "dead_letters" not in tables(self._folder):
            return set()
        with connect(self._folder) as connection:
            return {str(row[0]) for row in connection.execute(_ids_sql("dead_letters", "$run_id"), {"run_id": run_id}).fetchall()}

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        if not rows:
            return
        writer = UnitWriter(self._folder, self._run_id, STREAM)
        written = list(writer.write(DEAD_LETTERS, pa.RecordBatch.from_pylist(list(rows), schema=DEAD_LETTERS.arrow_schema)))
        commit(self._folder, self._run_id, [], [*written, *writer.close()])


class _BigQueryLetters:
    def __init__(self, project: str, dataset: str) -> None:
        self._project, self._dataset = project, dataset

    def read(self, stage: str | None, most: int) -> list[dict[str, Any]]:
        condition = "WHERE stage = @value" if stage else "WHERE @value IS NULL"
        sql = f"SELECT {_COLUMNS} FROM `{self._name('dead_letters_open')}` {condition} ORDER BY failed_at LIMIT {int(most)}"
        return self._query(sql, stage)

    def failed_in(self, run_id: str) -> set[str]:
        return {row["letter"] for row in self._query(_ids_sql(f"`{self._name('dead_letters')}`", "@value"), run_id)}

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        if not rows:
            return
        batch = pa.RecordBatch.from_pylist(list(rows), schema=DEAD_LETTERS.arrow_schema)
        with bigquery.Client(project=self._project) as client:
            for begin in range(0, batch.num_rows, _REQUEST_ROWS):
                errors = client.insert_rows_json(self._name("dead_letters"), json_rows(batch.slice(begin, _REQUEST_ROWS)))
                if errors:
                    raise RuntimeError(f"BigQuery refuses the marks of replayed letters: {errors}")

    def _name(self, table: str) -> str:
        return f"{self._project}.{self._dataset}.{table}"

    def _query(self, sql: str, value: str | None) -> list[dict[str, Any]]:
        parameter = bigquery.ScalarQueryParameter("value", "STRING", value)
        with bigquery.Client(project=self._project) as client:
            job = client.query(sql, job_config=bigquery.QueryJobConfig(query_parameters=[parameter]))
            return [dict(row.items()) for row in job.result()]


def _ids_sql(table: str, parameter: str) -> str:
    dialect: Any = "bigquery" if parameter.startswith("@") else "duckdb"
    letter, run = (json_text_sql("attributes", key, dialect) for key in ("letter", "run_id"))
    return f"SELECT {letter} AS letter FROM {table} WHERE stage <> 'replayed' AND {run} = {parameter}"
