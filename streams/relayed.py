"""Messages of Kafka that went on by another way: what says of which message of Kafka they are, and that message again.

They carry headers in front of their own: ``kafka_source`` names the message, and is the same whenever it is sent again, so that
copies are known; ``kafka_topic`` and ``kafka_timestamp_ms`` are for filters of subscriptions and for times of events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from streams.attributes import from_attributes
from streams.kafka_messages import KafkaMessage, LostRange
from streams.kafka_ranges import OffsetRange
from streams.messages import Message

SOURCE, TOPIC, TIMESTAMP_MS = "kafka_source", "kafka_topic", "kafka_timestamp_ms"
_BEGIN = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SOURCE = re.compile(r"kafka://([^/\s]{1,200})/([A-Za-z0-9._-]{1,249})/(\d{1,9})/(\d{1,18})(?:\.\.(\d{1,18}))?")


def relayed(message: KafkaMessage | LostRange, cluster_id: str) -> Message:
    """What is sent on of a message; of messages that Kafka has deleted, one without a value that says so."""
    if isinstance(message, LostRange):
        here = message.range
        source = f"kafka://{cluster_id}/{here.topic}/{here.partition}/{here.first_offset}..{here.end_offset - 1}"
        return Message(None, None, ((SOURCE, source.encode()), (TOPIC, here.topic.encode())))
    ids: list[tuple[str, bytes | None]] = [(SOURCE, message.source(cluster_id).encode())]
    if message.published_at is not None:
        ids.append((TIMESTAMP_MS, str((message.published_at - _BEGIN) // timedelta(milliseconds=1)).encode()))
    ids.append((TOPIC, message.topic.encode()))
    return Message(message.value, message.key, (*ids, *message.headers))


def restored(message: Message) -> tuple[str, KafkaMessage | LostRange] | None:
    """The cluster's id and the message of Kafka; None where it is no message that was sent on from there."""
    headers = list(message.headers)
    found = _SOURCE.fullmatch(_taken(headers, SOURCE) or "")
    if found is None:
        return None
    cluster_id, topic, partition, first, last = found.groups()
    if last is not None:
        return cluster_id, LostRange(OffsetRange(topic, int(partition), int(first), int(last) + 1))
    _taken(headers, TOPIC)
    at = _time(_taken(headers, TIMESTAMP_MS))
    return cluster_id, KafkaMessage(topic, int(partition), int(first), message.value, at, message.key, tuple(headers))


def received(data: bytes, attributes: Mapping[str, str]) -> tuple[str, KafkaMessage | LostRange] | None:
    """What ``restored`` gives, of a message of Pub/Sub; None also where somebody else has made the attributes."""
    if SOURCE not in attributes:
        return None
    try:
        return restored(from_attributes(data, attributes))
    except ValueError:
        return None


def file_name(message: Message) -> str | None:
    """A name that its copies have too, without an ending; None where it did not come from Kafka."""
    found = restored(message)
    if found is None:
        return None
    _, here = found
    if isinstance(here, LostRange):
        return f"{here.range.topic}-{here.range.partition}-{here.range.first_offset:012d}..{here.range.end_offset - 1:012d}"
    return f"{here.topic}-{here.partition}-{here.offset:012d}"


def _taken(headers: list[tuple[str, bytes | None]], name: str) -> str | None:
    """The first header of that name, taken away: those behind it are the message's own."""
    for number, (each, value) in enumerate(headers):
        if each == name:
            del headers[number]
            return (value or b"").decode("utf-8", "replace")
    return None


def _time(text: str | None) -> datetime | None:
    if text is None or not re.fullmatch(r"-?\d{1,15}", text):
        return None
    try:
        return _BEGIN + timedelta(milliseconds=int(text))
    except OverflowError:
        return None
