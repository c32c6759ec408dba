"""Where a run writes and how, from its options."""

from __future__ import annotations

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

import warehouses
from alerts.avro.layout import Projection
from alerts.surveys import SURVEYS, Survey
from pipelines.errors import OptionsError
from pipelines.options import BrokerOptions
from pipelines.runner import runs_here
from schemas.filter_tables import FILTER_COUNTS, VERDICTS
from schemas.outbox import OUTBOX
from transforms.table_rows import tables_of_alerts
from transforms.write_bigquery import REQUEST_ROWS
from transforms.write_tables import SinkSettings
from warehouses import QueryError
from warehouses.reachable import check_bucket
from warehouses.units import Unit
from warehouses.warehouse import Warehouse


def sink_settings(
    options: PipelineOptions,
    run_id: str,
    want: Projection,
    *,
    features: bool,
    filters: bool,
    sends: bool,
    named: Survey | None,
    units: tuple[Unit, ...],
    stream: bool,
    rounds: bool = False,
) -> SinkSettings:
    """Where rows of alerts go; ``named`` is their survey where the options name one. Raises ``OptionsError``.

    ``rounds``: the run is one of many of a stream.
    """
    broker = options.view_as(BrokerOptions)
    if broker.load_every_secs <= 0:
        raise OptionsError(f"--load_every_secs is {broker.load_every_secs:g}; give a number of seconds above 0")
    place = _place(broker.warehouse, broker.maximum_bytes_billed)
    surveys = (named.name,) if named else tuple(SURVEYS)
    return SinkSettings(
        place.uri,
        _round_method(options, place) if rounds else _method(options, place, stream),
        run_id,
        tables_of_alerts(surveys, want, features)
        + ((VERDICTS.name, FILTER_COUNTS.name) if filters else ())
        + ((OUTBOX.name,) if sends else ()),
        surveys,
        units,
        reads_all=broker.max_alerts is None,
        every_secs=broker.load_every_secs if stream else None,
        rows_per_request=broker.alerts_per_write or REQUEST_ROWS,
        # A stream replaces nothing; what is made of a template has no command that could hold a claim.
        loads_folder=_loads_folder(options) if rounds else None,
        fenced=not stream and not options.view_as(GoogleCloudOptions).template_location,
    )


def _place(uri: str, maximum_bytes_billed: int | None) -> Warehouse:
    """Where rows go, which must take them."""
    try:
        place = warehouses.at(uri)
    except QueryError as error:
        raise OptionsError(f"--warehouse {error}") from error
    try:
        place = warehouses.at(uri, maximum_bytes_billed)
    except QueryError as error:
        raise OptionsError(str(error)) from error
    try:
        place.check_writable()
    except Exception as error:  # what the service's client raises
        raise OptionsError(f"--warehouse {place.uri} cannot be written to: {error}") from error
    return place


def _round_method(options: PipelineOptions, place: Warehouse) -> str:
    """How rows of a stream in rounds go there."""
    chosen: str = options.view_as(BrokerOptions).write_method or next(iter(place.round_secs))
    if chosen not in place.round_secs:
        raise OptionsError(
            f"--write_method {chosen} is not for a stream in rounds into {place.uri}, which is written by "
            f"{', '.join(place.round_secs)}: a round must be there whole or not at all"
        )
    if chosen == "file_loads":
        _check_loads(options)
    return chosen


def _loads_folder(options: PipelineOptions) -> str | None:
    """Where load files of rounds are put."""
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    return f"{temp_location.rstrip('/')}/rounds" if temp_location else None


def _method(options: PipelineOptions, place: Warehouse, stream: bool) -> str:
    """How rows go there."""
    chosen: str | None = options.view_as(BrokerOptions).write_method
    if chosen and chosen not in place.write_methods:
        raise OptionsError(
            f"--write_method {chosen} is not for {place.uri}, which is written by {', '.join(place.write_methods)}"
        )
    method = chosen or place.write_methods[-1 if stream else 0]
    if method == "file_loads":
        _check_loads(options)
    return method


def _check_loads(options: PipelineOptions) -> None:
    """Refuse load jobs where there is no place for their files. Raises ``OptionsError``."""
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    if not str(temp_location).startswith("gs://"):
        raise OptionsError(
            "--write_method file_loads needs --temp_location gs://BUCKET/FOLDER for the files to load; "
            "--write_method storage_write needs none"
        )
    # A service that is to run the job puts its own files there first, and says so.
    if runs_here(options):
        try:
            check_bucket(str(temp_location))
        except OSError as error:
            raise OptionsError(f"--temp_location {temp_location} cannot be written to: {error}") from error
