"""Writers that stay open, for who sends to many topics, again and again: one client of Kafka for all topics of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from streams.addresses import Address
from streams.errors import StreamProblem
from streams.topics import make_topics
from streams.writers import Writer, open_writer

_Key = tuple[str, str, str | None, bool]


class OpenWriters:
    """Writers of one thread, by address. Also a context manager: what is still on its way when it closes is given up."""

    def __init__(self) -> None:
        self._writers: dict[Address, Writer] = {}
        self._clients: dict[_Key, tuple[Any, Callable[[], object]]] = {}
        """Clients that writers share, and what closes each."""
        self._made = set[Address]()

    def make(self, addresses: Iterable[Address], was_sent_to: Callable[[Address], bool]) -> dict[str, StreamProblem]:
        """Make the topics that are not there (see ``make_topics``), unless that was done; gives what is wrong."""
        new = [address for address in addresses if address not in self._made]
        wrong = make_topics(new, was_sent_to)
        self._made.update(address for address in new if str(address) not in wrong)
        return wrong

    def at(self, address: Address) -> Writer:
        """Who writes there. Raises ``StreamProblem``."""
        if address not in self._writers:
            self._writers[address] = self._new(address)
        return self._writers[address]

    def give_up(self, address: Address) -> None:
        """After a problem: what is on its way there is forgotten, and everything about the place is asked anew."""
        key = _key(address)
        for other in [other for other in self._writers if other == address or (key in self._clients and _key(other) == key)]:
            self._writers.pop(other).close()
        # Of all that a cluster has: perhaps it is the cluster that is away.
        self._made = {other for other in self._made if other != address and (key not in self._clients or _key(other) != key)}
        if key in self._clients:
            self._clients.pop(key)[1]()

    def _new(self, address: Address) -> Writer:
        if address.kind == "kafka":
            from streams.write_kafka import KafkaWriter, close_producer, producer_of  # noqa: PLC0415 - as in open_writer

            if _key(address) not in self._clients:
                producer = producer_of(address.servers, address.config)
                self._clients[_key(address)] = (producer, lambda: close_producer(producer))
            return KafkaWriter(address.servers, address.name, address.config, self._clients[_key(address)][0])
        if address.kind == "pubsub" and "/topics/" in address.name:
            from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415

            from streams.write_pubsub import PubsubWriter, publisher_of  # noqa: PLC0415

            if _key(address) not in self._clients:
                try:
                    client = publisher_of(ordered=address.ordered)
                except DefaultCredentialsError as error:
                    raise StreamProblem(f"{address}: {error}") from error
                self._clients[_key(address)] = (client, client.stop)
            return PubsubWriter(address.name, ordered=address.ordered, client=self._clients[_key(address)][0])
        return open_writer(address)

    def close(self) -> None:
        """Let go of all of them."""
        for writer in self._writers.values():
            writer.close()
        for _, close in self._clients.values():
            close()
        self._writers, self._clients, self._made = {}, {}, set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _key(address: Address) -> _Key:
    """By which writers share a client."""
    return address.kind, address.servers, address.config, address.ordered
