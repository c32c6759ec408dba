"""A client of Kafka: its settings, and what its errors mean to a person.

Facts of librdkafka: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alerts.extras import needs
from streams.errors import StreamAway, StreamProblem

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer
    from confluent_kafka.admin import AdminClient

MAX_MESSAGE_BYTES = 8 * 2**20
"""A message has at most so many: ten times the largest alert."""
_ANSWER_SECS = 7.0
_OWN = {
    "group.id": "--kafka_group",
    "bootstrap.servers": "--kafka",
    "enable.auto.commit": None,
    "enable.auto.offset.store": None,
    "auto.offset.reset": None,
}
"""Settings that nobody may give in a file, and the flag that says them where there is one."""
_WAITED_FOR = ("_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE", "NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE")
_WAITED_FOR_TOO = ("COORDINATOR_LOAD_IN_PROGRESS", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REQUEST_TIMED_OUT")


class KafkaProblem(StreamProblem):
    """What is wrong with Kafka, or with what was said of it, in one sentence."""


class KafkaAway(KafkaProblem, StreamAway):
    """Nobody answers, or not yet: it may pass."""


@dataclass(frozen=True)
class KafkaSettings:
    """Where Kafka is, and who reads; what a file says besides (TLS, SASL) is read where it is needed, and appears nowhere."""

    servers: str
    """``HOST:PORT[,HOST:PORT..]``."""
    group: str
    config_file: str | None = None

    def consumer(self) -> Consumer:
        """A new consumer, which has not joined its group: it only reads what it is told to. Raises ``KafkaProblem``."""
        consumer: Consumer = _client(
            "Consumer",
            {
                "group.id": self.group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # What retention has taken is told, not skipped.
                "auto.offset.reset": "error",
                # The client waits a second between fetches when its queue is full, unless told.
                "fetch.queue.backoff.ms": 20,
                "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            },
            self.servers,
            self.config_file,
        )
        return consumer


def new_admin(settings: KafkaSettings) -> AdminClient:
    """A new client that asks about topics. Raises ``KafkaProblem``."""
    admin: AdminClient = _client("AdminClient", {}, settings.servers, settings.config_file)
    return admin


def new_producer(servers: str, config_file: str | None, settings: Mapping[str, Any]) -> Producer:
    """A new producer, whose own retries make no copies. Raises ``KafkaProblem``."""
    producer: Producer = _client(
        "Producer", {"acks": "all", "enable.idempotence": True, "compression.type": "zstd", **settings}, servers, config_file
    )
    return producer


def _client(kind: str, settings: Mapping[str, Any], servers: str, config_file: str | None) -> Any:
    needs("confluent_kafka")
    # Here, not at the top: of an extra, and a tenth of a second.
    import confluent_kafka.admin  # noqa: PLC0415

    said = _Said()
    everything = {
        **read_config(config_file),
        **settings,
        "bootstrap.servers": servers,
        # Who comes back is found within a second, and not within ten.
        "reconnect.backoff.max.ms": 1_000,
        "error_cb": said.note,
        "log_level": 2,
    }
    try:
        client = getattr(confluent_kafka.admin if kind == "AdminClient" else confluent_kafka, kind)(everything)
    except (confluent_kafka.KafkaException, TypeError, ValueError) as error:
        raise KafkaProblem(f"Kafka's client refuses its settings{_of_file(config_file)}: {reason(error)}") from error
    said.of(client)
    return client


@dataclass
class _Said:
    """What the client says of its connections; kept by client, since only that way it says that nobody answers."""

    errors: list[str] = field(default_factory=list)

    def note(self, error: KafkaError) -> None:
        # That all are down says less than why.
        if not self.errors or error.name() != "_ALL_BROKERS_DOWN":
            self.errors[:] = [error.str()]

    def of(self, client: Consumer | Producer | AdminClient) -> None:
        with _LOCK:
            _SAID[id(client)] = self


_SAID: dict[int, _Said] = {}
_LOCK = threading.Lock()


def last_said(client: Consumer | Producer | AdminClient) -> str:
    """The last thing a client has said of its connections; empty where nothing is wrong."""
    with _LOCK:
        said = _SAID.get(id(client))
    return said.errors[-1] if said and said.errors else ""


def close(client: Consumer | Producer) -> None:
    """Let go of a client; of a producer, with what it has not sent."""
    with _LOCK:
        _SAID.pop(id(client), None)
    client.close()


def metadata(client: Consumer | Producer | AdminClient, servers: str, secs: float = _ANSWER_SECS) -> Any:
    """The cluster's id, topics and partitions, as Kafka tells them now. Raises ``KafkaAway`` where nobody answers in time."""
    from confluent_kafka import KafkaException  # noqa: PLC0415

    try:
        return client.list_topics(timeout=secs)
    except KafkaException as error:
        # The general error only says that nothing came; the callback has said why.
        client.poll(0)
        why = last_said(client) or reason(error)
        raise KafkaAway(f"Kafka at {servers} does not answer within {secs:g} s: {why}") from error


def may_pass(error: KafkaError) -> bool:
    """Whether it is worth waiting: Kafka is away, or is just starting."""
    return error.retriable() or error.name() in _WAITED_FOR or error.name() in _WAITED_FOR_TOO


def reason(error: Exception) -> str:
    """What an exception of the client says, without its class and number."""
    first = error.args[0] if error.args else error
    return first.str() if hasattr(first, "str") else str(first)


def read_config(path: str | None) -> Mapping[str, str]:
    """The settings of a file of lines ``key=value``, as Kafka's own tools take them. Raises ``KafkaProblem``.

    Its values are never told: some are secrets.
    """
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KafkaProblem(f"Kafka's settings in {path} cannot be read: {error}") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith(("#", "!")):
            continue
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise KafkaProblem(f"Kafka's settings in {path}, line {number}: it is not of the form key=value")
        if key in _OWN:
            flag = f"; {_OWN[key]} says it" if _OWN[key] else ""
            raise KafkaProblem(f"Kafka's settings in {path}, line {number}: {key} is not for this file{flag}")
        found[key] = value.strip()
    return found


def _of_file(path: str | None) -> str:
    return f" (those of {path} among them)" if path else ""
