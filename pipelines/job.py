"""One run as plain values. Only here is decided what the options mean: nothing else asks whether a run is a stream."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    TypeOptions,
)

from alerts.avro.layout import Projection
from alerts.avro.wire_schemas import check_registry
from alerts.catalogs.open import CatalogSettings
from alerts.errors import UnknownSurvey
from alerts.secrets import redacted
from alerts.surveys import SURVEYS, Survey, survey
from pipelines.catalogs import catalog_settings, full_name
from pipelines.options import BrokerOptions, OptionsError
from pipelines.workers import watch_workers
from schemas.tables import CROSSMATCHES
from transforms.crossmatch import CrossMatch
from transforms.elements import Unit
from transforms.files import FoundFile, absolute, find_inputs
from transforms.parquet_files import TEMPORARY
from transforms.reachable import check_reachable
from transforms.read import BATCH_PACKETS, ReadPackets, plan_units
from transforms.read_pubsub import ReadMessages
from transforms.table_rows import tables_of_alerts
from transforms.together import AtTheEnd, EverySecs
from transforms.write_bigquery import REQUEST_ROWS, WriteBigQuery
from transforms.write_parquet import WriteParquet

BIGQUERY = "bigquery://"
_LOCAL_RUNNERS = ("", "directrunner", "fnapirunner", "bundlebaseddirectrunner")


@dataclass(frozen=True)
class Job:
    """What one run reads, writes, and how; ``read`` and ``write`` are the transforms at the pipeline's two ends."""

    run_id: str
    started_at: datetime
    read: beam.PTransform
    write: WriteParquet | WriteBigQuery
    """Where rows of alerts and dead letters go."""
    crossmatch: CrossMatch | None
    """What is asked of catalogs, if anything."""
    write_matches: WriteParquet | WriteBigQuery
    """Where rows of matches go."""
    together: AtTheEnd | EverySecs
    """When things are gathered."""
    inputs: int
    """Number of input files; 0 of a stream."""
    skipped: tuple[str, ...]
    """Files of a folder or glob that are no alerts by their name."""
    survey: Survey | None
    want: Projection
    """What of the packets is decoded and written."""
    warehouse: str
    bounded: bool
    """Whether the run ends by itself, and so gives an account."""
    stop_after_secs: float | None
    max_dead_letters: float
    log_format: str
    progress_folder: str | None
    options: dict[str, object]
    """The options that were given, without credentials, for the ``runs`` table."""

    @classmethod
    def from_options(cls, options: PipelineOptions) -> Job:
        """Check the options and find the inputs. Raises ``OptionsError``."""
        broker = options.view_as(BrokerOptions)
        stream = _is_stream(broker)
        units, skipped = ([], []) if stream else plan_units(file for uri in broker.input for file in _find(uri))
        return cls._of(options, units, skipped, stream)

    @classmethod
    def to_rematch(cls, options: PipelineOptions) -> Job:
        """A job that reads no alerts and writes to the warehouse of the options. Raises ``OptionsError``."""
        return cls._without_source(options, "a rematch reads the warehouse")

    @classmethod
    def to_replay(cls, options: PipelineOptions) -> Job:
        """A job that writes to the warehouse of the options, what it reads to be set. Raises ``OptionsError``."""
        return cls._without_source(options, "a replay reads dead letters")

    @classmethod
    def _without_source(cls, options: PipelineOptions, reads: str) -> Job:
        broker = options.view_as(BrokerOptions)
        for name in ("input", "subscription", "topic"):
            if getattr(broker, name):
                raise OptionsError(f"--{name} is given, but {reads}; leave it out")
        return cls._of(options, [], [], stream=False)

    @classmethod
    def _of(cls, options: PipelineOptions, units: list[Unit], skipped: list[str], stream: bool) -> Job:
        broker = options.view_as(BrokerOptions)
        if not 0 <= broker.max_dead_letters <= 1:
            raise OptionsError(f"--max_dead_letters is {broker.max_dead_letters:g}; give a fraction between 0 and 1")
        for name in ("max_alerts", "alerts_per_write"):
            if getattr(broker, name) is not None and getattr(broker, name) < 1:
                raise OptionsError(f"--{name} is {getattr(broker, name)}; give a number of alerts, 1 or more")
        if stream and broker.max_alerts:
            raise OptionsError("--max_alerts is for files; a stream is ended by --stop_after_secs")
        if broker.load_every_secs <= 0:
            raise OptionsError(f"--load_every_secs is {broker.load_every_secs:g}; give a number of seconds above 0")
        local = _set_runner(options, stream)
        started_at = datetime.now(timezone.utc)
        run_id = f"{started_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
        schemas, named = _schemas(broker.schemas), _survey(broker.survey)
        warehouse = broker.warehouse if broker.warehouse.startswith(BIGQUERY) else absolute(broker.warehouse).rstrip("/")
        every_secs = broker.load_every_secs if stream else None
        together = EverySecs(every_secs) if every_secs else AtTheEnd()
        catalogs = catalog_settings(broker, run_id)
        write = _write(options, warehouse=warehouse, run_id=run_id, units=units, every_secs=every_secs, named=named)
        progress_folder = tempfile.mkdtemp(prefix="broker-progress-") if local else None
        if catalogs:
            catalogs = replace(catalogs, stop_file=_stop_file(options, run_id, progress_folder))
        return cls(
            run_id=run_id,
            started_at=started_at,
            read=_messages(broker, schemas, local) if stream else _files(broker, units, schemas),
            write=write,
            crossmatch=CrossMatch(catalogs, EverySecs(broker.max_wait_secs) if stream else AtTheEnd()) if catalogs else None,
            write_matches=_for_matches(write),
            together=together,
            inputs=sum(len(unit.inputs) for unit in units),
            skipped=tuple(skipped),
            survey=named,
            want=_want(broker),
            warehouse=warehouse,
            bounded=not stream,
            stop_after_secs=broker.stop_after_secs,
            max_dead_letters=broker.max_dead_letters,
            log_format=broker.log_format,
            progress_folder=progress_folder,
            options=_given(options, catalogs),
        )

    @property
    def folder(self) -> str | None:
        """The warehouse's folder, local or gs://; None where it is BigQuery."""
        return None if self.warehouse.startswith(BIGQUERY) else self.warehouse

    @property
    def claims(self) -> set[str]:
        """The inputs whose rows in the warehouse this run replaces: no other may do so meanwhile."""
        return {uri for unit in self.units for uri in unit.inputs}

    @property
    def units(self) -> tuple[Unit, ...]:
        """What it puts into a folder in the place of what is there; none of a stream."""
        return tuple(self.write.units) if isinstance(self.write, WriteParquet) else ()

    def clean_up(self) -> None:
        """Remove what only the run itself needed."""
        if self.progress_folder:
            shutil.rmtree(self.progress_folder, ignore_errors=True)


