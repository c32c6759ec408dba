"""Kafka as a stream's source: where it begins, what the next round reads, and what is told to the group."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import TracebackType
from typing import ClassVar

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from alerts.avro.wire_schemas import writer_schema
from alerts.errors import AlertError
from alerts.limits import MAX_SCHEMA_BYTES
from pipelines.errors import OptionsError
from pipelines.options import BrokerOptions, RoundsOptions
from pipelines.round_source import Round
from pipelines.sources import checked_schemas
from schemas.run_ids import new_run_id
from schemas.tables import OFFSETS
from streams.errors import TopicMadeAnew
from streams.kafka_begin import begins_of, check_pattern, check_topic, start_of
from streams.kafka_client import KafkaAway, KafkaProblem, KafkaSettings
from streams.kafka_ranges import KafkaTopics, Place, Plan, due_ranges, share
from streams.said import Said
from transforms.elements import TableBatch
from transforms.read_kafka import ReadKafka, unit_of
from warehouses import offsets
from warehouses.unrecorded import unrecorded_runs
from warehouses.warehouse import Warehouse

_LOG = logging.getLogger(__name__)
_TELL_AGAIN_SECS = 86_400.0
"""Kafka forgets the offsets of a group without members after a week, unless it is told again."""
_KNOWN_TOPICS = 1_000
"""So many topics are known again where they are made anew: years of nights."""
_GONE_SECS = 60.0
"""So long a topic is missed before its messages count as lost."""
_FIRST_MEAN_BYTES = 100_000.0
"""Of a message, before any was read."""


@dataclass
class KafkaStream:
    """A group's reading of some topics. Also a context manager."""

    settings: KafkaSettings
    pattern: str
    start: str | int
    """``group``, ``earliest``, ``latest``, or a time in ms since 1970: where a group begins that the warehouse does not know."""
    topics: KafkaTopics
    cluster_id: str
    schemas: str | None = None
    """See ``ReadKafka``."""
    bare_schema: bytes | None = None
    """See ``ReadKafka``."""
    workers: int = 1
    """See ``ReadKafka``."""
    _done: dict[Place, int] = field(default_factory=dict)
    _topic_ids: dict[str, str] = field(default_factory=dict)
    _planned: Plan | None = None
    """A round that is not done, .."""
    _gone: frozenset[Place] = frozenset()
    """.. and what of it Kafka has taken away for good; .."""
    _gone_since: float | None = None
    """.. since when something of it is missing."""
    _mean_bytes: float = _FIRST_MEAN_BYTES
    _told_at: float = -_TELL_AGAIN_SECS
    _said: Said = field(default_factory=lambda: Said(_LOG))

    @classmethod
    def from_options(cls, options: PipelineOptions) -> KafkaStream:
        """Check the options against Kafka. Raises ``OptionsError`` and ``KafkaProblem``, within ten seconds or so."""
        rounds = options.view_as(RoundsOptions)
        for name in ("kafka_topic", "kafka_group"):
            if not getattr(rounds, name):
                raise OptionsError(f"--{name} is missing, which --kafka needs")
        check_pattern(rounds.kafka_topic)
        schemas = checked_schemas(options.view_as(BrokerOptions).schemas)
        bare = _bare_schema(rounds.kafka_schema)
        settings = KafkaSettings(rounds.kafka, rounds.kafka_group, rounds.kafka_config)
        start = start_of(rounds.kafka_from)
        topics = KafkaTopics(settings, rounds.kafka_topic)
        try:
            cluster_id = topics.cluster_id()
            check_topic(topics, rounds.kafka_topic)
            topics.check_group()
        except (OptionsError, KafkaProblem):
            topics.close()
            raise
        workers = options.view_as(DirectOptions).direct_num_workers or 1
        return cls(settings, rounds.kafka_topic, start, topics, cluster_id, schemas, bare, workers)

    counted: ClassVar[str] = "messages"
    comes_again: ClassVar[bool] = False
    waits: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Who reads; nobody else may into the same warehouse."""
        return f"kafka://{self.cluster_id}/{self.settings.group}"

    @property
    def claims(self) -> frozenset[str]:
        """The group's name."""
        return frozenset({self.name})

    @property
    def flag(self) -> str:
        """By what two streams of a group differ."""
        return f"--kafka_group {self.settings.group}"

    def __enter__(self) -> KafkaStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.topics.close()

    def begin(self, place: Warehouse) -> None:
        """Find out where to go on, note it where the warehouse does not know the group, and say it."""
        self._done = dict(offsets.done(place, self.cluster_id, self.settings.group))
        self._planned = self._kept(place)
        if self._done:
            self._say(f"goes on where {place.uri} has it, in {len(self._done) - 1} partitions")
            return
        places = self.topics.places()
        begins, known = begins_of(self.topics, places, self.start)
        # Also the end of what is there, so that a later start does not ask again; and a row for the group itself, by which what
        # appears before anything was read counts as later.
        rows = [("", -1, 0, 0), *((*here, offset, offset) for here, offset in sorted(begins.items()))]
        run_id = new_run_id(datetime.now(timezone.utc))
        place.add(OFFSETS, offsets.offset_rows(self.cluster_id, self.settings.group, rows, "", run_id), run_id)
        self._done = dict(begins)
        of_kafka = f", {known} of them by its offsets in Kafka" if self.start == "group" else ""
        self._say(f"is new to {place.uri} and begins at {self._start_text}, in {len(begins)} partitions{of_kafka}")

    def unrecorded(self, place: Warehouse) -> Mapping[str, datetime]:
        """See ``RoundSource``."""
        return unrecorded_runs(place, OFFSETS, {"cluster_id": self.cluster_id, "kafka_group": self.settings.group})

    @property
    def _start_text(self) -> str:
        if isinstance(self.start, int):
            return datetime.fromtimestamp(self.start / 1000, timezone.utc).isoformat()
        return "the earliest" if self.start == "group" else f"the {self.start}"

    def _say(self, text: str) -> None:
        print(f"group {self.settings.group} {text}", flush=True)

    def next(self, place: Warehouse, most_bytes: float) -> Round | None:
        """The ranges of offsets from what is done to what there is, or those of a round that died."""
        ends = self.topics.ends(self.topics.places())
        plan, behind = self._plan(place, ends, max(1, round(most_bytes / self._mean_bytes)))
        if plan is None:
            self._tell_again(ends)
            return None
        unit = unit_of(plan)
        ranges = [(here.topic, here.partition, here.first_offset, here.end_offset) for here in plan.ranges]

        def beside(run_id: str) -> list[TableBatch]:
            rows = offsets.offset_rows(plan.cluster_id, plan.group, ranges, unit.key, run_id)
            return [TableBatch(OFFSETS.name, unit.key, rows)]

        gone = frozenset(here.place for here in plan.ranges) & self._gone
        read = ReadKafka(self.settings, plan, self.schemas, self.bare_schema, gone, self.workers)
        done = functools.partial(self._is_done, plan)
        return Round(read, (unit,), len(plan.ranges), plan.messages, behind, beside, done=done)

    def _plan(self, place: Warehouse, ends: dict[Place, tuple[int, int]], most: int) -> tuple[Plan | None, int]:
        self._look_for_gone(ends)
        due = due_ranges(ends, self._done, self.settings.group)
        if due or self._planned:
            self._check_ids({topic for topic, _ in ends})
        behind = sum(map(len, due))
        if self._planned is None:
            taken = share(due, most)
            if not taken:
                return None, 0
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            plan = Plan(self.cluster_id, self.settings.group, taken, now, self._topic_ids)
            place.keep_plan(self.name, plan.to_json())
            self._planned = plan
        plan = self._planned
        return plan, max(0, behind - sum(len(here) for here in plan.ranges if here.place in ends))

    def _look_for_gone(self, ends: Collection[Place]) -> None:
        """What of a round that is not done is no longer there. Raises ``KafkaAway`` for a while: Kafka may be just starting."""
        gone = {here.place for here in self._planned.ranges} - set(ends) if self._planned else set()
        if not gone:
            self._gone, self._gone_since = frozenset(), None
            return
        self._gone_since = self._gone_since or time.monotonic()
        if time.monotonic() - self._gone_since < _GONE_SECS:
            topic, partition = min(gone)
            raise KafkaAway(f"Kafka does not have {topic}/{partition} any more, of which a round was to be read")
        self._gone = frozenset(gone)

    def _check_ids(self, names: set[str]) -> None:
        """Stop where a topic is another than the one of its name that was read, however many messages it has."""
        now = self.topics.ids(names)
        for name, number in now.items():
            if self._topic_ids.get(name, number) != number:
                raise TopicMadeAnew(
                    f"{name} was made anew since group {self.settings.group} read it: its offsets mean other messages; "
                    "read it by another --kafka_group"
                )
        # Those that are gone may come again.
        self._topic_ids = dict([*(item for item in self._topic_ids.items() if item[0] not in now), *now.items()][-_KNOWN_TOPICS:])

    def _kept(self, place: Warehouse) -> Plan | None:
        text = place.kept_plan(self.name)
        if text is None:
            return None
        plan = Plan.from_json(text)
        self._topic_ids = dict(plan.topic_ids)
        return None if all(self._done.get(here.place, 0) >= here.end_offset for here in plan.ranges) else plan

    def _is_done(self, plan: Plan, size_bytes: int) -> None:
        """The group in Kafka follows, for others to see."""
        if size_bytes:
            self._mean_bytes = size_bytes / max(1, plan.messages)
        self._planned = None
        self._done.update({here.place: here.end_offset for here in plan.ranges})
        self._tell({here.place: here.end_offset for here in plan.ranges})

    def _tell_again(self, there: Collection[Place]) -> None:
        """Of topics that were taken away, and of the row for the group itself, Kafka knows nothing, and says so of all."""
        if time.monotonic() - self._told_at > _TELL_AGAIN_SECS:
            self._tell({here: offset for here, offset in self._done.items() if here in there})

    def _tell(self, done: dict[Place, int]) -> None:
        try:
            self.topics.tell(done)
            self._told_at = time.monotonic()
        except KafkaProblem as error:
            # The warehouse knows it; this is for others to see.
            self._said.say(f"the group's offsets in Kafka do not follow: {error}")


def _bare_schema(path: str | None) -> bytes | None:
    """The text of the schema of messages without any framing."""
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            # One byte more than is allowed shows that there is more.
            text = file.read(MAX_SCHEMA_BYTES + 1)
        writer_schema(text)
    except (OSError, AlertError) as error:
        raise OptionsError(f"--kafka_schema {path}: {error}") from error
    return text
