"""A stream of Kafka ingested by a call: what ``broker ingest --kafka`` does, for a program or a notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipelines import logs
from pipelines.errors import OptionsError
from pipelines.ingest_files import ingest_files
from pipelines.options import parse
from pipelines.rounds import run
from pipelines.status import DONE
from pipelines.summary import Summary


@dataclass
class StreamCounts:
    """What the rounds of a stream have written."""

    rounds: int = 0
    records_read: int = 0
    alerts: int = 0
    letters: int = 0

    def add(self, counts: Summary) -> None:
        """One more round."""
        self.rounds += 1
        self.records_read += counts.records_read
        self.alerts += counts.alerts
        self.letters += counts.letters


@dataclass(frozen=True)
class KafkaSource:
    """What ``broker ingest`` is told of Kafka."""

    servers: str
    topic: str
    group: str
    stop_after_secs: float | None = None

    def words(self) -> list[str]:
        """As its flags."""
        words = ["--kafka", self.servers, "--kafka_topic", self.topic, "--kafka_group", self.group]
        return words if self.stop_after_secs is None else [*words, "--stop_after_secs", str(self.stop_after_secs)]


def kafka_source(kafka: str | None, topic: str | None, group: str | None, stop_after_secs: float | None) -> KafkaSource | None:
    """The arguments of a call as one thing; None where Kafka is not meant. Raises ``OptionsError``."""
    if kafka is None:
        for name, value in (("kafka_topic", topic), ("kafka_group", group), ("stop_after_secs", stop_after_secs)):
            if value is not None:
                raise OptionsError(f"{name} is given, but no kafka; give kafka='HOST:PORT', or leave it out")
        return None
    if not topic or not group:
        raise OptionsError("kafka is given; give kafka_topic and kafka_group, too")
    return KafkaSource(kafka, topic, group, stop_after_secs)


def ingest_stream(source: KafkaSource, warehouse: str, survey: str = "auto", options: Sequence[str] = ()) -> StreamCounts:
    """Ingest a topic in rounds until Ctrl-C, or whatever else ends it (``options``: further flags of ``broker ingest``).

    Raises ``OptionsError``, ``RuntimeError`` for a stream that failed.
    """
    words = [*source.words(), *options, "--warehouse", warehouse, "--survey", survey]
    counts = StreamCounts()
    with logs.to_stderr(logs.form_of(words)):
        status = run(parse(words), words, counts.add)
    if status != DONE:
        raise RuntimeError(f"the stream of {source.topic} has ended with status {status}; its log says why")
    return counts


def ingest_stream_or_files(
    source: KafkaSource | None,
    files: Callable[[], Iterable[str | os.PathLike[str]]],
    warehouse: str,
    *,
    alerts_per_write: int,
    survey: str,
    max_alerts: int | None,
    temp_location: str | None,
    options: Sequence[str],
    called: str,
) -> Summary | StreamCounts:
    """Ingest Kafka where a source is given, else files by streaming inserts. Raises as the two do."""
    if source is None:
        return ingest_files(
            files(),
            warehouse,
            method="streaming_inserts",
            alerts_per_write=alerts_per_write,
            survey=survey,
            max_alerts=max_alerts,
            temp_location=temp_location,
            options=options,
            called=called,
        )
    if max_alerts is not None:
        raise OptionsError("max_alerts is for files; a stream of Kafka ends by stop_after_secs, or by options=['--once']")
    return ingest_stream(source, warehouse, survey, options)
