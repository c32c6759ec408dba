"""Which messages of Kafka a round reads: ranges of offsets, from what is done to what there is now."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from streams.errors import TopicMadeAnew
from streams.kafka_client import KafkaAway, KafkaProblem, KafkaSettings, close, may_pass, metadata, new_admin, reason

if TYPE_CHECKING:
    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient

Place = tuple[str, int]
"""A topic and a partition."""
_ANSWER_SECS = 7.0
"""Whoever is told to end ends within seconds, also where Kafka does not answer; it is asked again."""
_ASKED_TIMES, _SHORT_SECS = 4, 2.0


@dataclass(frozen=True, order=True)
class OffsetRange:
    """Messages of a partition from ``first_offset`` up to, and without, ``end_offset``."""

    topic: str
    partition: int
    first_offset: int
    end_offset: int

    @property
    def place(self) -> Place:
        """Its topic and partition."""
        return self.topic, self.partition

    def __len__(self) -> int:
        return self.end_offset - self.first_offset


@dataclass(frozen=True)
class Plan:
    """What one round reads."""

    cluster_id: str
    group: str
    ranges: tuple[OffsetRange, ...]
    planned_at: str = ""
    """When, as ISO 8601 has it."""
    topic_ids: Mapping[str, str] = field(default_factory=dict)
    """What Kafka calls the topics that there were: one that is made anew under its old name is called otherwise."""

    @property
    def uri(self) -> str:
        """Names it: the same plan has the same name, by which rows of a round that died are replaced.

        Names are in the order of time, so that a warehouse need not look through those of years for a new one.
        """
        text = json.dumps([self.cluster_id, self.group, [tuple(asdict(each).values()) for each in self.ranges]])
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        return f"kafka://{self.cluster_id}/{self.group}/{f'{self.planned_at}-' if self.planned_at else ''}{digest}"

    @property
    def messages(self) -> int:
        """Offsets of all ranges; some may hold no message."""
        return sum(len(each) for each in self.ranges)

    def to_json(self) -> str:
        """Text by which it is kept."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan of a text of ``to_json``. Raises ``ValueError``, ``KeyError`` or ``TypeError`` where it is none."""
        found = json.loads(text)
        return cls(
            found["cluster_id"],
            found["group"],
            tuple(OffsetRange(**each) for each in found["ranges"]),
            found.get("planned_at", ""),
            found.get("topic_ids", {}),
        )


def matching(topics: Iterable[str], pattern: str) -> list[str]:
    """Topics whose whole name a regular expression matches, without Kafka's own."""
    return sorted(name for name in topics if re.fullmatch(pattern, name) and not name.startswith("__"))