def _is_stream(broker: BrokerOptions) -> bool:
    given = [name for name in ("input", "subscription", "topic") if getattr(broker, name)]
    if not given:
        raise OptionsError(
            "--input is missing: give a file, a folder or a glob of alerts, for example --input night.tar.gz, "
            "or --subscription projects/PROJECT/subscriptions/NAME"
        )
    if len(given) > 1:
        raise OptionsError(f"--{given[0]} and --{given[1]} are given; a run reads from one of them")
    return given != ["input"]


def _files(broker: BrokerOptions, units: list[Unit], schemas: str | None) -> ReadPackets:
    batch = min(broker.alerts_per_write or BATCH_PACKETS, BATCH_PACKETS)
    return ReadPackets(units, schemas, batch, broker.max_alerts)


def _messages(broker: BrokerOptions, schemas: str | None, local: bool) -> ReadMessages:
    for flag, kind in (("subscription", "subscriptions"), ("topic", "topics")):
        name = getattr(broker, flag)
        if name and not re.fullmatch(rf"projects/[a-z][-a-z0-9:.]{{4,}}[a-z0-9]/{kind}/[a-zA-Z][\w.~+%-]{{2,}}", name):
            raise OptionsError(f"--{flag} {name} is not of the form projects/PROJECT/{kind}/NAME")
    # Local runners refuse an id label, on a thread of their own where nobody hears it.
    id_label = None if local else broker.id_label
    return ReadMessages(broker.subscription, broker.topic, id_label, broker.timestamp_attribute, schemas)


def _want(broker: BrokerOptions) -> Projection:
    return Projection(history=broker.history, stamps=broker.cutouts)


