"""Messages of one topic of Kafka, read by somebody who joins no group and keeps nothing there."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from typing import TYPE_CHECKING

from streams.addresses import Address
from streams.errors import StreamAway, StreamProblem
from streams.messages import Message
from streams.readers import LATEST

if TYPE_CHECKING:
    from confluent_kafka import TopicPartition

_ANSWER_SECS = 10.0
_AT_ONCE = 500
_PARTITIONS_SECS = 30.0
"""How often a topic is asked for partitions that it has got."""


class KafkaReader:
    """Reads all partitions of a topic; see ``Reader``."""

    def __init__(self, address: Address, begin: str | datetime) -> None:
        from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415 - a client that others do not need

        from streams.kafka_client import KafkaSettings, close, metadata  # noqa: PLC0415

        self._address, self._close, self._metadata = address, close, metadata
        # It joins no group, and keeps nothing there: who reads again reads all again.
        self._consumer = KafkaSettings(address.servers, "broker-listen", address.config).consumer()
        topics = metadata(self._consumer, address.servers).topics
        if address.name not in topics:
            close(self._consumer)
            raise StreamProblem(f"Kafka at {address.servers} has no topic {address.name}; look for a misspelling")
        places = [TopicPartition(address.name, number) for number in sorted(topics[address.name].partitions)]
        self._partitions = {place.partition for place in places}
        self._looked_at = time.monotonic()
        # Before times are asked about: of a message that comes in between the end is not behind it.
        ends = {place.partition: self._ends(place) for place in places}
        if isinstance(begin, datetime):
            asked = [TopicPartition(place.topic, place.partition, int(begin.timestamp() * 1000)) for place in places]
            try:
                told = self._consumer.offsets_for_times(asked, timeout=_ANSWER_SECS)
            except KafkaException as error:
                raise StreamAway(f"{address}: {error.args[0].str()}") from error
            found = {place.partition: place.offset for place in told}
        for place in places:
            low, high = ends[place.partition]
            if isinstance(begin, datetime):
                place.offset = found[place.partition] if found[place.partition] >= 0 else high
            else:
                place.offset = high if begin == LATEST else low
        self._consumer.assign(places)
        self._next = {place.partition: place.offset for place in places}

    def _ends(self, place: TopicPartition) -> tuple[int, int]:
        """Of a partition, the first and the last offset. Raises ``StreamAway``."""
        from confluent_kafka import KafkaException  # noqa: PLC0415

        try:
            found: tuple[int, int] = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_SECS)
        except KafkaException as error:
            raise StreamAway(f"{self._address}: {error.args[0].str()}") from error
        return found

    def _take_new_partitions(self) -> None:
        """Read the partitions, too, that the topic has got meanwhile, from their first message."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        if time.monotonic() - self._looked_at < _PARTITIONS_SECS:
            return
        self._looked_at = time.monotonic()
        with contextlib.suppress(StreamAway):  # the next time
            topic = self._metadata(self._consumer, self._address.servers).topics.get(self._address.name)
            new = sorted(set(topic.partitions) - self._partitions) if topic is not None else []
            places = [TopicPartition(self._address.name, number) for number in new]
            for place in places:
                place.offset = self._ends(place)[0]
            if places:
                self._consumer.incremental_assign(places)
                self._next |= {place.partition: place.offset for place in places}
                self._partitions.update(new)

    def read(self, secs: float) -> list[Message]:  # noqa: D102 - see Reader
        self._take_new_partitions()
        found = []
        for message in self._consumer.consume(_AT_ONCE, secs):
            error, headers = message.error(), message.headers()
            if error is not None:
                raise StreamAway(f"{self._address}: {error.str()}")
            self._next[message.partition()] = message.offset() + 1  # type: ignore[operator, index]
            found.append(Message(message.value(), message.key(), tuple(headers or ())))  # type: ignore[arg-type]
        return found

    def behind(self) -> int:  # noqa: D102 - see Reader
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        ends = {number: self._ends(TopicPartition(self._address.name, number))[1] for number in self._next}
        # Behind the last message there may be marks of transactions, which nobody is given.
        return sum(max(0, ends[number] - offset) for number, offset in self._next.items())

    def close(self, *, done: bool = True) -> None:  # noqa: D102 - see Reader
        self._close(self._consumer)
