"""Messages to a topic of Kafka, acknowledged by all its copies; the client's own retries make no message twice."""

from __future__ import annotations

import contextlib
import difflib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Producer

from streams.errors import MessageRefused, StreamProblem
from streams.kafka_client import MAX_MESSAGE_BYTES, KafkaAway, KafkaProblem, close, last_said, may_pass, metadata, new_producer
from streams.messages import Message
from streams.writers import Deliveries, Flushed

_POLL_SECS = 0.1
_TRIED_SECS = 30
_TOLD_AT_ONCE = 100
"""Sent messages between two looks at what has become of those before: each look costs as much as sending does."""
_TOO_LARGE = ("MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD")
_PASSES = ("_MSG_TIMED_OUT", "_PURGE_QUEUE", "_PURGE_INFLIGHT", "_FATAL")
"""A client that gives up for good can be made anew."""


def producer_of(servers: str, config_file: str | None) -> Producer:
    """Kafka's client for what writers send. Raises ``KafkaProblem``."""
    return new_producer(
        servers,
        config_file,
        {
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "message.timeout.ms": 1_000 * _TRIED_SECS,
            # A topic that is not there is known within seconds, not within half a minute.
            "topic.metadata.propagation.max.ms": 3_000,
            "linger.ms": 20,
            "batch.size": 2**20,
        },
    )


def close_producer(producer: Producer) -> None:
    """Let go of the connection; what is still on its way is given up."""
    producer.purge()
    with contextlib.suppress(KafkaException):
        producer.poll(0)
    close(producer)


class KafkaWriter:
    """Sends to one topic. ``config_file`` may hold secrets: nothing of it is told.

    ``producer``: of ``producer_of``, by which others send to topics of the same cluster; who has made it closes it.
    """

    def __init__(self, servers: str, topic: str, config_file: str | None = None, producer: Producer | None = None) -> None:
        self.deliveries = Deliveries()
        self._servers, self._topic = servers, topic
        self._fatal: KafkaError | None = None
        self._suspects: list[Message] = []
        self._number = 0
        self._is_shared = producer is not None
        self._producer = producer or producer_of(servers, config_file)

    def check(self) -> None:
        """Refuse a topic that there is not, and a Kafka that does not answer. Raises ``KafkaProblem``."""
        topics = metadata(self._producer, self._servers).topics
        if self._topic not in topics:
            near = difflib.get_close_matches(self._topic, topics, n=1)
            raise KafkaProblem(
                f"Kafka at {self._servers} has no topic {self._topic}; "
                + (f"did you mean {near[0]}?" if near else "make it first")
            )

    def room(self, secs: float) -> bool:
        """Wait until there is room for a message, so long at most; whether there is."""
        if not self._wait(lambda: self.deliveries.has_room or self._all_are_suspects, secs):
            return False
        if not self.deliveries.has_room:
            self._ask_one_by_one(secs)
        return self.deliveries.has_room

    def _wait(self, sign: Callable[[], bool], secs: float) -> bool:
        end = time.monotonic() + secs
        while not sign():
            left = end - time.monotonic()
            if left <= 0:
                return False
            # Who has arrived is told while somebody asks.
            self._poll(min(_POLL_SECS, left))
        return True

    def _poll(self, secs: float) -> None:
        try:
            self._producer.poll(secs)
        except KafkaException as error:
            # The client has given up for good, and what it says from now on of each message is only that.
            self._fatal = error.args[0]

    def send(self, message: Message) -> None:
        """Begin to send a message. What becomes of it, ``flush`` tells."""
        self.deliveries.begun(message)
        self._begin(message, self._told)
        self._number += 1
        if self._number % _TOLD_AT_ONCE == 0:
            self._poll(0)

    def _begin(self, message: Message, told: Callable[[Message, KafkaError | None], None]) -> None:
        headers: list[tuple[str, str | bytes | None]] = list(message.headers)
        while True:
            try:
                self._producer.produce(
                    self._topic, message.value, message.key, headers=headers, on_delivery=lambda error, _: told(message, error)
                )
                return
            except BufferError:
                self._poll(_POLL_SECS)
            except KafkaException as error:
                # It has met no other message yet: this is about itself.
                self._told_alone(message, error.args[0])
                return

    def _told(self, message: Message, error: KafkaError | None) -> None:
        if error is not None and error.name() in _TOO_LARGE:
            # The client sends several together, and Kafka refuses them together: each is asked about by itself.
            self._suspects.append(message)
        else:
            self._told_alone(message, error)

    def _told_alone(self, message: Message, error: KafkaError | None) -> None:
        self.deliveries.ended(message, None if error is None else self._problem(error, message))

    @property
    def _all_are_suspects(self) -> bool:
        return self.deliveries.on_their_way == len(self._suspects)

    def _ask_one_by_one(self, secs: float) -> None:
        """Send messages again that were refused with others, each when nothing else is on its way, for so long at most."""
        end = time.monotonic() + secs
        while self._suspects and time.monotonic() < end:
            self._begin(self._suspects.pop(0), self._told_alone)
            # Which waits for no others to send it with.
            self._flush(max(0.0, end - time.monotonic()))
            if not self._all_are_suspects:
                return

    def _flush(self, secs: float) -> None:
        try:
            self._producer.flush(secs)
        except KafkaException as error:
            self._fatal = error.args[0]

    def _problem(self, error: KafkaError, message: Message) -> StreamProblem:
        if self._fatal is not None and "AUTHORIZATION" in self._fatal.name():
            error = self._fatal
        if error.name() in _TOO_LARGE:
            return MessageRefused(f"Kafka refuses a message of {message.size_bytes:,} bytes for {self._topic}: {error.str()}")
        why = f"{self._topic} at {self._servers}: {error.str()}"
        if "AUTHORIZATION" not in error.name() and (error.name() in _PASSES or may_pass(error)):
            said = last_said(self._producer)
            return KafkaAway(f"Kafka does not take messages for {why}" + (f" ({said})" if said else ""))
        return KafkaProblem(f"Kafka refuses messages for {why}")

    def flush(self, secs: float) -> Flushed:
        """Wait until all that was sent has arrived, or has not, so long at most."""
        end = time.monotonic() + secs
        if self._wait(lambda: self._all_are_suspects, secs):
            self._ask_one_by_one(end - time.monotonic())
        return self.deliveries.flushed()

    def close(self) -> None:
        """Let go of the connection; what is still on its way is given up."""
        if not self._is_shared:
            close_producer(self._producer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
