"""How far a group is behind what is in Kafka."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from streams.kafka_client import KafkaAway, KafkaProblem, KafkaSettings
from streams.kafka_messages import KafkaMessage, read_ranges
from streams.kafka_ranges import KafkaTopics, OffsetRange, Place

_ANSWER_SECS = 10.0


class OtherCluster(KafkaProblem):
    """Kafka is not the one that was read."""


@dataclass(frozen=True)
class PartitionLag:
    """What of a partition was not read."""

    topic: str
    partition: int
    done: int
    """The offset at which the group goes on."""
    end: int
    oldest_at: datetime | None
    """When the first message was published that was not read; None where there is none, or it does not say so."""

    @property
    def messages(self) -> int:
        """Offsets that were not read; some may hold no message."""
        return max(0, self.end - self.done)


def topics_pattern(topics: Iterable[str]) -> str:
    """A regular expression for these topics and no others."""
    return "|".join(sorted({re.escape(topic) for topic in topics}))


def lags(settings: KafkaSettings, pattern: str, cluster_id: str | None, done: Mapping[Place, int]) -> list[PartitionLag]:
    """Of each partition of the topics that match. What ``done`` does not know is read from its beginning.

    Raises ``KafkaProblem``, and ``OtherCluster`` where this is not the cluster of that id.
    """
    topics = KafkaTopics(settings, pattern)
    try:
        found = topics.cluster_id()
        if cluster_id is not None and found != cluster_id:
            raise OtherCluster(f"Kafka at {settings.servers} is cluster {found}, and the warehouse has read cluster {cluster_id}")
        ends = topics.ends(topics.places())
    finally:
        topics.close()
    first = {place: max(low, done.get(place, low)) for place, (low, _) in ends.items()}
    due = [OffsetRange(*place, first[place], high) for place, (_, high) in sorted(ends.items()) if first[place] < high]
    oldest = _published_at(settings, due)
    return [PartitionLag(*place, first[place], high, oldest.get(place)) for place, (_, high) in sorted(ends.items())]


def _published_at(settings: KafkaSettings, due: Sequence[OffsetRange]) -> dict[Place, datetime]:
    """When the first message of each range was published, where that comes within some seconds."""
    first = [OffsetRange(*each.place, each.first_offset, each.first_offset + 1) for each in due]
    found: dict[Place, datetime] = {}
    if not first:
        return found
    with contextlib.suppress(KafkaAway):
        for messages in read_ranges(settings, first, _ANSWER_SECS):
            for message in messages:
                if isinstance(message, KafkaMessage) and message.published_at is not None:
                    found[message.topic, message.partition] = message.published_at
    return found
