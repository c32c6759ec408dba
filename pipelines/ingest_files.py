"""Files ingested by a call: what ``broker ingest`` does, for a program or a notebook."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import warehouses
from pipelines import logs
from pipelines.ingest import run_counted
from pipelines.job import Job
from pipelines.options import parse
from pipelines.status import DONE
from pipelines.summary import Summary


def ingest_files(
    inputs: Iterable[str | os.PathLike[str]],
    warehouse: str,
    *,
    method: str,
    alerts_per_write: int,
    survey: str = "auto",
    max_alerts: int | None = None,
    temp_location: str | None = None,
    options: Sequence[str] = (),
    called: str = "ingest_files",
) -> Summary:
    """Ingest files into a warehouse, by a write method where the warehouse knows it, else in its own way.

    ``temp_location``: where load files are made if ``options``, further flags of ``broker ingest``, do not say. ``called``: what
    messages about wrong options call the command. Raises ``OptionsError``, ``RuntimeError`` for a run that failed.
    """
    words = [*options, "--warehouse", warehouse, "--survey", survey, "--alerts_per_write", str(alerts_per_write)]
    words += [word for uri in inputs for word in ("--input", str(uri))]
    if method in warehouses.at(warehouse).write_methods:
        words += ["--write_method", method]
        if temp_location and "--temp_location" not in options:
            words += ["--temp_location", temp_location]
    if max_alerts is not None:
        words += ["--max_alerts", str(max_alerts)]
    # First of all: Beam, asked for its options where nobody listens to the log, makes everybody's log go to stderr.
    with logs.to_stderr(logs.form_of(words)):
        parsed = parse(words, called)
        job = Job.from_options(parsed)
        try:
            with logs.of_run(job.run_id):
                status, summary = run_counted(job, parsed)
        finally:
            job.clean_up()
    if status != DONE:
        raise RuntimeError(f"run {job.run_id} has failed: {summary.problem(job.max_dead_letters)}")
    return summary
