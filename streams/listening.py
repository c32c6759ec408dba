"""What comes by an address, read from outside: messages of a folder, a topic of Kafka or a subscription of Pub/Sub."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from streams.addresses import Address
from streams.attributes import from_attributes
from streams.errors import StreamAway, StreamProblem
from streams.manifests import TopicManifest, from_json
from streams.messages import Message

if TYPE_CHECKING:
    from confluent_kafka import TopicPartition

EARLIEST, LATEST = "earliest", "latest"
_REMEMBERED = 1_000_000
"""Ids of messages that have come: one that comes again is dropped."""
_ANSWER_SECS = 10.0
_AT_ONCE = 500
_PARTITIONS_SECS = 30.0
"""How often a topic is asked for partitions that it has got."""
_AWAY_SECS = 60.0
"""So long a subscription may not answer before that is told: Google's services do so for a moment now and then."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Received:
    """A message that has come."""

    message: Message
    headers: dict[str, str]

    @property
    def id(self) -> str | None:
        """By which copies are known; None for what nobody of ours has sent."""
        return self.headers.get("id")


class Reader(Protocol):
    """Reads messages from one place."""

    def read(self, secs: float) -> list[Message]:
        """Messages that have come, after so long at most. Raises ``StreamProblem``."""

    def close(self, *, done: bool = True) -> None:
        """Let go of the place. ``done``: whether all that it gave was dealt with; what was not comes again where that can be."""


def open_reader(address: Address, begin: str | datetime = EARLIEST) -> Reader:
    """Who reads an address: from its earliest message, from now on (``latest``), or from a time. Raises ``StreamProblem``."""
    if address.kind == "folder":
        return _FolderReader(address, begin)
    if address.kind == "kafka":
        return _KafkaReader(address, begin)
    if "/topics/" in address.name:
        raise StreamProblem(f"{address} is a topic; give a subscription of it: pubsub:projects/PROJECT/subscriptions/NAME")
    if begin != EARLIEST:
        raise StreamProblem(f"{address}: a subscription knows itself where it is; leave --from out, or seek it with gcloud")
    return _PubsubReader(address)


@dataclass
class Heard:
    """What has come by an address so far, each message once."""

    messages: int = 0
    copies: int = 0
    remembered: int | None = _REMEMBERED
    """So many ids, the latest; None: of all, for who holds them against manifests."""
    ids: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def take(self, messages: list[Message]) -> Iterator[Received]:
        """Those that have not come before."""
        for message in messages:
            headers = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers}
            received = Received(message, headers)
            if received.id is not None:
                if received.id in self.ids:
                    self.copies += 1
                    continue
                self.ids[received.id] = None
                if self.remembered is not None and len(self.ids) > self.remembered:
                    self.ids.popitem(last=False)
            self.messages += 1
            yield received


def manifests_in(reader: Reader, secs: float) -> Iterator[TopicManifest]:
    """The manifests that are there: read until nothing has come for so long. Raises ``StreamProblem`` and ``NoManifest``."""
    while messages := reader.read(secs):
        for message in messages:
            found = from_json(message.value or b"")
            if found is not None:
                yield found


