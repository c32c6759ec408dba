"""Messages of Kafka by ranges of offsets, each once, and what of a range is no longer there."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from streams.kafka_client import KafkaAway, KafkaProblem, KafkaSettings, close, last_said, may_pass
from streams.kafka_ranges import OffsetRange, Place

if TYPE_CHECKING:
    from confluent_kafka import Consumer

_AT_ONCE = 500
_POLL_SECS = 0.2
_GONE = ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE")
_ANSWER_SECS = 30.0


@dataclass(frozen=True, slots=True)
class KafkaMessage:
    """A message as it came."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    published_at: datetime | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def source(self, cluster_id: str) -> str:
        """``kafka://CLUSTER_ID/TOPIC/PARTITION/OFFSET``."""
        return f"kafka://{cluster_id}/{self.topic}/{self.partition}/{self.offset}"

    def attributes(self) -> dict[str, str]:
        """Key and headers as text; what is no UTF-8 in base64, under a name that says so."""
        pairs = [("key", self.key), *self.headers]
        found: dict[str, str] = {}
        for name, value in pairs:
            if value is None:
                continue
            while name in found or f"{name}_base64" in found:
                name += "_again"  # noqa: PLW2901 - headers may come twice
            try:
                found[name] = value.decode("utf-8")
            except UnicodeDecodeError:
                found[f"{name}_base64"] = base64.b64encode(value).decode("ascii")
        return found


@dataclass(frozen=True)
class LostRange:
    """Offsets whose messages Kafka has deleted before they were read."""

    range: OffsetRange


def read_ranges(
    settings: KafkaSettings, ranges: Sequence[OffsetRange], quiet_secs: float = 300.0
) -> Iterator[list[KafkaMessage | LostRange]]:
    """All messages of some ranges, in lists as they come; an empty one where nothing came for a moment.

    A range is at its end when the consumer has gone past it: offsets may be without a message. Raises ``KafkaAway`` where
    nothing comes for ``quiet_secs`` though more is due, and ``KafkaProblem``.
    """
    from confluent_kafka import TopicPartition  # noqa: PLC0415

    consumer = settings.consumer()
    try:
        consumer.assign([TopicPartition(*each.place, each.first_offset) for each in ranges])
        due = {each.place: each for each in ranges if len(each)}
        moved_at = time.monotonic()
        at = {place: each.first_offset for place, each in due.items()}
        while due:
            found: list[KafkaMessage | LostRange] = []
            gone: set[Place] = set()
            for message in consumer.consume(_AT_ONCE, _POLL_SECS):
                _take(message, due, found, gone)
            if gone:
                found += _go_on_behind(consumer, due, at, gone)
            yield found
            now = _positions(consumer, due, at)
            if found or now != at:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > quiet_secs:
                raise KafkaAway(f"nothing comes from Kafka at {settings.servers} for {quiet_secs:g} s: {last_said(consumer)}")
            at = now
            _finish(consumer, due, at)
    finally:
        close(consumer)


def _take(message: Any, due: Mapping[Place, OffsetRange], found: list[KafkaMessage | LostRange], gone: set[Place]) -> None:
    place = message.topic(), message.partition()
    if message.error() is not None:
        if message.error().name() in _GONE and place in due:
            gone.add(place)
        elif not may_pass(message.error()) and not message.error().name().startswith("_"):
            raise KafkaProblem(f"Kafka gives no messages of {place[0]}/{place[1]}: {message.error().str()}")
        return
    here = due.get(place)
    if here is not None and here.first_offset <= message.offset() < here.end_offset:
        kind, unix_ms = message.timestamp()
        found.append(
            KafkaMessage(
                *place,
                message.offset(),
                message.value(),
                datetime.fromtimestamp(unix_ms / 1000, timezone.utc) if kind else None,
                message.key(),
                tuple(message.headers() or ()),
            )
        )


def _go_on_behind(
    consumer: Consumer, due: Mapping[Place, OffsetRange], at: dict[Place, int], gone: set[Place]
) -> list[LostRange]:
    """The begins of ranges that Kafka has deleted; reading goes on behind them, and ``at`` says where."""
    from confluent_kafka import TopicPartition  # noqa: PLC0415

    at.update(_positions(consumer, due, at))
    lost = []
    for place in gone:
        low, _ = consumer.get_watermark_offsets(TopicPartition(*place), timeout=_ANSWER_SECS)
        behind = min(max(low, at[place]), due[place].end_offset)
        if behind > at[place]:
            lost.append(LostRange(OffsetRange(*place, at[place], behind)))
        at[place] = behind
    # Where an offset was refused the client stands still until it is told anew what to read.
    consumer.assign([TopicPartition(*place, offset) for place, offset in at.items()])
    return lost


def _positions(consumer: Consumer, due: Mapping[Place, OffsetRange], before: Mapping[Place, int]) -> dict[Place, int]:
    from confluent_kafka import TopicPartition  # noqa: PLC0415

    found = consumer.position([TopicPartition(*place) for place in due])
    return {
        (here.topic, here.partition): here.offset if here.offset >= 0 else before[here.topic, here.partition] for here in found
    }


def _finish(consumer: Consumer, due: dict[Place, OffsetRange], at: Mapping[Place, int]) -> None:
    from confluent_kafka import TopicPartition  # noqa: PLC0415

    done = [place for place, offset in at.items() if offset >= due[place].end_offset]
    if done:
        consumer.pause([TopicPartition(*place) for place in done])
        for place in done:
            del due[place]
