"""One run as plain values. Only here is decided what the options mean: nothing else asks whether a run is a stream."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

import warehouses
from alerts.avro.layout import Projection
from alerts.catalogs.open import CatalogSettings
from alerts.errors import UnknownSurvey
from alerts.filters.filter_set import FilterSet
from alerts.secrets import redacted
from alerts.surveys import Survey, survey
from pipelines import sources
from pipelines.catalogs import as_given, catalog_settings, of_services
from pipelines.errors import OptionsError
from pipelines.filters import filters_of, history_rows
from pipelines.options import BrokerOptions
from pipelines.outlets import addresses_of, outlets_of, sends_every_alert
from pipelines.runner import runs_here, set_runner
from pipelines.sinks import sink_settings
from schemas.outbox import OUTBOX
from schemas.run_ids import new_run_id
from schemas.tables import DEAD_LETTERS
from streams.addresses import Address
from streams.outlets import Outlet
from transforms.crossmatch import CrossMatch
from transforms.elements import TableBatch
from transforms.ends import Sink, Source
from transforms.filters import JudgeAlerts
from transforms.hits import Hits
from transforms.together import AtTheEnd, EverySecs
from transforms.write_tables import SinkSettings, sink_of
from warehouses.unfiltered import LISTS_OF_RUN
from warehouses.units import Unit
from warehouses.warehouse import Warehouse


@dataclass(frozen=True)
class Job:
    """What one run reads, writes, and how."""

    run_id: str
    started_at: datetime
    read: Source
    sink: SinkSettings
    """Where rows go."""
    crossmatch: CrossMatch | None
    """What is asked of catalogs, if anything."""
    together: AtTheEnd | EverySecs
    """When things are gathered."""
    inputs: int
    """Number of input files; 0 of a stream."""
    skipped: tuple[str, ...]
    """Files of a folder or glob that are no alerts by their name."""
    survey: Survey | None
    want: Projection
    """What of the packets is decoded and written."""
    features: bool
    """Whether the features of alerts are computed and written."""
    filters: JudgeAlerts | None
    """What is asked of filters, if anything."""
    all_filters: FilterSet | None
    """Those, and those that ask what catalogs have answered, which are asked behind the run."""
    max_filter_us: float
    outlets: tuple[Outlet, ...]
    """Where hits are sent when their rows are durable."""
    filters_noted: bool
    """Whether it is written down that these are asked: a stream's next round asks those of the one before."""
    bounded: bool
    """Whether the run ends by itself, and so gives an account."""
    stop_after_secs: float | None
    max_dead_letters: float
    log_format: str
    progress_folder: str | None
    options: dict[str, object]
    """The options that were given, without credentials, for the ``runs`` table."""
    beside: tuple[TableBatch, ...] = ()
    """Rows that say what was read, where that is to be known."""

    @classmethod
    def from_options(cls, options: PipelineOptions) -> Job:
        """Check the options and find the inputs. Raises ``OptionsError``."""
        stream = sources.is_stream(options)
        return _job(options, stream)

    @classmethod
    def to_rematch(cls, options: PipelineOptions) -> Job:
        """A job that reads no alerts and writes to the warehouse of the options. Raises ``OptionsError``."""
        sources.check_nothing_named(options.view_as(BrokerOptions), "a rematch reads the warehouse")
        return _job(options, stream=False)

    @classmethod
    def to_refilter(cls, options: PipelineOptions, filters: FilterSet) -> Job:
        """A job that reads no packets, and asks filters of alerts in the warehouse of the options. Raises ``OptionsError``."""
        sources.check_nothing_named(options.view_as(BrokerOptions), "a refilter reads the warehouse")
        return _job(options, stream=False, read_filters=lambda: filters)

    @classmethod
    def to_replay(cls, options: PipelineOptions) -> Job:
        """A job that writes to the warehouse of the options, what it reads to be set. Raises ``OptionsError``."""
        sources.check_nothing_named(options.view_as(BrokerOptions), "a replay reads dead letters")
        return _job(options, stream=False)

    @classmethod
    def of_round(
        cls, options: PipelineOptions, comes_again: bool = False, read_filters: Callable[[], FilterSet | None] | None = None
    ) -> Job:
        """A run that ends, one of a stream's many; what it reads is to be set. Raises ``OptionsError``.

        ``read_filters`` gives its filters, where it is not to fail by them.
        ``comes_again``: what a killed one has read comes again in others, so that its rows are there at least once.
        """
        job = replace(_job(options, stream=False, rounds=True, read_filters=read_filters), stop_after_secs=None)
        return replace(job, sink=replace(job.sink, at_least_once=True)) if comes_again else job

    def reading(self, source: Source, inputs: int, units: tuple[Unit, ...]) -> Job:
        """The same run with something else to read: so many inputs, whose rows it replaces by these units."""
        return replace(self, read=source, inputs=inputs, sink=replace(self.sink, units=units))

    def noting(self, rows: Sequence[TableBatch]) -> Job:
        """The same run with rows of other tables beside, which are there if and only if its own are."""
        tables = dict.fromkeys((*self.sink.tables, *(some.table for some in rows)))
        return replace(self, beside=tuple(rows), sink=replace(self.sink, tables=tuple(tables)))

    def noting_filters(self) -> Job:
        """The same run with rows that say which filters it asks from now on, where that is another than before."""
        if self.all_filters is None or self.filters_noted:
            return self
        rows = history_rows(self.warehouse, self.all_filters, self.run_id)
        return self.noting((*self.beside, *rows)) if rows else self

    @property
    def filters_behind(self) -> FilterSet | None:
        """The filters that ask what catalogs have answered."""
        return self.all_filters.parted()[1] if self.all_filters else None

    @property
    def write(self) -> Sink:
        """Where rows of alerts and dead letters go."""
        return sink_of(self.sink)

    @property
    def write_matches(self) -> Sink:
        """Where rows of matches go."""
        return sink_of(self.sink.of_matches)

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Where its hits go, by the texts of addresses."""
        return addresses_of(self.outlets, self.all_filters, self.sink.surveys)

    @property
    def sends_itself(self) -> bool:
        """Whether hits are sent by workers, when their rows are there: of a stream that nobody on this machine waits for."""
        return bool(self.outlets) and not self.bounded and self.sink.method == "storage_write"

    @property
    def write_hits(self) -> Sink:
        """Where rows go that say what has become of hits."""
        return sink_of(replace(self.sink, tables=(OUTBOX.name, DEAD_LETTERS.name), units=()))

    @property
    def warehouse(self) -> Warehouse:
        """Where it writes, as it is now: what one of these has seen of it, it keeps."""
        return warehouses.at(self.sink.warehouse)

    @property
    def claims(self) -> set[str]:
        """The inputs whose rows in the warehouse this run replaces: no other may do so meanwhile."""
        return {uri for unit in self.sink.units for uri in unit.inputs}

    def clean_up(self) -> None:
        """Remove what only the run itself needed."""
        if self.progress_folder:
            shutil.rmtree(self.progress_folder, ignore_errors=True)


def _job(
    options: PipelineOptions,
    stream: bool,
    rounds: bool = False,
    read_filters: Callable[[], FilterSet | None] | None = None,
) -> Job:
    broker = options.view_as(BrokerOptions)
    _check_numbers(broker, stream or rounds)
    here = runs_here(options)
    reads = sources.messages(broker) if stream else sources.files(broker)
    set_runner(options, stream)
    started_at = datetime.now(timezone.utc)
    run_id = new_run_id(started_at)
    named, want = _survey(broker.survey), Projection(history=broker.history, stamps=broker.cutouts)
    catalogs = catalog_settings(broker, run_id)
    if rounds:
        # Services are asked behind the rounds.
        catalogs = of_services(catalogs, wanted=False)
    features = _features(broker)
    filters = read_filters() if read_filters else filters_of(broker, want, features, behind=here and not stream)
    at_once = filters.parted()[0] if filters else None
    outlets = outlets_of(broker, filters, begins=read_filters is None)
    # The full stream is every alert, whether or not any filter is asked.
    judges = at_once is not None or sends_every_alert(outlets)
    together = EverySecs(broker.load_every_secs) if stream else AtTheEnd()
    sink = sink_settings(
        options,
        run_id,
        want,
        features=features,
        filters=filters is not None or judges,
        sends=bool(outlets),
        named=named,
        units=reads.units,
        stream=stream,
        rounds=rounds,
    )
    progress_folder = tempfile.mkdtemp(prefix="broker-progress-") if here else None
    return Job(
        run_id=run_id,
        started_at=started_at,
        read=reads.read,
        sink=sink,
        crossmatch=_crossmatch(catalogs, _stop_file(options, run_id, progress_folder), broker.max_wait_secs if stream else None),
        together=together,
        inputs=reads.number,
        skipped=reads.skipped,
        survey=named,
        want=want,
        features=features,
        filters=JudgeAlerts(at_once or FilterSet(()), run_id, together, broker.max_filter_us, Hits(outlets)) if judges else None,
        outlets=outlets,
        all_filters=filters,
        max_filter_us=broker.max_filter_us,
        filters_noted=False,
        bounded=not stream,
        stop_after_secs=broker.stop_after_secs,
        max_dead_letters=broker.max_dead_letters,
        log_format=broker.log_format,
        progress_folder=progress_folder,
        options=_given(options, catalogs, filters),
    )


def _check_numbers(broker: BrokerOptions, stream: bool) -> None:
    if not 0 <= broker.max_dead_letters <= 1:
        raise OptionsError(f"--max_dead_letters is {broker.max_dead_letters:g}; give a fraction between 0 and 1")
    for name in ("max_alerts", "alerts_per_write"):
        if getattr(broker, name) is not None and getattr(broker, name) < 1:
            raise OptionsError(f"--{name} is {getattr(broker, name)}; give a number of alerts, 1 or more")
    if stream and broker.max_alerts:
        raise OptionsError("--max_alerts is for files; a stream is ended by --stop_after_secs")
    if stream and broker.max_dead_letters < 1:
        raise OptionsError(
            "--max_dead_letters is for files; a stream goes on, whatever comes: watch its dead letters (docs/service.md)"
        )


def _survey(name: str) -> Survey | None:
    try:
        return None if name == "auto" else survey(name)
    except UnknownSurvey as error:
        raise OptionsError(f"--{error}; or leave it out, each packet tells") from error


def _features(broker: BrokerOptions) -> bool:
    """Whether features are computed: by default where the packets' history is there, of which they are made."""
    if broker.features and not broker.history:
        raise OptionsError(
            "--features is given with --no_history: features of an alert without its history would look like those of a light "
            "curve of one point; leave one of the two out"
        )
    return bool(broker.history if broker.features is None else broker.features)


def _crossmatch(catalogs: CatalogSettings | None, stop_file: str | None, every_secs: float | None) -> CrossMatch | None:
    """What is asked of catalogs: at the end, or by a stream every so many seconds."""
    if catalogs is None:
        return None
    return CrossMatch(replace(catalogs, stop_file=stop_file), EverySecs(every_secs) if every_secs else AtTheEnd())


def _stop_file(options: PipelineOptions, run_id: str, progress_folder: str | None) -> str | None:
    """Where the workers of a run tell each other that a service has shut them out."""
    if progress_folder:
        return f"{progress_folder}/stop-calls"
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    return f"{temp_location.rstrip('/')}/{run_id}-stop-calls" if temp_location else None


def _given(options: PipelineOptions, catalogs: CatalogSettings | None, filters: FilterSet | None) -> dict[str, object]:
    given: dict[str, object] = options.get_all_options(drop_default=True, retain_unknown_options=True)
    if catalogs:
        # As a rematch can use them, from another folder too.
        given |= as_given(catalogs.specs)
    if filters is not None and filters.lists.versions:
        given[LISTS_OF_RUN] = filters.lists.versions
    # Some of Beam's options are keys (--s3_secret_access_key).
    without: dict[str, object] = redacted(given)
    return without
