"""Every metric of the pipeline with its unit and meaning: Beam's counters and distributions, in the namespace ``broker``.

A metric is told of once per batch, never per alert. Where there is one value for each survey, stage, table, catalog or field,
its name is that of the metric, a space, and the label: ``dead_letters decode``. ``docs/operations.md`` says what to do with them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, ClassVar

from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

NAMESPACE = "broker"
OTHERS = "(others)"
"""The label of what comes when a metric has as many labels as it may."""
_LABEL_CHARACTERS = 200


@dataclass(frozen=True)
class Metric:
    """What all metrics have."""

    kind: ClassVar[str]

    name: str
    unit: str
    meaning: str
    label: str = ""
    """What its labels are; empty where it has none."""
    most_labels: int | None = None
    """How many labels one process uses. Only where the input chooses them: a packet's fields, not our catalogs."""
    _used: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def full_name(self, label: str) -> str:
        """The name Beam knows it by."""
        if not self.label:
            return self.name
        if self.most_labels is not None and label not in self._used:
            if len(self._used) >= self.most_labels:
                return f"{self.name} {OTHERS}"
            self._used.add(label)
        return f"{self.name} {label[:_LABEL_CHARACTERS]}"


@dataclass(frozen=True)
class Counter(Metric):
    """Counts; the sum is what matters."""

    kind = "counter"

    def inc(self, number: int, label: str = "") -> None:
        """Count ``number`` more."""
        if number:
            _counter(self.full_name(label)).inc(number)


@dataclass(frozen=True)
class Distribution(Metric):
    """Whole numbers, of which count, sum, least and largest are kept."""

    kind = "distribution"

    def take(self, value: float | None, label: str = "") -> None:
        """Take in one value, to the nearest whole number; None is none."""
        if value is not None:
            _distribution(self.full_name(label)).update(round(value))


@functools.lru_cache(maxsize=4096)
def _counter(name: str) -> Any:
    return Metrics.counter(NAMESPACE, name)


@functools.lru_cache(maxsize=4096)
def _distribution(name: str) -> Any:
    return Metrics.distribution(NAMESPACE, name)


RECORDS_READ = Counter("records_read", "records", "records of files, messages, and inputs that could not be opened as either")
BYTES_READ = Counter("bytes_read", "bytes", "Avro data of the packets among them, without framing and compression")
INPUTS_SKIPPED = Counter(
    "inputs_skipped", "files", "files and archive members that are no alerts: folders, links, hidden and side files"
)
BATCH_PACKETS = Distribution("batch_packets", "packets", "packets that are decoded together")
ALERTS_DECODED = Counter("alerts_decoded", "alerts", "alerts decoded", "survey")
ONE_BY_ONE = Counter(
    "one_by_one", "packets", "packets that the compiled decoder left to fastavro, some fifty times slower", "survey"
)
UNKNOWN_FIELD = Counter("unknown_field", "alerts", "alerts with a field that no known schema version has", "survey: field", 200)
OFF_THE_SKY = Counter("off_the_sky", "alerts", "alerts whose position is no place on the sky", "survey")
FEATURES_FAILED = Counter(
    "features_failed", "alerts", "alerts whose features could not be computed, and are NULL in their row", "survey"
)
NOT_ASKED = Counter(
    "filter_not_asked", "alerts", "alerts that a filter was not asked about, since it had taken too long", "survey and filter"
)
WITHHELD = Counter(
    "hits_withheld", "hits", "hits that were not sent to a public place, since not all of the alert is public", "address", 200
)
SENT = Counter("hits_sent", "hits", "hits that a receiver's side has acknowledged to the workers of a stream", "address", 200)
WITHOUT_PACKET = Counter(
    "hits_without_packet", "hits", "hits that are dead letters, since the warehouse does not have their packets", "address", 200
)
READ_AGAIN = Counter("read_again", "alerts", "alerts of the warehouse that filters are asked about again", "survey")
NIGHTS = Distribution("nights", "days since 1970-01-01", "the first and the last night of a batch", "survey")
OBSERVED_AGE_SECS = Distribution(
    "observed_age_secs", "s", "age of the oldest alert of a batch when it is ingested, since it was observed", "survey"
)
PUBLISHED_AGE_SECS = Distribution("published_age_secs", "s", "the same, since it was published to Pub/Sub", "survey")
LETTERS = Counter("dead_letters", "records", "records that became dead letters", "stage")
ROWS_WRITTEN = Counter(
    "rows_written", "rows", "rows put in place (Parquet), or given to BigQuery's sink, those it then refuses among them", "table"
)
ROWS_REFUSED = Counter(
    "rows_refused", "rows", "rows that BigQuery refused for good; each is a dead letter of the stage write", "table"
)
MATCHED = Counter("crossmatch_matched", "alerts", "alerts with a source within the radius", "catalog")
NO_MATCH = Counter("crossmatch_no_match", "alerts", "alerts without one", "catalog")
FAILED = Counter("crossmatch_failed", "alerts", "alerts that the catalog has told nothing about", "catalog")
UNPROVEN = Counter(
    "crossmatch_unproven", "alerts", "alerts without a match in a catalog that has no canary to prove its answers", "catalog"
)
CACHE_HITS = Counter("crossmatch_cache_hits", "alerts", "alerts answered without a call of the service", "catalog")
CALL_POSITIONS = Distribution("crossmatch_call_positions", "positions", "positions in a question to the service", "catalog")
CALL_MS = Distribution(
    "crossmatch_call_ms", "ms", "a call of the service, from the first byte to the last; failed ones too", "catalog"
)

