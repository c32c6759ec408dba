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

from broker.archive.local import chosen_archives, data_folder
from pipelines.ingest_files import ingest_files
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
    ``broker ingest``. Gives the run's summary. Raises ``NoLocalData``, ``pipelines.errors.OptionsError``.
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
    options: Sequence[str],
) -> Summary:
    return ingest_files(
        chosen_archives(data_folder(folder)),
        warehouse or os.environ.get(WAREHOUSE) or "./warehouse",
        method=method,
        alerts_per_write=num_alerts,
        survey=survey,
        max_alerts=max_alerts,
        temp_location=os.environ.get(TEMP_LOCATION),
        options=options,
        called="alert_ingestion",
    )