def _write(
    options: PipelineOptions,
    *,
    warehouse: str,
    run_id: str,
    units: list[Unit],
    every_secs: float | None,
    named: Survey | None,
) -> WriteParquet | WriteBigQuery:
    broker = options.view_as(BrokerOptions)
    if not warehouse.startswith(BIGQUERY):
        if broker.write_method:
            raise OptionsError(f"--write_method is for BigQuery; {warehouse} is a folder")
        _check_writable(warehouse)
        together = EverySecs(every_secs) if every_secs else AtTheEnd()
        return WriteParquet(warehouse, run_id, units, together, reads_all=broker.max_alerts is None)
    parts = warehouse.removeprefix(BIGQUERY).split("/")
    if len(parts) != 2 or not all(parts):
        raise OptionsError(f"--warehouse {warehouse} is not of the form bigquery://PROJECT/DATASET")
    method = broker.write_method or ("streaming_inserts" if every_secs else "file_loads")
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    if method == "file_loads" and not str(temp_location).startswith("gs://"):
        raise OptionsError("--write_method file_loads needs --temp_location gs://BUCKET/FOLDER for the files to load")
    surveys = (named.name,) if named else tuple(SURVEYS)
    rows = broker.alerts_per_write or REQUEST_ROWS
    tables = tables_of_alerts(surveys, _want(broker))
    return WriteBigQuery(parts[0], parts[1], run_id, method, tables, every_secs, surveys, rows)


def _for_matches(write: WriteParquet | WriteBigQuery) -> WriteParquet | WriteBigQuery:
    """The sink of the same place for what catalogs know."""
    if isinstance(write, WriteBigQuery):
        return replace(write, tables=(CROSSMATCHES.name,))
    return WriteParquet(write.warehouse, write.run_id, together=write.together)


def _given(options: PipelineOptions, catalogs: CatalogSettings | None) -> dict[str, object]:
    given: dict[str, object] = options.get_all_options(drop_default=True)
    if catalogs:
        # As a rematch can use them, from another folder too.
        given["crossmatch"] = [full_name(spec) for spec in catalogs.specs]
    # Some of Beam's options are keys (--s3_secret_access_key).
    without: dict[str, object] = redacted(given)
    return without


def _stop_file(options: PipelineOptions, run_id: str, progress_folder: str | None) -> str | None:
    """Where the workers of a run tell each other that a service has shut them out."""
    if progress_folder:
        return f"{progress_folder}/stop-calls"
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    return f"{temp_location.rstrip('/')}/{run_id}-stop-calls" if temp_location else None


def _find(uri: str) -> list[FoundFile]:
    try:
        check_reachable(uri)
        found = find_inputs(uri)
    except Exception as error:  # Beam's filesystems raise what the service's client raises
        raise OptionsError(f"--input {uri} cannot be listed: {error}") from error
    if not found:
        raise OptionsError(f"--input {uri} matches no file")
    return found


def _survey(name: str) -> Survey | None:
    try:
        return None if name == "auto" else survey(name)
    except UnknownSurvey as error:
        raise OptionsError(f"--{error}; or leave it out, each packet tells") from error


def _schemas(location: str | None) -> str | None:
    if location is None:
        return None
    if location.startswith(("http://", "https://")):
        try:
            check_registry(location)
        except ValueError as error:
            raise OptionsError(f"--schemas: {error}") from error
        return location
    if not os.path.isdir(location):
        raise OptionsError(f"--schemas {location} is neither a folder with files {{id}}.avsc nor the URL of a schema registry")
    return os.path.abspath(location)


def _set_runner(options: PipelineOptions, stream: bool) -> bool:
    """Choose the in-process runner for a local run; whether the run is one.

    Beam's DirectRunner would first try to download Prism; any other runner is left as it was given.
    """
    standard = options.view_as(StandardOptions)
    standard.streaming = stream
    if (standard.runner or "").lower() not in _LOCAL_RUNNERS:
        return False
    # FnApiRunner reads nothing from Pub/Sub and reports that it is done.
    standard.runner = "BundleBasedDirectRunner" if stream else "FnApiRunner"
    if stream:
        # Beam's load of files in a stream uses a trigger that it calls unsafe.
        options.view_as(TypeOptions).allow_unsafe_triggers = True
    direct = options.view_as(DirectOptions)
    if direct.direct_num_workers != 1 and direct.direct_running_mode in (None, "in_memory"):
        direct.direct_running_mode = "multi_processing"
    watch_workers()
    return True


def _check_writable(warehouse: str) -> None:
    try:
        if "://" in warehouse:
            check_reachable(warehouse)
            FileSystems.exists(f"{warehouse}/{TEMPORARY}")
            return
        folder = Path(warehouse)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except Exception as error:  # see _find
        raise OptionsError(f"--warehouse {warehouse} cannot be written to: {error}") from error