METRICS: tuple[Counter | Distribution, ...] = (
    RECORDS_READ,
    BYTES_READ,
    INPUTS_SKIPPED,
    BATCH_PACKETS,
    ALERTS_DECODED,
    ONE_BY_ONE,
    UNKNOWN_FIELD,
    OFF_THE_SKY,
    NIGHTS,
    OBSERVED_AGE_SECS,
    PUBLISHED_AGE_SECS,
    FEATURES_FAILED,
    NOT_ASKED,
    WITHHELD,
    SENT,
    WITHOUT_PACKET,
    READ_AGAIN,
    LETTERS,
    ROWS_WRITTEN,
    ROWS_REFUSED,
    MATCHED,
    NO_MATCH,
    FAILED,
    UNPROVEN,
    CACHE_HITS,
    CALL_POSITIONS,
    CALL_MS,
)
"""All of them, in the order in which an alert meets them."""


@dataclass(frozen=True)
class Spread:
    """What a distribution keeps of its values, in the metric's unit."""

    count: int
    sum: int
    min: int
    max: int


@dataclass(frozen=True)
class Totals:
    """The metrics of a run over all its steps: committed values where the runner has them."""

    counters: dict[str, int]
    distributions: dict[str, Spread]

    def total(self, metric: Counter) -> int:
        """The sum over all labels."""
        return sum(self.by_label(metric).values())

    def by_label(self, metric: Counter) -> dict[str, int]:
        """The values by label, in the order of the labels; the label is empty where the metric has none."""
        return _of(metric, self.counters)

    def spreads(self, metric: Distribution) -> dict[str, Spread]:
        """The distributions by label."""
        return _of(metric, self.distributions)


def _of(metric: Metric, values: dict[str, Any]) -> dict[str, Any]:
    if not metric.label:
        return {"": values[metric.name]} if metric.name in values else {}
    prefix = f"{metric.name} "
    return {name.removeprefix(prefix): values[name] for name in sorted(values) if name.startswith(prefix)}


def totals(result: PipelineResult) -> Totals:
    """The broker's metrics of a run, as they are now."""
    if hasattr(result, "_metrics"):
        # Of a job of a job server Beam keeps what it was told first, however early that was.
        result._metrics = None
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    counters: dict[str, int] = {}
    for distribution in found["counters"]:
        name = distribution.key.metric.name
        counters[name] = counters.get(name, 0) + (distribution.result or 0)
    distributions: dict[str, Spread] = {}
    for distribution in found["distributions"]:
        value = distribution.result
        if value is not None and value.count:
            new = Spread(value.count, value.sum, value.min, value.max)
            old = distributions.get(distribution.key.metric.name)
            distributions[distribution.key.metric.name] = _both(old, new) if old else new
    return Totals(counters, distributions)


def _both(spread: Spread, other: Spread) -> Spread:
    return Spread(spread.count + other.count, spread.sum + other.sum, min(spread.min, other.min), max(spread.max, other.max))