def share(ranges: Sequence[OffsetRange], most: int) -> tuple[OffsetRange, ...]:
    """The begins of ranges, ``most`` messages in all: of each the same number, as far as it has them."""
    found: list[OffsetRange] = []
    left = most
    for number, each in enumerate(sorted(ranges, key=len)):
        taken = min(len(each), left // (len(ranges) - number))
        left -= taken
        if taken:
            found.append(OffsetRange(each.topic, each.partition, each.first_offset, each.first_offset + taken))
    return tuple(sorted(found))


def due_ranges(ends: Mapping[Place, tuple[int, int]], done: Mapping[Place, int], group: str) -> list[OffsetRange]:
    """What a group has not read: from what is done to what there is; what it does not know from its beginning.

    Raises ``TopicMadeAnew`` where a partition ends before what is done.
    """
    due = []
    for here, (low, high) in sorted(ends.items()):
        first = done.get(here, low)
        if first > high:
            raise TopicMadeAnew(
                f"{here[0]}/{here[1]} ends at offset {high}, before {first}, where group {group} is: the topic was made anew, or "
                "Kafka has lost messages; read it by another --kafka_group"
            )
        if first < high:
            due.append(OffsetRange(*here, first, high))
    return due


class KafkaTopics:
    """What there is in Kafka: asked again and again by one consumer."""

    def __init__(self, settings: KafkaSettings, pattern: str) -> None:
        self._settings, self._pattern = settings, pattern
        self._consumer: Consumer = settings.consumer()
        self._admin: AdminClient | None = None

    def close(self) -> None:
        """Let go of the connection."""
        close(self._consumer)

    def cluster_id(self) -> str:
        """The cluster's own id. Raises ``KafkaAway``."""
        return str(metadata(self._consumer, self._settings.servers).cluster_id)

    def places(self) -> list[Place]:
        """Topics that match now, and their partitions. Raises ``KafkaAway``."""
        topics = metadata(self._consumer, self._settings.servers, _ANSWER_SECS).topics
        return [(name, number) for name in matching(topics, self._pattern) for number in sorted(topics[name].partitions)]

    def names(self) -> list[str]:
        """All topics but Kafka's own. Raises ``KafkaAway``."""
        return matching(metadata(self._consumer, self._settings.servers).topics, ".*")

    def ids(self, names: Iterable[str]) -> dict[str, str]:
        """By its name, what Kafka calls a topic since it was made; without those of which it does not tell it (before 2.8)."""
        from confluent_kafka import KafkaException, TopicCollection  # noqa: PLC0415

        asked = sorted(set(names))
        if not asked:
            return {}
        self._admin = self._admin or new_admin(self._settings)
        found = {}
        for name, answer in self._admin.describe_topics(TopicCollection(asked), request_timeout=_ANSWER_SECS).items():
            try:
                number = answer.result().topic_id
            except KafkaException:  # it is away, or has just gone: then offsets tell, or the next round
                continue
            if number.get_most_significant_bits() or number.get_least_significant_bits():
                found[name] = str(number)
        return found

    def ends(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """The first offset that is there, and the one behind the last. Raises ``KafkaAway``."""
        return {place: self._asked(functools.partial(self._watermarks, place)) for place in places}

    def _watermarks(self, place: Place) -> tuple[int, int]:
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_ANSWER_SECS)
        return low, high

    def committed(self, places: Sequence[Place]) -> dict[Place, int]:
        """The group's offsets in Kafka, where it has any. Raises ``KafkaProblem``."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        if not places:
            return {}
        asked = [TopicPartition(*place) for place in places]
        found = self._asked(lambda: self._consumer.committed(asked, timeout=_ANSWER_SECS))
        return {(here.topic, here.partition): here.offset for here in found if here.offset >= 0}

    def check_group(self) -> None:
        """Whether Kafka lets us use the group. That its coordinator is not there yet is for later. Raises ``KafkaProblem``."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        # Whether we may ask is what is asked: of any topic.
        for _ in range(_ASKED_TIMES):
            with contextlib.suppress(KafkaAway):
                self._asked(lambda: self._consumer.committed([TopicPartition("no-topic", 0)], timeout=_SHORT_SECS))
                return

    def at_time(self, places: Sequence[Place], unix_ms: int) -> dict[Place, int]:
        """The first offset at or after a time; the end where there is none. Raises ``KafkaProblem``."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        asked = [TopicPartition(topic, partition, unix_ms) for topic, partition in places]
        found = self._asked(lambda: self._consumer.offsets_for_times(asked, timeout=_ANSWER_SECS)) if places else []
        ends = self.ends([(here.topic, here.partition) for here in found if here.offset < 0])
        return {
            (here.topic, here.partition): here.offset if here.offset >= 0 else ends[here.topic, here.partition][1]
            for here in found
        }

    def tell(self, done: Mapping[Place, int]) -> None:
        """Let the group in Kafka follow, for others to see. Raises ``KafkaProblem``."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        if done:
            told = [TopicPartition(*place, offset) for place, offset in sorted(done.items())]
            self._asked(lambda: self._consumer.commit(offsets=told, asynchronous=False))

    def _asked(self, question: Callable[[], Any]) -> Any:
        from confluent_kafka import KafkaException  # noqa: PLC0415

        try:
            return question()
        except KafkaException as error:
            where = f"Kafka at {self._settings.servers} (group {self._settings.group})"
            if refused := self._refused():
                raise KafkaProblem(f"{where}: {refused}") from error
            raise (KafkaAway if may_pass(error.args[0]) else KafkaProblem)(f"{where}: {reason(error)}") from error

    def _refused(self) -> str:
        """What Kafka refuses, where it does: whoever asks for something only hears that no answer came."""
        while message := self._consumer.poll(0):
            error = message.error()
            if error is not None and not may_pass(error):
                return str(error.str())
        return ""
