"""Ingest the ZTF nights that are on this machine.

>>> from broker import alert_ingestion
>>> alert_ingestion.stream_ingest_alerts()  # into BigQuery by streaming inserts, 10 alerts at a time
>>> alert_ingestion.batch_ingest_alerts(15, warehouse="./warehouse")  # load files, or Parquet in a folder

The warehouse is ``warehouse=``, else ``$PITT_BROKER_WAREHOUSE``, else the folder ``./warehouse``: these work before anyone has
a cloud account. In a folder both write Parquet files. Load files for BigQuery are made in ``$PITT_BROKER_TEMP_LOCATION``
(``gs://BUCKET/FOLDER``), or where ``options=["--temp_location", "gs://..."]`` says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import warehouses
from broker.archive.local import chosen_archives, data_folder
from pipelines import logs
from pipelines.ingest import run_counted
from pipelines.job import Job
from pipelines.options import parse
from pipelines.status import DONE
from pipelines.summary import Summary

WAREHOUSE, TEMP_LOCATION = "PITT_BROKER_WAREHOUSE", "PITT_BROKER_TEMP_LOCATION"


def stream_ingest_alerts(
    num_alerts: int = 10,
    *,
    warehouse: str | None = None,
    survey: str = "auto",
    max_alerts: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    options: Sequence[str] = (),
) -> Summary:
    """Ingest the local archive, ``num_alerts`` at a time, into BigQuery by streaming inserts: rows are seen within seconds.

    ``max_alerts``: the first so many only. ``folder``: another archive than ``ztf_archive``'s. ``options``: further flags of
    ``broker ingest``. Gives the run's summary. Raises ``NoLocalData``, ``pipelines.options.OptionsError``.
    """
    return _ingest("streaming_inserts", num_alerts, warehouse, survey, max_alerts, folder, options)


def batch_ingest_alerts(
    num_alerts: int = 10,
    *,
    warehouse: str | None = None,
    survey: str = "auto",
    max_alerts: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    options: Sequence[str] = (),
) -> Summary:
    """Ingest the local archive, ``num_alerts`` at a time, into BigQuery by load files.

    Arguments, value and errors are those of ``stream_ingest_alerts``.
    """
    return _ingest("file_loads", num_alerts, warehouse, survey, max_alerts, folder, options)


def _ingest(  # noqa: PLR0917  (what both functions take)
    method: str,
    num_alerts: int,
    warehouse: str | None,
    survey: str,
    max_alerts: int | None,
    folder: str | os.PathLike[str] | None,
    extra: Sequence[str],
) -> Summary:
    place = warehouse or os.environ.get(WAREHOUSE) or "./warehouse"
    words = [*extra, "--warehouse", place, "--survey", survey, "--alerts_per_write", str(num_alerts)]
    words += [word for archive in chosen_archives(data_folder(folder)) for word in ("--input", str(archive))]
    if method in warehouses.at(place).write_methods:
        words += ["--write_method", method]
        if (temporary := os.environ.get(TEMP_LOCATION)) and "--temp_location" not in extra:
            words += ["--temp_location", temporary]
    if max_alerts is not None:
        words += ["--max_alerts", str(max_alerts)]
    # First of all: Beam, asked for its options where nobody listens to the log, makes everybody's log go to stderr.
    with logs.to_stderr(logs.form_of(words)):
        options = parse(words, "alert_ingestion")
        job = Job.from_options(options)
        try:
            with logs.of_run(job.run_id):
                status, summary = run_counted(job, options)
        finally:
            job.clean_up()
    if status != DONE:
        raise RuntimeError(f"run {job.run_id} has failed: {summary.problem(job.max_dead_letters)}")
    return summary