class _FolderReader:
    def __init__(self, address: Address, begin: str | datetime) -> None:
        self._folder = Path(address.name)
        if not self._folder.is_dir():
            raise StreamProblem(f"{address} is no folder; look for a misspelling")
        self._seen = {file.stem for file in self._files()} if begin == LATEST else set[str]()
        self._since = begin.timestamp() if isinstance(begin, datetime) else 0.0

    def read(self, secs: float) -> list[Message]:
        deadline = time.monotonic() + secs
        while True:
            found = [file for file in self._files() if file.stem not in self._seen][:_AT_ONCE]
            messages = [message for file in found if (message := self._message(file)) is not None]
            # Of some the bytes may not be there yet.
            if messages or time.monotonic() >= deadline:
                return messages
            time.sleep(min(0.2, secs))

    def _files(self) -> list[Path]:
        """One of each message: that of its key and headers, or, where it has none, that of its bytes."""
        # Key and headers are there before the bytes, so that they are looked for behind them.
        bytes_of = {file.stem: file for file in self._folder.glob("*.avro")}
        found = bytes_of | {file.stem: file for file in self._folder.glob("*.json")}
        return [found[name] for name in sorted(found)]

    def _message(self, file: Path) -> Message | None:
        if file.suffix == ".avro":
            self._seen.add(file.stem)
            return None if file.stat().st_mtime < self._since else Message(file.read_bytes())
        try:
            told: dict[str, Any] = json.loads(file.read_text())
            has_value, key = told.get("has_value", True), _decoded(told["key"])
            headers = tuple((str(name), _decoded(coded)) for name, coded in told["headers"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _LOG.warning("%s is left out: it is no message's key and headers: %s: %s", file, type(error).__name__, error)
            self._seen.add(file.stem)
            return None
        value = None
        if has_value:
            try:
                value = file.with_suffix(".avro").read_bytes()
            except FileNotFoundError:
                return None  # it is there in a moment
        self._seen.add(file.stem)
        return None if file.stat().st_mtime < self._since else Message(value, key, headers)

    def close(self, *, done: bool = True) -> None:
        return


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


class _KafkaReader:
    def __init__(self, address: Address, begin: str | datetime) -> None:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - a client that others do not need

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
            found = {place.partition: place.offset for place in self._consumer.offsets_for_times(asked, timeout=_ANSWER_SECS)}
        for place in places:
            low, high = ends[place.partition]
            if isinstance(begin, datetime):
                place.offset = found[place.partition] if found[place.partition] >= 0 else high
            else:
                place.offset = high if begin == LATEST else low
        self._consumer.assign(places)

    def _ends(self, place: TopicPartition) -> tuple[int, int]:
        found: tuple[int, int] = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_SECS)
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
                self._partitions.update(new)

    def read(self, secs: float) -> list[Message]:
        self._take_new_partitions()
        found = []
        for message in self._consumer.consume(_AT_ONCE, secs):
            error, headers = message.error(), message.headers()
            if error is not None:
                raise StreamAway(f"{self._address}: {error.str()}")
            found.append(Message(message.value(), message.key(), tuple(headers or ())))  # type: ignore[arg-type]
        return found

    def close(self, *, done: bool = True) -> None:
        self._close(self._consumer)


class _PubsubReader:
    """Pulls, and acknowledges what it has given when it is asked for more."""

    def __init__(self, address: Address) -> None:
        from google.cloud import pubsub_v1  # type: ignore[attr-defined]  # noqa: PLC0415 - a client that others do not need

        self._address, self._client = address, pubsub_v1.SubscriberClient()
        self._given: list[str] = []
        self._answered_at = time.monotonic()

    def read(self, secs: float) -> list[Message]:
        from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError, NotFound  # noqa: PLC0415
        from google.api_core.retry import if_transient_error  # noqa: PLC0415

        try:
            self._acknowledge()
            with contextlib.suppress(DeadlineExceeded):
                pulled = self._client.pull(
                    subscription=self._address.name, max_messages=_AT_ONCE, timeout=max(1.0, secs), retry=None
                )
                self._given = [each.ack_id for each in pulled.received_messages]
                self._answered_at = time.monotonic()
                return [_of_pubsub(each.message.data, dict(each.message.attributes)) for each in pulled.received_messages]
            self._answered_at = time.monotonic()
        except NotFound as error:
            raise StreamProblem(f"there is no subscription {self._address.name}; make it, or look for a misspelling") from error
        except GoogleAPICallError as error:
            if not if_transient_error(error) or time.monotonic() - self._answered_at > _AWAY_SECS:
                raise StreamAway(f"{self._address}: {error}") from error
            time.sleep(min(1.0, secs))
        return []

    def _acknowledge(self) -> None:
        if self._given:
            self._client.acknowledge(subscription=self._address.name, ack_ids=self._given, timeout=_ANSWER_SECS)
            self._given = []

    def close(self, *, done: bool = True) -> None:
        with contextlib.suppress(Exception):
            if done:
                self._acknowledge()
            elif self._given:
                self._client.modify_ack_deadline(
                    subscription=self._address.name, ack_ids=self._given, ack_deadline_seconds=0, timeout=_ANSWER_SECS
                )
        self._client.close()


def _of_pubsub(data: bytes, attributes: dict[str, str]) -> Message:
    """A message of Pub/Sub; of one whose attributes somebody else has made, these as they are."""
    try:
        return from_attributes(data, attributes)
    except ValueError:
        return Message(data, None, tuple((name, value.encode()) for name, value in attributes.items()))
