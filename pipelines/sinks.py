"""Where a run writes and how, from its options."""

from __future__ import annotations

import tempfile
from pathlib import Path

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from alerts.avro.layout import Projection
from alerts.surveys import SURVEYS, Survey
from pipelines.flags import BrokerOptions
from pipelines.options import OptionsError
from transforms.elements import Unit
from transforms.files import absolute
from transforms.table_rows import tables_of_alerts
from transforms.write_bigquery import REQUEST_ROWS
from transforms.write_tables import BIGQUERY, SinkSettings, dataset_of
from warehouses.folder.parquet_files import TEMPORARY
from warehouses.reachable import check_reachable


def sink_settings(
    options: PipelineOptions, run_id: str, want: Projection, *, named: Survey | None, units: tuple[Unit, ...], stream: bool
) -> SinkSettings:
    """Where rows of alerts go; ``named`` is their survey where the options name one. Raises ``OptionsError``."""
    broker = options.view_as(BrokerOptions)
    if broker.load_every_secs <= 0:
        raise OptionsError(f"--load_every_secs is {broker.load_every_secs:g}; give a number of seconds above 0")
    in_bigquery = broker.warehouse.startswith(BIGQUERY)
    warehouse = broker.warehouse if in_bigquery else absolute(broker.warehouse).rstrip("/")
    surveys = (named.name,) if named else tuple(SURVEYS)
    return SinkSettings(
        warehouse,
        _method(options, warehouse, stream) if in_bigquery else _folder(broker, warehouse),
        run_id,
        tables_of_alerts(surveys, want),
        surveys,
        units,
        reads_all=broker.max_alerts is None,
        every_secs=broker.load_every_secs if stream else None,
        rows_per_request=broker.alerts_per_write or REQUEST_ROWS,
    )


def _method(options: PipelineOptions, warehouse: str, stream: bool) -> str:
    """How rows go into a dataset."""
    try:
        dataset_of(warehouse)
    except ValueError as error:
        raise OptionsError(f"--warehouse {error}") from error
    method: str = options.view_as(BrokerOptions).write_method or ("streaming_inserts" if stream else "file_loads")
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    if method == "file_loads" and not str(temp_location).startswith("gs://"):
        raise OptionsError("--write_method file_loads needs --temp_location gs://BUCKET/FOLDER for the files to load")
    return method


def _folder(broker: BrokerOptions, warehouse: str) -> str:
    """How rows go into a folder, which must take them."""
    if broker.write_method:
        raise OptionsError(f"--write_method is for BigQuery; {warehouse} is a folder")
    try:
        if "://" in warehouse:
            check_reachable(warehouse)
            FileSystems.exists(f"{warehouse}/{TEMPORARY}")
        else:
            Path(warehouse).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=warehouse):
                pass
    except Exception as error:  # Beam's filesystems raise what the service's client raises
        raise OptionsError(f"--warehouse {warehouse} cannot be written to: {error}") from error
    return "parquet"
