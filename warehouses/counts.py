"""What a run has written, counted in the tables: the same questions to DuckDB and to BigQuery."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud import bigquery

from alerts.dead_letters import REPLAYED
from alerts.surveys import SURVEYS
from schemas.views import Dialect, json_text_sql
from transforms.elements import Unit
from transforms.files import files_below, open_file
from warehouses.folder.commit import unit_of
from warehouses.folder.views import connect, tables

Rows = Callable[[str, str], Sequence[Sequence[Any]]]
"""The rows of a query with the parameter ``run_id``."""

_TABLE = {"duckdb": "{}", "bigquery": "`{}`"}
_PARAMETER = {"duckdb": "$run_id", "bigquery": "@run_id"}
_AGE_SECS = {
    "duckdb": "epoch(ingested_at) - epoch(observed_at)",
    "bigquery": "TIMESTAMP_DIFF(ingested_at, observed_at, MILLISECOND) / 1000",
}
_QUANTILE = {
    "duckdb": "quantile_cont({}, {}/100)",
    "bigquery": "APPROX_QUANTILES({}, 100)[OFFSET({})]",
}


_COUNTED = {
    "alerts": ["alert_id", "packet_digest", "schema_version", "source", "run_id", "observed_at", "ingested_at"],
    "dead_letters": ["stage", "attributes"],
}
"""Columns that the counts need, by the end of a table's name."""


@dataclass(frozen=True)
class SurveyCounts:
    """Rows of one survey in one run; latency from observation to ingestion in seconds."""

    alerts: int
    copies: int
    conflicts: int
    latency_median_secs: float
    latency_p95_secs: float
    again: int = 0
    """Of the alerts, rows that BigQuery took twice: an insert whose answer was lost is sent again."""


@dataclass(frozen=True)
class Counts:
    """What the tables hold of one run."""

    surveys: dict[str, SurveyCounts]
    dead_letters: dict[str, int]
    """By stage."""
    letters_again: int = 0
    """Of the dead letters, rows that BigQuery took twice."""
    others: tuple[str, ...] = ()
    """Ids of other runs that have written rows of the same units meanwhile."""


def count_folder(folder: str, run_id: str, units: Iterable[Unit]) -> Counts:
    """The rows of a run in a warehouse folder, local or gs://."""
    others: set[str] = set()
    if "://" in folder:
        present, opened = _fetch(folder, {unit.key for unit in units}, others)
    else:
        # Here two runs over the same inputs are not let in at once.
        present = tables(folder)
        opened = connect(folder) if present else duckdb.connect()
    with opened as connection:

        def rows(sql: str, run_id: str) -> Sequence[Sequence[Any]]:
            return connection.execute(sql, {"run_id": run_id}).fetchall()

        found = _count(rows, "duckdb", present, run_id, "{}")
    return replace(found, others=tuple(sorted(others - {run_id})))


def _fetch(folder: str, units: Collection[str], runs: set[str]) -> tuple[list[str], duckdb.DuckDBPyConnection]:
    """The tables of a folder that DuckDB cannot reach, with the columns that are counted, and a connection that has them.

    To ``runs`` those are added that have alerts of ``units`` in place.
    """
    found: dict[str, list[pa.Table]] = {}
    for file in files_below(folder):
        table = file.uri.removeprefix(f"{folder}/").partition("/")[0]
        columns = _COUNTED.get("dead_letters" if table == "dead_letters" else table.rpartition("_")[2])
        if columns and file.uri.endswith(".parquet"):
            with open_file(file.uri) as opened:
                rows = pq.ParquetFile(opened).read(columns=columns)
            found.setdefault(table, []).append(rows)
            if "run_id" in columns and unit_of(file.uri) in units:
                runs.update(rows.column("run_id").unique().to_pylist())
    connection = duckdb.connect()
    for table, parts in found.items():
        connection.register(table, pa.concat_tables(parts))
    return sorted(found), connection


def count_bigquery(project: str, dataset: str, run_id: str, surveys: Iterable[str]) -> Counts:
    """The rows of a run in a BigQuery dataset."""
    with bigquery.Client(project=project) as client:

        def rows(sql: str, run_id: str) -> Sequence[Sequence[Any]]:
            parameter = bigquery.ScalarQueryParameter("run_id", "STRING", run_id)
            job = client.query(sql, job_config=bigquery.QueryJobConfig(query_parameters=[parameter]))
            return [tuple(row.values()) for row in job.result()]

        present = [*(f"{name}_alerts" for name in surveys), "dead_letters"]
        return _count(rows, "bigquery", present, run_id, f"{project}.{dataset}.{{}}")


def _count(rows: Rows, dialect: Dialect, present: Sequence[str], run_id: str, full_name: str) -> Counts:
    surveys = {}
    for name in SURVEYS:
        if f"{name}_alerts" in present:
            table = _TABLE[dialect].format(full_name.format(f"{name}_alerts"))
            found = rows(_survey_sql(table, dialect), run_id)
            if found and found[0][0]:
                alerts, records, contents, ids, median, p95 = found[0]
                again = alerts - records if dialect == "bigquery" else 0
                times = float(median), float(p95)
                surveys[name] = SurveyCounts(alerts, alerts - again - contents, contents - ids, *times, again)
    letters = {}
    letters_again = 0
    if "dead_letters" in present:
        table = _TABLE[dialect].format(full_name.format("dead_letters"))
        own = f"stage <> '{REPLAYED}' AND {json_text_sql('attributes', 'run_id', dialect)}"
        letter = json_text_sql("attributes", "letter", dialect)
        sql = (
            f"SELECT stage, COUNT(*), COUNT(DISTINCT {letter}) FROM {table} "
            f"WHERE {own} = {_PARAMETER[dialect]} GROUP BY 1 ORDER BY 1"
        )
        for stage, number, different in rows(sql, run_id):
            letters[str(stage)] = int(number)
            letters_again += int(number) - int(different) if dialect == "bigquery" else 0
    return Counts(surveys, letters, letters_again)


def _survey_sql(table: str, dialect: Dialect) -> str:
    """Rows; contents by source, contents, and ids, each once; the median and 95th percentile of the latency."""
    # The same bytes written with another schema mean something else: the version counts.
    contents = "CONCAT(CAST(alert_id AS STRING), ' ', TO_HEX(packet_digest), ' ', COALESCE(schema_version, ''))"
    if dialect == "duckdb":
        contents = contents.replace("TO_HEX", "hex")
    by_source = f"CONCAT({contents}, ' ', source)"
    each_once = ", ".join(f"COUNT(DISTINCT {one})" for one in (by_source, contents, "alert_id"))
    quantiles = ", ".join(_QUANTILE[dialect].format(_AGE_SECS[dialect], percent) for percent in (50, 95))
    return f"SELECT COUNT(*), {each_once}, {quantiles} FROM {table} WHERE run_id = {_PARAMETER[dialect]}"
