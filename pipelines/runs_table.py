"""The table ``runs``: a row for each run, with its options and its account."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import pyarrow as pa

from alerts.json_text import to_json
from pipelines.job import Job
from pipelines.summary import Summary
from schemas.tables import RUNS
from warehouses.warehouse import Warehouse


def write_run(job: Job, summary: Summary, failed: bool) -> None:
    """Add the run to the ``runs`` table."""
    write(job.warehouse, summary, job.options, failed)


def write(warehouse: Warehouse, summary: Summary, options: Mapping[str, object], failed: bool) -> None:
    """Add a run to the ``runs`` table of a warehouse, by its account and its options."""
    row: dict[str, Any] = {
        "run_id": summary.run_id,
        "version": metadata.version("pitt-broker"),
        "options": to_json(dict(options)),
        "status": "failed" if failed else "done",
        "started_at": summary.started_at,
        "ended_at": summary.ended_at,
        "records_read": summary.records_read,
        "inputs_skipped": summary.inputs_skipped,
        "alerts_written": summary.alerts,
        "copies": sum(survey.copies for survey in summary.surveys.values()),
        "conflicts": sum(survey.conflicts for survey in summary.surveys.values()),
        "dead_letters": summary.letters,
        "counts": to_json(summary.details),
    }
    rows = pa.RecordBatch.from_pylist([row], schema=RUNS.arrow_schema)
    warehouse.add(RUNS, rows, summary.run_id)
