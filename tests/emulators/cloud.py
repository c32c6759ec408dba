"""A cloud on loopback: emulators that run, Google's clients pointed at them, and what tests and the demo ask of it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.cloud import bigquery, storage
from google.pubsub_v1 import PublisherClient, PubsubMessage, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from tests.emulators import processes, settings
from tests.emulators.faults import FaultyProxy

Message = bytes | tuple[bytes, Mapping[str, str]]
_REQUEST_BYTES = 3_000_000


@dataclasses.dataclass(frozen=True)
class Topic:
    """A topic and a subscription to it, by their full names."""

    name: str
    subscription: str


@dataclasses.dataclass(frozen=True)
class Faults:
    """The proxies that clients go through; see ``FaultyProxy.fail``."""

    bigquery: FaultyProxy
    storage: FaultyProxy


class Cloud:
    """Cloud Storage and BigQuery, and Pub/Sub once ``start_pubsub`` was called. Made by ``running``.

    Its own clients go to the emulators straight, also within ``faults``.
    """

    def __init__(self, folder: Path, undo: contextlib.ExitStack) -> None:
        self.project = processes.PROJECT
        self.folder = folder
        self._undo = undo
        self._names = itertools.count(1)
        self._given_pubsub = os.environ.get(settings.PUBSUB)
        self.pubsub_host: str | None = None
        stores, tables = processes.storage(folder), processes.bigquery(folder)
        self._start(stores, tables)
        self.storage_host, (self.bigquery_host, self.bigquery_read_host) = stores.hosts[0], tables.hosts
        undo.enter_context(settings.point_clients(self.variables()))
        self.bigquery = undo.enter_context(bigquery.Client(project=self.project))
        self.storage = undo.enter_context(storage.Client(project=self.project))
        self._bucket = self.storage.create_bucket("pitt-broker").name

    def variables(self, **hosts: str) -> dict[str, str]:
        """The environment that points a process at this cloud, which also calls ``point_clients``; ``hosts`` replace."""
        own = {
            "storage": self.storage_host,
            "bigquery": self.bigquery_host,
            "bigquery_read": self.bigquery_read_host,
            "pubsub": self.pubsub_host,
        }
        return settings.environment(project=self.project, **{**own, **hosts})

    def start_pubsub(self) -> None:
        """Start Pub/Sub, or take the one that ``PUBSUB_EMULATOR_HOST`` named.

        Raises ``LookupError`` with the remedy where there is none.
        """
        if self.pubsub_host is not None:
            return
        if self._given_pubsub:
            self.pubsub_host = self._given_pubsub
        else:
            missing = processes.pubsub_missing()
            if missing:
                raise LookupError(missing)
            emulator = processes.pubsub(self.folder)
            self._start(emulator)
            self.pubsub_host = emulator.hosts[0]
        self._undo.enter_context(settings.point_clients(self.variables()))
        channel = self._undo.enter_context(grpc.insecure_channel(self.pubsub_host))
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))

    @contextlib.contextmanager
    def faults(self) -> Iterator[Faults]:
        """Within it, clients that are made go to BigQuery and Cloud Storage through proxies that fail as they are told."""
        with FaultyProxy(self.bigquery_host) as tables, FaultyProxy(self.storage_host) as stores:
            with settings.point_clients(self.variables(bigquery=tables.host, storage=stores.host)):
                yield Faults(tables, stores)

    def dataset(self) -> str:
        """A name for a dataset that no one has used."""
        return self._name("dataset")

    def prefix(self) -> str:
        """The URI of a folder on Cloud Storage that no one has used, without a slash at its end."""
        return f"gs://{self._bucket}/{self._name('folder')}"

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        return [dict(row.items()) for row in self.bigquery.query(sql).result()]

    def topic(self) -> Topic:
        """A new topic and a subscription to it."""
        name = self._name("topic")
        made = Topic(f"projects/{self.project}/topics/{name}", f"projects/{self.project}/subscriptions/{name}")
        self._publisher.create_topic(name=made.name)
        self._subscriber.create_subscription(name=made.subscription, topic=made.name, ack_deadline_seconds=60)
        return made

    def publish(self, topic: Topic, messages: Iterable[Message]) -> list[str]:
        """Publish messages, with attributes or without, in their order; gives their ids."""
        ids: list[str] = []
        batch: list[PubsubMessage] = []
        size = 0
        for message in messages:
            data, attributes = message if isinstance(message, tuple) else (message, {})
            if batch and (size + len(data) > _REQUEST_BYTES or len(batch) == 1000):
                ids += self._publisher.publish(topic=topic.name, messages=batch).message_ids
                batch, size = [], 0
            batch.append(PubsubMessage(data=data, attributes=attributes))
            size += len(data)
        if batch:
            ids += self._publisher.publish(topic=topic.name, messages=batch).message_ids
        return ids

    def pull(self, subscription: str) -> list[PubsubMessage]:
        """The messages that wait, acknowledged; none if none waits."""
        messages: list[PubsubMessage] = []
        while True:
            with contextlib.suppress(grpc.RpcError):
                answer = self._subscriber.pull(subscription=subscription, max_messages=10, return_immediately=True)
            if not answer.received_messages:
                return messages
            ids = [received.ack_id for received in answer.received_messages]
            self._subscriber.acknowledge(subscription=subscription, ack_ids=ids)
            messages += [received.message for received in answer.received_messages]

    def stop(self, result: Any, topic: Topic, heartbeat: Message = b"") -> None:
        """Cancel a stream that reads the topic on the DirectRunner, whose pull would go on for half a minute.

        The message that ends the pull comes after ``cancel`` began; the runner may read it, and it may be lost.
        """
        cancelling = threading.Thread(target=result.cancel, daemon=True)
        cancelling.start()
        while cancelling.is_alive():
            cancelling.join(1)
            if cancelling.is_alive():
                self.publish(topic, [heartbeat])

    def _name(self, kind: str) -> str:
        # A Pub/Sub emulator that was running before may have the names of an earlier session.
        return f"{kind}_{next(self._names)}_{uuid.uuid4().hex[:8]}"

    def _start(self, *emulators: processes.Emulator) -> None:
        for one in emulators:
            self._undo.callback(one.stop)
            one.spawn()
        for one in emulators:
            one.wait()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cloud]:
    """Cloud Storage and BigQuery, with logs and objects in ``folder`` (best a temporary one), for as long as the context lasts."""
    with contextlib.ExitStack() as undo:
        yield Cloud(folder, undo)


def eventually(fact: Callable[[], Any], secs: float = 60, every: float = 0.2) -> Any:
    """What ``fact`` gives, as soon as that is true; asserts that it is within ``secs``."""
    deadline = time.monotonic() + secs
    while not (found := fact()):
        assert time.monotonic() < deadline, f"not within {secs} s"
        time.sleep(every)
    return found
