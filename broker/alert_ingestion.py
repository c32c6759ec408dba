"""Ingest the ZTF nights that are on this machine, or a topic of Kafka.

>>> from broker import alert_ingestion
>>> alert_ingestion.stream_ingest_alerts()  # into BigQuery by streaming inserts, 10 alerts at a time
>>> alert_ingestion.stream_ingest_alerts(kafka="HOST:9092", kafka_topic="ztf_.*", kafka_group="me")  # until Ctrl-C
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
from pipelines.ingest_stream import StreamCounts, ingest_stream_or_files, kafka_source
from pipelines.summary import Summary

WAREHOUSE, TEMP_LOCATION = "PITT_BROKER_WAREHOUSE", "PITT_BROKER_TEMP_LOCATION"


def stream_ingest_alerts(
    num_alerts: int = 10,
    *,
    kafka: str | None = None,
    kafka_topic: str | None = None,
    kafka_group: str | None = None,
    stop_after_secs: float | None = None,
    warehouse: str | None = None,
    survey: str = "auto",
    max_alerts: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    options: Sequence[str] = (),
) -> Summary | StreamCounts:
    """Ingest the local archive, ``num_alerts`` at a time, into BigQuery by streaming inserts: rows are seen within seconds.

    ``max_alerts``: the first so many only. ``folder``: another archive than ``ztf_archive``'s. ``options``: further flags of
    ``broker ingest``. Gives the run's summary. Raises ``NoLocalData``, ``pipelines.errors.OptionsError``.

    With ``kafka`` (``"HOST:PORT[,..]"``), ``kafka_topic`` (a name, or a regular expression) and ``kafka_group`` it ingests these
    topics instead, in rounds as they come, until Ctrl-C or for ``stop_after_secs``; ``options=["--once"]`` until what there is
    is read. Whoever calls it again goes on where the warehouse has the group. Gives what all rounds have written.
    """
    return ingest_stream_or_files(
        kafka_source(kafka, kafka_topic, kafka_group, stop_after_secs),
        lambda: chosen_archives(data_folder(folder)),
        warehouse or os.environ.get(WAREHOUSE) or "./warehouse",
        alerts_per_write=num_alerts,
        survey=survey,
        max_alerts=max_alerts,
        temp_location=os.environ.get(TEMP_LOCATION),
        options=options,
        called="alert_ingestion",
    )


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

    ``max_alerts``: the first so many only. ``folder``: another archive than ``ztf_archive``'s. ``options``: further flags of
    ``broker ingest``. Gives the run's summary. Raises ``NoLocalData``, ``pipelines.errors.OptionsError``.
    """
    return ingest_files(
        chosen_archives(data_folder(folder)),
        warehouse or os.environ.get(WAREHOUSE) or "./warehouse",
        method="file_loads",
        alerts_per_write=num_alerts,
        survey=survey,
        max_alerts=max_alerts,
        temp_location=os.environ.get(TEMP_LOCATION),
        options=options,
        called="alert_ingestion",
    )
