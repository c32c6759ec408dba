"""The table ``runs``: a row for each run, with its options and its account."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pyarrow as pa
from google.cloud import bigquery

from alerts.json_text import to_json
from alerts.rows import json_rows
from pipelines.job import Job
from pipelines.summary import Summary
from schemas.tables import RUNS
from transforms.files import create_file, rename
from transforms.write_tables import dataset_of
from warehouses.folder.parquet_files import TEMPORARY, open_parquet


def write_run(job: Job, summary: Summary, failed: bool) -> None:
    """Add the run to the ``runs`` table."""
    row: dict[str, Any] = {
        "run_id": job.run_id,
        "version": metadata.version("pitt-broker"),
        "options": to_json(job.options),
        "status": "failed" if failed else "done",
        "started_at": summary.started_at,
        "ended_at": summary.ended_at,
        "records_read": summary.records_read,
        "inputs_skipped": summary.inputs_skipped,
        "alerts_written": summary.alerts,
        "copies": sum(one.copies for one in summary.surveys.values()),
        "conflicts": sum(one.conflicts for one in summary.surveys.values()),
        "dead_letters": summary.letters,
        "counts": to_json(summary.details),
    }
    rows = pa.RecordBatch.from_pylist([row], schema=RUNS.arrow_schema)
    if job.folder is None:
        insert_run(*dataset_of(job.warehouse), rows)
        return
    temporary = f"{job.folder}/{TEMPORARY}/{job.run_id}.parquet"
    with create_file(temporary) as file, open_parquet(file, RUNS.arrow_schema) as writer:
        writer.write_batch(rows)
    rename([(temporary, f"{job.folder}/runs/{job.run_id}.parquet")])


def insert_run(project: str, dataset: str, rows: pa.RecordBatch) -> None:
    """Add a row to the ``runs`` table of a BigQuery dataset. Raises ``RuntimeError`` where BigQuery refuses it."""
    with bigquery.Client(project=project) as client:
        errors = client.insert_rows_json(f"{project}.{dataset}.{RUNS.name}", json_rows(rows))
    if errors:
        raise RuntimeError(f"BigQuery refuses the row for the runs table: {errors}")
